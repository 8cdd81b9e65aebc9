"""A model that takes its time, for the tests of what is measured."""

import time

from torch import Tensor, nn


class Slow(nn.Module):
    """A model whose forward takes at least a hundredth of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.01)
        result: Tensor = self.layer(x)
        return result
