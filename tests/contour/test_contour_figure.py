"""The picture of search paths: heat maps of the final values in one range of colours, and nothing hidden."""

import base64
import re

import numpy as np
from plots import RATES, entry, plotted

from ravine._plotting import style
from ravine.contour import _contour_figure as contour_figure
from ravine.contour import explore


def axes_of(figure, kind):
    return [axes for axes in figure.axes if kind(axes) and axes.get_visible()]


def test_heat_maps_show_the_final_values_in_one_range():
    shown = plotted(entry("one"), entry("two", scale=0.5), entry("three", best=0), entry("4"), entry("five"))
    figure = contour_figure.draw(shown)
    maps = axes_of(figure, lambda axes: axes.images)
    assert len(maps) == 5
    for axes, drawn in zip(maps, shown.entries, strict=True):
        (image,) = axes.images
        assert np.ma.allclose(image.get_array(), np.ma.masked_invalid(drawn.finals.T))
        assert image.get_array().mask.tolist() == np.isinf(drawn.finals.T).tolist()
        assert (image.norm.vmin, image.norm.vmax) == shown.colours
        assert [text.get_text() for text in axes.texts] == ["×"]
        assert axes.get_title("left") == f"{drawn.label}: best {RATES[drawn.best]:g}"
    assert style.png(figure).startswith(b"\x89PNG")


def test_what_ended_above_the_highest_start_has_a_mark():
    figure = contour_figure.draw(plotted(entry("one"), highest=2.0))
    (axes,) = axes_of(figure, lambda axes: axes.images)
    assert {text.get_text() for text in axes.texts} == {"×", "▲"}


def test_the_legend_names_rates_steps_outside_and_the_end_of_the_range():
    figure = contour_figure.draw(plotted(entry("$wild_$", best=2), entry("torch", reference=True)))
    texts = [text.get_text() for sub in figure.subfigs[0].subfigs for box in sub.legends for text in box.texts]
    assert texts[0] == "$wild_$\nlr 1, the highest tried\n6 of 27 steps outside\ndiverged at step 8"
    assert texts[1:] == ["torch\nlr 0.1", "start", "minimum"]
    assert style.png(figure).startswith(b"\x89PNG")


def test_losses_are_drawn_to_their_end_also_where_they_are_zero():
    figure = contour_figure.draw(plotted(entry("one")))
    (axes,) = axes_of(figure, lambda axes: axes.get_xlabel() == "step")
    assert axes.get_xlim() == (0, 20)
    lines = [line for line in axes.lines if len(line.get_xdata()) == 21]
    assert len(lines) == 2


def test_losses_are_those_that_were_computed_and_the_axis_says_where_it_ends():
    """A floor of its own drew a plateau where the values went on falling."""
    falling = plotted(entry("one", scale=2.0), floor=1.0)
    figure = contour_figure.draw(falling)
    (axes,) = axes_of(figure, lambda axes: axes.get_xlabel() == "step")
    own = falling.entries[0].trajectories[1][0].values
    assert any(np.array_equal(line.get_ydata(), own) for line in axes.lines)
    assert axes.get_title("right") == ""
    landed = plotted(entry("two", best=2))
    figure = contour_figure.draw(landed)
    (axes,) = axes_of(figure, lambda axes: axes.get_xlabel() == "step")
    assert axes.get_ylim()[0] == landed.axis_end == 6.25e-16
    assert axes.get_title("right") == "values below 6.2e-16 are not drawn"
    lines = [line for line in axes.lines if len(line.get_ydata()) == 21]
    assert lines
    assert all(line.get_ydata()[1:].max() < axes.get_ylim()[0] for line in lines)


def test_a_plot_in_which_nothing_moved_or_all_diverged_still_has_a_picture():
    still = entry("still", scale=0.0)
    gone = entry("gone")
    gone.finals[:] = np.inf
    assert style.png(contour_figure.draw(plotted(still))).startswith(b"\x89PNG")
    assert style.png(contour_figure.draw(plotted(gone))).startswith(b"\x89PNG")


def test_in_a_notebook_the_best_is_said_before_the_table_and_the_picture():
    explored = explore("beale", ["sgd", "adam"], rates=3, starts=2, steps=10)
    heads, rows = explored.table()
    page = explored._repr_html_()
    assert f"<strong>beale: {rows[0][0]} ends lowest, at {rows[0][2]} with lr {rows[0][1]}</strong>" in page
    places = [page.index(f"<th>{heads[0]}</th>"), *(page.index(f"<td>{row[0]}</td>") for row in rows)]
    assert places == sorted(places)
    (data,) = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="Search paths: beale: sgd, adam;', page)
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert repr(explored) == "Exploration(beale: sgd, adam; 3 rates, 2 starts)"
    assert len(page) < 200_000
    lost = explore("beale", ["sgd"], rates=2, lowest=0.5, highest=1.0, starts=1, steps=30)
    assert "<strong>beale: every path diverged</strong>" in lost._repr_html_()
