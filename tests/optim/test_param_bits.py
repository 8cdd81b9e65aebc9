"""bfloat16 parameters that learn: rounded by chance, or with 8 or 16 bits of compensation."""

from __future__ import annotations

import ctypes
import io
import math

import numpy as np
import pytest
import torch
from kinds import one_of_each_kind
from torch.nn import Parameter

from ravine.backends.cpu._compiler import compile_kernel
from ravine.errors import OptionError, ParameterError, StateError
from ravine.formula import _compensation as compensation
from ravine.optim import SGD, AdamW, Muon, RMSprop
from ravine.optim import _registry as registry
from ravine.optim._registry import classes
from ravine.optim._stacked_step import StackedStep

SHAPES = ((300, 70), (5,), (), (0, 3))
BITS = ("stochastic", 24, 32)
OP = compensation.compensation_functions()


def parameters(dtype=torch.bfloat16, shapes=SHAPES):
    generator = torch.Generator().manual_seed(1)
    return [Parameter(torch.randn(shape, generator=generator).bfloat16().to(dtype)) for shape in shapes]


def give(params, step, size=1.0):
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = (torch.randn(p.shape, generator=generator) * size).bfloat16().to(p.dtype)


def run(optimizer, params, first, last):
    for step in range(first, last):
        give(params, step)
        optimizer.step()


def wholes(optimizer, params):
    full = optimizer.state_dict(full=True)["state"]
    return [full[i]["param"] for i in range(len(params))]


# --- the split -------------------------------------------------------------------------------------------------------

_EVERY = """\
def kernel(task):
    launch = carray(at_int64(task), 5)
    bits = carray(at_float32(launch[0]), 65536)
    high_array = carray(at_uint16(launch[1]), 65536)
    rest_array = carray(at_uint8(launch[2]), 65536)
    low_array = carray(at_uint8(launch[3]), 65536)
    again_array = carray(at_float32(launch[4]), 65536)
    for i in range(65536):
        high_array[i] = upper_half(high_of(bits[i], bits[i]))
        rest_array[i] = to_int8(rest_of(bits[i]))
        low_array[i] = to_int8(low_of(bits[i]))
        high = with_rest(from_bfloat16(high_array[i]), float32(rest_array[i]))
        again_array[i] = with_low(high, float32(low_array[i]))
"""


@pytest.mark.slow  # 2^32 values
def test_the_parts_are_the_float32_exactly_for_every_one_of_the_2_to_the_32():
    kernel = compile_kernel(_EVERY)._alone
    low = np.arange(65536, dtype=np.uint32)
    bits, high, rest, least, again = (
        np.zeros(65536, dtype) for dtype in (np.uint32, np.uint16, np.int8, np.int8, np.uint32)
    )
    launch = (ctypes.c_int64 * 5)(*(a.ctypes.data for a in (bits, high, rest, least, again)))
    for upper in range(65536):
        np.bitwise_or(low, np.uint32(upper << 16), out=bits)
        kernel(ctypes.addressof(launch))
        if upper & 0x7F80 == 0x7F80:  # infinity and NaN
            nan = (bits & 0x7FFFFFFF) > 0x7F800000
            assert np.array_equal(again[~nan], bits[~nan])
            assert np.all((high[nan] & 0x7FFF) > 0x7F80)
            assert not rest[nan].any()
            assert not least[nan].any()
            assert np.all((again[nan] & 0x7FFFFFFF) > 0x7F800000)
        else:
            assert np.array_equal(again, bits)


def every_upper_half():
    low = torch.tensor([0, 1, 2, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x7FFF, 0x8000, 0x8001, 0xFF7F, 0xFF80, 0xFFFF])
    upper = torch.arange(65536)
    return ((upper[:, None] << 16) + low).to(torch.int64).to(torch.int32).view(torch.float32).reshape(-1)


