"""An optimizer among torch's tools: closures, hooks, modes, torch.compile, copies, and long runs."""

import copy
import gc
import itertools
import pickle
import tracemalloc
import warnings
import weakref

import kinds
import pytest
import torch
from step_runs import PATHS, make, randn, take_steps
from torch.nn import Parameter
from torch.optim import lr_scheduler
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ravine.backends.cpu import compiled
from ravine.formula import sqrt
from ravine.optim import SGD, Adam, Optimizer, RMSprop

# --- closures and hooks -----------------------------------------------------------------------------------------------


@PATHS
def test_a_closure_is_called_once_with_gradients_on(fused):
    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=0.1, fused=fused)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (p * 2).sum()
        loss.backward()
        calls.append(torch.is_grad_enabled())
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True]
    assert loss.item() == 6
    assert torch.allclose(p.detach(), torch.full((3,), 0.8))
    assert optimizer.step(closure=lambda: "anything") == "anything"
    assert optimizer.step() is None


def test_an_error_in_a_closure_is_the_users_and_nothing_is_written():
    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=0.1)
    p.grad = torch.ones(3)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(lambda: 1 / 0)
    assert torch.equal(p.detach(), torch.ones(3))
    optimizer.step()
    assert optimizer.state[p]["step"] == 1


def test_hooks_are_called_in_torchs_order_with_torchs_arguments():
    logs = []
    for cls in (torch.optim.SGD, SGD):
        p, log = Parameter(torch.ones(3)), []
        p.grad = torch.ones(3)
        optimizer = cls([p], lr=0.1)

        def note(text, log=log, optimizer=optimizer):
            def hook(*args, **kwargs):
                assert args[0] is optimizer
                log.append(
                    (text, len(args), [type(a).__name__ for a in args[1:]], optimizer.state_dict()["state"] != {})
                )

            return hook

        def plain(text, log=log, optimizer=optimizer):
            def hook(*args):
                assert args[0] is optimizer
                log.append((text, [sorted(a)[:2] for a in args[1:]]))

            return hook

        handles = [
            register_optimizer_step_pre_hook(note("global pre")),
            register_optimizer_step_post_hook(note("global post")),
            optimizer.register_step_pre_hook(note("pre 1")),
            optimizer.register_step_pre_hook(note("pre 2")),
            optimizer.register_step_post_hook(note("post")),
        ]
        try:
            optimizer.step()
            assert optimizer.step(lambda log=log: log.append("closure") or 3.0) == 3.0
        finally:
            for handle in handles:
                handle.remove()
        before = len(log)
        optimizer.step()
        assert len(log) == before
        optimizer.register_state_dict_pre_hook(plain("state_dict pre"))
        optimizer.register_state_dict_post_hook(lambda o, d, log=log: log.append(("post", "state" in d)))
        optimizer.register_load_state_dict_pre_hook(lambda o, d, log=log: log.append(("load pre", "state" in d)))
        optimizer.register_load_state_dict_post_hook(plain("load post"))
        optimizer.load_state_dict(optimizer.state_dict())
        # SGD without momentum keeps step here and nothing there; what the hooks saw of it is not compared.
        logs.append([(*e[:3],) if isinstance(e, tuple) else e for e in log])
    assert logs[0] == logs[1]


def test_a_hook_may_replace_arguments_and_state_dicts():
    for cls in (torch.optim.SGD, SGD):
        p = Parameter(torch.ones(3))
        p.grad = torch.ones(3)
        optimizer = cls([p], lr=0.1, momentum=0.9)
        handle = optimizer.register_step_pre_hook(lambda o, args, kwargs: ((o, lambda: 7.0), {}))
        assert optimizer.step() == 7.0
        handle.remove()
        assert torch.allclose(p.detach(), torch.full((3,), 0.9))
        saved = copy.deepcopy(optimizer.state_dict())
        keys = list(saved)

        def change(_, state_dict):
            state_dict["added"] = 1  # torch hands a copy to hooks
            return {**state_dict, "param_groups": [{**state_dict["param_groups"][0], "lr": 0.7}]}

        optimizer.register_load_state_dict_pre_hook(change)
        optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["lr"] == 0.7
        assert list(saved) == keys
        optimizer.register_state_dict_post_hook(lambda o, d: {"wrapped": d["param_groups"]})
        assert "wrapped" in optimizer.state_dict()


