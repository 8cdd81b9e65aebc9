"""States of 16 bits: what a step writes, rounded to nearest or at random, on every backend and after a resume."""

from __future__ import annotations

import io

import kinds
import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.errors import OptionError, ParameterError
from ravine.formula import _rounding as rounding
from ravine.optim import SGD, SOAP, Adagrad, Adam, AdamW, Lion, Muon, Optimizer, PSGDKron, RMSprop, Shampoo, pieces
from ravine.optim import _registry as registry
from ravine.optim._stacked_step import StackedStep

SHAPES = ((300, 70), (5,), (), (0, 3))
NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
ROUND = rounding.rounding_functions()


def parameters(dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(1)
    return [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def give(params, step, size=1.0):
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = (torch.randn(p.shape, generator=generator) * size).to(p.dtype)


def run(optimizer, params, first, last):
    for step in range(first, last):
        give(params, step)
        optimizer.step()


def states_of(optimizer, params, name):
    return [optimizer.state[p][name] for p in params]


# --- the rounding itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize(("name", "dtype"), NARROW.items())
def test_a_value_becomes_one_of_the_two_numbers_around_it(name, dtype, lane):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, generator=generator) * 10.0 ** torch.randint(-9, 4, (20_000,), generator=generator)
    made = ROUND[f"{name}_at_random{lane}"](x, 12345.0)
    assert torch.equal(made.to(dtype).float(), made)  # it is a number of that dtype
    nearest = x.to(dtype).float()
    other = torch.where(
        nearest > x,
        torch.nextafter(nearest.to(dtype), torch.tensor(-torch.inf, dtype=dtype)).float(),
        torch.nextafter(nearest.to(dtype), torch.tensor(torch.inf, dtype=dtype)).float(),
    )
    exact = nearest == x
    assert ((made == nearest) | ((made == other) & ~exact)).all()
    assert 0.1 < (made[~exact] != nearest[~exact]).float().mean() < 0.4  # a quarter of all are rounded away


@pytest.mark.parametrize("lane", [0, 1])
@pytest.mark.parametrize("name", [*NARROW, "signed", "squares"])
def test_it_is_right_on_average(name, lane):
    """Over 10,000 keys the mean is the value, within five standard errors of a draw between two neighbours."""
    x = torch.tensor([1.001, 3.3e-5, 0.7, 1e-7 if name == "float16" else 1e-30, 123.456])
    x = x if name == "squares" else x * torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0])
    keys = rounding.mixed(torch.tensor(7.0, dtype=torch.float64), torch.arange(10_000.0, dtype=torch.float64))
    # One tensor with a row for each key: a place counts so much in a key, and these are those of the first row.
    keys = (keys.long() - rounding.GOLDEN * len(x) * torch.arange(10_000)) % 2**32
    rounds = ROUND[f"{name}_at_random{lane}"]
    made = rounds(x.repeat(10_000, 1), keys[:, None])
    assert torch.equal(made[9999], rounds(x, rounding.mixed(7.0, 9999.0)))
    if name == "squares":  # the root is
        x, made = x.sqrt(), made.sqrt()
    low, high = made.min(0).values.double(), made.max(0).values.double()
    share = (x.double() - low) / (high - low)
    error = (share * (1 - share)).sqrt() * (high - low) / 100
    assert ((made.double().mean(0) - x.double()).abs() < 5 * error + 1e-16 * high.abs()).all()


@pytest.mark.parametrize("name", [name for name in ROUND if not name.startswith("squares")])
def test_what_is_not_finite_and_what_is_exact_stays(name):
    x = torch.tensor([0.0, -0.0, 1.0, -2.0, torch.inf, -torch.inf, torch.nan, 0.5])
    for key in (0.0, 1.0, 4294967295.0):
        made = ROUND[name](x, key)
        assert torch.equal(made.nan_to_num(7.0), x.nan_to_num(7.0))
        assert torch.equal(made.signbit(), x.signbit())