def test_torch_operations_split_as_kernels_do():
    x = every_upper_half()
    high, rest, low = OP["high_of"](x), OP["rest_of"](x), OP["low_of"](x)
    nan = x.isnan()
    assert torch.equal(high.bfloat16().float()[~nan], high[~nan])  # a bfloat16 has it
    assert high[nan].isnan().all()
    for byte in (rest, low):
        assert torch.equal(byte.to(torch.int8).float(), byte)
    again = OP["with_low"](OP["with_rest"](high, rest), low)
    assert torch.equal(again.view(torch.int32)[~nan], x.view(torch.int32)[~nan])
    near = (high - x).abs()
    finite = high.isfinite()
    assert (near[finite] <= (x.bfloat16().float() - x).abs()[finite]).all()  # no bfloat16 is nearer


def test_one_byte_more_holds_the_nearest_number_of_24_bits():
    x = every_upper_half()
    parts = compensation.split(x, ("param.rest",))
    again = compensation.whole(parts["param"], {"param.rest": parts["param.rest"].to(torch.int8)})
    wanted = ((x.view(torch.int32) + 128) & -256).view(torch.float32)
    nan = x.isnan()
    assert torch.equal(again[~nan], wanted[~nan])
    assert again[nan].isnan().all()


# --- steps -----------------------------------------------------------------------------------------------------------


def test_with_32_bits_steps_are_those_of_float32_parameters_to_the_last_bit():
    params, wide = parameters(), parameters(torch.float32)
    optimizer, reference = AdamW(params, lr=1e-4, param_bits=32), AdamW(wide, lr=1e-4)
    run(optimizer, params, 0, 200)
    run(reference, wide, 0, 200)
    for p, q, whole in zip(params, wide, wholes(optimizer, params), strict=True):
        assert torch.equal(whole, q)
        away_from_0 = compensation.high_of(q.detach()).bfloat16()
        assert torch.equal(p, away_from_0)


def test_bfloat16_alone_stands_still_where_all_three_ways_learn():
    ends = {}
    for bits in (None, *BITS):
        p = Parameter(torch.ones(4096, dtype=torch.bfloat16))
        optimizer = SGD([p], lr=1e-4, param_bits=bits)
        for _ in range(100):
            p.grad = torch.ones_like(p)
            optimizer.step()
        full = optimizer.state_dict(full=True)["state"][0]
        ends[bits] = full.get("param", p.detach().float()).double().mean().item()
    assert ends[None] == 1.0
    for bits in BITS:
        assert ends[bits] == pytest.approx(0.99, abs=3e-4)


@pytest.mark.parametrize("bits", BITS)
def test_every_optimizer_stays_within_the_rounding_that_is_due(bits):
    due = {"stochastic": 2**-8, 24: 2**-16, 32: 0.0}[bits]  # of a value, in a step
    known = {registry.lookup(name).cls: name for name in one_of_each_kind(registry.names())}
    for cls in classes():
        name = cls.__name__
        if name == "SparseAdam" or (bits != 32 and cls not in known):
            continue
        params, wide = (parameters(dtype, ((24, 40),)) for dtype in (torch.bfloat16, torch.float32))
        options = {"lr": 1e-3} if "lr" in cls(wide).defaults and name not in ("Prodigy",) else {}
        optimizer = cls(params, **options, state_dtype="float32", param_bits=bits)
        reference = cls(wide, **options, state_dtype="float32")
        run(optimizer, params, 0, 20)
        run(reference, wide, 0, 20)
        full = optimizer.state_dict(full=True)["state"][0].get("param", params[0].detach().float())
        moved = (wide[0] - parameters(torch.float32, ((24, 40),))[0]).norm().item()
        lost = (full - wide[0]).norm().item()
        steps_of_rounding = math.sqrt(20) * due * wide[0].norm().item()
        assert lost <= 2 * steps_of_rounding + 0.1 * moved + 1e-6, (name, lost, moved)
        assert lost <= steps_of_rounding * 4 + 2e-2 * moved or bits == "stochastic", (name, lost, moved)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("options", [{}, {"state_dtype": "8bit"}, {"clip_norm": 1.0, "nonfinite": "skip"}], ids=str)
