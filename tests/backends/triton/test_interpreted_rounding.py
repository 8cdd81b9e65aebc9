"""Rounding at random in GPU kernels, in Triton's interpreter: the bits of torch's operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted_steps import Context, give, kernels_step
from torch.nn import Parameter

from ravine.optim import Adafactor, Adam, AdamW, Optimizer, RMSprop


def stepped(
    interpreting: Context, cls: Any, dtype: torch.dtype, shapes: tuple[tuple[int, ...], ...], **options: Any
) -> tuple[list[Parameter], Optimizer, list[Parameter], Optimizer]:
    """The same parameters, stepped by kernels and by torch's operations, each with its optimizer."""

    def made(**more: Any) -> tuple[list[Parameter], Optimizer]:
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
        return params, cls(params, lr=1e-2, **options, **more)

    (ours, kernels), (others, eager) = made(), made(fused=False)
    for step in range(4):
        give(ours, step)
        give(others, step)
        with interpreting():
            kernels.step()
        eager.step()
    assert kernels_step(kernels)
    return ours, kernels, others, eager


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("cls", [Adam, RMSprop])
def test_states_have_the_bits_of_torchs_operations(cls: Any, dtype: str, interpreting: Context) -> None:
    options = {"state_dtype": dtype, "rounding": "stochastic"}
    ours, kernels, others, eager = stepped(interpreting, cls, torch.float32, ((70, 31), (5,), ()), **options)
    for p, q in zip(ours, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)
        for name in set(eager.state[q]) - {"step", "rounding.key"}:
            a, b = kernels.state[p][name], eager.state[q][name]
            squares = dtype == "float16" and name.endswith(("_sq", "square_avg"))
            assert a.dtype is b.dtype is (torch.float32 if squares else getattr(torch, dtype))
            assert (a != b).float().mean() < 0.01  # sums that differ in their last bit may fall on two sides


def test_rows_and_columns_with_states_at_random(interpreting: Context) -> None:
    torch.manual_seed(4)
    p = Parameter(torch.randn(40, 36))
    optimizer = Adafactor([p], state_dtype="bfloat16", rounding="stochastic")
    for step in range(2):
        give([p], step)
        with interpreting():
            optimizer.step()
    assert torch.isfinite(p).all()


@pytest.mark.parametrize("bits", ["stochastic", 24, 32])
@pytest.mark.parametrize("cls", [AdamW, Adafactor])
def test_bfloat16_parameters_have_the_bits_of_torchs_operations(cls: Any, bits: Any, interpreting: Context) -> None:
    ours, kernels, others, eager = stepped(interpreting, cls, torch.bfloat16, ((70, 31), (5, 3)), param_bits=bits)
    mine, theirs = kernels.state_dict(full=True)["state"], eager.state_dict(full=True)["state"]
    for i, (p, q) in enumerate(zip(ours, others, strict=True)):
        a, b = (full[i].get("param", x.detach().float()) for full, x in ((mine, p), (theirs, q)))
        due = {"stochastic": 2**-7, 24: 2**-15, 32: 2**-21}[bits]
        torch.testing.assert_close(a, b, rtol=due, atol=due)
        assert (a != b).float().mean() < (0.02 if bits != 32 else 1)
    with interpreting():
        seen = [kernels.watch.last[name].update_norm for name in ("0", "1")]
    assert seen == pytest.approx([eager.watch.last[name].update_norm for name in ("0", "1")], rel=0.05)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.float32, {"state_dtype": "bfloat16"}),
        (torch.float32, {"state_dtype": {"exp_avg": "float16"}, "rounding": "stochastic"}),
        (torch.bfloat16, {}),
        (torch.float16, {"state_dtype": "bfloat16", "rounding": "stochastic"}),
        (torch.bfloat16, {"param_bits": "stochastic"}),
        (torch.bfloat16, {"param_bits": 24}),
        (torch.bfloat16, {"param_bits": 24, "state_dtype": "bfloat16", "rounding": "stochastic"}),
    ],
)
def test_what_rounding_costs_is_that_of_torchs_operations(
    dtype: torch.dtype, options: dict[str, Any], interpreting: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the sample alone, a chunk: two of these tensors are longer."""
    monkeypatch.setattr("ravine.backends._rounding_figures.SAMPLE", 1024)

    def made(**more: Any) -> tuple[list[Parameter], Optimizer]:
        generator = torch.Generator().manual_seed(0)
        shapes = ((70, 83), (20_001,), (5,), (), (0,))
        params = [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
        return params, Adam(params, lr=1e-2, **options, **more)

    (ours, kernels), (others, eager) = made(), made(fused=False)
    for step in range(3):
        give(ours, step, missing=[2] if step == 2 else [])
        give(others, step, missing=[2] if step == 2 else [])
        with interpreting():
            kernels.step()
        eager.step()
    assert kernels_step(kernels)
    with interpreting():
        found = kernels.watch.history
    expected = eager.watch.history
    for name in ("state_rounding", "param_rounding"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a == pytest.approx(b, rel=0.02, nan_ok=True)
        narrow = dtype is not torch.float32 if name == "param_rounding" else options != {"param_bits": 24}
        assert (b[:, 0] > 0).all() == narrow