def test_a_key_of_numbers_arrays_and_tensors_is_the_same():
    keys, steps = [0.0, 1.0, 4294967295.0, 77.0], [1.0, 2.0, 1e6, 3.0]
    one = [rounding.mixed(k, s) for k, s in zip(keys, steps, strict=True)]
    assert one == rounding.mixed(np.array(keys), np.array(steps)).tolist()
    assert (
        one
        == rounding.mixed(torch.tensor(keys, dtype=torch.float64), torch.tensor(steps, dtype=torch.float64)).tolist()
    )
    assert len(set(one)) == 4
    assert all(0 <= k < 2**32 for k in one)


# --- steps -----------------------------------------------------------------------------------------------------------


#: Every class in one way, and one of each kind in all: what a state is rounded to does not depend on its formula.
NAMES = {registry.lookup(name).cls: name for name in kinds.NAMES if not registry.lookup(name).options}
WAYS = [(dtype, how) for dtype in NARROW for how in ("nearest", "stochastic")]


def test_every_class_has_a_name_without_options():
    assert set(NAMES) == set(registry.classes())


@pytest.mark.parametrize(("name", "way"), kinds.each_with_another(list(NAMES.values()), WAYS), ids=str)
def test_the_kernel_rounds_as_torchs_operations(name, way):
    """Where both give the same sum; sums that differ in their last bit may fall on two sides."""
    cls, (dtype, how) = registry.lookup(name).cls, way
    shapes = SHAPES[:1] if any(c.__name__ == "StepsMatrices" for c in cls.__mro__) else SHAPES[:3]
    if cls.__name__ in ("Shampoo", "SOAP", "PSGDKron"):
        shapes = ((12, 9),)
    ours, others = parameters(shapes=shapes), parameters(shapes=shapes)
    options = {"state_dtype": dtype, "rounding": how}
    if "ndim" in (cls.formula.__code__.co_varnames if cls.formula else ()):
        ours, others = ours[:1], others[:1]
    kernels, eager = cls(ours, **options), cls(others, fused=False, **options)
    run(kernels, ours, 0, 8)
    run(eager, others, 0, 8)
    spacing = 2.0**-7 if dtype == "bfloat16" else 2.0**-10
    for p, q in zip(ours, others, strict=True):
        for name, value in kernels.state[p].items():
            other = eager.state[q][name]
            if value.dtype is not NARROW[dtype]:
                continue
            scale = other.float().abs().max().clamp(min=1e-4)
            apart = (value.float() - other.float()).abs() / scale
            assert apart.max() <= 4 * spacing
            assert (apart > 0).float().mean() < 0.05
        torch.testing.assert_close(p, q, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("dtype", [*NARROW, torch.bfloat16])
def test_states_have_the_dtype_and_parameters_their_own(dtype):
    params = parameters()
    optimizer = Lion(params, state_dtype=dtype)
    run(optimizer, params, 0, 2)
    for p in params:
        assert optimizer.state[p]["exp_avg"].dtype is NARROW.get(dtype, dtype)
        assert p.dtype is torch.float32


def test_a_dict_names_some_states():
    params = parameters()
    optimizer = Adam(params, state_dtype={"exp_avg": "bfloat16"}, ema_decay=0.9)
    run(optimizer, params, 0, 1)
    kept = optimizer.state[params[0]]
    assert [kept[n].dtype for n in ("exp_avg", "exp_avg_sq", "param_avg")] == [torch.bfloat16, *[torch.float32] * 2]


def test_an_average_of_the_parameters_stays_wide_unless_it_is_named():
    for asked, expected in (("bfloat16", torch.float32), ({"param_avg": "bfloat16"}, torch.bfloat16)):
        params = parameters()
        optimizer = SGD(params, lr=0.1, momentum=0.9, ema_decay=0.9, state_dtype=asked)
        run(optimizer, params, 0, 1)
        assert optimizer.state[params[0]]["param_avg"].dtype is expected


def test_wide_states_of_narrow_parameters():
    params = parameters(torch.bfloat16)
    optimizer = Adam(params, state_dtype="float32")
    run(optimizer, params, 0, 2)
    assert optimizer.state[params[0]]["exp_avg"].dtype is torch.float32


def test_small_changes_are_not_lost():
    """An average of squares that moves by a thousandth in a step: to nearest it stands still, at random it arrives."""
    exact = 1.0 - 0.999**3000 * (1 - 0.2)
    ends = {}
    for how in ("nearest", "stochastic"):
        p = Parameter(torch.zeros(4000))
        optimizer = RMSprop([p], lr=0.0, alpha=0.999, state_dtype="bfloat16", rounding=how)
        p.grad = torch.ones(4000)
        optimizer.init_state()
        optimizer.state[p]["square_avg"].fill_(0.2)
        for _ in range(3000):
            optimizer.step()
        ends[how] = float(optimizer.state[p]["square_avg"].float().mean())
    assert abs(ends["stochastic"] - exact) < 0.002
    assert abs(ends["nearest"] - exact) > 0.2


def test_numbers_of_threads_and_other_parameters_change_no_bit():
    def bits(threads, shapes):
        torch.manual_seed(3)
        params = parameters(shapes=shapes)
        optimizer = Adam(params, state_dtype="bfloat16", rounding="stochastic")
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            run(optimizer, params, 0, 3)
        finally:
            torch.set_num_threads(before)
        return states_of(optimizer, params, "exp_avg")[0]

    shapes = ((300, 700), (5,))
    assert torch.equal(bits(1, shapes), bits(2, shapes))
    assert torch.equal(bits(1, shapes), bits(1, shapes[:1]))


def test_parameters_have_their_own_bits_and_processes_the_same():
    def made(seed):
        torch.manual_seed(seed)
        params = [Parameter(torch.zeros(1000)) for _ in range(2)]
        optimizer = SGD(params, lr=0.1, momentum=0.9, state_dtype="bfloat16", rounding="stochastic")
        for p in params:
            p.grad = torch.linspace(0.1, 0.7, 1000)
        optimizer.step()
        optimizer.step()
        return states_of(optimizer, params, "momentum_buffer")

    (a, b), (c, d) = made(0), made(1)  # a seed of its own in each process
    assert not torch.equal(a, b)
    assert torch.equal(a, c)
    assert torch.equal(b, d)


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0x7F800001, -1])
def test_nan_stays_nan_whatever_its_bits(bits, fused):
    def keep(update, last=0.0):
        return update, update

    (p,) = parameters(shapes=((5000,),))
    p.grad = torch.full((5000,), bits, dtype=torch.int32).view(torch.float32)
    optimizer = Optimizer(
        [p], [keep, pieces.descend], lr=0.0, state_dtype="bfloat16", rounding="stochastic", fused=fused
    )
    optimizer.step()
    assert optimizer.state[p]["last"].isnan().all()