def test_kernels_and_torch_operations_agree(bits, options):
    made = []
    for fused in (True, False):
        params = parameters()
        optimizer = AdamW(params, lr=1e-3, param_bits=bits, fused=fused, **options)
        run(optimizer, params, 0, 10)
        full = optimizer.state_dict(full=True)["state"]
        made.append([full[i].get("param", p.detach().float()) for i, p in enumerate(params)])
    for a, b in zip(*made, strict=True):
        # A bit of difference in a state may send a rounding the other way.
        share = 1e-3 if bits == 32 and "state_dtype" not in options else 0.02
        apart = ~torch.isclose(a, b, rtol=2e-6 if bits != "stochastic" else 0, atol=1e-7)
        assert apart.sum() <= 1 + share * a.numel()
        assert torch.allclose(a, b, rtol=2**-7, atol=5e-3)


def test_stochastic_rounding_of_parameters_is_right_on_average():
    p = Parameter(torch.full((10_000,), 1.0, dtype=torch.bfloat16))
    optimizer = SGD([p], lr=1.0, param_bits="stochastic")
    change = 0.25 * 2**-7  # a quarter of what separates two bfloat16 there
    p.grad = torch.full_like(p, -change)
    optimizer.step()
    assert set(p.detach().unique().tolist()) == {1.0, 1.0 + 2**-7}
    assert p.detach().double().mean().item() == pytest.approx(
        1 + change, abs=4 * 2**-7 * math.sqrt(0.25 * 0.75 / 10_000)
    )


def test_small_parameters_have_other_random_bits_in_every_step_with_8_bit_states():
    p = Parameter(torch.full((1000,), 1.0, dtype=torch.bfloat16))
    optimizer = SGD([p], lr=1.0, momentum=0.5, param_bits="stochastic", state_dtype="8bit")
    seen = []
    for _ in range(2):
        with torch.no_grad():
            p.fill_(1.0)
        p.grad = torch.full_like(p, -(2**-9))
        optimizer.step()
        seen.append(p.detach() > 1.0)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads_gives_the_same_bits(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        params = parameters(shapes=((70_000,), (300, 70)))
        run(AdamW(params, lr=1e-3, param_bits="stochastic"), params, 0, 3)
    finally:
        torch.set_num_threads(before)
    sums = [int(p.detach().view(torch.int16).long().sum()) for p in params]
    again = parameters(shapes=((70_000,), (300, 70)))
    run(AdamW(again, lr=1e-3, param_bits="stochastic"), again, 0, 3)
    assert sums == [int(p.detach().view(torch.int16).long().sum()) for p in again]


def test_other_parameters_of_the_same_group_stay_as_they_are():
    half, whole = parameters(shapes=((30, 4),))[0], parameters(torch.float32, ((30, 4),))[0]
    alone = parameters(torch.float32, ((30, 4),))[0]
    optimizer, reference = RMSprop([half, whole], param_bits=32), RMSprop([alone])
    run(optimizer, [half, whole], 0, 5)
    for step in range(5):
        give([half, alone], step)
        reference.step()
    assert torch.equal(whole, alone)
    assert "param.rest" in optimizer.state[half]
    assert "param.rest" not in optimizer.state[whole]


def test_the_watch_sees_the_parameter_with_its_compensation():
    for fused in (True, False):
        p = Parameter(torch.ones(5000, dtype=torch.bfloat16))
        optimizer = SGD([p], lr=1e-4, param_bits=32, fused=fused)
        p.grad = torch.ones_like(p)
        optimizer.step()
        row = optimizer.watch.last["0"]
        assert row.update_norm == pytest.approx(1e-4 * math.sqrt(5000), rel=1e-3)
        assert row.param_norm == pytest.approx(math.sqrt(5000), rel=1e-6)


def test_a_formula_that_calls_functions_of_whole_tensors_gets_the_whole_parameter():
    params, wide = parameters(shapes=((24, 40),)), parameters(torch.float32, ((24, 40),))
    optimizer, reference = Muon(params, lr=1e-3, param_bits=32), Muon(wide, lr=1e-3)
    run(optimizer, params, 0, 5)
    run(reference, wide, 0, 5)
    assert torch.allclose(wholes(optimizer, params)[0], wide[0], atol=1e-6)


def test_bytes_of_a_step():
    params = parameters(shapes=((128, 64),))
    optimizer = AdamW(params, param_bits=24, state_dtype="8bit")
    run(optimizer, params, 0, 1)
    assert optimizer.bytes_moved() == 12 * 128 * 64


@pytest.mark.parametrize("bits", BITS)
def test_steps_inside_backward_are_those_after_it(bits):
    made = []
    for inside in (False, True):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(12, 40), torch.nn.Tanh(), torch.nn.Linear(40, 5)).bfloat16()
        optimizer = AdamW(model.parameters(), lr=1e-3, param_bits=bits)
        if inside:
            optimizer.in_backward()
        for step in range(5):
            x = torch.randn(8, 12, generator=torch.Generator().manual_seed(step)).bfloat16()
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        made.append([*(p.detach() for p in model.parameters()), *wholes_or_not(optimizer)])
    for a, b in zip(*made, strict=True):
        assert torch.equal(a, b)


