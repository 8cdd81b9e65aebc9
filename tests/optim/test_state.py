"""State dicts: bit-exact, checked before anything is loaded, exchanged with torch, no memory shared."""

import copy
import inspect
import io

import pytest
import torch
from step_runs import EVERY, PATHS, every_dtype
from torch.nn import Parameter
from torch_pairs import CLASSES as CLASSES_OF_TORCH
from torch_pairs import fit

from ravine.errors import StateError
from ravine.optim import SGD, Adam, Optimizer, RMSprop
from ravine.optim import _registry as registry

CLASSES = pytest.mark.parametrize("cls", CLASSES_OF_TORCH)


def randn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def make(name, params, **kw):
    named = registry.lookup(name)
    return named.cls(params, **{"lr": 0.1, **named.options, **kw})


def takes_complex(name):
    """Whether matrices of complex numbers are stepped: there are no rows of them."""
    program = make(name, [Parameter(torch.zeros(2, 2))]).program()
    return not (program.along or program.tensors or program.temporaries)


def parameters(dtype=torch.float32):
    shapes = [(5,), (4, 3), (), (0,), (2, 3, 1, 2)]
    params = [Parameter(randn(*s, dtype=dtype, seed=i)) for i, s in enumerate(shapes)]
    params[-1].data = params[-1].data.contiguous(memory_format=torch.channels_last)
    return params


def slope(x, k):
    return torch.polar(torch.ones_like(x.abs()), x.abs() * (k + 1)) if x.is_complex() else torch.cos(x * (k + 1))


def take_steps(optimizer, steps, first=0):
    for k in range(first, first + steps):
        for group in optimizer.param_groups:
            for i, p in enumerate(group["params"]):
                p.grad = None if (k + i) % 4 == 3 else slope(p.detach(), k)
        optimizer.step()


