"""The pictures: what they show, that nothing is cut off or lies over another text, and that failures stretch none."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from cut_marks import cut_marks
from matplotlib.path import Path
from studies import changed, study

from ravine._plotting.curve_lines import shortened
from ravine.comparison._report import difference_data, forest_plots
from ravine.comparison._report.chart_data import chart_data
from ravine.comparison._report.figure_pngs import DRAWERS, figure_pngs
from ravine.comparison._report.figure_style import marker_styles
from ravine.comparison._report.report_data import report_data

LONG = "momentum:momentum=0.9,nesterov=False,dampening=0.1"
HOSTILE = "<b>$x_1$|`", "two\nlines " + "long" * 20, r"$\frac{", "_hidden"
EIGHT = {"sgd": 0.3, LONG: 0.301, "rmsprop": 0.33, "torch-rmsprop:alpha=0.9": 0.33}
EIGHT |= dict(zip(HOSTILE, (0.5, 0.31, 0.9, 0.32), strict=True))
ALL = {"curves.png", "sensitivity.png", "budget.png", "target.png", "differences.png"}


@pytest.fixture(scope="module")
def eight():
    lost = [("sgd", 3), *(("rmsprop", 2 * i + 1) for i in range(5)), ("_hidden", 1)]
    result = study(EIGHT, noise=0.004, failing=lost)
    return result, result.judgement


@pytest.fixture(scope="module")
def two():
    result = study({"rmsprop": 0.3, "adam": 0.31})
    return result, result.judgement


def drawn(result, judgement=None):
    """All figures of the result, by name; of another judgement than its own if one is given."""
    report = result.report if judgement is None else report_data(result.record, judgement)
    return {name: draw(report) for name, draw in DRAWERS.items()}


def texts(figure):
    """Every text that is seen, with its box in pixels."""
    from matplotlib.text import Text

    figure.canvas.draw()
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    ticks = {id(label) for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    boxes = [(t.get_text(), t.get_window_extent()) for t in found if id(t) not in ticks]
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted(limits)
            for tick in axis.get_major_ticks():
                label = tick.label1
                if label.get_text() and label.get_visible() and low <= tick.get_loc() <= high:
                    boxes.append((label.get_text(), label.get_window_extent()))
    return boxes


@pytest.mark.parametrize("name", ["curves", "sensitivity", "budget", "target", "differences"])
@pytest.mark.parametrize("which", ["two", "eight"])
def test_no_text_is_cut_off_or_lies_over_another(which, name, request):
    figure = drawn(request.getfixturevalue(which)[0])[name]
    boxes = texts(figure)
    width, height = figure.canvas.get_width_height()
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for (a, one), (b, other) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 1 or along <= 2, (a, b)


def test_all_pictures_are_made(eight, two):
    for result, _ in (eight, two):
        made = dict(figure_pngs(result.report))
        assert set(made) == ALL
        assert all(content.startswith(b"\x89PNG") for content in made.values())


def test_curves_are_the_medians_with_names_and_a_target(two):
    result, judgement = two
    (axes,) = drawn(result)["curves"].axes
    medians = [np.median([run.curve[1] for run in each.runs], axis=0) for each in result.record.runs]
    lines = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == len(medians[0])]
    assert np.allclose(lines, medians)
    assert len(axes.collections) == 2
    assert {t.get_text() for t in axes.texts} == {"rmsprop", "adam", f"target {judgement.target.loss:.3g}"}
    assert any(np.allclose(line.get_ydata(), judgement.target.loss) for line in axes.lines)


def test_a_diverged_run_has_no_band_and_is_counted(eight):
    figure = drawn(eight[0])["curves"]
    (axes,) = figure.axes
    assert "Thin line: the best run where others diverged" in figure.get_suptitle().replace("\n", " ")
    assert len(axes.collections) == 5
    names = [t.get_text() for t in axes.texts]
    counts = {"sgd": 1, "rmsprop": 5, "_hidden": 1}
    assert {name for name in names if "diverged" in name} == {
        f"{label} (diverged in {n} of 5 runs)" for label, n in counts.items()
    }
    assert axes.get_ylim()[1] < 5


def test_no_thin_line_is_spoken_of_where_none_is_seen():
    gone = study({"sgd": 0.3, "gone": 0.3}, failing=[("gone", 2 * i + 1) for i in range(5)])
    figure = drawn(gone)["curves"]
    assert "gone (diverged in 5 of 5 runs)" in [t.get_text() for t in figure.axes[0].texts]
    assert "Thin" not in figure.get_suptitle()
    assert "Thin" not in drawn(study({"sgd": 0.3, "adam": 0.31}))["curves"].get_suptitle()


def test_scores_that_failed_stand_in_a_strip_and_do_not_stretch_the_picture(two):
    result, judgement = two
    tried = [
        (found.score, trial.key(result.spec))
        for trial, found in result.record.trials
        if not found.diverged and trial.label == "adam" and trial.kind == "tune"
    ]
    _, worst = max(tried)
    wild = changed(result, results={**result.trial_results, worst: replace(result.trial_results[worst], score=1e9)})
    strip, axes = drawn(wild, judgement)["sensitivity"].axes
    assert axes.get_ylim()[1] < 1
    assert max(y for line in axes.lines for y in line.get_ydata()) < 1
    assert axes.get_xscale() == "log"
    marks = {line.get_marker(): line.get_xdata() for line in strip.lines if len(line.get_xdata())}
    assert set(marks) == {"x", "^"}
    assert (marks["x"] > 0.3).all()
    assert [t.get_text() for t in strip.texts] == ["rmsprop", "adam"]


def test_a_loss_far_below_all_others_does_not_press_them_together(two):
    result, judgement = two
    tried = [(found.score, trial.key(result.spec)) for trial, found in result.record.trials if trial.kind == "tune"]
    best = min(tried)[1]  # it stays the best of its tuning
    low = changed(result, results={**result.trial_results, best: replace(result.trial_results[best], score=1e-7)})
    figure = drawn(low, judgement)["sensitivity"]
    axes = figure.axes[-1]
    assert axes.get_ylim()[0] > 1e-3
    (mark,) = [line for line in axes.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert mark.get_ydata()[0] > axes.get_ylim()[0]
    assert "▼ a loss below the scale" in figure.get_suptitle().replace("\n", " ")
    sums = [sum(len(line.get_xdata()) for line in one.axes[-1].lines) for one in (figure, drawn(result)["sensitivity"])]
    assert sums[0] == sums[1], "none is left out"


def test_the_chosen_points_are_filled_and_all_others_hollow(two):
    result, _ = two
    axes = drawn(result)["sensitivity"].axes[-1]
    lines = [line for line in axes.lines if len(line.get_xdata())]
    filled = [line.get_xdata() for line in lines if line.get_markerfacecolor() != "white"]
    hollow = [line.get_xdata() for line in lines if line.get_markerfacecolor() == "white"]
    for chosen, others, each in zip(filled, hollow, result.record.runs, strict=True):
        assert sorted(chosen) == sorted(run.point["lr"] for run in each.runs)
        assert len(chosen) + len(others) == sum(not trial.diverged for trial in each.trials)


def test_the_budget_is_that_of_the_judgement(two):
    result, judgement = two
    (axes,) = drawn(result)["budget"].axes
    assert np.allclose(axes.lines[0].get_ydata(), judgement.budget["rmsprop"].expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4", "8"]


@pytest.mark.parametrize("which", ["two", "eight"])
@pytest.mark.parametrize("name", ["budget", "differences", "sensitivity", "target"])
def test_no_mark_is_cut_off_at_the_end_of_an_axis(which, name, request):
    assert cut_marks(drawn(request.getfixturevalue(which)[0])[name]) == []


def test_the_intervals_of_few_runs_do_not_stretch_the_budget_below_any_loss(two):
    result, judgement = two
    wide = {
        name: replace(curve, low=curve.expected - 5, high=curve.expected + 5)
        for name, curve in judgement.budget.items()
    }
    (axes,) = drawn(result, replace(judgement, budget=wide))["budget"].axes
    means = [value for curve in wide.values() for value in curve.expected]
    assert min(means) / 1.5 < axes.get_ylim()[0] < min(means) < max(means) < axes.get_ylim()[1] < 1.5 * max(means)
    assert axes.get_yscale() == "log"
    data = chart_data(report_data(result.record, replace(judgement, budget=wide)))["budget"]
    assert min(value for curve in data for value in curve["low"]) > 0  # so the page can have logarithmic axes


def test_every_run_has_a_mark_and_misses_stand_at_the_right(eight):
    result, judgement = eight
    (axes,) = drawn(result)["target"].axes
    horizon = 100
    runs = [line for line in axes.lines if line.get_marker() not in ("None", "", None)]
    missed = [x for line in runs if line.get_marker() == "x" for x in line.get_xdata()]
    hit = [x for line in runs if line.get_marker() != "x" for x in line.get_xdata()]
    assert len(missed) == sum(len(found.missed) for found in judgement.steps.values())
    assert len(missed) + len(hit) == 8 * 5
    assert min(missed) > horizon >= max(hit)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    counts = [t.get_text() for t in axes.texts if " of " in t.get_text()]
    assert dict(zip(labels, counts, strict=True)) == {
        shortened(n): f"{5 - len(f.missed)} of 5" for n, f in judgement.steps.items()
    }
    assert labels == [shortened(name) for name in judgement.ranked]


def intervals(axes):
    """The ends of each row's interval, in the order of the rows."""
    return [line.get_xdata() for line in axes.lines if line.get_linewidth() == 2.2]