def test_states_with_a_shape_of_their_own_stay_wide():
    for cls, names in (
        (Shampoo, ("left", "right")),
        (SOAP, ("left_basis", "right_basis")),
        (PSGDKron, ("left", "right")),
    ):
        for asked in ("bfloat16", "8bit"):
            (p,) = parameters(shapes=((80, 70),))
            optimizer = cls([p], state_dtype=asked)
            run(optimizer, [p], 0, 2)
            assert {optimizer.state[p][name].dtype for name in names} == {torch.float32}


def test_trainings_of_a_comparison_keep_states_as_they_are_asked_to():
    made = [Adam(parameters(shapes=((30, 20),)), state_dtype="bfloat16") for _ in range(2)]
    for optimizer in made:
        give(optimizer.param_groups[0]["params"], 0)
    StackedStep(made)()
    for optimizer in made:
        assert optimizer.state[optimizer.param_groups[0]["params"][0]]["exp_avg"].dtype is torch.bfloat16


def test_trainings_with_other_states_share_no_kernel():
    """A kernel for float32 states would write past the end of those of 16 bits."""
    ways = [{}, {"state_dtype": "bfloat16"}, {}, {"state_dtype": "bfloat16"}]
    together, alone = [], []
    for options in ways:
        for made in (together, alone):
            made.append(Adam(parameters(shapes=((300, 20),)), lr=0.1, **options))
    for step in range(5):
        for optimizer in (*together, *alone):
            give(optimizer.param_groups[0]["params"], step)
        if step == 0:
            shared = StackedStep(together)
        shared()
        for optimizer in alone:
            optimizer.step()
    assert repr(shared) == "StackedStep(4 together, 0 alone)"
    for a, b in zip(together, alone, strict=True):
        (p,), (q,) = a.param_groups[0]["params"], b.param_groups[0]["params"]
        assert torch.equal(p, q)
        assert a.state[p]["exp_avg"].dtype is b.state[q]["exp_avg"].dtype


