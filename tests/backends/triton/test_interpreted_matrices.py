"""GPU kernels of formulas with rows, columns and functions of whole tensors, in Triton's interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from interpreted_steps import Context, close, give, make, of, same_watch
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode

from ravine import backends
from ravine.backends.triton import DeviceBatch, MatrixDeviceBatch
from ravine.backends.triton._temporaries import Temporaries
from ravine.backends.triton._tile_text import TILES, tile_for
from ravine.formula import amax, global_norm, mean, norm, numel, reduced, scalar, sqrt, sum, tensor_function, where
from ravine.optim import Optimizer, pieces

#: One tile and several, in both directions and in each alone; rows of 16 elements and others; small matrices in one tile; none.
SHAPES = (
    (37, 41),
    (68, 144),
    (130, 16),
    (2, 262),
    (2052, 3),
    (5, 7, 3, 3),
    (3, 20, 48),
    (1, 1),
    (0, 4),
    (2, 0),
)
#: For what every kernel goes through in the same way: an odd one, tiles in both directions, small ones in one tile, none.
FEW = ((37, 41), (68, 144), (5, 7, 3, 3), (0, 4))


def matrices(dtype: torch.dtype, shapes: Any = SHAPES) -> list[Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def row_rms(update, row=reduced(0.0, dim=-1), column=reduced(0.0, dim=-2), *, decay):
    row = decay * row + (1 - decay) * mean(update**2, dim=-1)
    column = decay * column + (1 - decay) * mean(update**2, dim=-2)
    update = update / sqrt(row / mean(row, dim=-2) * column + 1e-8)
    return update / (1 + norm(update) / sqrt(numel(update)) + sum(row) / numel(row)), row, column


def rows_of_rows(update, top=reduced(0.5, dim=-1)):
    """Sums whose arguments are sums; the largest magnitudes; a truth value of rows; a sum of everything."""
    centred = update - mean(update, dim=-1)
    again = centred / (amax(centred, dim=-2) + 0.1)
    update = where(amax(again, dim=-1) > 0.9, again + top, again - top)
    return update * (1 + global_norm(update)), amax(again, dim=-1)


def swapped(update, one=reduced(1.0, dim=-1), two=reduced(2.0, dim=-1)):
    return (one - two) * update, two, one + mean(update, dim=-1)


@tensor_function(batched=True, returns=2)
def halves(x, y):
    """The second comes back laid out otherwise than the parameter."""
    return x @ y.mT @ x, (x.mT * 0.5).contiguous().mT


def called(update, kept=0.0):
    one, two = halves(2 * update, update * 0.1)
    kept = 0.9 * kept + one
    return kept / (1 + norm(kept)) + two + mean(update), kept


def called_by_rows(update, row=reduced(0.0, dim=-1)):
    one, two = halves(update, update * 0.1)
    row = 0.9 * row + mean(one**2, dim=-1)
    return two / sqrt(row + 1), row


FORMULAS = {f.__name__: f for f in (row_rms, rows_of_rows, swapped, called, called_by_rows)}


def optimizer_of(name: str, params: Any, **options: Any) -> Optimizer:
    hypers = {"decay": 0.9} if name == "row_rms" else {}
    return Optimizer(params, [FORMULAS[name], pieces.descend], lr=0.01, **hypers, **options)


def together(kernels: Optimizer, eager: Optimizer, interpreting: Context, missing: Any = ()) -> None:
    for step in range(3):
        for optimizer in (kernels, eager):
            give(of(optimizer), step, missing if step == 1 else ())
        with interpreting():
            kernels.step()
        eager.step()


def batches(optimizer: Optimizer) -> set[type]:
    assert optimizer._plan is not None
    return {type(entry.batch) for entry in optimizer._plan._entries}


@pytest.mark.parametrize("name", FORMULAS)
def test_kernels_are_torchs_operations(name: str, interpreting: Context) -> None:
    ours, others = matrices(torch.float64), matrices(torch.float64)
    kernels, eager = optimizer_of(name, ours), optimizer_of(name, others, fused=False)
    together(kernels, eager, interpreting, missing=[1, 3])
    assert batches(kernels) == {DeviceBatch if name == "called" else MatrixDeviceBatch}
    close(kernels, eager, 1e-11)
    with interpreting():
        same_watch(kernels, eager)


@pytest.mark.slow  # seconds in the interpreter
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dtypes(dtype: torch.dtype, interpreting: Context) -> None:
    """All is computed in single precision; states of rows have the parameter's dtype."""
    ours, others = matrices(dtype, FEW), matrices(dtype, FEW)
    kernels, eager = optimizer_of("row_rms", ours), optimizer_of("row_rms", others, fused=False)
    together(kernels, eager, interpreting)
    close(kernels, eager, {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-9}[dtype])