def test_differences_are_those_of_the_judgement(two):
    result, judgement = two
    (axes,) = drawn(result)["differences"].axes
    standings = judgement.losses.standings
    assert [label.get_text() for label in axes.get_yticklabels()] == [standing.name for standing in standings]
    assert np.allclose(intervals(axes), [[standing.low, standing.high] for standing in standings])
    assert "validation loss minus the best of the others'" in axes.get_xlabel()
    low, high = axes.get_xlim()
    assert low < 0 < high
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-judgement.losses.margin, judgement.losses.margin))


@pytest.mark.parametrize(("ratio", "ends"), [(False, (-3, 3)), (True, (1 / 4, 4))])
def test_a_margin_wider_than_all_intervals_leaves_white_on_both_sides(ratio, ends):
    result = study({"rmsprop": 0.3, "adam": 0.31}, ratio=ratio, margin="3")
    (axes,) = drawn(result)["differences"].axes
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx(ends)
    low, high = axes.get_xlim()
    assert low < ends[0] < ends[1] < high


def test_differences_of_a_ratio_are_how_many_times_one_is_the_other():
    result = study({"rmsprop": 0.3, "adam": 0.5}, ratio=True)
    (axes,) = drawn(result)["differences"].axes
    assert axes.get_xscale() == "log"
    assert "validation loss relative to the best of the others'" in axes.get_xlabel()
    standings = result.judgement.losses.standings
    assert np.allclose(intervals(axes), np.exp([[standing.low, standing.high] for standing in standings]))
    assert result.report.differences["validation loss"].row("adam").interval_text.count("×") == 2


