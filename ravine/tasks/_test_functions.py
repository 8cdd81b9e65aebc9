"""Functions of two variables with known minima, on which the path of an optimizer can be shown."""

from functools import partial

import torch
from torch import Tensor, nn

from ravine.tasks._task import Data, Surface, Task

_STEPS_PER_EPOCH = 100


def rosenbrock(point: Tensor) -> Tensor:
    """(1 - x)² + 100 (y - x²)²: a curved valley with a flat floor. From (..., 2) to (...).

    Rosenbrock, An automatic method for finding the greatest or least value of a function (1960).
    """
    x, y = point.unbind(-1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def beale(point: Tensor) -> Tensor:
    """(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²: plateaus and steep corners. (..., 2) to (...).

    Beale, On an iterative method for finding a local minimum of a function of more than one variable (1958).
    """
    x, y = point.unbind(-1)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def ravine(point: Tensor) -> Tensor:
    """x²/20 + 5 y²: a hundred times steeper across than along. From (..., 2) to (...)."""
    x, y = point.unbind(-1)
    return x**2 / 20 + 5 * y**2


SURFACES: dict[str, Surface] = {
    "rosenbrock": Surface(rosenbrock, start=(-1.2, 1.0), minimum=(1.0, 1.0), window=(-2.0, 2.0, -1.0, 3.0)),
    "beale": Surface(beale, start=(1.0, 1.5), minimum=(3.0, 0.5), window=(-0.5, 4.5, -1.0, 2.0)),
    "ravine": Surface(ravine, start=(-8.0, 1.5), minimum=(0.0, 0.0), window=(-10.0, 4.0, -2.5, 2.5)),
}

_EPOCHS = {"rosenbrock": 20, "beale": 10, "ravine": 3}


class Point(nn.Module):
    """A model that is only a point: whatever its inputs, the output is ``point``, shape (2,), in float64."""

    def __init__(self, start: tuple[float, float]) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        return self.point


def task(name: str) -> Task:
    """The function of that name as a task: the loss is its value, and an epoch is 100 steps."""
    surface = SURFACES[name]
    minimum = torch.tensor(surface.minimum, dtype=torch.float64)
    rows = torch.empty(_STEPS_PER_EPOCH, 0)
    return Task(
        name=name,
        model=partial(Point, surface.start),
        train=Data(rows, rows),
        test=Data(rows[:1], rows[:1]),
        loss=lambda point, _: surface.value(point),
        metrics={"distance": lambda point, _: (point - minimum).norm()},
        batch_size=1,
        epochs=_EPOCHS[name],
        quick_epochs=2,
        surface=surface,
    )
