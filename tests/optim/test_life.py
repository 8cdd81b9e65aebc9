"""What users do with an optimizer between steps: move, cast and replace parameters, edit groups and states."""

import copy
from collections import defaultdict

import pytest
import torch
from step_runs import EVERY, PATHS, beside_torch, every_dtype, make, randn, take_steps
from torch.nn import Parameter
from torch.optim import lr_scheduler

from ravine.errors import OptionError
from ravine.optim import SGD, Adam, Optimizer, RMSprop

# --- the memory of parameters -------------------------------------------------------------------------------------


def dtype_of(optimizer, p, name):
    """That of a state of a parameter: its own, but of numbers and of tensors with a shape of their own."""
    program = optimizer.program(ndim=p.ndim)
    if name == "step" or name in program.kept:
        return torch.float32 if name == "step" else torch.float64
    return torch.float32 if name in program.tensors and p.dtype.itemsize == 2 else p.dtype


@every_dtype(torch.float64, torch.bfloat16)
def test_states_follow_a_module_that_is_cast(name, fused, dtype):
    model = torch.nn.Linear(3, 2)
    optimizer = make(name, model.named_parameters(), fused=fused)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    before = {p: {n: v.clone() for n, v in s.items()} for p, s in optimizer.state.items()}
    model.to(dtype)
    other = copy.deepcopy(model)
    reference = make(name, other.named_parameters(), fused=fused)
    kept = [n for n, one in optimizer.program().kept.items() if one.per == "group"]
    reference.param_groups[0].update({n: optimizer.param_groups[0][n] for n in kept})
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
        reference.state[q] = {n: v.to(dtype_of(optimizer, p, n), copy=True) for n, v in before[p].items()}
    optimizer.step()
    reference.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        assert all(v.dtype == dtype_of(optimizer, p, n) for n, v in optimizer.state[p].items())
        assert all(torch.equal(v, reference.state[q][n]) for n, v in optimizer.state[p].items())


@PATHS
def test_there_and_back_many_times(fused):
    for _ in range(20):
        model = torch.nn.Linear(50, 20)
        optimizer = Adam(model.parameters(), fused=fused)
        for cast in (model.float, model.double, model.float, model.bfloat16, model.float):
            cast()
            optimizer.zero_grad()
            model(torch.ones(50, dtype=model.weight.dtype)).sum().backward()
            optimizer.step()
        assert {v.dtype for s in optimizer.state.values() for v in s.values()} == {torch.float32}


REPLACED = {
    "other memory": lambda d: d.clone(),
    "a part": lambda d: d[:2, :2],
    "turned and copied": lambda d: d.t().contiguous(),
    "flat": lambda d: d.view(16),
    "larger": lambda d: torch.ones(5, 4),
    "channels apart": lambda d: torch.stack([d, d], -1)[..., 0],
    "wider": lambda d: d.double(),
    "empty": lambda d: d[:0],
}


@PATHS
@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
def test_data_that_is_replaced_between_steps_is_what_is_stepped(fused, replace):
    p = Parameter(randn(4, 4))
    optimizer = SGD([p], lr=0.5, fused=fused)
    p.grad = torch.ones(4, 4)
    optimizer.step()
    old = p.data
    p.data = replace(p.data)
    p.grad = None
    p.grad = randn(*p.shape, dtype=p.dtype)  # contiguous, whatever p is
    kept, expected = old.clone(), p.detach() - 0.5 * p.grad
    inside = p.numel() > 0 and p.data_ptr() == old.data_ptr()
    optimizer.step()
    assert torch.equal(p.detach(), expected)
    if not inside:
        assert torch.equal(old, kept)
    elif p.shape == (2, 2):
        assert torch.equal(old[2:], kept[2:])
        assert torch.equal(old[:, 2:], kept[:, 2:])


@PATHS
def test_a_part_of_a_long_parameter_leaves_the_rest_alone(fused):
    memory = torch.ones(40_000)
    p = Parameter(memory)
    optimizer = SGD([p], lr=1.0, fused=fused)
    p.grad = torch.ones(40_000)
    optimizer.step()
    p.grad = None
    p.data = p.data[:5]
    p.grad = torch.ones(5)
    optimizer.step()
    assert torch.equal(memory, torch.cat([torch.full((5,), -1.0), torch.zeros(39_995)]))