def wholes_or_not(optimizer):
    full = sorted(optimizer.state_dict(full=True)["state"].items())  # states are made in the order of the steps
    return [kept["param"] for _, kept in full if "param" in kept]


# --- keeping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
def test_a_resumed_run_is_the_same_bit_for_bit(bits):
    params = parameters()
    optimizer = AdamW(params, lr=1e-3, param_bits=bits, state_dtype="8bit")
    run(optimizer, params, 0, 5)
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), [p.detach() for p in params]), file)
    file.seek(0)
    state, values = torch.load(file, weights_only=True)
    again = [Parameter(v) for v in values]
    resumed = AdamW(again, lr=1e-3, param_bits=bits, state_dtype="8bit")
    resumed.load_state_dict(state)
    run(optimizer, params, 5, 10)
    run(resumed, again, 5, 10)
    for p, q in zip(params, again, strict=True):
        assert torch.equal(p, q)
        for name, value in optimizer.state[p].items():
            assert torch.equal(value, resumed.state[q][name]), name


@pytest.mark.parametrize("bits", [24, 32])
def test_the_full_form_goes_to_float32_and_back(bits):
    params = parameters()
    optimizer = AdamW(params, lr=1e-4, param_bits=bits)
    run(optimizer, params, 0, 5)
    full = optimizer.state_dict(full=True)
    assert not any("param.rest" in kept for kept in full["state"].values())
    wide = parameters(torch.float32)
    plain = AdamW(wide, lr=1e-4)
    plain.load_state_dict(full)
    for q, value in zip(wide, wholes(optimizer, params), strict=True):
        assert torch.equal(q, value)
    back = parameters()
    narrow = AdamW(back, lr=1e-4, param_bits=bits)
    narrow.load_state_dict(full)
    for p, q in zip(params, back, strict=True):
        assert torch.equal(p, q)
        for name in compensation.rests_of(bits):
            assert torch.equal(optimizer.state[p][name], narrow.state[q][name])
    run(optimizer, params, 5, 8)
    run(narrow, back, 5, 8)
    assert all(torch.equal(p, q) for p, q in zip(params, back, strict=True))


def test_a_dict_without_compensation_begins_with_none():
    wide = parameters(torch.float32)
    plain = torch.optim.AdamW(wide, lr=1e-4)
    give(wide, 0)
    plain.step()
    params = parameters()
    narrow = AdamW(params, lr=1e-4, param_bits=32)
    narrow.load_state_dict(plain.state_dict())
    run(narrow, params, 1, 2)
    assert narrow.state[params[0]]["param.rest"].any()
    without = AdamW(parameters(), lr=1e-4)
    without.load_state_dict(narrow.state_dict())
    assert "param.rest" not in without.state[without.param_groups[0]["params"][0]]


def test_32_bits_become_24_and_back():
    params = parameters()
    optimizer = AdamW(params, lr=1e-4, param_bits=32)
    run(optimizer, params, 0, 5)
    less = AdamW([Parameter(p.detach().clone()) for p in params], lr=1e-4, param_bits=24)
    less.load_state_dict(optimizer.state_dict())
    run(less, less.param_groups[0]["params"], 5, 6)
    assert "param.rest.low" not in less.state[less.param_groups[0]["params"][0]]
    again = AdamW([Parameter(p.detach().clone()) for p in less.param_groups[0]["params"]], lr=1e-4, param_bits=32)
    again.load_state_dict(less.state_dict())
    for a, b in zip(*(one.state_dict(full=True)["state"].values() for one in (again, less)), strict=True):
        assert torch.equal(a["param"], b["param"])