@pytest.mark.slow  # seconds in the interpreter
@pytest.mark.filterwarnings("ignore:nonfinite='skip'")
@pytest.mark.parametrize("name", ["row_rms", "called_by_rows"])
@pytest.mark.parametrize(
    "options", [{"clip_norm": 0.5}, {"nonfinite": "skip"}, {"ema_decay": 0.9}, {"watch": False}], ids=str
)
def test_options(name: str, options: dict[str, Any], interpreting: Context) -> None:
    ours, others = matrices(torch.float64, FEW), matrices(torch.float64, FEW)
    kernels, eager = optimizer_of(name, ours, **options), optimizer_of(name, others, fused=False, **options)
    for step in range(3):
        for params in (ours, others):
            give(params, step)
            if "nonfinite" in options and step == 1:
                params[0].grad[36, 40] = float("inf")  # type: ignore[index]
        before = [t.clone() for p in ours for t in (p.detach(), *kernels.state[p].values())]
        with interpreting():
            kernels.step()
        eager.step()
        if "nonfinite" in options and step == 1:
            now = [t for p in ours for t in (p.detach(), *kernels.state[p].values())]
            for a, b in zip(now, before, strict=True):  # the means of no elements are NaN
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    close(kernels, eager, 1e-11)


@pytest.mark.parametrize("name", ["adafactor", "adammini", "came", "muon", "normuon", "psgdkron", "shampoo", "soap"])
def test_optimizers(name: str, interpreting: Context) -> None:
    shapes = ((24, 16), (24, 16), (7, 33), (5,))
    ours, others = matrices(torch.float64, shapes), matrices(torch.float64, shapes)
    kernels, eager = make(name, ours), make(name, others, fused=False)
    together(kernels, eager, interpreting, missing=[1])
    assert batches(kernels) <= {DeviceBatch, MatrixDeviceBatch}
    # Muon's iteration is in bfloat16: the last bit of what it is given can flip a bit of those.
    close(kernels, eager, 0.02 if name in ("muon", "normuon") else 1e-8)


def test_against_numpy(interpreting: Context) -> None:
    """Two steps of ``row_rms`` in lines of NumPy."""
    (p,) = params = matrices(torch.float64, [(37, 200)])
    optimizer = optimizer_of("row_rms", params)
    x, row, column = p.detach().numpy().copy(), 0.0, 0.0
    for step in range(2):
        give(params, step)
        g = p.grad.numpy()  # type: ignore[union-attr]
        row = 0.9 * row + 0.1 * (g**2).mean(1, keepdims=True)
        column = 0.9 * column + 0.1 * (g**2).mean(0, keepdims=True)
        u = g / np.sqrt(row / row.mean() * column + 1e-8)
        x = x - 0.01 * u / (1 + np.sqrt((u**2).mean()) + row.mean())
        with interpreting():
            optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), x, rtol=1e-13)
    np.testing.assert_allclose(optimizer.state[p]["row"].numpy(), row, rtol=1e-13)
    np.testing.assert_allclose(optimizer.state[p]["column"].numpy(), column, rtol=1e-13)


def test_addresses_that_are_no_multiple_of_16(interpreting: Context) -> None:
    base = torch.randn(32 * 48 + 1, generator=torch.Generator().manual_seed(1))
    ours, others = [Parameter(base[1:].view(32, 48))], [Parameter(base[1:].clone().view(32, 48))]
    assert ours[0].data_ptr() % 16
    kernels, eager = optimizer_of("row_rms", ours), optimizer_of("row_rms", others, fused=False)
    together(kernels, eager, interpreting)
    close(kernels, eager, 1e-5)