@PATHS
def test_states_follow_a_change_to_channels_last(fused):
    results = []
    for cls, kw in ((torch.optim.SGD, {}), (SGD, {"fused": fused}), (SGD, {"fused": fused is None or None})):
        model = torch.nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(randn(*p.shape))
        optimizer = cls(model.parameters(), lr=0.1, momentum=0.9, **kw)
        for k in range(4):
            optimizer.zero_grad()
            model(randn(1, 3, 5, 5)).sum().backward()
            optimizer.step()
            if k == 1:
                model.to(memory_format=torch.channels_last)
        results.append(model.weight.detach())
    assert all(torch.allclose(results[0], r, rtol=1e-5, atol=1e-5) for r in results[1:])


@PATHS
def test_writing_into_parameters_between_steps_is_kept(fused):
    model = torch.nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), lr=0.1, fused=fused)
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    model.load_state_dict({n: torch.zeros_like(v) for n, v in model.state_dict().items()})
    optimizer.step()
    assert torch.allclose(model.weight.detach(), torch.full((2, 3), -0.1))
    torch.nn.utils.vector_to_parameters(torch.ones(8), model.parameters())
    optimizer.step()
    assert torch.allclose(model.weight.detach(), torch.full((2, 3), 0.9))
    model.share_memory()
    optimizer.step()
    assert torch.allclose(model.bias.detach(), torch.full((2,), 0.8))


@pytest.mark.parametrize("fused", [None, True, False])
def test_autograd_notices_that_a_step_wrote(fused):
    p, still = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    optimizer = SGD([p, still], lr=0.1, fused=fused)
    for _ in range(2):  # the second step goes the short way
        loss = (p * p).sum()
        p.grad = None
        loss.backward(retain_graph=True)
        version, other = p._version, still._version
        optimizer.step()
        assert p._version > version
        assert still._version == other
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@pytest.mark.parametrize("fused", [None, True, False])
def test_a_step_leaves_no_trace_in_autograd(fused):
    p = Parameter(torch.ones(3))
    optimizer = Adam([p], fused=fused)
    (g,) = torch.autograd.grad((p**3).sum(), p, create_graph=True)
    p.grad = g
    optimizer.step()
    assert p.is_leaf
    assert p.requires_grad
    assert all(not v.requires_grad and v.grad_fn is None for v in optimizer.state[p].values())


# --- groups -------------------------------------------------------------------------------------------------------

GROUP_CHANGES = {
    "append": lambda o, ps: o.param_groups[0]["params"].append(ps[2]),
    "swap": lambda o, ps: o.param_groups[0]["params"].__setitem__(0, ps[2]),
    "new list": lambda o, ps: o.param_groups[0].update(params=[ps[2], ps[0]]),
    "remove": lambda o, ps: o.param_groups[0]["params"].pop(),
    "no parameter": lambda o, ps: o.param_groups[0]["params"].clear(),
    "no group": lambda o, ps: o.param_groups.clear(),
    "add_param_group": lambda o, ps: o.add_param_group({"params": [ps[2]], "lr": 0.3}),
    "append a group": lambda o, ps: o.param_groups.append({**o.param_groups[0], "params": [ps[2]]}),
    "replace a group": lambda o, ps: o.param_groups.__setitem__(0, {**o.param_groups[0], "lr": 0.5}),
    "new groups": lambda o, ps: setattr(o, "param_groups", [{**o.param_groups[0], "params": [ps[2]]}]),
    "freeze": lambda o, ps: (ps[0].requires_grad_(False), setattr(ps[0], "grad", None)),
    "lr": lambda o, ps: o.param_groups[0].update(lr=0.7),
    "tensor lr": lambda o, ps: o.param_groups[0].update(lr=torch.tensor(0.7)),
    "weight decay on": lambda o, ps: o.param_groups[0].update(weight_decay=0.3),
    "maximize": lambda o, ps: o.param_groups[0].update(maximize=True),
}


@PATHS
@pytest.mark.parametrize("change", GROUP_CHANGES.values(), ids=GROUP_CHANGES)
def test_changes_of_groups_between_steps_are_those_of_torch(fused, change):
    beside_torch(change, fused, momentum=0.9)
    beside_torch(change, fused, cls="Adam")


