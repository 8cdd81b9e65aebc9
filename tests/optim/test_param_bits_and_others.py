"""bfloat16 parameters that learn, where others write to them: users, averages, state dicts, formulas that do not read them."""

from __future__ import annotations

import math

import pytest
import torch
from test_param_bits import BITS, parameters, run, wholes
from torch.nn import Parameter

from ravine.errors import OptionError, ParameterError, StateError
from ravine.optim import SGD, AdamW, AdamWScheduleFree, Optimizer, SGDScheduleFree


@pytest.mark.parametrize("bits", [24, 32])
@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("write", ["zero_", "clamp", "mask", "infinity"])
def test_what_is_written_to_a_parameter_between_steps_stays(write, fused, bits):
    p = parameters(shapes=((64, 64),))[0]
    optimizer = AdamW([p], lr=1e-3, param_bits=bits, fused=fused)
    for step in range(4):
        run(optimizer, [p], step, step + 1)
        with torch.no_grad():
            if write == "zero_":
                p.zero_()
            elif write == "clamp":
                p.clamp_(min=0)
            elif write == "mask":
                p.mul_(torch.arange(64) % 2)
            else:
                p[0] = math.inf
        whole = wholes(optimizer, [p])[0]
        assert not whole.isnan().any()
        near = (whole - p.detach().float()).abs() <= 2**-8 * p.detach().float().abs() + 1e-38
        assert (near | p.detach().isinf()).all()
    run(optimizer, [p], 4, 5)
    assert p.isfinite().all() or write == "infinity"
    assert not p[1:].isnan().any()


def test_averages_with_compensation_and_of_codes():
    p, q = parameters(shapes=((64, 64),))[0], parameters(torch.float32, ((64, 64),))[0]
    narrow = AdamW([p], lr=1e-2, param_bits=32, ema_decay=0.5, state_dtype={"param_avg": "8bit"})
    wide = AdamW([q], lr=1e-2, ema_decay=0.5)
    run(narrow, [p], 0, 4)
    run(wide, [q], 0, 4)
    before = p.detach().clone()
    with narrow.averaged(), wide.averaged():
        assert torch.allclose(p.float(), q, rtol=0.15, atol=0.05)
        with pytest.raises(ParameterError, match="their averages now"):
            narrow.state_dict(full=True)
    assert torch.equal(p, before)
    full = narrow.state_dict(full=True)
    with narrow.averaged(), pytest.raises(StateError, match="holds parameters"):
        narrow.load_state_dict(full)


def test_states_that_are_made_at_once_are_those_of_a_step():
    made = []
    for at_once in (True, False):
        p = parameters(shapes=((64, 64),))[0]
        optimizer = AdamW([p], param_bits=24, ema_decay=0.5, state_dtype={"param_avg": "8bit", "exp_avg": "8bit"})
        if at_once:
            optimizer.init_state()
        else:
            run(optimizer, [p], 0, 1)
        made.append({name: (value.dtype, value.shape) for name, value in optimizer.state[p].items()})
    assert made[0] == made[1]


def dual_averaging(param, z, *, update, lr):
    z = z - lr * update
    return 2 * z, z


@pytest.mark.parametrize("bits", BITS)
def test_a_formula_that_does_not_read_the_parameter_is_watched(bits):
    seen = []
    for fused in (True, False):
        p = parameters(shapes=((64, 64),))[0]
        optimizer = Optimizer([p], [dual_averaging], lr=0.1, param_bits=bits, fused=fused)
        run(optimizer, [p], 0, 3)
        seen.append(optimizer.watch.last["0"].update_norm)
    assert seen[0] == pytest.approx(seen[1], rel=1e-5 if bits != "stochastic" else 1e-2)


def test_parameters_that_it_is_not_for_have_no_part_in_it():
    """Complex ones, and sparse gradients of single precision."""
    z = Parameter(torch.randn(30, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))
    w = Parameter(z.detach().clone())
    for p, bits in ((z, "stochastic"), (w, None)):
        optimizer = AdamW([p], lr=1e-2, param_bits=bits, fused=False)
        for step in range(3):
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(step))
            optimizer.step()
    assert torch.equal(z, w)
    table = torch.nn.Embedding(10, 4, sparse=True)
    optimizer = SGD(table.parameters(), momentum=0.9, param_bits="stochastic")
    table(torch.tensor([1, 3])).sum().backward()
    optimizer.step()
    assert "rounding.key" not in optimizer.state[table.weight]