def test_squares_are_not_kept_in_float16():
    params = parameters()
    optimizer = Adam(params, state_dtype="float16")
    run(optimizer, params, 0, 2)
    assert [optimizer.state[params[0]][n].dtype for n in ("exp_avg", "exp_avg_sq")] == [torch.float16, torch.float32]
    optimizer = Adam(params, state_dtype={"exp_avg_sq": "float16"})
    give(params, 0)
    with pytest.raises(OptionError, match="exp_avg_sq is of squares, which are 0 in float16"):
        optimizer.step()


def test_formulas_may_call_their_states_as_they_like():
    def rule(update, rounding_key=0.0, m=0.0, m_scale=0.0, *, alpha):
        rounding_key, m, m_scale = (alpha * x + update for x in (rounding_key, m, m_scale))
        return rounding_key + m + m_scale, rounding_key, m, m_scale

    ours, others = parameters(shapes=((80, 70),)), parameters(shapes=((80, 70),))
    for asked in ("bfloat16", "8bit"):
        narrow, wide = (
            Optimizer(params, [rule, pieces.descend], lr=1e-3, alpha=0.5, **options)
            for params, options in ((ours, {"state_dtype": asked}), (others, {}))
        )
        run(narrow, ours, 0, 3)
        run(wide, others, 0, 3)
        torch.testing.assert_close(ours, others, rtol=0.01, atol=1e-2)


def test_optimizers_of_one_kind_share_a_program():
    first, second = (Adam(parameters(), state_dtype="8bit") for _ in range(2))
    assert first.program() is second.program()


