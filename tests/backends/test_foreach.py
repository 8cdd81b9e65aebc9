"""The foreach backend: the numbers of the eager one for every named optimizer, in as many operations as torch's loops."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from kinds import each_with_another
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

import ravine
from ravine import backends
from ravine.backends._eager import Eager
from ravine.backends._eight_bits import is_code
from ravine.backends._foreach import Foreach
from ravine.errors import BackendError
from ravine.formula import dot, maximum, mean, minimum, norm, numel, scalar, where
from ravine.optim import Adam, NAdam, Optimizer, RMSprop
from ravine.optim import _registry as registry
from ravine.optim._engine.batches import needs_whole
from ravine.watch import _record

SHAPES = ((37, 41), (), (0,), (3,), (1024,), (4, 8, 2))
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12, torch.bfloat16: 2**-6}
OPTIONS: list[dict[str, Any]] = [{}, {"clip_norm": 0.5}, {"nonfinite": "skip"}, {"ema_decay": 0.9}]
#: Every optimizer in single precision without options; with each, one dtype and option in turn, and one of each kind all.
OTHERS = [(d, o) for d in TOLERANCE for o in OPTIONS if o or d is not torch.float32]
CASES = [(n, torch.float32, {}) for n in registry.names()]
CASES += [(n, d, o) for n, (d, o) in each_with_another(registry.names(), OTHERS)]
FIGURES = ("grad_norm", "param_norm", "update_norm", "grad_max", "param_max", "update_max", "nonfinite")


pytestmark = pytest.mark.usefixtures("lists")


def stepped(
    name: str, dtype: torch.dtype, options: dict[str, Any], fused: bool | None, steps: int = 5
) -> tuple[list[Parameter], Optimizer]:
    generator = torch.Generator().manual_seed(0)
    params = [Parameter(torch.randn(s, generator=generator).to(dtype)) for s in SHAPES]
    named = registry.lookup(name)
    optimizer = named.cls(params, **{"lr": 0.01, **named.options, **options, "fused": fused})
    for step in range(steps):
        for i, p in enumerate(params):
            grad = torch.randn(p.shape, generator=generator).to(dtype)
            p.grad = None if step == 2 and i in (1, 3) else grad
        if step == 3 and "nonfinite" in options:
            params[0].grad[3, 3] = math.nan
        optimizer.step()
    return params, optimizer


def wrong(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> int:
    a, b = a.detach().double(), b.detach().double()
    return int(((a - b).abs() > TOLERANCE[dtype] * (b.abs() + 0.1)).sum())


@pytest.mark.filterwarnings("ignore:nonfinite")
@pytest.mark.parametrize(("name", "dtype", "options"), CASES, ids=str)
def test_numbers_and_figures_are_those_of_the_eager_backend(name, dtype, options):
    steps = 8 if name == "radam" else 5  # which corrects by the variance from the sixth on
    (a, ours), (b, eager) = (stepped(name, dtype, options, fused, steps) for fused in (None, False))
    for entry in ours._plan._entries:  # what needs whole tensors is stepped one by one
        assert type(entry.batch) is (Eager if needs_whole(entry.program) else Foreach)
    assert {type(e.batch) for e in eager._plan._entries} == {Eager}
    # Signs, eigenvectors, and a variance that is a difference of nearly equal numbers, are decided by a last digit.
    loose = (
        any(e.program.tensors for e in ours._plan._entries)
        or "lion" in name
        or "sign" in name
        or ("centered" in name and dtype is not torch.float64)
    )
    for p, q in zip(a, b, strict=True):
        assert ours.state[p].keys() == eager.state[q].keys()
        pairs = [(p, q), *((ours.state[p][n], eager.state[q][n]) for n in ours.state[p])]
        if not loose:
            assert sum(wrong(x, y, dtype) for x, y in pairs) <= (1 if dtype is torch.bfloat16 else 0)
        assert float(ours.state[p]["step"]) == float(eager.state[q]["step"])
    for i in map(str, range(len(SHAPES))):
        one, other = ours.watch.last[i], eager.watch.last[i]
        for field in FIGURES:
            if not loose or "update" not in field:
                assert getattr(one, field) == pytest.approx(getattr(other, field), rel=5e-3, abs=1e-6), (i, field)


class Counted(TorchDispatchMode):
    """The operations on lists, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def operations(optimizer: torch.optim.Optimizer, params: Sequence[Parameter]) -> list[str]:
    for p in params:
        p.grad = torch.ones_like(p)
    optimizer.step()
    with Counted() as counted:
        optimizer.step()
    return [
        name
        for name in counted.seen
        if not any(n in name for n in ("detach", "profiler", "_local_scalar", "add_.Tensor"))
    ]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[("RMSprop", {}), ("SGD", {}), ("SGD", {"momentum": 0.9}), ("Adagrad", {}), ("Adadelta", {})],
        # torch's lerp is two operations here: it makes NaN of infinities. The scale of the denominator is none.
        *[("Adam", {}), ("AdamW", {}), ("Adam", {"amsgrad": True}), ("ASGD", {}), ("RAdam", {})],
    ],
    ids=str,
)
def test_there_are_as_many_operations_as_in_torchs_loops(name, options):
    a, b = ([Parameter(torch.randn(10)) for _ in range(4)] for _ in range(2))
    ours = operations(getattr(ravine.optim, name)(a, lr=0.01, watch=False, **options), a)
    theirs = operations(getattr(torch.optim, name)(b, lr=0.01, foreach=True, **options), b)
    assert len(ours) <= len(theirs), (ours, theirs)