@pytest.mark.parametrize(
    "value", ["x", torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3, 4) * 1j, torch.tensor(3.0)]
)
def test_a_parameter_that_is_none_is_refused_and_nothing_is_loaded(value):
    p = parameters(shapes=((3, 4),))[0]
    optimizer = AdamW([p], param_bits=32)
    run(optimizer, [p], 0, 1)
    full = optimizer.state_dict(full=True)
    full["state"][0]["param"] = value
    before = [p.detach().clone(), *(v.clone() for v in optimizer.state[p].values())]
    with pytest.raises(StateError):
        optimizer.load_state_dict(full)
    for a, b in zip(before, [p.detach(), *optimizer.state[p].values()], strict=True):
        assert torch.equal(a, b)


def test_codes_without_scales_are_refused_when_they_are_loaded():
    p = parameters(torch.float32, ((64, 64),))[0]
    optimizer = AdamW([p], state_dtype="8bit")
    run(optimizer, [p], 0, 1)
    for scales in (None, torch.zeros(16)):
        saved = optimizer.state_dict()
        saved["state"][0] = {**saved["state"][0], "exp_avg.scale": scales}
        with pytest.raises(StateError, match="codes of 8 bits, and there are no scales that fit it"):
            optimizer.load_state_dict(saved)


def test_torchs_optimizers_do_not_bring_old_parameters_back():
    p = parameters(shapes=((3, 4),))[0]
    narrow = AdamW([p], param_bits=32)
    run(narrow, [p], 0, 1)
    q = Parameter(p.detach().float())
    theirs = torch.optim.AdamW([q])
    theirs.load_state_dict(narrow.state_dict(full=True))
    run(theirs, [q], 1, 5)
    before = q.detach().clone()
    AdamW([q]).load_state_dict(theirs.state_dict())
    assert torch.equal(q, before)


@pytest.mark.parametrize(
    "options", [{"state_dtype": "8bit"}, {"param_bits": 24}, {"param_bits": "stochastic"}], ids=str
)
def test_a_dict_of_torch_has_no_key_of_random_bits(options):
    p = parameters(shapes=((64, 64),))[0]
    theirs = torch.optim.AdamW([p])
    run(theirs, [p], 0, 2)
    ours = AdamW([p], **options)
    ours.load_state_dict(theirs.state_dict())
    run(ours, [p], 2, 3)
    assert float(ours.state[p]["step"]) == 3


@pytest.mark.parametrize("cls", [SGDScheduleFree, AdamWScheduleFree])
def test_looking_at_the_averages_costs_no_precision(cls):
    params, wide = parameters(shapes=((64, 64),)), parameters(torch.float32, ((64, 64),))
    narrow, reference = cls(params, lr=1e-3, param_bits=32), cls(wide, lr=1e-3)
    for optimizer, some in ((narrow, params), (reference, wide)):
        for step in range(20):
            run(optimizer, some, step, step + 1)
            optimizer.eval()
            optimizer.train()
    moved = (wide[0] - parameters(torch.float32, ((64, 64),))[0]).norm()
    assert (wholes(narrow, params)[0] - wide[0]).norm() < 1e-3 * moved


def test_param_bits_of_a_group_are_refused():
    p = parameters(shapes=((3, 4),))[0]
    with pytest.raises(OptionError, match="param_bits in a parameter group"):
        AdamW([{"params": [p], "param_bits": 32}])


def test_one_byte_more_is_right_on_average():
    ends = []
    for bits in (24, 32):
        p = Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
        optimizer = SGD([p], lr=1.0, param_bits=bits)
        for _ in range(300):
            p.grad = torch.full_like(p, 3e-6)
            optimizer.step()
        ends.append(wholes(optimizer, [p])[0].double().mean().item())
    assert 1 - ends[0] == pytest.approx(1 - ends[1], rel=0.02)