def test_a_full_dict_of_another_model_changes_nothing():
    params = parameters(shapes=((3, 4),))
    optimizer = AdamW(params, param_bits=32)
    run(optimizer, params, 0, 1)
    full = optimizer.state_dict(full=True)
    full["state"][0]["param"] = torch.zeros(5)
    before = params[0].detach().clone()
    with pytest.raises(StateError, match=r"the state param .* has shape \(5,\)"):
        optimizer.load_state_dict(full)
    assert torch.equal(params[0], before)


def test_a_model_that_is_cast_to_float32_and_back_goes_on():
    model = torch.nn.Linear(30, 20).bfloat16()
    optimizer = AdamW(model.parameters(), param_bits=32)
    run(optimizer, list(model.parameters()), 0, 2)
    model.float()
    run(optimizer, list(model.parameters()), 2, 4)
    assert "param.rest" not in optimizer.state[model.weight]
    model.bfloat16()
    run(optimizer, list(model.parameters()), 4, 6)
    assert optimizer.state[model.weight]["param.rest.low"].dtype is torch.int8


def test_a_layout_that_changes_takes_the_compensation_along():
    p = parameters(shapes=((2, 8, 4, 4),))[0]
    optimizer = AdamW([p], lr=1e-4, param_bits=32)
    run(optimizer, [p], 0, 2)
    before = compensation.whole(p.detach(), optimizer.state[p])
    p.data = p.data.to(memory_format=torch.channels_last)
    give([p], 2)
    optimizer.init_state()
    optimizer.step()
    after = compensation.whole(p.detach(), optimizer.state[p])
    assert optimizer.state[p]["param.rest"].stride() == p.stride()
    assert torch.allclose(before, after, atol=1e-3)


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [16, "nearest", True, 2.5, [32]])
def test_a_wrong_value_is_answered(wrong):
    with pytest.raises(OptionError, match="param_bits=.*: it is 'stochastic'"):
        AdamW(parameters(), param_bits=wrong)


def test_rounding_by_chance_needs_something_to_round():
    with pytest.raises(OptionError, match="rounding='stochastic' needs something to round"):
        AdamW(parameters(), rounding="stochastic")


def test_float16_and_sparse_gradients_are_refused_by_name():
    p = parameters(torch.float16, ((3, 4),))[0]
    optimizer = AdamW([("weight", p)], param_bits=32)
    give([p], 0)
    with pytest.raises(ParameterError, match="'weight'.*is float16, and param_bits=32 is for bfloat16"):
        optimizer.step()
    q = parameters(shapes=((6, 4),))[0]
    optimizer = SGD([("table", q)], param_bits=32)
    q.grad = torch.sparse_coo_tensor([[1]], torch.ones(1, 4, dtype=torch.bfloat16), (6, 4), check_invariants=False)
    with pytest.raises(ParameterError, match="'table'.*has a sparse gradient"):
        optimizer.step()


def test_nan_and_infinity_stay_where_they_are():
    for fused in (True, False):
        p = Parameter(torch.ones(600, dtype=torch.bfloat16))
        optimizer = SGD([p], lr=0.5, param_bits=24, fused=fused)
        p.grad = torch.ones_like(p)
        p.grad[3], p.grad[5], p.grad[7] = math.nan, math.inf, -math.inf
        optimizer.step()
        assert p[3].isnan()
        assert p[5] == -math.inf
        assert p[7] == math.inf
        rest = torch.ones(600, dtype=torch.bool)
        rest[[3, 5, 7]] = False
        assert torch.equal(p.detach()[rest], torch.full((597,), 0.5, dtype=torch.bfloat16))


def test_several_seeds_do_not_share_a_step():
    made = [parameters(shapes=((30, 4),)) for _ in range(3)]
    optimizers = [AdamW(params, param_bits=32) for params in made]
    for params in made:
        give(params, 0)
    step = StackedStep(optimizers)
    step()
    assert repr(step) == "StackedStep(0 together, 3 alone)"