def test_sums_that_float32_cannot_hold_are_made_again(interpreting: Context) -> None:
    def rule(update: Any) -> Any:
        return update / norm(update) * where(mean(update, dim=-1) > 0, 1, 1)

    for size in (3e25, 1e-25):
        p = Parameter(torch.zeros(40, 30))
        p.grad = torch.full((40, 30), size)
        optimizer = Optimizer([p], [rule, pieces.descend], lr=1.0)
        with interpreting():
            optimizer.step()
            found = float(optimizer.watch.last["0"].grad_norm)
        torch.testing.assert_close(p.detach(), torch.full((40, 30), -1 / 1200**0.5))
        assert found == pytest.approx(size * 1200**0.5, rel=1e-6)


def test_every_shape_has_a_tile_that_holds_it_or_is_the_longest() -> None:
    for rows in (1, 3, 4, 5, 16, 17, 500, 10_000):
        for columns in (1, 4, 5, 16, 17, 128, 10_000):
            tile = TILES[tile_for(rows, columns)]
            assert tile.matrices * tile.rows * tile.columns == 2048
            assert tile.columns >= min(columns, 128)
            assert tile.rows >= min(rows, 2048 // tile.columns)


def test_the_launches_of_a_step_do_not_grow_with_tensors(
    interpreting: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One launch for each job and form of tile, whatever the number of tensors."""
    from ravine.backends.triton import _text_compiler

    seen: list[Any] = []
    bind = _text_compiler.InterpretedKernel.bind

    def counted(self: Any, grid: Any, *given: Any) -> Any:
        launch = bind(self, grid, *given)
        return lambda *more: (seen.append(grid), launch(*more))

    monkeypatch.setattr(_text_compiler.InterpretedKernel, "bind", counted)
    launches = []
    for count in (1, 5):
        params = matrices(torch.float32, [(20, 32)] * count)
        optimizer = optimizer_of("row_rms", params)
        give(params, 0)
        seen.clear()
        with interpreting():
            optimizer.step()
        launches.append(len(seen))
    assert launches[0] == launches[1]


def test_matrices_of_one_shape_are_given_to_a_function_without_a_copy(interpreting: Context) -> None:
    given: list[Any] = []

    @tensor_function(batched=True)
    def seen(x: Any) -> Any:
        given.append((tuple(x.shape), x.stride(0)))
        return x + 0

    def rule(update: Any) -> Any:
        return seen(2 * update)

    params = matrices(torch.float32, [(4, 3), (2, 5), (4, 3)])
    optimizer = Optimizer(params, [rule, pieces.descend], lr=0.5)
    give(params, 0)
    before = [p.detach().clone() for p in params]
    with interpreting():
        optimizer.step()
    # Each begins at a multiple of 16 elements, which a copy of both would not leave between them.
    assert sorted(given) == [((2, 4, 3), 16), ((2, 5), 5)]
    for p, b in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), b - p.grad)


class _Waits(TorchFunctionMode):
    """Notes what makes a number on the host of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := getattr(function, "__name__", "")) in ("__bool__", "__float__", "__int__", "item", "tolist"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["shampoo", "soap", "psgdkron"])
def test_whether_a_basis_is_due_is_known_on_the_host(name: str, interpreting: Context) -> None:
    """As long as all counts are equal and no step can have been skipped; otherwise somebody has to look at the device."""
    ours, others = matrices(torch.float64, [(8, 6), (8, 6)]), matrices(torch.float64, [(8, 6), (8, 6)])
    kernels, eager = (
        make(name, params, **options, **({} if name == "psgdkron" else {"precondition_frequency": 3}))
        for params, options in ((ours, {}), (others, {"fused": False}))
    )
    waits = []
    for step in range(12):
        give(ours, step, [1] if step == 9 else [])
        give(others, step, [1] if step == 9 else [])
        if step == 6:  # by the user: not due in the next step
            for optimizer, params in ((kernels, ours), (eager, others)):
                for p in params:
                    optimizer.state[p]["step"].fill_(7)
        with interpreting():
            if step in (0, 6):  # a new plan, and counts that the user wrote
                kernels.step()
            else:
                with _Waits() as mode:
                    kernels.step()
                waits.append(bool(mode.names))
        eager.step()
        close(kernels, eager, 1e-8)
    assert waits == [False] * 7 + [True] * 3  # from step 9 on the counts differ


@pytest.mark.parametrize(
    ("unknown", "written", "which"),
    [("skipped", 2, [1]), ("captured", 2, [1]), ("captured", 1, [1]), ("captured", 2, [0, 1])],
)
def test_counts_that_the_user_writes_are_seen_where_the_host_does_not_know_them(
    unknown: str, written: int, which: list[int], interpreter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a step that may be skipped, and of the second here, which a CUDA graph captures: it is made again when replayed."""
    kinds = []

    @tensor_function(batched=True)
    def scaled(x: Any, n: Any) -> Any:
        kinds.append(type(n))
        return x * n

    def rule(update: Any, *, step: Any) -> Any:
        return scaled(2 * update, step)

    params = [Parameter(torch.zeros(3, 2)) for _ in range(2)]
    nonfinite: Any = "skip" if unknown == "skipped" else "propagate"
    optimizer = Optimizer(params, [rule, pieces.descend], lr=1.0, nonfinite=nonfinite)
    for step in range(4):
        for p in params:
            p.grad = torch.ones(3, 2)
        if step == written:
            for i in which:
                optimizer.state[params[i]]["step"].fill_(10)
        with monkeypatch.context() as patch, _Waits() as mode:
            if unknown == "captured" and step == 1:
                patch.setattr(backends, "recording", lambda device: True)
            optimizer.step()
        assert step != 1 or not mode.names  # a capture cannot wait
        assert step == 0 or kinds[-1] is torch.Tensor  # and what is captured cannot be a number of the host
    made = {None: 1 + 2 + 3 + 4, 1: 1 + 11 + 12 + 13, 2: 1 + 2 + 11 + 12}
    for i, p in enumerate(params):
        assert float(p.detach()[0, 0]) == -2.0 * made[written if i in which else None]


def test_functions_are_given_what_only_the_device_knows(interpreting: Context) -> None:
    """A rate that is a tensor, a number kept for each parameter and a norm, none of which follows from the step on the host."""

    @tensor_function(batched=True)
    def scaled(x: Any, *numbers: Any) -> Any:
        return x * math.prod(numbers)

    def rule(update: Any, before: Any = scalar(0.5), *, rate: Any, step: Any) -> Any:
        return scaled(2 * update, step, rate * step, 1 + before * step, norm(update) * step), amax(update)

    one, other = matrices(torch.float64, [(3, 2)] * 3), matrices(torch.float64, [(3, 2)] * 3)
    kernels, eager = (
        Optimizer(params, [rule, pieces.descend], lr=0.1, rate=torch.tensor(0.3), fused=fused)
        for params, fused in ((one, None), (other, False))
    )
    for step in range(3):
        give(one, step)
        give(other, step)
        with interpreting():
            kernels.step()
        eager.step()
        close(kernels, eager, 1e-12)


def test_a_step_that_is_broken_off_after_its_kernel_has_counted_it(
    interpreter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host, which did not count it, asks the device before it says which step is next."""
    given = []

    @tensor_function
    def noted(x: Any, n: Any) -> Any:
        given.append(n)
        return x * n

    def rule(update: Any, *, step: Any) -> Any:
        return noted(update, step)

    p = Parameter(torch.zeros(3, 2))
    p.grad = torch.ones(3, 2)
    optimizer = Optimizer([p], [rule, pieces.descend], lr=1.0)
    optimizer.step()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Temporaries, "write", _interrupt)
        optimizer.step()
    assert float(optimizer.state[p]["step"]) == 2
    optimizer.step()
    optimizer.step()
    assert given == [1.0, 2.0, 3.0, 4.0]


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
