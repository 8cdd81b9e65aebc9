"""Rounding at random in GPU kernels, in Triton's interpreter: the bits of torch's operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from interpreted_steps import Context, give, kernels_step
from torch.nn import Parameter

from ravine.optim import Adafactor, Adam, AdamW, Optimizer, RMSprop


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("cls", [Adam, RMSprop])
def test_states_have_the_bits_of_torchs_operations(cls: Any, dtype: str, interpreting: Context) -> None:
    def made(**options: Any) -> tuple[list[Parameter], Optimizer]:
        torch.manual_seed(4)
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(torch.randn(n, generator=generator)) for n in ((70, 31), (5,), ())]
        return params, cls(params, lr=1e-2, state_dtype=dtype, rounding="stochastic", **options)

    (ours, kernels), (others, eager) = made(), made(fused=False)
    for step in range(4):
        give(ours, step)
        give(others, step)
        with interpreting():
            kernels.step()
        eager.step()
    assert kernels_step(kernels)
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
    def made(**options: Any) -> tuple[list[Parameter], Optimizer]:
        torch.manual_seed(4)
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(torch.randn(n, generator=generator).bfloat16()) for n in ((70, 31), (5, 3))]
        return params, cls(params, lr=1e-2, param_bits=bits, **options)

    (ours, kernels), (others, eager) = made(), made(fused=False)
    for step in range(3):
        give(ours, step)
        give(others, step)
        with interpreting():
            kernels.step()
        eager.step()
    assert kernels_step(kernels)
    mine, theirs = kernels.state_dict(full=True)["state"], eager.state_dict(full=True)["state"]
    for i, (p, q) in enumerate(zip(ours, others, strict=True)):
        a, b = (full[i].get("param", x.detach().float()) for full, x in ((mine, p), (theirs, q)))
        due = {"stochastic": 2**-7, 24: 2**-15, 32: 2**-21}[bits]
        torch.testing.assert_close(a, b, rtol=due, atol=due)
        assert (a != b).float().mean() < (0.02 if bits != 32 else 1)
    with interpreting():
        seen = [kernels.watch.last[name].update_norm for name in ("0", "1")]
    assert seen == pytest.approx([eager.watch.last[name].update_norm for name in ("0", "1")], rel=0.05)
