"""Change the import and nothing else: names of torch.optim, keys of groups, switches, and numbers in other containers."""

from __future__ import annotations

import copy
import io
import warnings
from collections import UserList

import numpy as np
import pytest
import torch
from forked import run_forked
from step_runs import PATHS
from torch.nn import Parameter
from torch_pairs import CLASSES, Gradients, assert_close, fit, make_params, theirs_of, twins

import ravine.optim as optim
from ravine.errors import FormulaError, OptionError
from ravine.optim import SGD, Adam, AdamW, Optimizer, RMSprop

EACH = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)


def through_a_file(tree):
    file = io.BytesIO()
    torch.save(tree, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# --- names ------------------------------------------------------------------------------------------------------------


def test_every_public_name_of_torch_is_found():
    for name in [n for n in dir(torch.optim) if not n.startswith("_")]:
        found = getattr(optim, name)
        if name not in optim.__all__:
            assert found is getattr(torch.optim, name), name


@pytest.mark.slow  # a process of its own
def test_modules_of_torch_are_imported_by_name():
    code = (
        "import torch, ravine.optim.lr_scheduler as s; from ravine.optim.lr_scheduler import StepLR;"
        "from ravine.optim.swa_utils import AveragedModel; from ravine.optim import LBFGS;"
        "assert s is torch.optim.lr_scheduler and StepLR is s.StepLR and LBFGS is torch.optim.LBFGS;"
        "assert AveragedModel is torch.optim.swa_utils.AveragedModel"
    )
    run_forked(["-c", code], check=True)


@pytest.mark.parametrize(("wrong", "right"), [("RMSProp", "RMSprop"), ("rmsprop", "RMSprop"), ("LFBGS", "LBFGS")])
def test_a_name_of_neither_is_answered_with_the_nearest(wrong, right):
    with pytest.raises(
        AttributeError, match=f"no '{wrong}', and torch.optim has none. Did you mean '{right}'"
    ) as caught:
        getattr(optim, wrong)
    assert caught.value.name is None  # else Python adds a guess of its own
    assert not hasattr(optim, "_functional")


def test_a_class_that_was_written_for_torchs_optimizer_is_told_so():
    class Theirs(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

    with pytest.raises(FormulaError, match=r"a dict of defaults.*derive from torch\.optim\.Optimizer"):
        Theirs([Parameter(torch.ones(1))], 0.1)


# --- groups -----------------------------------------------------------------------------------------------------------


@EACH
def test_a_group_has_the_keys_and_values_of_torchs(cls):
    p = Parameter(torch.ones(2, 2))
    assert cls([p]).param_groups == theirs_of(cls)([p]).param_groups
    assert cls([p]).state_dict()["param_groups"] == theirs_of(cls)([p]).state_dict()["param_groups"]


def test_what_only_ravine_has_stands_in_a_group_while_it_is_set():
    (p,) = params = [Parameter(torch.ones(2))]
    ours = RMSprop(params, lr=0.1, clip_norm=1.0, eps_inside_root=True)
    group = ours.param_groups[0]
    assert (group["clip_norm"], group["eps_inside_root"]) == (1.0, True)
    assert not {"ema_decay", "fused", "undamped", "square_avg_start"} & group.keys()
    p.grad = torch.full((2,), 3.0)
    ours.step()
    group["mine"] = 1  # the group then has as many keys as before
    ours.step()
    del group["mine"], group["clip_norm"], group["eps_inside_root"]
    group["ema_decay"] = 0.9
    ours.step()
    assert "param_avg" in ours.state[p]
    assert "eps" in str(ours)
    plain = RMSprop([q := Parameter(p.detach().clone())], lr=0.1)
    plain.load_state_dict({**ours.state_dict(), "ravine": copy.deepcopy(ours.state_dict()["ravine"])})
    assert plain.param_groups[0]["ema_decay"] == 0.9
    q.grad = torch.full((2,), 3.0)
    ours.step(), plain.step()
    assert torch.equal(p, q)


@PATHS
@pytest.mark.parametrize("key", ["clip_norm", "ema_decay"])
def test_an_option_that_a_group_is_without_may_be_set_between_steps(fused, key):
    """Also where another key leaves at the same time, so that the group has as many as before."""
    p, q = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    value = {"clip_norm": 0.5, "ema_decay": 0.75}[key]
    late, early = SGD([p], lr=0.1, fused=fused), SGD([q], lr=0.1, fused=fused, **{key: value})
    late.param_groups[0]["mine"] = 1
    for optimizer, parameter in ((late, p), (early, q)):
        parameter.grad = torch.full((3,), 0.1)
        optimizer.step()
    del late.param_groups[0]["mine"]
    late.param_groups[0][key] = value
    for optimizer, parameter in ((late, p), (early, q)):
        parameter.grad = torch.full((3,), 7.0)
        optimizer.step()
    assert torch.equal(p, q)
    assert late.state[p].keys() == early.state[q].keys()


@EACH
def test_keys_of_the_users_own_are_kept_saved_and_loaded_as_by_torch(cls):
    """Layer-wise rates, tags, a wrapper's counters, what chooses between optimizers."""
    own = [{"lr_scale": 0.5, "tag": "block0", "use_muon": False}, {"counters": [1, {"n": 2}], "moe": True, "l2": 0.1}]
    results = []
    for kind in (cls, theirs_of(cls)):
        params = make_params(fit(cls, [(3, 2), (4,)]), torch.float64)
        groups = [{"params": [p], **keys} for p, keys in zip(params, copy.deepcopy(own), strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer = kind(groups, lr=0.1)
            for p in params:
                p.grad = torch.ones_like(p)
            optimizer.step()
            optimizer.param_groups[1]["counters"][0] += 1
            optimizer.add_param_group({"params": [Parameter(torch.ones(1, 1))], "name": "late", "scale": 3})
            fresh = kind(
                [{"params": params[:1]}, {"params": params[1:]}, {"params": optimizer.param_groups[2]["params"]}]
            )
            fresh.load_state_dict(through_a_file(optimizer.state_dict()))
            fresh.step()
        results.append([{k: v for k, v in g.items() if k != "params"} for g in fresh.param_groups])
    assert results[0] == results[1]
    assert results[0][1]["counters"] == [2, {"n": 2}]


SLIPS = {
    "weight_decya": "weight_decay",
    "weigth_decay": "weight_decay",
    "weight_deca": "weight_decay",
    "momentun": "momentum",
    "dampeningg": "dampening",
    "LR": "lr",
    "Nesterov": "nesterov",
}


@pytest.mark.parametrize(("key", "meant"), SLIPS.items())
def test_a_key_that_is_one_typing_mistake_away_is_kept_with_one_warning(key, meant):
    p = Parameter(torch.ones(2))
    with pytest.warns(
        UserWarning, match=rf"key '{key}' \(parameter group 0\) is not an option.*Did you mean '{meant}'"
    ) as caught:
        optimizer = SGD([{"params": [p], key: 0.1}], lr=0.1)
        p.grad = torch.ones(2)
        optimizer.step()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert optimizer.param_groups[0][key] == 0.1


@pytest.mark.parametrize(
    "key", ["lr0", "lr_scale", "l2", "layer", "decay", "mult", "stamp", "initial_lr", "nesterov_from", 3]
)
def test_a_key_that_is_far_from_any_option_gives_no_warning(key):
    SGD([{"params": [Parameter(torch.ones(2))], key: 0.1}], lr=0.1)


# --- switches and containers ------------------------------------------------------------------------------------------


@EACH
@pytest.mark.usefixtures("numbers_in_double")
def test_torchs_switches_are_taken_where_they_change_nothing(cls):
    theirs = theirs_of(cls)
    params = make_params(fit(cls, [(3, 2), (4,)]), torch.float64)
    for name in ("foreach", "capturable", "differentiable"):
        if name not in theirs([Parameter(torch.ones(1, 1))]).defaults:
            continue
        for value in (None, False, True):
            if name == "differentiable" and value:
                with pytest.raises(OptionError, match=r"differentiable=True.*not recorded by autograd"):
                    cls(params, differentiable=True)
                continue
            ours, others = cls(params, **{name: value}), twins(params)
            assert ours.param_groups[0][name] is value
            plain = theirs(others)
            Gradients()(params, others)
            ours.step()
            plain.step()
            assert_close(ours, plain, params, others)
            assert cls([{"params": params, name: value}]).param_groups[0][name] is value


def test_switches_of_a_formula_of_the_users_own_change_nothing():
    p = Parameter(torch.ones(2))
    optimizer = Optimizer([p], [lambda param, *, grad, lr: param - lr * grad], lr=0.1, foreach=True, capturable=True)
    p.grad = torch.ones(2)
    optimizer.step()
    assert torch.allclose(p.detach(), torch.full((2,), 0.9))


class Hydra(UserList):
    """As a configuration library gives lists."""


@pytest.mark.parametrize(
    "betas",
    [[0.5, 0.75], Hydra([0.5, 0.75]), np.array([0.5, 0.75]), torch.tensor([0.5, 0.75]), (np.float32(0.5), 0.75)],
)
def test_several_numbers_come_in_any_sequence(betas):
    runs = []
    for cls, given in ((Adam, betas), (torch.optim.Adam, (0.5, 0.75))):
        (p,) = make_params([(4,)], torch.float64)
        optimizer = cls([p], lr=0.1, betas=given)
        for step in range(3):
            if step == 1:
                optimizer.add_param_group({"params": [Parameter(torch.ones(1))], "betas": given})
            if step == 2:
                optimizer.param_groups[0]["betas"] = given
            p.grad = torch.linspace(-1, 1, 4, dtype=torch.float64) + step
            optimizer.step()
        runs.append(p.detach())
        assert len(optimizer.state_dict()["param_groups"]) == 2
    assert torch.allclose(*runs, rtol=1e-12, atol=0)


def test_a_list_that_is_written_to_counts_from_the_next_step():
    p, q = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    ours, theirs = Adam([p], lr=0.1, betas=[0.9, 0.99]), torch.optim.Adam([q], lr=0.1, betas=[0.9, 0.99])
    assert ours.param_groups[0]["betas"] == (0.9, 0.99)
    for optimizer in (ours, theirs):
        optimizer.param_groups[0]["betas"] = [0.9, 0.99]
    for step in range(3):
        for optimizer, parameter in ((ours, p), (theirs, q)):
            parameter.grad = torch.tensor([1.0, -2.0]) * (step + 1)
            optimizer.step()
            optimizer.param_groups[0]["betas"][0] -= 0.25
    assert torch.allclose(p, q, rtol=1e-6)


@pytest.mark.parametrize("betas", ["ab", [0.9], np.array([0.9, 0.99, 0.999]), [0.9, 2.0], np.array(0.9), {0.9, 0.99}])
def test_numbers_that_are_no_betas_are_refused(betas):
    with pytest.raises(OptionError, match="betas"):
        Adam([Parameter(torch.ones(2))], betas=betas)


def test_flags_of_numpy_are_flags():
    p = Parameter(torch.ones(2))
    on, off = np.bool_(True), np.bool_(False)
    optimizer = AdamW([p], amsgrad=on, maximize=on, fused=off, watch=off, capturable=on)
    p.grad = torch.ones(2)
    optimizer.param_groups[0]["maximize"] = off
    optimizer.step()
    assert {"exp_avg", "max_exp_avg_sq"} <= optimizer.state[p].keys()
    assert p[0] < 1
    assert optimizer.param_groups[0]["fused"] is False
    through_a_file(AdamW([p], amsgrad=on, maximize=on).state_dict())


# --- the whole optimizer's options in a group ---------------------------------------------------------------------------


def test_a_policy_that_a_trainer_writes_into_a_group_is_the_optimizers():
    """skorch: ``net.set_params(optimizer__nonfinite="skip")`` sets it in every group."""
    p = Parameter(torch.ones(2))
    optimizer = SGD([p], lr=0.1)
    p.grad = torch.ones(2)
    optimizer.step()
    optimizer.param_groups[0]["nonfinite"] = "skip"
    saved = copy.deepcopy(optimizer.state_dict())
    p.grad = torch.full((2,), torch.nan)
    with pytest.warns(UserWarning, match="skipped"):
        optimizer.step()
    assert (optimizer.nonfinite, optimizer.skipped) == ("skip", 1)
    assert "nonfinite" not in optimizer.param_groups[0]
    fresh = SGD([p], lr=0.1)
    fresh.load_state_dict(saved)
    with pytest.warns(UserWarning, match="skipped"):
        fresh.step()
    optimizer.param_groups[0]["nonfinite"] = "never"
    with pytest.raises(OptionError, match="nonfinite='never'"):
        optimizer.step()
