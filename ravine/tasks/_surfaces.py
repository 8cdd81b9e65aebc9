"""Functions of two variables by name, and the user's own from a Python file.

Like a task's file, the file is code and is run: name only files that you trust. It is checked before anything is drawn.
"""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ravine._files import code
from ravine.errors import DataError, OptionError, an, nearest
from ravine.tasks._task import Surface
from ravine.tasks._test_functions import SURFACES

_WINDOW = (-5.0, 5.0, -5.0, 5.0)
_FARTHEST = 1e12
_GRID = 101
_FORM = "def f(point): x, y = point.unbind(-1); return x**2 + 5 * y**2"


def names() -> list[str]:
    """The functions that come with the library."""
    return list(SURFACES)


def find(name: str) -> tuple[str, Surface]:
    """The name to show and the function: one of :func:`names`, or the user's from a file whose name ends in ``.py``.

    Raises:
        OptionError: there is no such function, or the file's cannot be drawn.
        DataError: there is no such file, or it or its function raises.
    """
    if not isinstance(name, str):
        raise OptionError(
            f"A function is named by a text: one of {', '.join(SURFACES)}, or the path of a .py file; got {name!r} "
            f"({type(name).__name__})."
        )
    if name.endswith(".py"):
        path = Path(name).absolute()
        return path.stem, load(path)
    if name not in SURFACES:
        raise OptionError(
            f"There is no function {name!r} of two variables. {nearest(name, SURFACES)} "
            "A function of your own is a file that ends in .py."
        )
    return name, SURFACES[name]


def load(path: Path) -> Surface:
    """The function in a Python file: the one named ``f``, else the only one that takes one argument.

    ``start``, ``minimum`` (pairs of numbers) and ``window`` (left, right, bottom, top) beside it are optional. Without
    a window it is -5 to 5 both ways, and without a start the middle of the window's upper left quarter.

    Raises:
        DataError: there is no such file, or it or the function raises.
        OptionError: there is no such function, or it is not a function of points of shape (..., 2).
    """
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"The file {path} {reason}; name a Python file with a function of two variables: {_FORM}")
    with code.beside(path):
        module = code.run(path, "function")
        function = _function(module, path)
        window = _numbers(module, "window", 4, path) or _WINDOW
        left, right, bottom, top = window
        if not (left < right and bottom < top):
            raise OptionError(f"`window` in {path} is {window}; it is (left, right, bottom, top), each pair ascending.")
        start = _numbers(module, "start", 2, path) or (left + (right - left) / 4, top - (top - bottom) / 4)
        minimum = _numbers(module, "minimum", 2, path)
        for name, point in (("start", start), ("minimum", minimum)):
            if point is not None and not (left <= point[0] <= right and bottom <= point[1] <= top):
                raise OptionError(f"`{name}` in {path} is {point}, outside the window {window}.")
        _check(function, window, start, minimum, path)
    return Surface(_doubled(function), (start[0], start[1]), minimum and (minimum[0], minimum[1]), (*window,))


def _function(module: ModuleType, path: Path) -> Callable[..., Any]:
    members = vars(module)
    if "f" in members:
        if not callable(members["f"]):
            raise OptionError(f"`f` in {path} is {an(type(members['f']).__name__)}; it must be a function: {_FORM}")
        function: Callable[..., Any] = members["f"]
        if not _takes_one(function):
            raise OptionError(f"f{inspect.signature(function)} in {path} must take one argument, the point: {_FORM}")
        return function
    candidates = [
        name
        for name, value in members.items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and _takes_one(value)
    ]
    if len(candidates) == 1:
        return members[candidates[0]]
    if candidates:
        raise OptionError(
            f"{path} has several functions of one argument: {', '.join(candidates)}. Name one of them `f`."
        )
    raise OptionError(f"{path} has no function of one argument, the point. Write one: {_FORM}")


