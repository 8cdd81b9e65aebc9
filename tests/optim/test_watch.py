"""The figures of every step against torch in float64: both backends, shapes, dtypes, groups, threads, AMP."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ravine.errors import OptionError
from ravine.optim import SGD, Adam, Optimizer, RMSprop, pieces

PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64]
MEASURED = ("grad_norm", "param_norm", "update_norm", "grad_max", "param_max", "update_max")


def params_of(shapes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=wide).to(dtype)) for s in shapes]


def give_gradients(params, seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        wide = torch.complex128 if p.is_complex() else torch.float64
        p.grad = (torch.randn(p.shape, generator=generator, dtype=wide) * scale).to(p.dtype)


def wide(tensor):
    real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return real.double().clone().reshape(-1)


def expected(before, grad, after):
    """The figures by torch in float64; magnitudes of complex numbers are of their parts."""
    found = {}
    for name, x in (("grad", grad), ("param", before), ("update", after - before)):
        found[f"{name}_norm"] = x.norm().item()
        found[f"{name}_max"] = x.abs().max().item() if x.numel() else 0.0
    return found


def assert_figures(row, before, grad, after, dtype):
    wanted = expected(before, grad, after)
    # What float32 rounds away when the parameter is written is part of the true update, and not of the formula's.
    rounding = before.abs().max().item() * torch.finfo(torch.float32).eps if before.numel() else 0.0
    rounding = 0.0 if dtype is torch.float64 else rounding
    for name in MEASURED:
        slack = rounding * (before.numel() ** 0.5 if name == "update_norm" else 1.0) if "update" in name else 0.0
        assert getattr(row, name) == pytest.approx(wanted[name], rel=1e-5, abs=slack + 1e-12), name
    assert row.nonfinite == 0


@PATHS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_figures_are_those_of_torch_in_float64(dtype, fused):
    shapes = [(3,), (), (0,), (40, 50), (17_000,), (2, 3, 4, 5)]
    params = params_of(shapes, dtype)
    optimizer = RMSprop(params, lr=0.01, momentum=0.5, fused=fused)
    for step in range(3):
        give_gradients(params, step)
        before = [wide(p) for p in params]
        optimizer.step()
    last = optimizer.watch.last
    assert last.step == 3
    assert [r.name for r in last] == [str(i) for i in range(len(shapes))]
    for p, b, row in zip(params, before, last, strict=True):
        assert_figures(row, b, wide(p.grad), wide(p), dtype)


@PATHS
@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 9), max_size=4).map(tuple), min_size=1, max_size=5),
    groups=st.integers(1, 3),
    transposed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_figures_for_random_shapes_and_groups(fused, shapes, groups, transposed, seed):
    params = params_of(shapes, seed=seed)
    if transposed:
        params = [torch.nn.Parameter(p.detach().movedim(0, -1) if p.ndim > 1 else p.detach()) for p in params]
    dicts = [{"params": params[i::groups], "lr": 10.0**-i} for i in range(groups) if params[i::groups]]
    optimizer = Adam(dicts, fused=fused)
    give_gradients(params, seed)
    before = {p: wide(p) for p in params}
    optimizer.step()
    ordered = [p for d in dicts for p in d["params"]]
    for p, row in zip(ordered, optimizer.watch.last, strict=True):
        assert_figures(row, before[p], wide(p.grad), wide(p), torch.float32)


@PATHS
def test_names_are_those_that_the_parameters_were_given_with(fused):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    optimizer = SGD(model.named_parameters(), lr=0.1, fused=fused)
    model(torch.ones(5, 3)).sum().backward()
    optimizer.step()
    assert [r.name for r in optimizer.watch.last] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert optimizer.watch.last["1.bias"].grad_norm == pytest.approx(model[1].bias.grad.norm().item())
    with pytest.raises(OptionError, match="Did you mean '1.bias'"):
        optimizer.watch.last["1.biass"]
    text = str(optimizer.watch.last)
    assert "grad_norm" in text
    assert "1.weight" in text


@PATHS
def test_a_parameter_without_a_gradient_has_no_figures_of_an_older_step(fused):
    params = params_of([(5,), (6,)])
    optimizer = SGD(params, lr=0.1, fused=fused)
    give_gradients(params, 0)
    optimizer.step()
    params[1].grad = None
    optimizer.step()
    last = optimizer.watch.last
    assert last["0"].grad_norm > 0
    assert np.isnan(last["1"].grad_norm)
    assert optimizer.watch.history.steps.tolist() == [[1, 1], [1, 0]]


@PATHS
def test_a_parameter_that_never_had_a_gradient_is_in_the_table(fused):
    params = params_of([(5,), (6,)])
    optimizer = SGD(params, lr=0.1, fused=fused)
    params[0].grad = torch.ones(5)
    optimizer.step()
    assert optimizer.watch.history.steps.tolist() == [[1, 0]]
    params[1].grad = torch.ones(6)
    optimizer.step()
    optimizer.add_param_group({"params": params_of([(2,)], seed=3)})
    assert [r.name for r in optimizer.watch.last] == ["0.0", "0.1", "1.0"]
    assert optimizer.watch.history.steps.tolist() == [[1, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_same_bits_for_any_number_of_threads(name):
    cls = {"sgd": SGD, "adam": Adam}[name]
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            params = params_of([(300_000,), (100, 50), (70_001,)])
            optimizer = cls(params, lr=0.01)
            for step in range(20):
                give_gradients(params, step)
                optimizer.step()
            found.append(optimizer.watch.history.tree())
    finally:
        torch.set_num_threads(before)
    for name in (*MEASURED, "nonfinite", "steps"):
        assert found[0][name].tobytes() == found[1][name].tobytes() == found[2][name].tobytes()


@PATHS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 16_383, 16_384, 32_767])
def test_elements_that_are_not_finite_are_counted_wherever_they_stand(place, value, fused):
    params = params_of([(0,), (32_768,), (3,)])
    optimizer = SGD(params, lr=0.1, fused=fused)
    give_gradients(params, 0)
    optimizer.step()
    params[1].grad[place] = value
    params[1].grad[7] = value
    optimizer.step()
    last = optimizer.watch.last
    assert [r.nonfinite for r in last] == [0, 2 if place != 7 else 1, 0]
    assert not np.isfinite(last["1"].grad_max)
    assert not np.isfinite(last["1"].grad_norm)
    assert np.isfinite(last["2"].grad_norm)
    assert optimizer.watch.first_nonfinite == {"1": 2}


@PATHS
@pytest.mark.parametrize("size", [1e30, 1e-25, 0.0])
def test_gradients_whose_squares_float32_cannot_hold_have_their_norm(size, fused):
    [p] = params_of([(20_000,)])
    optimizer = SGD([p], lr=1e-35, fused=fused)
    p.grad = torch.full((20_000,), size)
    optimizer.step()
    row = optimizer.watch.last["0"]
    assert (row.nonfinite, row.grad_max) == (0, pytest.approx(size))
    assert row.grad_norm == pytest.approx(size * 20_000**0.5)


@PATHS
def test_what_is_read_in_inference_mode_stays_usable(fused):
    params = params_of([(40,)])
    optimizer = RMSprop(params, fused=fused)
    give_gradients(params, 0)
    optimizer.step()
    with torch.inference_mode():
        optimizer.watch.last  # noqa: B018
        kept = optimizer.watch.state_dict()
        optimizer.watch.load_state_dict(kept)
    for _ in range(600):
        optimizer.step()
    assert optimizer.watch.steps == 601


def test_the_watch_is_read_under_another_default_device():
    params = params_of([(40,)])
    optimizer = RMSprop(params)
    give_gradients(params, 0)
    optimizer.step()
    with torch.device("meta"):
        assert optimizer.watch.last["0"].grad_norm > 0


@pytest.mark.parametrize(("size", "norm"), [(1e25, math.inf), (1e-30, 0.0)])
def test_what_the_kernel_cannot_square_is_what_the_docs_say(size, norm):
    p = torch.nn.Parameter(torch.full((5,), size))
    optimizer = SGD([p], lr=0.5, fused=True)
    p.grad = torch.full((5,), size)
    optimizer.step()
    row = optimizer.watch.last["0"]
    assert (row.param_norm, row.update_norm) == (norm, norm)
    assert row.grad_norm == pytest.approx(size * 5**0.5)
    assert (row.param_max, row.update_max) == pytest.approx((size, size / 2))


def test_before_the_first_step():
    optimizer = RMSprop(params_of([(4,)]))
    assert str(optimizer.watch.last) == "No step yet."
    assert math.isnan(optimizer.watch.last.grad_norm), "no number, where 0 would say that nothing is learned"
    with pytest.raises(OptionError, match="no row for '0': no step yet"):
        optimizer.watch.last["0"]


def test_a_first_step_that_was_skipped_is_said_so():
    params = params_of([(4,)])
    optimizer = RMSprop(params, nonfinite="skip")
    params[0].grad = torch.full((4,), torch.nan)
    with pytest.warns(UserWarning, match="skip"):
        optimizer.step()
    assert str(optimizer.watch.last) == "No step yet: 1 step was skipped, because gradients were not finite."
    optimizer.step()
    assert "2 steps were skipped" in repr(optimizer.watch.last)


@PATHS
def test_gradients_are_those_without_the_loss_scale(fused):
    params = params_of([(40,)])
    optimizer = SGD(params, lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loss = scaler.scale((params[0] ** 2).sum())
    loss.backward()
    before = wide(params[0])
    scaler.step(optimizer)
    assert_figures(optimizer.watch.last["0"], before, 2 * before, wide(params[0]), torch.float32)


def test_a_step_that_the_scaler_leaves_out_is_counted_and_not_watched():
    params = params_of([(4,)])
    optimizer = SGD(params, lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    params[0].grad = torch.full((4,), float("inf"))
    scaler.scale(torch.ones(()))
    scaler.step(optimizer)
    assert (optimizer.watch.overflowed, optimizer.watch.steps) == (1, 0)


def test_watch_false_keeps_nothing_and_says_so():
    params = params_of([(4,)])
    optimizer = SGD(params, lr=0.1, watch=False)
    give_gradients(params, 0)
    optimizer.step()
    with pytest.raises(OptionError, match="watch=False"):
        optimizer.watch.last  # noqa: B018
    with pytest.raises(OptionError, match="watch='no': it is True or False"):
        SGD(params, lr=0.1, watch="no")


@PATHS
def test_watching_changes_no_bit_of_the_result(fused):
    results = []
    for watch in (True, False):
        params = params_of([(20_000,), (7,)])
        optimizer = Adam(params, watch=watch, fused=fused)
        for step in range(5):
            give_gradients(params, step)
            optimizer.step()
        results.append(torch.cat([p.detach() for p in params]))
    assert torch.equal(*results)


def test_bfloat16_updates_are_what_the_tensor_moved_by():
    p = torch.nn.Parameter(torch.ones(100, dtype=torch.bfloat16))
    optimizer = SGD([p], lr=1e-5)
    p.grad = torch.ones(100, dtype=torch.bfloat16)
    optimizer.step()
    assert optimizer.watch.last["0"].update_norm == 0.0  # 1 - 1e-5 rounds to 1


def test_copies_and_pickles_keep_the_history():
    params = params_of([(4,), (5,)])
    optimizer = SGD(params, lr=0.1)
    for step in range(3):
        give_gradients(params, step)
        optimizer.step()
    wanted = optimizer.watch.history.tree()
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        found = other.watch.history.tree()
        assert all(np.array_equal(found[k], wanted[k]) for k in wanted)
        for p in other.param_groups[0]["params"]:
            p.grad = torch.ones_like(p)
        other.step()
        assert other.watch.steps == 4
    assert optimizer.watch.steps == 3


def test_a_shallow_copy_has_a_history_of_its_own():
    params = params_of([(4,), (5,)])
    optimizer = SGD(params, lr=0.1)
    give_gradients(params, 0)
    optimizer.step()
    other = copy.copy(optimizer)
    assert other.param_groups[0]["params"][0] is params[0]
    other.step()
    assert (optimizer.watch.steps, other.watch.steps) == (1, 2)
    optimizer.nonfinite = "skip"
    assert other.nonfinite == "propagate"


def test_a_parameter_that_left_the_groups_is_freed_and_its_history_stays():
    params = params_of([(4,), (5,)])
    optimizer = SGD(params, lr=0.1)
    give_gradients(params, 0)
    optimizer.step()
    wanted = optimizer.watch.last.rows[0].grad_norm
    left = weakref.ref(optimizer.param_groups[0]["params"].pop(0))
    optimizer.state.clear()
    del params[0]
    optimizer.step()
    gc.collect()
    assert left() is None
    history = optimizer.watch.history
    assert (history.names, history.sizes) == (("removed 0", "0"), (4, 5))
    assert history.grad_norm[0, 0] == wanted
    assert history.steps.tolist() == [[1, 1], [0, 1]]
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.watch.history.names == ("removed 0", "0")
    optimizer.add_param_group({"params": params_of([(2,)])})
    assert optimizer.watch.history.names == ("removed 0", "0.0", "1.0")


def test_a_parameter_that_comes_back_has_its_column_again():
    params = params_of([(4,), (5,)])
    optimizer = SGD(list(params), lr=0.1)
    for step in range(4):
        give_gradients(params, step)
        if step == 1:
            optimizer.param_groups[0]["params"].pop(0)
        if step == 3:
            optimizer.param_groups[0]["params"].insert(0, params[0])
        optimizer.step()
    assert optimizer.watch.history.steps.tolist() == [[1, 1], [0, 1], [0, 1], [1, 1]]


def test_the_watch_goes_on_from_its_state_bit_for_bit():
    def go(optimizer, params, steps):
        for step in steps:
            give_gradients(params, step)
            optimizer.step()

    params, others = params_of([(40,), (5,)]), params_of([(40,), (5,)])
    whole, first = Adam(params), Adam(others)
    go(whole, params, range(700))
    go(first, others, range(333))
    then = Adam(others)
    then.load_state_dict(first.state_dict())
    then.watch.load_state_dict(first.watch.state_dict())
    go(then, others, range(333, 700))
    wanted, found = whole.watch.history.tree(), then.watch.history.tree()
    assert all(np.array_equal(found[k], wanted[k]) for k in wanted)
    assert len(wanted["first"]) == 175  # rows of 4 steps


def test_a_plan_made_anew_loses_no_step():
    params = params_of([(40,), (5,)])
    optimizer = Adam(params)
    for step in range(10):
        give_gradients(params, step)
        if step == 4:
            params[0].data = params[0].data.clone()
        if step == 7:
            optimizer.param_groups[0]["weight_decay"] = 0.1
        optimizer.step()
    history = optimizer.watch.history
    assert history.steps.tolist() == [[1, 1]] * 10
    assert (history.grad_norm > 0).all()


def test_an_optimizer_that_is_dropped_is_freed_at_once():
    params = params_of([(40,)])
    optimizer = Adam(params)
    give_gradients(params, 0)
    optimizer.step()
    optimizer.watch.last  # noqa: B018
    gc.collect()
    gc.disable()
    try:
        import weakref

        gone = weakref.ref(optimizer)
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_formulas_that_do_not_read_the_gradient_are_watched_too():
    def shrink(param, *, lr):
        return param * (1 - lr)

    params = params_of([(40,)])
    optimizer = Optimizer(params, [shrink], lr=0.5)
    give_gradients(params, 0)
    before = wide(params[0])
    optimizer.step()
    assert_figures(optimizer.watch.last["0"], before, wide(params[0].grad), wide(params[0]), torch.float32)


def test_the_norm_before_clipping_is_in_the_watch():
    params = params_of([(40,), (30,)])
    optimizer = Optimizer(params, [pieces.clip_global_norm, pieces.descend], lr=1.0, clip_norm=0.5)
    give_gradients(params, 0, scale=10)
    wanted = torch.cat([p.grad for p in params]).norm().item()
    optimizer.step()
    last = optimizer.watch.last
    assert last.grad_norm == pytest.approx(wanted, rel=1e-5)
    assert sum(r.update_norm**2 for r in last) ** 0.5 == pytest.approx(0.5, rel=1e-5)


def test_a_step_that_is_refused_loses_nothing_of_those_before():
    params = params_of([(40,)])
    optimizer = Adam(params)
    for step in range(5):
        give_gradients(params, step)
        optimizer.step()
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(OptionError):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 1e-3
    optimizer.step()
    assert optimizer.watch.steps == 6
