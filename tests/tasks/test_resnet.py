"""Residual networks against the published counts and sizes, and a block written out."""

import pytest
import torch
from torch.nn import functional

from ravine.tasks._resnet import BasicBlock, resnet


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("layers", "published"), [((2, 2, 2, 2), 11_689_512), ((3, 4, 6, 3), 21_797_672)])
def test_it_has_the_published_number_of_parameters(layers, published):
    assert parameters(resnet(layers, classes=1000, small=False)) == published


@pytest.mark.parametrize(
    ("small", "side", "sides"),
    [(False, 224, [56, 28, 14, 7]), (True, 32, [32, 16, 8, 4])],
)
def test_stages_have_the_sizes_of_the_papers_table_1(small, side, sides):
    model = resnet((1, 1, 1, 1), classes=7, channels=1, width=4, small=small)
    shapes = []
    for module in model.modules():
        if isinstance(module, BasicBlock):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    assert model(torch.zeros(2, 1, side, side)).shape == (2, 7)
    assert shapes == [(4 * 2**n, s, s) for n, s in enumerate(sides)]


@pytest.mark.parametrize(("after", "stride"), [(3, 1), (6, 2)])
def test_a_block_adds_what_came_in(after, stride):
    block = BasicBlock(3, after, stride)
    rows = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def convolved(inputs, weight, stride):
        raw = functional.conv2d(inputs, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance = raw.mean(dim=(0, 2, 3), keepdim=True), raw.var(dim=(0, 2, 3), correction=0, keepdim=True)
        return (raw - mean) / (variance + 1e-5).sqrt()

    first, second, *shortcut = [p for p in block.parameters() if p.ndim == 4]
    inner = convolved(convolved(rows, first, stride).clamp_min(0), second, 1)
    around = convolved(rows, shortcut[0], stride) if shortcut else rows
    assert bool(shortcut) == (stride == 2)
    torch.testing.assert_close(block(rows), (inner + around).clamp_min(0), atol=1e-5, rtol=1e-5)


def test_convolutions_begin_with_the_variance_of_he():
    torch.manual_seed(0)
    for module in resnet(small=True).modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 10_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