class Traffic(TorchDispatchMode):
    """How many whole tensors operations read and write, or bytes of them."""

    def __init__(self, elements: int, of: Callable[[torch.Tensor], int] = lambda tensor: 1) -> None:
        super().__init__()
        self.elements, self.tensors, self._of = elements, 0, of

    def _large(self, value: Any) -> int:
        if isinstance(value, torch.Tensor):
            return self._of(value) if value.numel() == self.elements else 0
        return sum(map(self._large, value)) if isinstance(value, tuple | list) else 0

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        name = function.__name__.partition(".")[0]
        found = function(*args, **(kwargs or {}))
        if name == "_foreach_copy_":  # of what it writes to it reads nothing
            self.tensors += self._large(args)
        elif name not in ("detach", "expand", "view", "view_as_real", "empty_like"):  # these move nothing
            in_place = name.startswith("_foreach") and name.endswith("_")
            self.tensors += self._large(args) + (self._large(args[0]) if in_place else self._large(found))
        return found


#: What more the formula of these moves, as a share of torch's: it is finite where theirs is not, or sums are doubles.
MORE = {"adamax": 18 / 16, "nadam": 24 / 23, "rmsprop-centered": 38 / 26, "rprop": 52 / 41, "adafactor": 50 / 19}


def of_torch() -> list[str]:
    """The names whose optimizer torch has with a loop of lists, and with the same options."""
    both = [(named, getattr(torch.optim, named.cls.__name__, None)) for named in map(registry.lookup, registry.names())]
    known = [(named, inspect.signature(theirs).parameters) for named, theirs in both if theirs is not None]
    return [named.name for named, known in known if {"foreach", *named.options} <= known.keys()]


@pytest.mark.parametrize("name", of_torch())
def test_no_more_memory_is_moved_than_by_torchs_loops(name):
    named = registry.lookup(name)
    moved = []
    for make in (partial(named.cls, watch=False), partial(getattr(torch.optim, named.cls.__name__), foreach=True)):
        p = Parameter(torch.randn(60, 50))
        p.grad = torch.randn_like(p)
        optimizer = make([p], **named.options)
        for _ in range(6):  # from the sixth on RAdam corrects by the variance
            optimizer.step()
        with Traffic(p.numel()) as traffic:
            optimizer.step()
        moved.append(traffic.tensors)
    ours, theirs = moved
    assert 0 < ours <= MORE.get(name, 1.0) * theirs + 1e-9


@pytest.mark.parametrize(("steps", "more"), [(1, 14), (5, 1)], ids=["in full", "in brief"])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_more_is_moved_to_watch(name: str, steps: int, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record, "ROWS", 4)
    moved = []
    for watch in (False, True):
        p = Parameter(torch.randn(60, 50))
        p.grad = torch.randn_like(p)
        optimizer = registry.lookup(name).cls([p], lr=1e-3, watch=watch)
        for _ in range(steps):
            optimizer.step()
        with Traffic(p.numel()) as traffic:
            optimizer.step()
        moved.append(traffic.tensors)
    assert moved[1] - moved[0] == more


@pytest.mark.parametrize(("name", "times"), [("SGD", 5.0), ("AdamW", 3.0)])
def test_what_more_is_moved_in_16_bits(name: str, times: float) -> None:
    moved = []
    for make in (partial(getattr(ravine.optim, name), watch=False), partial(getattr(torch.optim, name), foreach=True)):
        p = Parameter(torch.randn(60, 50).bfloat16())
        p.grad = torch.randn_like(p)
        optimizer = make([p], lr=1e-3)
        optimizer.step()
        with Traffic(p.numel(), torch.Tensor.element_size) as traffic:
            optimizer.step()
        moved.append(traffic.tensors)
    assert moved[0] == times * moved[1]