@pytest.mark.parametrize("dtype", ["bfloat16", "8bit"])
@pytest.mark.parametrize("how", ["nearest", "stochastic"])
def test_a_run_that_goes_on_is_the_same_run(how, dtype):
    def fresh():
        torch.manual_seed(5)
        params = parameters()
        return params, AdamW(params, lr=1e-2, state_dtype=dtype, rounding=how)

    params, optimizer = fresh()
    run(optimizer, params, 0, 6)
    stopped, first = fresh()
    run(first, stopped, 0, 3)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)  # what it was begun with is in the state
    resumed = [Parameter(p.detach().clone()) for p in stopped]
    second = AdamW(resumed, lr=1e-2, state_dtype=dtype, rounding=how)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, resumed, 3, 6)
    for p, q in zip(params, resumed, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(optimizer.state[p]["exp_avg_sq"], second.state[q]["exp_avg_sq"])


def test_full_states_are_exchanged_in_both_directions():
    params = parameters()
    narrow = Adam(params, state_dtype="bfloat16", rounding="stochastic")
    run(narrow, params, 0, 3)
    full = narrow.state_dict(full=True)
    kept = narrow.state[params[0]]["exp_avg"]
    assert full["state"][0]["exp_avg"].dtype is torch.float32
    assert torch.equal(full["state"][0]["exp_avg"], kept.float())
    assert "rounding.key" not in full["state"][0]
    plain = torch.optim.Adam(parameters())
    plain.load_state_dict(full)  # torch's own class takes it
    others = parameters()
    wide = Adam(others)
    wide.load_state_dict(full)
    run(wide, others, 3, 4)
    back = Adam(others, state_dtype="bfloat16", rounding="stochastic")
    back.load_state_dict(wide.state_dict())
    run(back, others, 4, 5)
    assert back.state[others[0]]["exp_avg"].dtype is torch.bfloat16


def test_a_formula_of_the_users_own_and_functions_of_whole_tensors():
    def rule(param, average=0.0, *, grad, lr):
        average = 0.9 * average + grad
        return param - lr * average, average

    (p,) = parameters(shapes=SHAPES[:1])
    optimizer = Optimizer([p], [rule], lr=0.1, state_dtype="float16", rounding="stochastic")
    run(optimizer, [p], 0, 2)
    assert optimizer.state[p]["average"].dtype is torch.float16
    (q,) = parameters(shapes=SHAPES[:1])
    muon = Muon([q], state_dtype="bfloat16", rounding="stochastic")
    run(muon, [q], 0, 2)
    assert muon.state[q]["momentum_buffer"].dtype is torch.bfloat16


# --- wrong input -----------------------------------------------------------------------------------------------------

WRONG = {
    "int8": ({"state_dtype": "int8"}, "state_dtype='int8': it is one of 'float32', 'bfloat16', 'float16', '8bit'"),
    "float64": ({"state_dtype": torch.float64}, "state_dtype=torch.float64: it is one of"),
    "int8 of torch": ({"state_dtype": torch.int8}, "state_dtype=torch.int8: it is one of"),
    "of one": ({"state_dtype": {"exp_avg": "half"}}, r"state_dtype\['exp_avg'\]='half': it is one of"),
    "rounding": ({"rounding": "random"}, "rounding='random': it is 'nearest' or 'stochastic'"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values(options, message):
    with pytest.raises(OptionError, match=message):
        Adam(parameters(), **options)


def test_a_state_that_no_formula_has():
    params = parameters()
    give(params, 0)
    optimizer = Adam(params, state_dtype={"exp_avg_squ": "bfloat16"})
    before = params[0].detach().clone()
    with pytest.raises(OptionError, match="state_dtype names the state 'exp_avg_squ'.*exp_avg_sq"):
        optimizer.step()
    assert torch.equal(params[0], before)


def test_in_a_group_it_is_refused():
    with pytest.raises(OptionError, match="state_dtype in a parameter group: it is one for the whole optimizer"):
        Adam([{"params": parameters(), "state_dtype": "bfloat16"}])


def test_complex_parameters_and_sparse_gradients_are_refused():
    p = Parameter(torch.ones(3, dtype=torch.complex64))
    p.grad = torch.ones_like(p)
    with pytest.raises(ParameterError, match=r"complex, and state_dtype is for states of real numbers"):
        Adam([p], state_dtype="bfloat16").step()
    table = torch.nn.Embedding(10, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ParameterError, match="are for dense ones"):
        Adagrad(table.parameters(), state_dtype="bfloat16", rounding="stochastic").step()


def test_a_piece_that_calls_a_state_so_is_told():
    def rule(update, rounding=0.0):
        return update, rounding

    with pytest.raises(Exception, match="rounding"):
        Optimizer(parameters(), [rule, pieces.descend], lr=0.1)


def test_one_state_alone_is_smaller():
    params = parameters()
    wide, narrow = Lion(params), Lion(parameters(), state_dtype="bfloat16")
    give(params, 0)
    give(narrow.param_groups[0]["params"], 0)
    assert narrow.bytes_moved() / wide.bytes_moved() == 16 / 20
