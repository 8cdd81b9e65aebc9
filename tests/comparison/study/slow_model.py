"""A model that takes its time, for the tests of what is measured."""

import time

from torch import nn


class Slow(nn.Module):
    """A model whose forward takes at least a hundredth of a second."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        time.sleep(0.01)
        return self.layer(x)
