"""The pictures of a history, by the data that the axes hold."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb, to_rgba

from ravine._plotting import style
from ravine._plotting.style import png
from ravine.errors import OptionError
from ravine.watch._history import History
from ravine.watch._history_plots import AXIS_TEXTS, draw_heatmap, draw_lines

HOSTILE = ("$x_1$", "_hidden", "<b>", r"$\frac{", "two\nlines\x00", "long." * 30)
HOSTILE_SHOWN = ["$x_1$", "_hidden", "<b>", r"$\frac{", r"two\nlines\x00", f"{('long.' * 30)[:27]}…g.long.long."]
RED = "#CC3311"


def history(rows=5, names=("0.weight", "0.bias"), every=1, steps=None, **figures):
    """Norms between 0.1 and 10 in rows of so many steps; the last row may cover fewer."""
    shape = (rows, len(names))
    first = 1 + every * np.arange(rows)
    last = np.minimum(first + every - 1, steps or rows * every)
    norms = 10.0 ** np.random.default_rng(0).uniform(-1, 1, shape)
    given = dict.fromkeys(("grad_norm", "param_norm", "grad_max", "param_max", "update_max"), norms)
    given |= {
        "update_norm": 1e-3 * norms[::-1],
        "state_rounding": np.zeros(shape),
        "param_rounding": np.zeros(shape),
        "nonfinite": np.zeros(shape, dtype=np.int64),
        "steps": np.full(shape, every),
    }
    given |= {name: np.asarray(values) for name, values in figures.items()}
    return History(tuple(names), (1,) * len(names), first, last, **given)


def many(count):
    return [f"blocks.{i // 2}.{('weight', 'bias')[i % 2]}" for i in range(count)]


def drawn(axes):
    """The lines of parameters: in the data's own coordinates, and with a point for each row."""
    return [one for one in axes.lines if one.get_transform() == axes.transData]


def marks(axes):
    return [one.get_xdata().tolist() for one in axes.lines if one.get_marker() == "v"]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def tick_names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def meshes(axes):
    return [one for one in axes.collections if isinstance(one, QuadMesh)]


# --- lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", AXIS_TEXTS)
def test_each_parameter_is_a_line_in_the_middle_of_the_steps_of_its_rows(figure):
    run = history(rows=3, every=100, steps=250)
    (axes,) = draw_lines(run, figure).axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == AXIS_TEXTS[figure]
    assert axes.get_xlabel() == "step (a point is 100 steps)"
    assert axes.get_title(loc="left") == "2 parameters, steps 1 to 250"
    assert axes.get_xlim() == (1, 250)
    lines = drawn(axes)[:2]
    for line, values in zip(lines, getattr(run, figure).T, strict=True):
        assert line.get_xdata().tolist() == [50.5, 150.5, 225.5]
        assert line.get_ydata() == pytest.approx(values)
    low, high = axes.get_ylim()
    assert low < getattr(run, figure).min()
    assert high > getattr(run, figure).max()
    assert {"0.weight", "0.bias"} <= set(texts(axes))
    assert ("usual: 0.001 to 0.03" in texts(axes)) == (figure == "ratio")
    assert not marks(axes)


def test_the_usual_ratio_is_marked_and_always_in_the_picture():
    (axes,) = draw_lines(history(update_norm=np.full((5, 2), 1.0), param_norm=np.ones((5, 2))), "ratio").axes
    low, high = axes.get_ylim()
    assert low < 1e-3 < 1 < high
    assert [one.get_ydata() for one in axes.lines if list(one.get_ydata()) == [1e-3, 1e-3]]


def test_up_to_8_lines_are_named_at_their_ends_and_more_by_a_bar_of_their_colours():
    (axes,) = draw_lines(history(names=many(8))).axes
    assert set(texts(axes)) == set(many(8))
    assert [one.get_color() for one in drawn(axes)] == [
        style.line(index, False).colour for index in range(8)
    ]  # no order
    axes, bar = draw_lines(history(names=many(30))).axes
    assert texts(axes) == []
    assert tick_names(bar) == many(30)
    assert bar.get_ylim()[0] > bar.get_ylim()[1]  # the first on top
    colours = [to_rgba(line.get_color()) for line in drawn(axes)]
    assert len(set(colours)) == 30
    assert np.allclose(meshes(bar)[0].cmap(np.arange(30)), colours)
    greys = [sum(colour[:3]) for colour in colours]
    assert greys == sorted(greys)  # from dark to light along the depth
    assert greys[-1] < 2.2  # which can be seen on white