QUOTIENTS: dict[str, Callable[..., Any]] = {
    "alone": lambda g, p: 2.0 / p,
    "scaled": lambda g, p: 3.0 * (2.0 / p) * 0.5,
    "by a list": lambda g, p: g * (2.0 / p),
    "by a scaled list": lambda g, p: (0.5 * g) * (2.0 / p),
    "by a product": lambda g, p: (g * p) * (2.0 / p),
    "by a sum": lambda g, p: (2.0 / p) * (g + p),
    "by another": lambda g, p: (2.0 / p) * (3.0 / g),
    "added": lambda g, p: g + 2.0 / p,
}


@pytest.mark.parametrize("name", QUOTIENTS)
def test_a_number_over_a_list_is_that_of_the_eager_backend(name):
    def formula(param, *, grad, lr):
        return param - lr * QUOTIENTS[name](grad, param)

    found = []
    for fused in (None, False):
        p = Parameter(torch.tensor([1.0, -2.0, 0.0, math.inf, math.nan, 3.0, 1e-30]))
        p.grad = torch.tensor([0.5, 4.0, 1.0, 2.0, 1.0, -math.inf, 0.25])
        Optimizer([p], formula, lr=0.25, fused=fused).step()
        found.append(p.detach())
    torch.testing.assert_close(*found, equal_nan=True)