def test_the_path_may_change_between_steps():
    p = Parameter(torch.ones(4))
    q = torch.ones(8)[::2].requires_grad_()
    p.grad, q.grad = torch.ones(4), torch.ones(4)
    optimizer = SGD([p, q], lr=0.1)
    optimizer.step()
    optimizer.param_groups[0]["fused"] = True
    with pytest.raises(RuntimeError, match="fused=True"):
        optimizer.step()
    optimizer.param_groups[0]["fused"] = False
    optimizer.step()
    assert torch.allclose(p.detach(), torch.full((4,), 0.8))


@PATHS
def test_a_group_that_is_added_keeps_the_states_of_the_others(fused):
    p, q = Parameter(randn(3)), Parameter(randn(4))
    optimizer = Adam([p], lr=0.1, fused=fused)
    take_steps(optimizer, 2)
    kept = {n: v.clone() for n, v in optimizer.state[p].items()}
    theirs = {"params": [q], "lr": 0.3}
    optimizer.add_param_group(theirs)
    assert theirs == {"params": [q], "lr": 0.3}  # torch#51794
    assert all(torch.equal(v, kept[n]) for n, v in optimizer.state[p].items())
    take_steps(optimizer, 1, first=2)
    assert [optimizer.state[t]["step"] for t in (p, q)] == [3, 1]


def test_the_callers_group_dicts_stay_as_they_are():
    groups = [{"params": [Parameter(torch.ones(2))]}, {"params": (Parameter(torch.ones(2)),), "lr": 1.0}]
    before = [dict(g) for g in groups]
    SGD(groups, lr=0.1)
    assert groups == before
    assert [list(g) for g in groups] == [["params"], ["params", "lr"]]


def test_unknown_names_are_errors_that_guess():
    p = Parameter(torch.ones(2))
    with pytest.raises((OptionError, TypeError), match="aplha"):
        RMSprop([p], aplha=0.9)
    optimizer = SGD([p])
    with pytest.warns(UserWarning, match=r"'momentun'.*group 1.*'momentum'"):
        optimizer.add_param_group({"params": [Parameter(torch.ones(1))], "momentun": 0.1})
    with pytest.raises(OptionError, match=r"'lrr'.*'lr'"):
        Optimizer([p], [lambda param, *, grad, lr: param - lr * grad], lr=1.0, lrr=2.0)


IMPOSSIBLE = [-1.0, -1, float("nan"), float("inf"), -float("inf"), "0.1", None, True, 1j, [0.1]]
IMPOSSIBLE += [torch.tensor([1.0, 2.0]), torch.tensor(float("nan")), torch.tensor(-1.0)]


@PATHS
@pytest.mark.parametrize("lr", IMPOSSIBLE, ids=repr)
def test_an_impossible_lr_is_a_value_error_at_once_and_in_mid_run(fused, lr):
    p = Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="lr"):
        SGD([p], lr=lr, fused=fused)
    with pytest.raises(ValueError, match="lr"):
        SGD([{"params": [p], "lr": lr}], fused=fused)
    optimizer = SGD([p], lr=0.1, momentum=0.9, fused=fused)
    p.grad = torch.ones(3)
    optimizer.step()
    kept = p.detach().clone()
    optimizer.param_groups[0]["lr"] = lr
    for _ in range(2):
        with pytest.raises(ValueError, match="lr"):
            optimizer.step()
    assert torch.equal(p.detach(), kept)
    assert optimizer.state[p]["step"] == 1
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert optimizer.state[p]["step"] == 2


@PATHS
def test_lr_as_a_tensor_is_as_a_float(fused):
    results = []
    for lr in (0.25, torch.tensor(0.25), torch.tensor([0.25]), torch.tensor(0.25, requires_grad=True)):
        p = Parameter(randn(3))
        optimizer = Adam([p], lr=lr, fused=fused)
        take_steps(optimizer, 2)
        if isinstance(lr, torch.Tensor):
            lr.detach().fill_(0.5)
        else:
            optimizer.param_groups[0]["lr"] = 0.5
        take_steps(optimizer, 2, first=2)
        results.append(p.detach())
    assert all(torch.equal(r, results[0]) for r in results)


SCHEDULES = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda k: 0.9**k),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.3, total_steps=20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.3, step_size_up=3),
    "to zero": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=7),
    "swa": lambda o: torch.optim.swa_utils.SWALR(o, 0.05),
    "in a row": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
}