@pytest.mark.parametrize("count", [31, 60, 61, 1000])
def test_a_bar_names_the_first_and_the_last_of_many(count):
    names = tick_names(draw_lines(history(rows=2, names=many(count))).axes[1])
    assert len(names) <= 30
    assert names[0] == many(count)[0]
    assert names[-1] == many(count)[-1]


def test_named_parameters_are_drawn_in_the_order_of_the_network():
    run = history(names=many(20))
    (axes,) = draw_lines(run, names=["blocks.7.weight", "blocks.1.bias"]).axes
    assert [line.get_ydata().tolist() for line in drawn(axes)[:2]] == [run.grad_norm[:, i].tolist() for i in (3, 14)]
    assert texts(axes) == ["blocks.1.bias", "blocks.7.weight"]
    assert axes.get_title(loc="left") == "2 of 20 parameters, steps 1 to 5"
    assert texts(draw_lines(run, names="blocks.1.bias").axes[0]) == ["blocks.1.bias"]


def test_what_is_not_finite_leaves_a_gap_and_a_lonely_value_is_a_dot():
    norms = [[1.0, np.nan], [np.nan, np.inf], [2.0, np.nan], [3.0, np.nan]]
    (axes,) = draw_lines(history(rows=4, grad_norm=norms)).axes
    first, second = drawn(axes)
    assert np.array_equal(first.get_ydata(), [1, np.nan, 2, 3], equal_nan=True)
    assert first.get_markevery() == [0]
    assert np.isnan(second.get_ydata()).all()
    assert texts(axes) == ["0.weight", "0.bias (no value)"]


def test_zeros_and_values_far_from_all_others_lie_on_the_edge():
    norms = np.full((6, 2), 1.0)
    norms[2, 0] = 0.0
    (axes,) = draw_lines(history(rows=6, grad_norm=norms)).axes
    low, high = axes.get_ylim()
    assert 0.5 < low < 1 < high < 2
    assert drawn(axes)[0].get_ydata().tolist() == pytest.approx([1, 1, low, 1, 1, 1])
    assert "Values that are 0 lie on the lower edge." in texts(axes)
    norms[4:, 1] = [1e-200, 1e200]
    (axes,) = draw_lines(history(rows=6, grad_norm=norms)).axes
    low, high = axes.get_ylim()
    assert 1e-12 < low < 1e-9
    assert 1e9 < high < 1e12
    assert drawn(axes)[1].get_ydata()[4:].tolist() == pytest.approx([low, high])
    assert "Values that are 0 or far from all others lie on the edge of the picture." in texts(axes)


def test_gradients_that_were_not_finite_are_marked_over_the_picture():
    counts = np.zeros((4, 2), dtype=np.int64)
    counts[1, 0], counts[3, 1] = 1, 2000
    run = history(rows=4, every=10, steps=35, nonfinite=counts)
    (axes,) = draw_lines(run).axes
    assert marks(axes) == [[15.5, 33]]
    assert "▼ 2,001 elements of gradients were not finite, first in steps 11 to 20." in texts(axes)
    (axes,) = draw_lines(run, names=["0.weight"]).axes
    assert marks(axes) == [[15.5]]
    assert "▼ 1 element of a gradient was not finite, first in steps 11 to 20." in texts(axes)
    (axes,) = draw_lines(history(rows=4, nonfinite=counts), names=["0.bias"]).axes
    assert "▼ 2,000 elements of gradients were not finite, first in step 4." in texts(axes)