def test_an_interval_far_wider_than_the_others_does_not_stretch_the_picture(two):
    result, judgement = two
    losses = judgement.losses
    wild = replace(losses.standings[0], name="wild", difference=50.0, low=0.0, high=100.0)
    names = "a", "b", "c"
    standings = [replace(losses.standings[i % 2], name=name) for i, name in enumerate(names)]
    found = replace(losses, standings=[*standings, wild])
    compared = replace(judgement.compared["validation loss"], with_best=found)
    shown = difference_data.differences({"validation loss": compared})["validation loss"]
    assert shown.limits[1] < 1
    bare = result_of(["a", "b", "c", "wild"], shown, result)
    figure = forest_plots.differences(bare)
    (axes,) = figure.axes
    assert axes.get_xlim()[1] < 1
    assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == ">"] == [3]
    assert "Arrow" in figure.get_suptitle()
    assert "50" in [text.get_text() for text in axes.texts]
    assert "Arrow" not in drawn(result)["differences"].get_suptitle()


def result_of(labels, shown, result):
    """The report's data as if its optimizers and their losses were these."""
    data = result.report
    entries = [replace(data.optimizers[0], label=label) for label in labels]
    rows = [replace(data.results[0], label=label) for label in labels]
    return replace(data, optimizers=entries, results=rows, differences={"validation loss": shown})


