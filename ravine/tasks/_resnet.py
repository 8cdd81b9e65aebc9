"""Residual networks of basic blocks, for pictures of any size. Holds no data and trains nothing.

He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition (2015), https://arxiv.org/abs/1512.03385.
"""

import math
from collections.abc import Sequence

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input (Figure 2 and Section 3.3 of the paper).

    Where the shape changes, the input goes through a 1x1 convolution (the paper's option B).
    From (rows, before, height, width) to (rows, after, height / stride, width / stride).
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(before, after, 3, stride),
            nn.ReLU(inplace=True),
            *_convolution(after, after, 3, 1),
        )
        changes = stride != 1 or before != after
        self.shortcut = nn.Sequential(*_convolution(before, after, 1, stride)) if changes else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.residual(inputs) + self.shortcut(inputs)).relu()


def resnet(
    layers: Sequence[int] = (2, 2, 2, 2), classes: int = 10, channels: int = 3, width: int = 64, *, small: bool
) -> nn.Sequential:
    """A residual network, from pictures (rows, channels, height, width) to scores (rows, classes).

    Args:
        layers: blocks in each stage; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) is ResNet-34. Every stage after
            the first halves the sides and doubles the channels.
        classes: how many scores a picture gets.
        channels: 1 for grey pictures, 3 for colour.
        width: channels of the first stage.
        small: for pictures of about 28 x 28 pixels the first convolution is 3x3 and keeps their size, as in
            Section 4.2; for larger ones it is 7x7 with stride 2, and max-pooling halves the sides again.

    Convolutions begin as He et al. 2015 (https://arxiv.org/abs/1502.01852) propose, with variance 2 / fan-out.
    """
    if small:
        stem = [*_convolution(channels, width, 3, 1), nn.ReLU(inplace=True)]
    else:
        stem = [*_convolution(channels, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]
    blocks: list[nn.Module] = []
    before = width
    for stage, count in enumerate(layers):
        after = width * 2**stage
        for block in range(count):
            blocks.append(BasicBlock(before, after, stride=2 if stage > 0 and block == 0 else 1))
            before = after
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def _convolution(before: int, after: int, side: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (after * side**2)))
    return [convolution, nn.BatchNorm2d(after)]
