"""A task to compare optimizers on: a GPT of 35,712 parameters that learns a text byte by byte in seconds.

    ravine compare examples/small_gpt.py -o adam -o sgd

The text is what the task ``text-gpt`` reads: the file named with ``--data``, else the King James Bible where Debian's
packages have it, else Python's own documentation, which differs a little from one version of Python to the next. Only its
first 64 KB are used, so that a training and its evaluations take seconds on one processor.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ravine.tasks import Data, Task, find

CONTEXT, WIDTH, HEADS, LAYERS = 64, 32, 2, 2
TRAIN_ROWS, TEST_ROWS = 1024, 128


class SmallGPT(nn.Module):
    """From bytes (rows, 64), int64, to scores (rows, 64, 256) of each next byte."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT), persistent=False)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)
        for p in self.blocks.parameters():  # TransformerEncoder copies one layer, so its layers would begin as twins
            if p.ndim > 1:
                nn.init.xavier_uniform_(p)

    def forward(self, rows: Tensor) -> Tensor:
        length = rows.shape[1]
        read = self.tokens(rows) + self.places(torch.arange(length, device=rows.device))
        read = self.blocks(read, mask=self.mask[:length, :length], is_causal=True)
        return read @ self.tokens.weight.T


def small_gpt(data: Path | None = None) -> Task:
    whole = find("text-gpt", data)
    return replace(
        whole,
        name="small-gpt",
        model=SmallGPT,
        train=Data(whole.train.inputs[:TRAIN_ROWS], whole.train.targets[:TRAIN_ROWS]),
        test=Data(whole.test.inputs[:TEST_ROWS], whole.test.targets[:TEST_ROWS]),
        batch_size=16,
        epochs=5,
    )