def test_a_curve_that_rises_far_does_not_stretch_the_picture(two):
    result, judgement = two
    everything = dict(result.trial_results)
    for trial, found in result.record.trials:
        if trial.kind == "final" and trial.label == "adam":
            everything[trial.key(result.spec)] = replace(found, losses=(*found.losses[:-1], 1e6))
    figure = drawn(changed(result, results=everything), judgement)["curves"]
    assert figure.axes[0].get_ylim()[1] < 5


def test_those_that_may_be_the_best_are_filled_and_others_hollow():
    result = study({"sgd": 0.36, "rmsprop": 0.301, "adam": 0.3})
    (axes,) = drawn(result)["differences"].axes
    assert result.judgement.losses.others == ["sgd"]
    rows_of = {label.get_text(): i for i, label in enumerate(axes.get_yticklabels())}
    faces = {
        line.get_ydata()[0]: line.get_markerfacecolor() for line in axes.lines if line.get_marker() in ("o", "s", "D")
    }
    assert {name: faces[row] == "white" for name, row in rows_of.items()} == {
        "sgd": True,
        "rmsprop": False,
        "adam": False,
    }


def test_every_optimizer_has_a_look_of_its_own():
    seen = marker_styles(["sgd", "torch-sgd", "adam"]).values()
    assert len({style.line.colour for style in seen}) == len({style.marker for style in seen}) == 3


#: Points that lie in a mark of the page, and points that do not, from its middle to the right and upwards.
INSIDE = {"bowtie": ([(0.4, 0.0)], [(0.0, 0.4)]), "hourglass": ([(0.0, 0.4)], [(0.4, 0.0)])}
PLAIN = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "star": "*"}
PLAIN |= {"triangle-left": "<"}


def test_the_page_and_every_picture_show_an_optimizer_in_the_same_colour_with_the_same_mark():
    result = study({f"optimizer {i}": 0.3 + 0.01 * i for i in range(9)}, points=3, seeds=3)
    figures = drawn(result)
    page = chart_data(result.report)["optimizers"]
    assert [one["label"] for one in page] == [f"optimizer {i}" for i in range(9)]
    for one in page:
        (place,) = [
            i for i, text in enumerate(figures["target"].axes[0].get_yticklabels()) if text.get_text() == one["label"]
        ]
        rows = [
            line
            for line in figures["target"].axes[0].lines
            if len(line.get_ydata()) and abs(line.get_ydata()[0] - place) < 0.45
        ]
        assert one["colour"] in {line.get_color() for line in rows}
        colours = {
            line.get_color(): line
            for line in figures["differences"].axes[0].lines
            if line.get_marker() not in ("None", "|")
        }
        mark = colours[one["colour"]].get_marker()
        if one["symbol"] in PLAIN:
            assert mark == PLAIN[one["symbol"]]
        else:
            path = Path(mark)
            within, outside = INSIDE[one["symbol"]]
            assert path.contains_points(within).all()
            assert not path.contains_points(outside).any()
    assert {one["symbol"] for one in page} == {*PLAIN, *INSIDE}
    for name in ("curves", "budget"):
        seen = {line.get_color() for line in figures[name].axes[0].lines}
        assert {one["colour"] for one in page} <= seen


def test_without_a_target_and_without_a_search_their_pictures_are_missing(two):
    result, judgement = two
    bare = replace(judgement, target=None, steps={}, budget={})
    report = report_data(result.record, bare)
    assert {name for name, _ in figure_pngs(report)} == {"curves.png", "differences.png", "sensitivity.png"}
    assert len(forest_plots.differences(report).axes) == 1


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e12])
def test_losses_of_any_size_can_be_drawn(scale):
    result = study({"sgd": 0.3, "adam": 0.31}, points=3, seeds=2)
    results = {
        key: replace(o, score=o.score * scale, losses=tuple(v * scale for v in o.losses)) if not o.diverged else o
        for key, o in result.trial_results.items()
    }
    assert {name for name, _ in figure_pngs(changed(result, results=results).report)} == ALL


def test_losses_below_zero_are_drawn_on_a_linear_scale():
    result = study({"sgd": -3.0, "adam": -2.9}, points=3, seeds=3)
    figure = drawn(result)["curves"]
    assert figure.axes[0].get_yscale() == "linear"
    assert {name for name, _ in figure_pngs(result.report)} == ALL
    assert math.isfinite(figure.axes[0].get_ylim()[1])