# --- the map -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", AXIS_TEXTS)
def test_the_map_has_a_row_for_each_parameter_and_a_column_for_each_row_of_steps(figure):
    run = history(rows=3, names=many(5), every=100, steps=250)
    axes, bar = draw_heatmap(run, figure).axes
    (mesh,) = meshes(axes)
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == [0.5, 100.5, 200.5, 250.5]
    assert corners[:, 0, 1].tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    values = getattr(run, figure)
    assert np.ma.getdata(mesh.get_array()).reshape(5, 3) == pytest.approx(values.T)
    shades = mesh.norm(values)
    assert (np.diff(shades.ravel()[np.argsort(values.ravel())]) >= 0).all()
    low, high = mesh.get_clim()
    assert mesh.norm([low, (low * high) ** 0.5, high]).tolist() == pytest.approx([0, 0.5, 1])  # even in the logarithm
    assert tick_names(axes) == many(5)
    assert axes.get_ylim() == (4.5, -0.5)
    assert axes.get_xlim() == (0.5, 250.5)
    assert axes.get_xlabel() == "step (a column is 100 steps)"
    assert bar.get_ylabel() == AXIS_TEXTS[figure] + ("\n(usual: 0.001 to 0.03)" if figure == "ratio" else "")


@pytest.mark.parametrize("figure", AXIS_TEXTS)
def test_the_label_of_the_colours_fits_into_the_lowest_picture(figure):
    picture = draw_heatmap(history(), figure)
    png(picture)
    label = picture.axes[1].yaxis.label.get_window_extent()
    assert picture.bbox.y0 <= label.y0
    assert label.y1 <= picture.bbox.y1


@pytest.mark.parametrize("count", [40, 41, 60, 1000])
def test_names_of_many_rows_are_thinned(count):
    (axes, _) = draw_heatmap(history(rows=2, names=many(count))).axes
    names = tick_names(axes)
    assert 20 <= len(names) <= 40
    assert names[0] == many(count)[0]
    assert names[-1] == many(count)[-1]
    for name, place in zip(names, axes.get_yticks(), strict=True):
        assert name == many(count)[int(place)]
    assert (axes.get_ylabel() != "") == (count > 40)


def test_red_is_what_was_not_finite_and_no_colour_what_is_missing():
    counts = np.zeros((4, 2), dtype=np.int64)
    counts[1, 0] = 7
    norms = np.full((4, 2), 2.0)
    norms[2, 1], norms[3, 0], norms[1, 1] = np.nan, np.inf, 0.0
    axes, _ = draw_heatmap(history(rows=4, nonfinite=counts, grad_norm=norms), "grad_norm").axes
    cells, red = meshes(axes)
    assert red.get_array().mask.reshape(2, 4).tolist() == [[True, False, True, True], [True] * 4]
    assert to_rgba(RED) == red.cmap(0.0)
    assert cells.get_array().mask.reshape(2, 4).tolist() == [[False, True, False, True], [False, False, True, False]]
    assert cells.get_array().reshape(2, 4)[1, 1] < cells.get_clim()[0]
    assert axes.patch.get_hatch()
    assert marks(axes) == [[2]]
    assert "▼ red: 7 elements of gradients were not finite, first in step 2." in texts(axes)
    assert "Hatched: there is no value." in texts(axes)
    assert len(texts(draw_heatmap(history()).axes[0])) == 0


def test_single_values_do_not_take_the_colours():
    norms = 10.0 ** np.random.default_rng(0).uniform(-3, 0, (200, 4))
    norms[0, 1] = 1e30
    axes, _ = draw_heatmap(history(rows=200, names=many(4), grad_norm=norms), "grad_norm").axes
    low, high = meshes(axes)[0].get_clim()
    assert 9e-4 < low < 2e-3
    assert 0.5 < high < 1.2


def test_little_is_not_made_much_of():
    axes, _ = draw_heatmap(history(grad_norm=np.linspace(1, 1.01, 10).reshape(5, 2)), "grad_norm").axes
    low, high = meshes(axes)[0].get_clim()
    assert high / low == pytest.approx(10)