def test_an_optimizer_in_the_backward_pass():
    model = torch.nn.Linear(3, 2)
    optimizers = {p: SGD([p], lr=0.1) for p in model.parameters()}

    def hook(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(hook)
    expected = model.weight.detach() - 0.2
    for _ in range(2):
        model(torch.ones(3)).sum().backward()
    assert torch.allclose(model.weight.detach(), expected)
    assert model.weight.grad is None


def test_a_subclass_with_a_step_of_its_own():
    class Counting(SGD):
        calls = 0

        def step(self, closure=None):
            self.calls += 1
            return super().step(closure)

    p = Parameter(torch.ones(3))
    optimizer = Counting([p], lr=0.1)
    p.grad = torch.ones(3)
    lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    assert optimizer.calls == 1
    assert torch.allclose(p.detach(), torch.full((3,), 0.9))


# --- modes of torch ---------------------------------------------------------------------------------------------------


@PATHS
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_a_step_in_any_mode_and_then_in_another(fused, mode):
    p, q = Parameter(randn(3)), Parameter(randn(3))
    p.grad, q.grad = torch.ones(3), torch.ones(3)
    a, b = Adam([p], lr=0.1, fused=fused), Adam([q], lr=0.1, fused=fused)
    for k in range(4):
        with mode() if k < 2 else torch.enable_grad():
            a.step()
        b.step()
    assert torch.equal(p.detach(), q.detach())
    a.load_state_dict(a.state_dict())
    a.step()


def test_a_step_under_autocast():
    p, q = Parameter(randn(300)), Parameter(randn(300))
    a, b = Adam([p], lr=0.1, fused=False), Adam([q], lr=0.1, fused=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        take_steps(a, 3)
    take_steps(b, 3)
    assert torch.equal(p.detach(), q.detach())


def _train(cls, backend, fused=None):
    """Compile a whole training step; give the trajectory of the loss."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = cls(model.parameters(), lr=0.05, **({} if cls is torch.optim.Adam else {"fused": fused}))

    def train(x):
        optimizer.zero_grad()
        loss = (model(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    if backend is not None:
        train = torch.compile(train, backend=backend)
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    return [train(x).item() for _ in range(6)], optimizer


def compiles(backend, fused):
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of graph breaks
            losses, optimizer = _train(Adam, backend, fused)
    finally:
        torch._dynamo.reset()
    expected, _ = _train(torch.optim.Adam, None)
    assert losses == pytest.approx(expected, rel=1e-4)
    assert {float(s["step"]) for s in optimizer.state.values()} == {6}


@PATHS
def test_a_compiled_training_step_breaks_its_graph_at_the_optimizer(fused):
    compiles("eager", fused)


@pytest.mark.slow  # a C++ compiler runs for many seconds
def test_a_training_step_compiled_by_the_default_backend():
    from torch._inductor import config

    with config.patch({"cpp.vec_isa_ok": False}):  # else it compiles ten programs to see which vectors there are
        compiled_by_default()


def compiled_by_default():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(lambda x: x + 1)(torch.ones(3))
    except Exception as error:  # no C++ compiler, or none that works
        pytest.skip(f"torch.compile does not work here: {type(error).__name__}")
    compiles("inductor", None)


# --- copies -----------------------------------------------------------------------------------------------------------


def sign_free(update, seen=0.0, *, decay):
    seen = decay * seen + (1 - decay) * update**2
    return update / (1 + sqrt(seen)), seen


def go(param, *, update, lr):
    return param - lr * update


def formula_optimizer(params, **kw):
    return Optimizer(params, [sign_free, go], lr=0.1, decay=0.9, **kw)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
}


#: Every optimizer in one of them, and one of each kind in all: no formula says how it is copied.
WAYS = [(fused, duplicate, steps) for fused in (None, False) for duplicate in COPIES for steps in (0, 3)]


@pytest.mark.parametrize(("name", "way"), kinds.each_with_another(kinds.NAMES, WAYS), ids=str)
def test_a_copy_goes_the_same_way_alone(name, way):
    fused, duplicate, steps = way[0], COPIES[way[1]], way[2]
    params = [Parameter(randn(5)), Parameter(randn(4, 3, seed=1))]
    optimizer = make(name, params, fused=fused)
    take_steps(optimizer, steps)
    twins, twin = duplicate((params, optimizer))
    assert type(twin) is type(optimizer)
    assert all(a is b for a, b in zip(twin.param_groups[0]["params"], twins, strict=True))
    take_steps(twin, 4, first=steps)
    ahead = [p.detach().clone() for p in twins]
    take_steps(optimizer, 4, first=steps)
    assert all(torch.equal(p.detach(), q) for p, q in zip(params, ahead, strict=True))
    assert all(torch.equal(q.detach(), a) for q, a in zip(twins, ahead, strict=True))


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_of_an_optimizer_by_formula(duplicate):
    params = [Parameter(randn(5))]
    optimizer = formula_optimizer(params)
    take_steps(optimizer, 3)
    twins, twin = duplicate((params, optimizer))
    twin.add_param_group({"params": [Parameter(randn(2))], "lr": 0.2})
    take_steps(twin, 3, first=3)
    take_steps(optimizer, 3, first=3)
    assert torch.equal(params[0].detach(), twins[0].detach())
    assert repr(twin).startswith("Optimizer (")


def test_a_pickle_grows_with_the_parameters_and_not_with_their_square():
    params = [Parameter(torch.ones(1)) for _ in range(300)]
    sizes = []
    for n in (100, 300):
        optimizer = SGD(params[:n], lr=0.1)
        take_steps(optimizer, 1)
        sizes.append(len(pickle.dumps(optimizer)))
    assert sizes[1] < 3.5 * sizes[0]


def test_an_optimizer_that_is_deleted_frees_its_states_at_once():
    p = Parameter(torch.ones(3))
    gc.collect()
    gc.disable()
    try:
        optimizer = SGD([p], lr=0.1, momentum=0.9)
        take_steps(optimizer, 2)
        state, itself = weakref.ref(optimizer.state[p]["momentum_buffer"]), weakref.ref(optimizer)
        del optimizer
        assert itself() is None
        assert state() is None
    finally:
        gc.enable()


def test_gradients_are_not_kept_alive():
    for fused in (None, False):
        p = Parameter(torch.ones(3))
        optimizer = SGD([p], lr=0.1, fused=fused)
        take_steps(optimizer, 2)
        grad = weakref.ref(p.grad)
        optimizer.zero_grad()
        gc.collect()
        assert grad() is None


# --- long runs --------------------------------------------------------------------------------------------------------


@PATHS
def test_changing_every_hyperparameter_at_every_step_compiles_nothing(fused):
    p = Parameter(randn(5))
    optimizer = Adam([p], lr=0.1, weight_decay=0.1, fused=fused)
    take_steps(optimizer, 1)
    before, plan = compiled(), optimizer._plan
    for k in range(1, 200):
        changes = {"lr": 0.1 / k, "betas": (0.9 - 0.001 * k, 0.99), "eps": 1e-8 * k, "weight_decay": 0.1 / k}
        optimizer.param_groups[0].update(changes)
        take_steps(optimizer, 1, first=k)
    assert compiled() == before
    assert optimizer._plan is plan


@PATHS
def test_memory_is_flat_over_thousands_of_steps_and_nothing_is_compiled(fused):
    params = [Parameter(randn(5)), Parameter(randn(3))]
    optimizer = RMSprop(params, lr=0.1, momentum=0.9, fused=fused)
    for p in params:
        p.grad = torch.ones_like(p)

    def kept():
        gc.collect()
        # Only what these files hold: a process of pytest-xdist has a thread that is sent the next tests at any moment.
        ours = [tracemalloc.Filter(True, f"*/{name}/*") for name in ("ravine", "torch", "optim")]
        return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)

    def steps(n):
        for k in range(n):
            optimizer.param_groups[0]["lr"] = 1e-3 / (k + 1)
            params[1].grad = None if k % 100 == 0 else params[0].grad[:3]
            optimizer.step()

    counted = 1000 if fused is None else 500  # torch's operations take ten times as long, and compile nothing
    steps(1000)
    before = compiled()
    gc.collect()
    tracemalloc.start()
    try:
        steps(500)
        sizes = [kept()]
        for _ in range(2):
            steps(counted)  # slow: every piece of memory is counted
            sizes.append(kept())
        # Torch keeps some hundred small objects of the last steps, sometimes more and sometimes fewer; a leak grows both times.
        grown = min(b - a for a, b in itertools.pairwise(sizes))
    finally:
        tracemalloc.stop()
    more = 5500 if fused is None else 0
    steps(more)
    assert grown < 10 * counted
    assert compiled() == before
    assert optimizer.state[params[0]]["step"] == 1500 + 2 * counted + more
