"""The watch in a notebook: the last update in words, a map, a table; for no step, one, and a model of hundreds of tensors."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from ravine._plotting.notebook_html import WRONG
from ravine.optim import SGD
from ravine.watch._history import FIGURES, History


def stepped(names, steps, gradient=1.0):
    params = [torch.nn.Parameter(torch.full((4,), 2.0)) for _ in names]
    optimizer = SGD(zip(names, params, strict=True), lr=0.01)
    for _ in range(steps):
        for p in params:
            p.grad = torch.full_like(p, gradient)
        optimizer.step()
    return optimizer


def pixels(page):
    """The colours of the map, shape (rows, columns, 4)."""
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", page)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def test_before_the_first_step_it_says_so():
    page = stepped(["w"], 0).watch._repr_html_()
    assert "<strong>No step yet</strong>" in page
    assert "<img" not in page
    assert "<pre>Watch(off)</pre>" in SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, watch=False).watch._repr_html_()


def test_one_step_of_one_parameter():
    optimizer = stepped(["<b>"], 1)
    page = optimizer.watch._repr_html_()
    assert "Step 1: the update was 0.005 of the parameters, as usual" in page  # 0.01 of a gradient of 1, over 2
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert pixels(page).shape == (1, 1, 4)


def test_what_is_not_finite_is_red_and_named():
    optimizer = stepped(["a", "b"], 3)
    for p, value in zip(optimizer.param_groups[0]["params"], (1.0, float("nan")), strict=True):
        p.grad = torch.full_like(p, value)
    optimizer.step()
    page = optimizer.watch._repr_html_()
    assert "4 elements of gradients were NaN or infinite (red), first about step 4 in b." in page
    red = tuple(int(WRONG[i : i + 2], 16) for i in (1, 3, 5))
    found = (pixels(page)[..., :3] == red).all(axis=-1)
    assert found.tolist() == [[False] * 4, [False, False, False, True]]


@pytest.mark.parametrize("count", [40, 300])
def test_many_parameters_are_put_together_and_the_output_stays_small(count):
    rng = np.random.default_rng(0)
    figures = {name: rng.lognormal(size=(256, count)) for name in FIGURES}
    figures["nonfinite"] = np.zeros((256, count))
    names = tuple(f"layers.{i // 4}.block.{i % 4}.weight" for i in range(count))
    ends = np.arange(1, 257) * 40
    history = History(names, (4,) * count, ends - 39, ends, **figures)
    from ravine.watch._step_table import StepTable
    from ravine.watch._watch_output import watch_html

    page = watch_html(history, StepTable(history))
    assert len(page) < 200_000
    rows, columns, _ = pixels(page).shape
    assert rows <= 40
    assert columns <= 128
    assert page.count("<tr") == count + 2  # the head, and all together


def test_larger_is_brighter():
    figures = {name: np.ones((2, 1)) for name in FIGURES}
    figures["update_norm"] = np.array([[0.001], [0.1]])
    figures["nonfinite"] = np.zeros((2, 1))
    history = History(("w",), (1,), np.array([1, 2]), np.array([1, 2]), **figures)
    from ravine.watch._step_table import StepTable
    from ravine.watch._watch_output import watch_html

    low, high = pixels(watch_html(history, StepTable(history)))[0, :, :3].astype(int).sum(axis=1)
    assert low < high