#: Machado and others (2009): how linear RGB is seen by those who lack one kind of cones.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(linear):
    """CIE L*a*b*, in which a distance of 2 can just be seen."""
    table = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    relative = np.clip(linear, 0, 1) @ table.T / [0.9505, 1.0, 1.089]
    x, y, z = np.moveaxis(np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.mark.parametrize("kind", SEEN)
def test_the_red_is_told_from_every_colour_of_the_map(kind):
    colours = np.vstack([to_rgb(RED), colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    red, *others = lab(linear @ np.transpose(SEEN[kind]))
    assert np.linalg.norm(np.array(others) - red, axis=1).min() > 20


# --- both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_lines, draw_heatmap])
def test_what_cannot_be_drawn_is_refused(draw, tmp_path):
    with pytest.raises(
        OptionError, match=r"no figure 'gradnorm' to draw. Did you mean 'grad_norm'\? Known: grad_norm,"
    ):
        draw(history(), "gradnorm")
    with pytest.raises(OptionError, match="no step has been recorded yet"):
        draw(History.empty(["a"], [1]))
    with pytest.raises(OptionError, match="no parameters"):
        draw(history(names=()))
    with pytest.raises(OptionError, match=r"a picture ends in .png, .pdf or .svg"):
        draw(history(), path=tmp_path / "picture.gif")
    with pytest.raises(OptionError, match="cannot be written"):
        draw(history(), path=tmp_path / "nowhere" / "picture.png")
    assert not list(tmp_path.iterdir())


def test_an_unknown_parameter_is_refused_with_the_nearest():
    with pytest.raises(
        OptionError, match=r"no parameter '0.wieght'. Did you mean '0.weight'\? Known: 0.bias, 0.weight"
    ):
        draw_lines(history(), names=["0.bias", "0.wieght"])


@pytest.mark.parametrize("more", [0, 10])
def test_hostile_names_are_shown_as_they_are(more):
    run = history(names=[*HOSTILE, *many(more)])
    lines = draw_lines(run)
    axes, *bar = lines.axes
    shown = tick_names(bar[0]) if bar else texts(axes)
    assert sorted(shown) == sorted([*HOSTILE_SHOWN, *many(more)])
    heat = draw_heatmap(run)
    assert tick_names(heat.axes[0]) == [*HOSTILE_SHOWN, *many(more)]
    for picture in (lines, heat):
        assert png(picture).startswith(b"\x89PNG")
        labels = [label for axes in picture.axes for label in (*axes.get_yticklabels(), *axes.texts)]
        assert not any(label.get_parse_math() for label in labels if "$x_1$" in label.get_text())


@pytest.mark.parametrize("draw", [draw_lines, draw_heatmap])
@pytest.mark.parametrize(
    ("ending", "begins"), [("", b"\x89PNG"), (".PNG", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_the_ending_decides_the_format(draw, ending, begins, tmp_path):
    path = tmp_path / f"picture{ending}"
    assert draw(history(), path=str(path)).axes
    assert path.read_bytes().startswith(begins)


@pytest.mark.parametrize("draw", [draw_lines, draw_heatmap])
@pytest.mark.parametrize("figure", ["grad_norm", "ratio"])
@pytest.mark.parametrize(
    "run",
    [
        history(rows=1, names=("a",)),
        history(rows=1, every=64, steps=10),
        replace(history(rows=1), first=np.array([999]), last=np.array([999])),
        history(grad_norm=np.zeros((5, 2)), update_norm=np.zeros((5, 2))),
        history(param_norm=np.zeros((5, 2)), update_norm=np.zeros((5, 2)), grad_norm=np.full((5, 2), np.nan)),
        history(grad_norm=10.0 ** np.linspace(-320, 308, 10).reshape(5, 2), nonfinite=np.full((5, 2), 3)),
        history(rows=256, every=512, steps=130_000, names=many(60)),
    ],
    ids=["1 step", "1 row", "late", "zeros", "nothing", "extreme", "large"],
)
def test_a_picture_of_any_history_can_be_made(draw, run, figure):
    picture = draw(run, figure)
    assert png(picture).startswith(b"\x89PNG")
    ticks = [label.get_text() for label in picture.axes[0].get_xticklabels() if label.get_text()]
    assert len(ticks) == len(set(ticks))


def test_a_picture_without_values_says_why():
    nothing = history(grad_norm=np.full((5, 2), np.nan))
    assert "There is no finite value." in texts(draw_lines(nothing).axes[0])
    assert "All values are 0." in texts(draw_lines(history(grad_norm=np.zeros((5, 2)))).axes[0])