def through_a_file(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def equal_states(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].keys() == b[key].keys()
        for n, v in a[key].items():
            assert torch.equal(torch.as_tensor(v), torch.as_tensor(b[key][n])), n
            assert type(v) is type(b[key][n])
            assert torch.as_tensor(v).dtype == torch.as_tensor(b[key][n]).dtype


@every_dtype(torch.float32, torch.bfloat16, torch.float64, torch.complex64)
def test_saved_and_loaded_a_run_continues_bit_for_bit(name, fused, dtype):
    params = parameters(dtype.to_real() if dtype.is_complex else dtype)
    if dtype.is_complex:
        params = [Parameter(torch.complex(p.detach(), p.detach())) for p in params if p.ndim < 2 or takes_complex(name)]
    optimizer = make(name, params, fused=fused)
    take_steps(optimizer, 3)
    saved = through_a_file({"params": [p.detach() for p in params], "optimizer": optimizer.state_dict()})
    take_steps(optimizer, 3, first=3)
    resumed = [Parameter(torch.empty_strided(p.shape, p.stride(), dtype=p.dtype)) for p in params]
    with torch.no_grad():
        for p, value in zip(resumed, saved["params"], strict=True):
            p.copy_(value)
    fresh = make(name, resumed, fused=fused)
    fresh.load_state_dict(saved["optimizer"])
    equal_states(fresh.state_dict()["state"], saved["optimizer"]["state"])
    take_steps(fresh, 3, first=3)
    assert all(torch.equal(p.detach(), q.detach()) for p, q in zip(params, resumed, strict=True))
    equal_states(fresh.state_dict()["state"], optimizer.state_dict()["state"])


@PATHS
def test_going_back_to_what_was_saved_in_mid_run(fused):
    params = parameters()
    optimizer = Adam(params, lr=0.1, fused=fused)
    take_steps(optimizer, 2)
    saved, values = copy.deepcopy(optimizer.state_dict()), [p.detach().clone() for p in params]
    take_steps(optimizer, 3, first=2)
    ahead = [p.detach().clone() for p in params]
    with torch.no_grad():
        for p, v in zip(params, values, strict=True):
            p.copy_(v)
    optimizer.load_state_dict(saved)
    take_steps(optimizer, 3, first=2)
    assert all(torch.equal(p.detach(), a) for p, a in zip(params, ahead, strict=True))


@PATHS
@pytest.mark.parametrize("kept", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("own", [torch.bfloat16, torch.float32])
def test_states_keep_the_dtype_they_were_saved_in(fused, kept, own):
    """torch casts them to the parameter's (#43706)."""
    p = Parameter(randn(5, dtype=own))
    optimizer = Adam([p], lr=0.1, fused=fused)
    take_steps(optimizer, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    exact = randn(5, dtype=kept, seed=9).abs()
    saved["state"][0]["exp_avg_sq"] = exact
    optimizer.load_state_dict(saved)
    assert optimizer.state[p]["exp_avg_sq"].dtype == kept
    assert torch.equal(optimizer.state[p]["exp_avg_sq"], exact)
    take_steps(optimizer, 2)
    assert optimizer.state[p]["exp_avg_sq"].dtype == kept
    assert optimizer.state[p]["exp_avg"].dtype == own


@EVERY
@PATHS
def test_loading_shares_no_memory_and_leaves_the_source_alone(name, fused):
    params = parameters()
    optimizer = make(name, params, fused=fused)
    take_steps(optimizer, 2)
    live = optimizer.state_dict()
    frozen = copy.deepcopy(live)
    twins = [Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in params]
    other = make(name, twins, fused=fused)
    other.load_state_dict(live)
    take_steps(other, 2, first=2)
    other.param_groups[0]["lr"] = 7.0
    equal_states(live["state"], frozen["state"])
    assert live["param_groups"] == frozen["param_groups"]
    assert optimizer.param_groups[0]["lr"] != 7.0
    saved = [v for s in live["state"].values() for v in s.values() if isinstance(v, torch.Tensor)]
    addresses = {v.data_ptr() for v in saved if v.numel()}
    assert not addresses & {v.data_ptr() for s in other.state.values() for v in s.values() if v.numel()}


def test_a_state_dict_is_live_as_torchs_except_for_step_counts():
    p = Parameter(torch.ones(3))
    optimizer = Adam([p])
    take_steps(optimizer, 1)
    saved = optimizer.state_dict()
    assert saved["state"][0]["exp_avg"] is optimizer.state[p]["exp_avg"]
    take_steps(optimizer, 1)
    assert saved["state"][0]["step"] == 1
    assert saved["state"][0]["step"].untyped_storage().nbytes() == 4


# --- what does not fit ------------------------------------------------------------------------------------------------


def changed(**changes):
    def change(saved):
        for path, value in changes.items():
            *way, last = (int(key) if key.isdigit() else key for key in path.split("__"))
            target = saved
            for key in way:
                target = target[key]
            target[last] = value

    return change


def swapped(saved):
    saved["state"][0], saved["state"][1] = saved["state"][1], saved["state"][0]


def newer(saved):
    saved["ravine"]["version"] = 99


WRONG = {
    "shape": (changed(state__0__exp_avg=torch.zeros(4)), r"exp_avg.*\(5,\).*\(4,\)"),
    "shape that would broadcast": (changed(state__0__exp_avg=torch.zeros(1)), r"exp_avg.*\(5,\).*\(1,\)"),
    "order": (swapped, r"\(5,\).*\(4, 3\)"),
    "version": (newer, "99.*up to version"),
    "one group more": (lambda s: s["param_groups"].append({**s["param_groups"][0], "params": []}), "2.*1"),
    "one parameter less": (lambda s: s["param_groups"][0]["params"].pop(), "4.*5"),
    "lr": (changed(param_groups__0__lr=-1.0), "lr=-1"),
    "lr that is no number": (changed(param_groups__0__lr="fast"), "lr='fast'"),
    "state that is a number": (
        changed(state__0__exp_avg=3),
        r"state exp_avg of parameter 0.*tensor of shape \(5,\).*3 \(int\)",
    ),
    "states that are a number": (changed(state__0=3), "dict of states for parameter 0.*has 3"),
    "step of two": (changed(state__0__step=torch.ones(2)), "'step' of parameter 0.*number of steps"),
    "step that is no number": (changed(state__0__step="x"), "'step' of parameter 0.*'x'"),
    "step that is nan": (changed(state__0__step=float("nan")), "'step' of parameter 0.*nan"),
    "state": (changed(state=3), "'state' of the state dict must be a dict.*got 3"),
    "no state": (lambda s: s.pop("state"), "no 'state'.*this has 'param_groups', 'ravine'"),
    "no groups": (lambda s: s.pop("param_groups"), "no 'param_groups'"),
    "nothing": (lambda s: s.clear(), "no 'state'.*this has nothing"),
    "a checkpoint": (
        lambda s: s.update(o=dict(s), state=s.pop("x", None)) or s.pop("state"),
        "pass what is under 'o' in it",
    ),
    "groups": (changed(param_groups=3), "'param_groups' of the state dict must be a list of dicts; got 3"),
    "group": (changed(param_groups=[3]), "parameter group 0 .*it is 3"),
    "group without params": (lambda s: s["param_groups"][0].pop("params"), "parameter group 0 .*has None as 'params'"),
    "params": (changed(param_groups__0__params=3), "parameter group 0 .*has 3 .*as 'params'"),
    "params of lists": (changed(param_groups__0__params=[[]] * 5), "'params' of parameter group 0.*numbers or names"),
    "names": (changed(param_groups__0__param_names=["a"]), "'param_names' of parameter group 0.*list of 5 names"),
    "ravine": (changed(ravine=3), "entry 'ravine'.*damaged: 3"),
    "ravine's version": (changed(ravine__version="x"), "entry 'ravine'.*damaged"),
    "ravine's formulas": (changed(ravine__formulas=[]), "one formula for each of 1 parameter groups"),
}


@pytest.mark.parametrize("nothing", [None, 3, [], "file.pt"])
def test_what_is_no_dict_is_a_state_error(nothing):
    with pytest.raises(StateError, match="load_state_dict takes the dict that state_dict\\(\\) gave; got"):
        Adam(parameters()).load_state_dict(nothing)


@PATHS
@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_an_error_at_load_and_nothing_is_loaded(fused, change, message):
    params = parameters()
    optimizer = Adam(params, lr=0.1, fused=fused)
    take_steps(optimizer, 2)
    saved = copy.deepcopy(optimizer.state_dict())
    change(saved)
    take_steps(optimizer, 1, first=2)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(StateError, match=message):
        optimizer.load_state_dict(saved)
    after = optimizer.state_dict()
    equal_states(after["state"], before["state"])
    assert after["param_groups"] == before["param_groups"]
    take_steps(optimizer, 1, first=3)


def test_names_in_another_order_are_an_error():
    named = [("a", Parameter(torch.ones(3))), ("b", Parameter(torch.ones(3)))]
    optimizer = SGD(named, lr=0.1, momentum=0.9)
    take_steps(optimizer, 1)
    with pytest.raises(StateError, match=r"'a'.*'b'"):
        SGD(named[::-1], lr=0.1, momentum=0.9).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("ours", [True, False])
def test_a_state_dict_of_another_formula_shows_both(ours):
    p = Parameter(torch.ones(3))
    source = (Adam if ours else torch.optim.Adam)([p], lr=0.1)
    p.grad = torch.ones(3)
    source.step()
    target = RMSprop([p], lr=0.1)
    with pytest.raises(StateError) as error:
        target.load_state_dict(source.state_dict())
    assert not target.state
    assert ("saved: exp_avg" if ours else "its parameter group 0 has 'betas', and this optimizer has lr, alpha") in str(
        error.value
    )
    assert "Did you mean" not in str(error.value)


def test_a_formula_of_the_users_own_is_checked_too():
    def one(param, memory=0.0, *, grad, lr):
        memory = memory / 2 + grad
        return param - lr * memory, memory

    def two(param, memory=0.0, *, grad, lr):
        memory = memory / 3 + grad
        return param - lr * memory, memory

    p = Parameter(torch.ones(3))
    source = Optimizer([p], [one], lr=0.1)
    take_steps(source, 1)
    saved = copy.deepcopy(source.state_dict())
    with pytest.raises(StateError, match=r"(?s)formula.*saved.*Here"):
        Optimizer([p], [two], lr=0.1).load_state_dict(saved)
    same = Optimizer([p], [one], lr=0.5)
    same.load_state_dict(saved)
    assert same.param_groups[0]["lr"] == 0.1
    assert torch.equal(same.state[p]["memory"], source.state[p]["memory"])


# --- older, foreign -----------------------------------------------------------------------------------------------------


def test_an_older_dict_without_a_key_gets_its_default():
    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=0.3)
    take_steps(optimizer, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    for key in ("maximize", "nesterov", "dampening", "fused"):
        saved["param_groups"][0].pop(key, None)
    other = SGD([p], lr=0.1)
    other.load_state_dict(saved)
    group = other.param_groups[0]
    assert (group["lr"], group["maximize"], group["nesterov"], group["dampening"]) == (0.3, False, False, 0)
    take_steps(other, 1)


@CLASSES
def test_a_torch_dict_of_before_an_option_existed(cls):
    p = Parameter(torch.ones(3, 1))
    theirs = getattr(torch.optim, cls.__name__)([p])
    p.grad = torch.ones(3, 1)
    theirs.step()
    saved = copy.deepcopy(theirs.state_dict())
    for key in ("maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"):
        saved["param_groups"][0].pop(key, None)
    for state in saved["state"].values():
        if "step" in state:
            state["step"] = 1  # an int, before torch 1.12
    ours = cls([p])
    ours.load_state_dict(saved)
    take_steps(ours, 2)


@CLASSES
@PATHS
@pytest.mark.parametrize("way", ["torch to ravine", "ravine to torch"])
def test_checkpoints_are_exchanged_with_torch(cls, fused, way):
    theirs = getattr(torch.optim, cls.__name__)
    wished = {"weight_decay": 0.01, "momentum": 0.9} if cls.__name__ in ("SGD", "RMSprop") else {"weight_decay": 0.01}
    extra = {name: v for name, v in wished.items() if name in inspect.signature(theirs).parameters}

    def optimizer(c, params):
        return c(params, lr=0.05, **extra, **({"fused": fused} if c is cls else {}))

    first, second = (theirs, cls) if way == "torch to ravine" else (cls, theirs)
    params = [p for p in parameters() if p.shape in fit(cls, [p.shape])]
    one = optimizer(first, params)
    take_steps(one, 3)
    twins = [Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in params]
    two = optimizer(second, twins)
    two.load_state_dict(through_a_file(one.state_dict()))
    take_steps(one, 4, first=3)
    take_steps(two, 4, first=3)
    for p, q in zip(params, twins, strict=True):
        assert torch.allclose(p.detach(), q.detach(), rtol=1e-5, atol=1e-3 if cls.__name__ == "Muon" else 1e-6)
    back = optimizer(first, twins)
    back.load_state_dict(two.state_dict())
    take_steps(back, 1)


@PATHS
def test_a_parameter_that_was_never_stepped_has_no_state_after_loading(fused):
    a, b = Parameter(torch.ones(3)), Parameter(torch.ones(4))
    optimizer = SGD([a, b], lr=0.1, momentum=0.9, fused=fused)
    a.grad = torch.ones(3)
    optimizer.step()
    saved = through_a_file(optimizer.state_dict())
    assert list(saved["state"]) == [0]
    other = SGD([a, b], lr=0.1, momentum=0.9, fused=fused)
    other.load_state_dict(saved)
    b.grad = torch.ones(4)
    other.step()
    assert [other.state[p]["step"] for p in (a, b)] == [2, 1]


@PATHS
def test_an_optimizer_loads_what_it_saved_with_notes_of_the_users_in_its_groups(fused):
    p = Parameter(torch.ones(3))
    optimizer = SGD([{"params": [p], "name": "all"}], lr=0.1, fused=fused)
    optimizer.param_groups[0]["layer"] = 3
    take_steps(optimizer, 1)
    optimizer.load_state_dict(through_a_file(optimizer.state_dict()))
    assert optimizer.param_groups[0]["layer"] == 3
    assert optimizer.param_groups[0]["name"] == "all"
    take_steps(optimizer, 1)


@pytest.mark.parametrize("cls", [SGD, torch.optim.SGD])
def test_keys_of_the_users_own_are_kept_where_the_live_group_has_none(cls):
    p = Parameter(torch.ones(3))
    optimizer = cls([p], lr=0.1)
    optimizer.param_groups[0]["layer"] = 3
    fresh = SGD([p], lr=0.2)
    fresh.load_state_dict(through_a_file(optimizer.state_dict()))
    assert (fresh.param_groups[0]["layer"], fresh.param_groups[0]["lr"]) == (3, 0.1)
    take_steps(fresh, 1)
    again = SGD([p])
    again.load_state_dict(fresh.state_dict())
    assert again.param_groups[0]["layer"] == 3


def test_a_checkpoint_does_not_choose_the_path():
    p = Parameter(torch.ones(3))
    saved = SGD([p], fused=False).state_dict()
    other = SGD([p], fused=True)
    other.load_state_dict(saved)
    assert other.param_groups[0]["fused"] is True
    theirs = torch.optim.SGD([p], foreach=True).state_dict()
    other.load_state_dict(theirs)
    assert other.param_groups[0]["foreach"] is None


def test_a_lr_that_is_a_tensor_is_saved_and_not_shared():
    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=torch.tensor(0.25))
    saved = through_a_file(optimizer.state_dict())
    other = SGD([p], lr=0.1)
    other.load_state_dict(saved)
    saved["param_groups"][0]["lr"].fill_(9.0)
    p.grad = torch.ones(3)
    other.step()
    assert torch.equal(p.detach(), torch.full((3,), 0.75))