@PATHS
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch 2.6's SequentialLR uses it itself
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_schedules_of_torch_drive_an_optimizer_through_saving_too(fused, schedule):
    results = []
    for cls, kw in ((torch.optim.SGD, {}), (SGD, {"fused": fused})):
        p = Parameter(randn(3, dtype=torch.float64))  # the path amplifies rounding
        optimizer = cls([p], lr=0.1, momentum=0.9, **kw)
        scheduler = schedule(optimizer)
        for k in range(12):
            take_steps(optimizer, 1, first=k)
            scheduler.step()
            if k == 5 and cls is SGD:
                saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
                optimizer = SGD([p], lr=0.1, momentum=0.9, **kw)
                scheduler = schedule(optimizer)
                optimizer.load_state_dict(saved[0])
                scheduler.load_state_dict(saved[1])
        results.append((p.detach(), optimizer.param_groups[0]["lr"]))
    assert torch.allclose(results[0][0], results[1][0], rtol=1e-9, atol=1e-9)
    assert results[0][1] == results[1][1]


# --- state, as the user writes it -----------------------------------------------------------------------------------

STATE_CHANGES = {
    "clear": lambda o, p: o.state.clear(),
    "delete": lambda o, p: o.state.pop(p[0]),
    "empty": lambda o, p: o.state.__setitem__(p[0], {}),
    "new dict": lambda o, p: setattr(o, "state", defaultdict(dict)),
    "clear inside": lambda o, p: o.state[p[0]].clear(),
    "delete one": lambda o, p: o.state[p[1]].pop("exp_avg"),
    "delete the last": lambda o, p: o.state[p[1]].pop("exp_avg_sq"),
    "zero": lambda o, p: o.state[p[0]]["exp_avg"].zero_(),
    "another": lambda o, p: o.state[p[1]].__setitem__("exp_avg", torch.full((4,), 0.3)),
    "strided": lambda o, p: o.state[p[1]].__setitem__("exp_avg", torch.full((8,), 0.3)[::2]),
    "own entry": lambda o, p: o.state[p[0]].__setitem__("mine", torch.ones(1)),
    "step": lambda o, p: o.state[p[0]].__setitem__("step", torch.tensor(0.0)),
    "step in place": lambda o, p: o.state[p[0]]["step"].fill_(0),
    "step added": lambda o, p: o.state[p[1]]["step"].add_(10),
    "whole": lambda o, p: o.state.__setitem__(p[0], {**copy.deepcopy(o.state[p[1]]), "step": torch.tensor(5.0)}),
}


@PATHS
@pytest.mark.parametrize("change", STATE_CHANGES)
def test_what_a_user_does_to_states_counts_as_in_torch(fused, change):
    if change in ("delete one", "delete the last"):  # torch has a KeyError; here the state starts anew
        p = Parameter(torch.ones(4))
        optimizer = Adam([Parameter(torch.ones(4)), p], lr=0.1, fused=fused)
        take_steps(optimizer, 2)
        STATE_CHANGES[change](optimizer, [None, p])
        take_steps(optimizer, 1)
        assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}
        return
    beside_torch(STATE_CHANGES[change], fused, cls="Adam")


@PATHS
def test_a_state_of_another_dtype_is_kept(fused):
    p = Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = SGD([p], lr=0.1, momentum=0.9, fused=fused)
    take_steps(optimizer, 1)
    optimizer.state[p]["momentum_buffer"] = torch.zeros(4)
    take_steps(optimizer, 2)
    assert optimizer.state[p]["momentum_buffer"].dtype == torch.float32


@EVERY
@PATHS
def test_a_frozen_parameter_has_no_state_while_it_is_frozen(name, fused):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    model[0].requires_grad_(False)
    optimizer = make(name, model.parameters(), fused=fused)
    before = model[0].weight.detach().clone()
    for k in range(4):
        if k == 2:
            model[0].requires_grad_(True)
        optimizer.zero_grad()
        model(torch.ones(3)).square().sum().backward()
        last = model[0].weight.detach().clone()
        optimizer.step()
        frozen = optimizer.state.get(model[0].weight, {})
        if k < 2:
            assert torch.equal(model[0].weight.detach(), before)
            assert not frozen or (optimizer.states_at_once and frozen["step"] == 0)
        else:
            assert frozen["step"] == k - 1
            # adopt and soap rest in their first step, rprop where the sign of a gradient has changed
            rests = name in ("adopt", "rprop", "soap")
            assert rests or not torch.equal(model[0].weight.detach(), last)
    assert not torch.equal(model[0].weight.detach(), before)