def test_an_extreme_goes_where_its_first_argument_is_and_not_before_the_second_was_read():
    def falling(param, top=0.0, low=-4.0, *, grad, lr):
        top = maximum(0.5 * top, abs(grad))
        low = minimum(0.5 * low, low)
        return param - lr * (top + low), top, low

    found = []
    for fused in (None, False):
        p = Parameter(torch.ones(3))
        optimizer = Optimizer([p], falling, lr=0.25, fused=fused)
        for grad in (4.0, 1.0, 0.25):
            p.grad = torch.tensor([grad, -grad, 3.0])
            optimizer.step()
        found.append([p.detach(), *optimizer.state[p].values()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_what_a_number_does_not_choose_is_not_computed():
    def late(param, sum=0.0, *, grad, lr, step):
        sum = where(step > 2, sum + grad, sum)
        return param - lr * where(step == 1, 1.0, sum / grad), sum

    p = Parameter(torch.ones(3))
    optimizer, names = Optimizer([p], late, lr=0.25, watch=False), []
    for grad in (4.0, 1.0, 2.25):
        p.grad = torch.full((3,), grad)
        with Counted() as counted:
            optimizer.step()
        names.append(sum("div" in name for name in counted.seen))
    assert names[0] == 0
    assert names[2] == 1
    assert p.tolist() == [1 - 0.25 - 0.25] * 3


def test_a_denominator_of_zero_has_the_sign_of_the_formula():
    def quotient(param, *, grad, lr, scale, eps):
        return param - lr * (grad / (eps - scale * param))

    found = []
    for fused in (None, False):
        p = Parameter(torch.zeros(3))
        p.grad = torch.tensor([1.0, -1.0, 2.0])
        ravine.optim.Optimizer([p], quotient, lr=1.0, scale=2.0, eps=0.0, fused=fused).step()
        found.append(p.detach())
    assert found[0].tolist() == found[1].tolist() == [-math.inf, math.inf, -math.inf]


def test_a_graph_is_refused_before_anything_is_written(monkeypatch):
    p = Parameter(torch.ones(5))
    p.grad = torch.ones(5)
    optimizer = RMSprop([p], lr=0.1)
    optimizer.step()
    before = p.detach().clone()
    monkeypatch.setattr(backends, "recording", lambda device: True)
    with pytest.raises(BackendError, match="graph"):
        optimizer.step()
    assert torch.equal(p, before)
    assert float(optimizer.state[p]["step"]) == 1


def test_what_gradscaler_found_is_waited_for_only_where_nothing_else_knows_of_it():
    p = Parameter(torch.ones(5))
    optimizer = Adam([p], lr=0.1)
    for found in (0.0, 1.0, 0.0):
        p.grad = torch.ones(5)
        optimizer.found_inf = torch.tensor(found)
        optimizer.step()
        del optimizer.found_inf
    assert float(optimizer.state[p]["step"]) == 2
    assert optimizer.skipped == 1


@pytest.mark.parametrize("scale", [None, 2.0])
def test_kept_numbers_go_to_the_device_and_back_when_a_gradscaler_comes_and_goes(scale):
    found = []
    for fused in (None, False):
        p = Parameter(torch.ones(5))
        optimizer = NAdam([p], lr=0.1, fused=fused)
        for bad in (None, 0.0, 1.0, 0.0, None):
            p.grad = torch.ones(5)
            given = {} if bad is None else {"found_inf": torch.tensor(bad)}
            given |= {} if bad is None or scale is None else {"grad_scale": torch.tensor(scale)}
            for name, value in given.items():
                setattr(optimizer, name, value)
            optimizer.step()
            for name in given:
                delattr(optimizer, name)
        state = optimizer.state[p]
        found.append([p.detach(), *(state[n].double().cpu() for n in ("mu_product", "exp_avg", "exp_avg_sq", "step"))])
    assert float(found[0][-1]) == 4
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_a_number_that_is_kept_for_a_group_stays_when_a_step_is_skipped():
    def growing(param, speed=scalar(1.0, per="group"), *, grad, lr):
        return param - lr * speed * grad, 2 * speed

    p = Parameter(torch.zeros(2))
    optimizer = Optimizer([p], growing, lr=1.0)
    for bad in (0.0, 1.0, 0.0):
        p.grad = torch.ones(2)
        optimizer.found_inf = torch.tensor(bad)
        optimizer.step()
        del optimizer.found_inf
    assert p.tolist() == [-3.0, -3.0]
    assert float(optimizer.param_groups[0]["speed"]) == 4


def test_a_number_that_is_chosen_is_summed_over_all_elements():
    def counted(param, *, grad, lr, share):
        return param - lr * mean(where(share > 0, share, grad * grad)) * grad

    found = []
    for fused in (None, False):
        p = Parameter(torch.ones(3, dtype=torch.complex64))
        optimizer = Optimizer([p], counted, lr=0.25, share=2.0, fused=fused)
        for share in (2.0, 0.0):
            optimizer.param_groups[0]["share"] = share
            p.grad = torch.full((3,), 1 + 3j)
            optimizer.step()
        found.append(p.detach())
    torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore")
def test_it_takes_over_where_triton_cannot_compile(monkeypatch):
    from ravine.optim._engine import kernels, prepare

    def cannot(*_: Any) -> Any:
        raise BackendError("Triton cannot compile a kernel for cpu: no C compiler")

    monkeypatch.setattr(prepare, "why_not", kernels.why_not)  # which says again what is so
    monkeypatch.setattr(kernels.triton, "kernels_wanted", lambda device: True)
    monkeypatch.setattr(kernels.triton, "why_no_kernel", lambda tensor: "")
    monkeypatch.setattr(kernels.triton, "DeviceBatch", cannot)
    kernels.warn_once.cache_clear()
    p = Parameter(torch.ones(5))
    p.grad = torch.ones(5)
    optimizer = Adam([p], lr=0.1)
    with pytest.warns(UserWarning, match="no C compiler.*lists"):
        optimizer.step()
    assert isinstance(optimizer._plan._entries[0].batch, Foreach)
    with pytest.raises(BackendError, match="no C compiler"):
        Adam([p], lr=0.1, fused=True).step()


@pytest.mark.parametrize("options", [{}, {"rounding": "nearest"}, {"clip_norm": 0.5, "nonfinite": "skip"}], ids=str)
def test_states_of_8_bits_are_those_of_the_kernels_of_the_cpu(options, monkeypatch):
    """Lists know nothing of the scales of codes: such tensors are stepped one by one, and others on lists."""
    found = []
    for on_device in (True, False):
        if not on_device:
            monkeypatch.undo()
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(torch.randn(s, generator=generator)) for s in ((100, 70), (70,), (64, 64))]
        optimizer = Adam(params, lr=0.01, state_dtype="8bit", **options)
        for _ in range(4):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
        kinds = {type(e.batch) for e in optimizer._plan._entries}
        assert not on_device or kinds == {Eager, Foreach}
        found.append((params, optimizer))
    (ours, device), (theirs, host) = found
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)
        for name, kept in host.state[q].items():
            mine = device.state[p][name]
            if is_code(kept.dtype):
                assert mine.dtype is kept.dtype
                assert (mine != kept).float().mean() < 0.01, name
            else:
                torch.testing.assert_close(mine, kept)


def test_sums_of_formulas_are_those_of_the_eager_backend() -> None:
    def summed(param: Any, average: Any = 0.0, *, grad: Any, lr: Any, step: Any) -> Any:
        average = 0.9 * average + grad
        share = mean(where(average * grad > 0, 1, 0)) / numel(grad)
        return param - lr * (share + dot(average, param, "group") / (1 + norm(grad, "all")) + step % 3), average

    found = []
    for fused in (None, False):
        generator = torch.Generator().manual_seed(0)
        params = [Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in SHAPES if 0 not in s]
        optimizer = Optimizer([{"params": params[:2]}, {"params": params[2:]}], summed, lr=0.01, fused=fused)
        for _ in range(4):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            optimizer.step()
        assert optimizer._plan is not None
        assert {type(entry.batch) for entry in optimizer._plan._entries} == {Foreach if fused is None else Eager}
        found.append(params)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
