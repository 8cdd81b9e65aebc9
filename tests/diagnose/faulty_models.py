"""Small models with planted faults for the tests of find_nonfinite; holds no tests."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

INF, NAN = float("inf"), float("nan")
Function = Callable[..., Any]


class Does(nn.Module):
    """A module that is one function of its inputs."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def net(*middle: nn.Module | Function) -> nn.Sequential:
    """A healthy model around the modules to look at."""
    torch.manual_seed(1)
    modules = [m if isinstance(m, nn.Module) else Does(m) for m in middle]
    return nn.Sequential(nn.Linear(4, 8), *modules, nn.Linear(8, 2))


def batch(rows: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, 4, generator=generator), torch.randn(rows, 2, generator=generator)


def with_zero(x: Tensor) -> Tensor:
    """The same with one column of zeros."""
    return x * (torch.arange(x.shape[-1]) != 2)


class Attention(nn.Module):
    """Causal; the mask is a buffer, a constant or a fill, the softmax a module or a function."""

    def __init__(self, mask: str = "fill", module: bool = True, empty_row: bool = False) -> None:
        super().__init__()
        self.qkv, self.softmax, self.mask = nn.Linear(8, 24), nn.Softmax(-1) if module else torch.softmax, mask
        keep = torch.ones(16, 16).tril().bool()
        keep[0, 0] = not empty_row
        self.keep = keep
        added = torch.zeros(16, 16).masked_fill(~keep, -INF)
        if mask == "buffer":
            self.register_buffer("added", added)
        self.constant = added

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.T
        if self.mask == "fill":
            scores = scores.masked_fill(~self.keep, -INF)
        elif self.mask == "where":
            scores = torch.where(self.keep, scores, -INF)
        else:
            scores = scores + (self.added if self.mask == "buffer" else self.constant)
        return (self.softmax(scores) if isinstance(self.softmax, nn.Module) else scores.softmax(-1)) @ v


class Parent(nn.Module):
    """The fault is its own, between two healthy children of which the second then gets what is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(with_zero(self.first(x)).abs().log())


class Branches(nn.Module):
    """The branch that runs second is at fault."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Does(lambda x: x + 1), Does(lambda x: (x * 1e4).exp())

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class Embeds(nn.Module):
    """Its inputs are numbers of rows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rows, self.out = nn.Embedding(10, 4), nn.Linear(4, 2)
        self.rows.weight.data[3] = INF

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rows((x[:, 0] * 0 + 3).long()))


class Checkpointed(nn.Module):
    """Its inside runs again in the backward pass."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.inner = Does(function)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


def half_overflow(x: Tensor) -> Tensor:
    return (x.half() * 60000).float()


def hidden_root(x: Tensor) -> Tensor:
    return (with_zero(x) ** 2).sqrt()
