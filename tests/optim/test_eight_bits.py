"""States of 8 bits: what codes hold, steps of kernels and of torch's operations, resume and exchange."""

from __future__ import annotations

import pytest
import torch
from test_narrow_states import ROUND, give, parameters, run
from torch.nn import Parameter

from ravine.backends import _eight_bits as eight
from ravine.errors import ParameterError
from ravine.formula import norm, squares, tensor_function
from ravine.optim import SGD, Adagrad, Adam, AdamW, Lion, Muon, Optimizer, RMSprop, pieces


def moments(x):
    """Numbers of many sizes, and what an average of their squares is like."""
    return x, x * x


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("size", [256, 255, 257, 5000])
def test_codes_hold_rounded_values_exactly(size, which):
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(size, generator=generator) * 10.0 ** torch.randint(-2, 2, (size,), generator=generator)
    x = torch.where(x.abs() < 0.01, 0.0, x)  # a block reaches from its largest to 2^-15 of that
    value = moments(x)[which]
    made = ROUND[("signed", "squares")[which] + "_at_random0"](value, 3.0)
    codes = torch.zeros(size, dtype=(eight.SIGNED, eight.SQUARES)[which])
    scales = eight.empty_scales(codes)
    eight.encode(made, codes, scales)
    assert scales.shape == (-(-size // 256),)
    assert torch.equal(eight.decode(codes, scales), made)
    assert ((made - value).abs() <= value.abs() * (1 / 8, 2 / 16 + 1 / 256)[which]).all()


def test_what_codes_cannot_hold():
    """Below 2^-15 of the scale a signed value is 0, and a root the least; infinity and NaN are 0, and hurt no neighbour."""
    x = torch.tensor([1.0, -1e-6, 0.0, torch.nan, torch.inf, -0.5, 3e-5 * 1.125])
    codes = torch.zeros(7, dtype=eight.SIGNED)
    scales = eight.empty_scales(codes)
    eight.encode(x, codes, scales)
    assert eight.decode(codes, scales).tolist()[:6] == [1.0, 0.0, 0.0, 0.0, 0.0, -0.5]
    codes = torch.zeros(7, dtype=eight.SQUARES)
    eight.encode(x.square(), codes, scales)
    least = (2.0**-15 * (1 + 1 / 16)) ** 2
    assert eight.decode(codes, scales).tolist()[:6] == [1.0, least, 0.0, 0.0, 0.0, 0.25]


@pytest.mark.parametrize("k", [-20, -7, 20])
@pytest.mark.parametrize("how", ["nearest", "stochastic"])
def test_steps_do_not_depend_on_the_scale_of_gradients(how, k):
    def updates(size):
        torch.manual_seed(2)
        params = parameters(shapes=((100, 70),))
        before = params[0].detach().clone()
        optimizer = Adam(params, lr=1e-2, eps=0.0, state_dtype="8bit", rounding=how)
        for step in range(6):
            give(params, step, size)
            optimizer.step()
        return params[0].detach() - before

    assert torch.equal(updates(1.0), updates(2.0**k))


@pytest.mark.parametrize("cls", [Adam, RMSprop, Lion, Adagrad, SGD, Muon])
def test_steps_stay_near_those_of_wide_states(cls):
    options = {"momentum": 0.9} if cls is SGD else {}
    torch.manual_seed(0)
    ours, others = parameters(shapes=((100, 70),)), parameters(shapes=((100, 70),))
    before = ours[0].detach().clone()
    narrow, wide = cls(ours, lr=1e-3, state_dtype="8bit", **options), cls(others, lr=1e-3, **options)
    run(narrow, ours, 0, 200)
    run(wide, others, 0, 200)
    moved, apart = (others[0] - before).detach().norm(), (ours[0] - others[0]).detach().norm()
    assert apart < 0.25 * moved
    kept = [value for value in narrow.state[ours[0]].values() if eight.is_code(value.dtype)]
    assert kept


def test_kernels_make_the_codes_of_torchs_operations():
    for how in ("nearest", "stochastic"):
        torch.manual_seed(0)
        ours, others = parameters(shapes=((100, 70), (70,))), parameters(shapes=((100, 70), (70,)))
        options = {"lr": 1e-2, "state_dtype": "8bit", "rounding": how}
        kernels, eager = AdamW(ours, fused=True, **options), AdamW(others, fused=False, **options)
        run(kernels, ours, 0, 8)
        run(eager, others, 0, 8)
        for name in ("exp_avg", "exp_avg_sq", "exp_avg.scale"):
            a, b = kernels.state[ours[0]][name], eager.state[others[0]][name]
            assert a.dtype is b.dtype
            assert (a != b).float().mean() < 0.01
        assert kernels.state[ours[1]]["exp_avg"].dtype is torch.float32  # few elements
        assert "exp_avg.scale" not in kernels.state[ours[1]]
        torch.testing.assert_close(ours[1], others[1])


def test_few_elements_are_as_without():
    ours, others = parameters(shapes=((40, 7), (), (4095,))), parameters(shapes=((40, 7), (), (4095,)))
    for fused in (None, False):
        narrow, wide = Adam(ours, state_dtype="8bit", fused=fused), Adam(others, fused=fused)
        run(narrow, ours, 0, 3)
        run(wide, others, 0, 3)
        for p, q in zip(ours, others, strict=True):
            assert torch.equal(p, q)


@pytest.mark.parametrize("fused", [None, False])
def test_a_block_does_not_suffer_from_a_nan(fused):
    params, others = parameters(shapes=((100, 70),)), parameters(shapes=((100, 70),))
    torch.manual_seed(0)
    bad, good = Adam(params, state_dtype="8bit", fused=fused), Adam(others, state_dtype="8bit", fused=fused)
    for step in range(4):
        give(params, step)
        give(others, step)
        if step == 1:
            params[0].grad[3, 5], others[0].grad[3, 5] = torch.nan, 0.0
        bad.step()
        good.step()
    there = torch.ones(100, 70, dtype=torch.bool)
    there[3, 5] = False
    assert torch.isnan(params[0][3, 5])
    assert torch.isfinite(params[0][there]).all()
    torch.testing.assert_close(params[0][there], others[0][there], rtol=0, atol=1e-2)


def test_norms_and_parameters_laid_out_otherwise():
    image = torch.randn(8, 16, 8, 8).to(memory_format=torch.channels_last)
    ours, others = Parameter(image.clone()), Parameter(image.clone())
    options = {"clip_norm": 1.0, "cautious": True, "state_dtype": "8bit", "rounding": "nearest"}
    kernels, eager = AdamW([ours], fused=True, **options), AdamW([others], fused=False, **options)
    for step in range(3):
        give([ours], step)
        give([others], step)
        kernels.step()
        eager.step()
    torch.testing.assert_close(ours, others, rtol=1e-3, atol=1e-4)
    assert kernels.state[ours]["exp_avg"].stride() == ours.stride()


@pytest.mark.parametrize("size", [1.0, 1e25])
def test_sums_beside_functions_of_whole_tensors(size):
    """A pass that gives a function its tensor also sums; squares too large for float32 are summed once more."""

    @tensor_function(batched=True)
    def halved(x):
        return x / 2

    def rule(update, kept=0.0):
        kept = 0.5 * kept + update
        return halved(kept) / norm(kept), kept

    ours, others = parameters(shapes=((100, 70),)), parameters(shapes=((100, 70),))
    options = {"lr": 1.0, "state_dtype": "8bit", "rounding": "nearest"}
    kernels, eager = (
        Optimizer(p, [rule, pieces.descend], fused=f, **options) for p, f in ((ours, True), (others, False))
    )
    for step in range(3):
        give(ours, step, size)
        give(others, step, size)
        for p in (ours[0], others[0]):  # blocks of other sizes
            p.grad[50:] *= 1e-3
        kernels.step()
        eager.step()
    torch.testing.assert_close(ours, others, rtol=1e-4, atol=1e-6)


def test_codes_are_exchanged_with_wide_states():
    params = parameters(shapes=((100, 70), (9,)))
    narrow = Adam(params, state_dtype="8bit")
    run(narrow, params, 0, 3)
    full = narrow.state_dict(full=True)
    assert full["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}
    kept = narrow.state[params[0]]
    assert torch.equal(full["state"][0]["exp_avg"], eight.decode(kept["exp_avg"], kept["exp_avg.scale"]))
    torch.optim.Adam(parameters(shapes=((100, 70), (9,)))).load_state_dict(full)
    for saved in (full, narrow.state_dict()):  # codes, too, into an optimizer that keeps none, and back
        others = parameters(shapes=((100, 70), (9,)))
        wide = Adam(others)
        wide.load_state_dict(saved)
        run(wide, others, 3, 4)
        assert wide.state[others[0]]["exp_avg"].dtype is torch.float32
        assert "exp_avg.scale" not in wide.state[others[0]]
        back = Adam(others, state_dtype="8bit")
        back.load_state_dict(wide.state_dict())
        run(back, others, 4, 5)
        assert back.state[others[0]]["exp_avg"].dtype is eight.SIGNED
    half = Adam(others, state_dtype="bfloat16")
    half.load_state_dict(narrow.state_dict())
    run(half, others, 3, 4)
    assert half.state[others[0]]["exp_avg"].dtype is torch.bfloat16


def test_a_formula_says_which_of_its_states_are_squares():
    def rule(update, average=0.0, square=squares(0.0), *, alpha):
        average, square = alpha * average + update, alpha * square + update**2
        return average / (square + 1e-6) ** 0.5, average, square

    (p,) = parameters(shapes=((100, 70),))
    optimizer = Optimizer([p], [rule, pieces.descend], lr=0.1, alpha=0.9, state_dtype="8bit")
    run(optimizer, [p], 0, 2)
    assert optimizer.state[p]["average"].dtype is eight.SIGNED
    assert optimizer.state[p]["square"].dtype is eight.SQUARES
    rms = RMSprop([p], state_dtype="8bit")
    run(rms, [p], 0, 1)
    assert rms.state[p]["square_avg"].dtype is eight.SQUARES
    assert (rule(1.0, alpha=0.5)[2], squares(0.0)) == (1.0, 0.0)  # by hand it is a number


def test_scales_that_are_lost_are_named():
    (p,) = parameters(shapes=((100, 70),))
    optimizer = Adam([p], state_dtype="8bit")
    run(optimizer, [p], 0, 1)
    del optimizer.state[p]["exp_avg.scale"]
    give([p], 1)
    with pytest.raises(ParameterError, match="exp_avg is codes of 8 bits, and there are no scales"):
        optimizer.step()
