"""A small decoder-only transformer that predicts the next byte of a text. Holds no data and trains nothing.

The architecture of GPT-2 (Radford et al., Language Models are Unsupervised Multitask Learners, 2019) at the
size of a laptop: normalisation before each part, learned positions, the same matrix for embedding and prediction.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

BYTES = 256
_INITIAL_DEVIATION = 0.02


class GPT(nn.Module):
    """From bytes (rows, places), int64 below 256, to scores of each next byte (rows, places, 256).

    Args:
        context: the largest number of places in a row.
        width: numbers that represent one byte; a multiple of ``heads``.
        layers: blocks of attention and MLP, one after the other.
        heads: how many attention heads a block has.
    """

    def __init__(self, context: int = 64, width: int = 64, layers: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(BYTES, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.apply(_start)

    def forward(self, rows: Tensor) -> Tensor:
        places = torch.arange(rows.shape[1], device=rows.device)
        read = self.blocks(self.tokens(rows) + self.places(places))
        return functional.linear(self.norm(read), self.tokens.weight)


class Block(nn.Module):
    """Attention to the places before, then an MLP at each place; both add to what came in, (rows, places, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs + self.projection(self._attention(self.attention_norm(inputs)))
        return inputs + self.mlp(inputs)

    def _attention(self, inputs: Tensor) -> Tensor:
        parts = self.queries_keys_values(inputs).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (rows, heads, places, width / heads)
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return mixed.transpose(1, 2).flatten(-2)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_INITIAL_DEVIATION)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