def _takes_one(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _numbers(module: ModuleType, name: str, count: int, path: Path) -> Any:
    """A tuple of so many finite numbers, or None if the file does not have it."""
    value = getattr(module, name, None)
    if value is None:
        return None
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        numbers = ()
    # beyond that, coordinates lose all digits in the window, and their squares overflow
    if len(numbers) != count or not all(math.isfinite(n) and abs(n) <= _FARTHEST for n in numbers):
        raise OptionError(f"`{name}` in {path} is {value!r}; it must be {count} numbers, from -1e12 to 1e12.")
    return numbers


def _doubled(function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    """The function with its values in float64."""
    return lambda point: function(point).double()


def _check(function: Callable[..., Any], window: Any, start: Any, minimum: Any, path: Path) -> None:
    """Check that it maps (..., 2) to (...), is deterministic, treats each point alone, and has a gradient at its start."""
    name = f"{getattr(function, '__name__', 'f')}() in {path}"
    left, right, bottom, top = window
    xs, ys = (torch.linspace(a, b, n, dtype=torch.float64) for a, b, n in ((left, right, 4), (bottom, top, 5)))
    few = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1)
    with code.explained(path):
        values, again = function(few.clone()), function(few.clone())
    if not isinstance(values, Tensor):
        raise OptionError(f"{name} returned {an(type(values).__name__)}; it must return a tensor: {_FORM}")
    if not values.is_floating_point() or values.shape != few.shape[:-1]:
        raise OptionError(
            f"{name} made {values.dtype} of shape {tuple(values.shape)} from points of shape {tuple(few.shape)}; it "
            f"must make a floating-point number of each point, shape {tuple(few.shape[:-1])}. "
            "Take the coordinates by x, y = point.unbind(-1)."
        )
    if not torch.equal(values.nan_to_num(), again.nan_to_num()):
        raise OptionError(f"{name} gives different values at the same point; it must not draw random numbers.")
    with code.explained(path):
        single = torch.stack([function(point.clone()) for point in few.flatten(0, 1)])
    if single.shape != (values.numel(),) or not torch.allclose(single, values.flatten(), rtol=1e-4, equal_nan=True):
        raise OptionError(
            f"{name} gives a point another value when it is evaluated with others; a value may depend on its own point only."
        )
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    with code.explained(path):
        value = function(point)
    if not value.requires_grad:
        raise OptionError(f"{name} returned a value without a gradient; use torch's functions, not .item() or NumPy.")
    with code.explained(path):
        (slope,) = torch.autograd.grad(value, point)
    if not (value.isfinite() and slope.isfinite().all()):
        raise OptionError(
            f"{name} at its start {start} is {value.item():g}, its gradient {slope.tolist()}: not finite."
        )
    _check_values(function, window, minimum, path)


def _check_values(function: Callable[..., Any], window: Any, minimum: Any, path: Path) -> None:
    """Check that there is something to draw in the window, and nothing in it below the minimum."""
    name = f"{getattr(function, '__name__', 'f')}()"
    left, right, bottom, top = window
    xs = torch.linspace(left, right, _GRID, dtype=torch.float64)
    ys = torch.linspace(bottom, top, _GRID, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).flatten(0, 1)
    with code.explained(path), torch.no_grad():
        values = function(grid).double()
    finite = values[values.isfinite()]
    if not len(finite) or finite.min() == finite.max():
        raise OptionError(f"{name} in {path} has no two different finite values in the window {window}.")
    if minimum is None:
        return
    with code.explained(path), torch.no_grad():
        least = function(torch.tensor(minimum, dtype=torch.float64)).double()
    # the grid may reach a little below a minimum that is rounded
    if not finite.min() >= least - 1e-6 * (finite.max() - finite.min()):
        lower = grid[values.nan_to_num(math.inf, math.inf, math.inf).argmin()]
        where = tuple(round(c, 4) + 0.0 for c in lower.tolist())
        raise OptionError(
            f"`minimum` in {path} is {minimum}, where {name} is {least.item():g}; but at {where} it is "
            f"{finite.min().item():g}. Name the lowest point, or leave `minimum` out."
        )
