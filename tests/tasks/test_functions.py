"""The test functions against SciPy, known values and finite differences."""

import numpy as np
import pytest
import scipy.optimize
import torch

from ravine import tasks
from ravine.tasks import _test_functions as functions

NAMES = list(functions.SURFACES)


def gradient(value, point):
    point = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    value(point).backward()
    return point.grad


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_are_zero_at_the_minimum_and_nowhere_near(name):
    surface = functions.SURFACES[name]
    minimum = torch.tensor(surface.minimum, dtype=torch.float64)
    assert surface.value(minimum).item() == 0
    assert gradient(surface.value, surface.minimum).abs().max() == 0
    around = minimum + 0.1 * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (surface.value(around) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_finite_differences(name):
    surface = functions.SURFACES[name]
    for point in ([0.3, -0.7], [1.4, 0.2], list(surface.start)):
        numeric = scipy.optimize.approx_fprime(
            point, lambda p, value=surface.value: value(torch.tensor(p, dtype=torch.float64)).item(), 1e-7
        )
        assert gradient(surface.value, point).tolist() == pytest.approx(numeric.tolist(), rel=1e-4, abs=1e-4)


def test_rosenbrock_is_scipys():
    points = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = [scipy.optimize.rosen(point) for point in points.numpy()]
    assert functions.rosenbrock(points).tolist() == pytest.approx(expected)


def test_beale_has_its_published_values():
    at = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    assert functions.beale(at).tolist() == pytest.approx([14.203125] * 3)  # 1.5² + 2.25² + 2.625², wherever xy = x


def test_the_ravine_is_a_hundred_times_steeper_across():
    hessian = torch.autograd.functional.hessian(functions.ravine, torch.tensor([3.0, -2.0], dtype=torch.float64))
    assert hessian.numpy() == pytest.approx(np.diag([0.1, 10.0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_task_starts_at_the_start_inside_the_picture(name):
    task = tasks.find(name)
    left, right, bottom, top = task.surface.window
    for x, y in (task.surface.start, task.surface.minimum):
        assert left < x < right
        assert bottom < y < top
    model = task.model()
    assert tuple(model.point.tolist()) == task.surface.start
    assert task.steps_per_epoch == 100
    value = task.loss(model(task.train.inputs), task.train.targets)
    assert value.item() == functions.SURFACES[name].value(model.point).item()
    distance = task.metrics["distance"](model.point, task.test.targets).item()
    across = torch.tensor(task.surface.start) - torch.tensor(task.surface.minimum)
    assert distance == pytest.approx(across.norm().item(), rel=1e-6)
