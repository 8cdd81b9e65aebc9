"""The pictures of trainings, by the data that the axes hold."""

import math

import numpy as np
import pytest

from ravine._plotting.style import png
from ravine.errors import OptionError
from ravine.train._hyper_plot import draw_hypers
from ravine.train._loss_plot import LossCurve, draw_losses
from ravine.train._lr_find.lr_plot import draw_lr_find


def drawn(axes):
    """The lines that lie in the axes' own coordinates: those of the data, not of the names beside it."""
    return [one for one in axes.lines if one.get_transform() == axes.transData and len(one.get_xdata())]


def texts(axes):
    return {text.get_text() for text in axes.texts}


def test_a_run_is_drawn_with_its_steps_means_and_validation():
    losses = 2.0 / np.arange(1, 101)
    (axes,) = draw_losses([LossCurve("adam", losses, [(50, 0.5), (100, 0.25)])], window=4, title="t").axes
    raw, means, valid = drawn(axes)
    assert raw.get_xydata().tolist() == [[i + 1, losses[i]] for i in range(100)]
    assert raw.get_alpha() < 0.5
    assert means.get_ydata() == pytest.approx(
        [losses[i + 1 - min(4, max(1, (i + 1) // 4)) : i + 1].mean() for i in range(100)]
    )
    assert valid.get_xydata().tolist() == [[50, 0.5], [100, 0.25]]
    assert valid.get_marker() == "o"
    assert raw.get_color() == means.get_color() == valid.get_color()
    assert axes.get_title(loc="left") == "t"
    assert axes.get_ylabel() == "loss (training: mean of the last 4 steps)"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
    assert texts(axes) == {"adam"}


@pytest.mark.parametrize("last", [1.9, 1.0, 0.3, 1e-3])
def test_a_logarithmic_axis_has_ticks_that_can_be_read(last):
    figure = draw_losses([LossCurve("a", np.geomspace(2, last, 40))], scale="log")
    png(figure)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    ticks = [t for t in axes.yaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert len(ticks) >= 3
    for tick in ticks:
        text = tick.label1.get_text()
        if last > 0.1:
            assert float(text) == pytest.approx(tick.get_loc())
        assert r"\times" not in text
    assert not any(r"\times" in tick.label1.get_text() for tick in axes.yaxis.get_minor_ticks())


def test_several_runs_share_a_picture_without_their_raw_losses():
    runs = [LossCurve(f"run {i}", np.linspace(2, i, 200), [(200, i)]) for i in range(4)]
    (axes,) = draw_losses(runs).axes
    lines = drawn(axes)
    assert len(lines) == 8
    assert len({one.get_color() for one in lines}) == 4
    assert "last 4 steps" in axes.get_ylabel()  # a fiftieth of the longest run
    assert texts(axes) == {run.label for run in runs}
    assert not draw_losses([LossCurve("a", [2.0, 1.0])]).axes[0].get_legend()


def test_the_other_axis_may_be_epochs_or_time():
    run = LossCurve("a", [3.0, 2.0, 1.0], [(0, 4.0), (3, 1.5)], epochs=[0.5, 1.0, 1.5], seconds=[600, 1200, 1800])
    for x, name, along in (("epoch", "epoch", [0.5, 1, 1.5]), ("seconds", "minutes", [10, 20, 30])):
        (axes,) = draw_losses([run], x=x).axes
        train, valid = drawn(axes)
        assert axes.get_xlabel() == name
        assert train.get_xdata().tolist() == along
        assert valid.get_xdata().tolist() == [0, along[-1]]
    brief = LossCurve("a", [3.0], seconds=[599.0])
    assert draw_losses([brief], x="seconds").axes[0].get_xlabel() == "seconds"
    days = LossCurve("a", [3.0], seconds=[86400.0])
    assert drawn(draw_losses([days], x="seconds").axes[0])[0].get_xdata().tolist() == [24]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_divergence_and_outliers_do_not_stretch_the_picture(scale):
    tame = LossCurve("tame", np.linspace(2, 0.5, 100), [(50, 1.2), (100, 0.6)])
    wild = LossCurve("wild", [2.0, 1.0, 1e5, 1e30, math.inf, math.nan], [(2, 1.0), (4, 1e20)])
    spike = LossCurve("spike", [2.0, 1.0, math.nan, 800.0, *np.linspace(1, 0.4, 96)])
    (axes,) = draw_losses([tame, wild, spike], scale=scale, window=1).axes
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low < 0.4
    assert 2 <= high < 60
    assert texts(axes) == {"tame", "wild (diverged at step 5)", "spike (1 losses not finite)"}
    marks = [one for one in drawn(axes) if one.get_marker() == "x"]
    assert [one.get_xydata().tolist() for one in marks] == [[[4, 1e30]]]
    (line,) = (one for one in drawn(axes) if len(one.get_xdata()) == 100 and np.isnan(one.get_ydata()).any())
    assert np.isnan(line.get_ydata()).nonzero()[0].tolist() == [2]
    assert png(axes.figure).startswith(b"\x89PNG")


def test_means_go_on_after_a_loss_that_is_not_finite():
    losses = [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, math.nan, 5.0, 7.0]
    (axes,) = draw_losses([LossCurve("a", losses), LossCurve("b", [1.0])], window=2).axes
    assert np.array_equal(drawn(axes)[0].get_ydata()[6:], [1, 2, math.nan, 4, 6], equal_nan=True)


def test_overfitting_is_seen_however_high_it_rises_above_the_start():
    valid = [(10 * i, 0.6 + 0.03 * i * i) for i in range(1, 11)]
    (axes,) = draw_losses([LossCurve("a", np.geomspace(0.69, 1e-4, 100), valid)]).axes
    assert axes.get_ylim()[1] > valid[-1][1]


def test_losses_below_0_are_drawn_and_refused_on_a_logarithm():
    run = LossCurve("elbo", np.linspace(1, -5, 50))
    low, high = draw_losses([run]).axes[0].get_ylim()
    assert -5.5 < low < -4.9
    assert 0.9 < high < 1.5
    with pytest.raises(OptionError, match="'elbo' has losses below 0"):
        draw_losses([run], scale="log")
    assert draw_losses([LossCurve("a", [1.0, 0.0])], scale="log")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scale": "loglog"}, "scale 'loglog'"),
        ({"x": "hours"}, "x 'hours'"),
        ({"x": "epoch"}, "needs epochs for each of the 2 steps of 'a'; it has none"),
        ({"x": "seconds"}, "needs seconds for each of the 2 steps of 'a'; it has 1"),
        ({"window": 0}, "window 0"),
        ({"window": 2.5}, "window 2.5"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, match):
    with pytest.raises(OptionError, match=match):
        draw_losses([LossCurve("a", [2.0, 1.0], seconds=[1.0])], **options)


def test_validation_at_a_step_that_was_not_done_is_refused():
    with pytest.raises(OptionError, match="2 steps, but validation losses at others"):
        draw_losses([LossCurve("a", [2.0, 1.0], [(3, 1.0)])])


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([], "There are no losses yet."),
        ([LossCurve("a", [])], "There are no losses yet."),
        ([LossCurve("a", [math.nan] * 3, [(3, math.inf)])], "No loss was finite."),
        ([LossCurve("a", [2.0], [(1, 1.0)])], "a"),
        ([LossCurve("a", [0.0] * 5)], "a"),
        ([LossCurve("a", [1e-300, 1e300, 1e308])], "a"),
        ([LossCurve(r"$\frac{ {", [1.0, 2.0])], r"$\frac{ {"),
        ([LossCurve("long " * 30, [1.0, 2.0])], f"{('long ' * 30)[:27]}…{('long ' * 30)[-12:]}"),
    ],
)
def test_a_picture_of_any_runs_can_be_made(runs, text, scale):
    figure = draw_losses(runs, scale=scale, title=r"$\x{")
    assert png(figure).startswith(b"\x89PNG")
    assert text in texts(figure.axes[0])


def test_many_names_do_not_overlap():
    (axes,) = draw_losses([LossCurve(f"r{i}", [1.0, 0.5]) for i in range(40)]).axes
    heights = sorted(text.get_position()[1] for text in axes.texts)
    size = axes.texts[0].get_fontsize() / 72 / 5.6  # of the picture's height
    assert min(np.diff(heights)) * 0.85 > size


def test_a_schedule_is_drawn_step_by_step():
    lr = np.repeat([0.1, 0.01, math.nan, 0.001], 2)
    figure = draw_hypers({"lr": lr, "momentum": np.full(8, 0.9)}, "one cycle")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["lr", "momentum"]
    (line,) = panels[0].lines
    assert line.get_drawstyle() == "steps-post"
    # the value of step 1 holds from 0 to 1, that of the last from 7 to 8
    assert line.get_xdata().tolist() == list(range(9))
    assert np.array_equal(line.get_ydata(), [*lr, lr[-1]], equal_nan=True)
    assert figure.get_suptitle() == "one cycle"
    low, high = panels[1].get_ylim()
    assert low < 0.9 < high


@pytest.mark.parametrize(
    "series", [{}, {"lr": []}, {"lr": [0.1]}, {"lr": [math.inf, 1e300]}, {f"${i}": [i, 2.0] for i in range(7)}]
)
def test_a_picture_of_any_schedule_can_be_made(series):
    figure = draw_hypers(series)
    assert png(figure).startswith(b"\x89PNG")
    assert len([axes for axes in figure.axes if axes.get_visible()]) == max(1, len(series))


RATES = np.geomspace(1e-6, 1, 30)


def curve(orders):
    losses = np.linspace(2, 0.5, 30) + 0.1 * np.arange(orders)[:, None]
    losses[0, 28:] = np.nan
    losses[:, 27] += 1e6
    return losses


def test_the_finder_marks_each_suggestion_on_the_mean_of_the_sweeps():
    losses = curve(3)
    rules = [("valley", 1e-3, 5e-4, 2e-3), ("steepest", 1.1e-3, math.nan, math.nan), ("minimum", *[math.nan] * 3)]
    upper, lower = draw_lr_find(RATES, losses, rules, title="t").axes
    assert upper.get_xscale() == "log"
    mean = upper.lines[0]
    assert mean.get_xdata().tolist() == RATES.tolist()
    assert mean.get_ydata()[:28] == pytest.approx(losses.mean(axis=0)[:28])
    assert np.isnan(mean.get_ydata()[28:]).all()
    assert upper.get_ylim()[1] < 4
    (band,) = upper.collections
    reached = band.get_paths()[0].vertices
    assert [reached[:, 1].min(), reached[:, 1].max()] == pytest.approx([losses[0, :27].min(), losses[2, 27]], rel=1e-9)
    marks = [one for one in upper.lines if len(one.get_xdata()) == 1]
    assert [one.get_xdata()[0] for one in marks] == [1e-3, 1.1e-3]
    for one in marks:
        expected = np.interp(math.log(one.get_xdata()[0]), np.log(RATES), losses.mean(axis=0))
        assert one.get_ydata()[0] == pytest.approx(expected)
    assert len({(one.get_marker(), one.get_color()) for one in marks}) == 2
    assert [text.get_text() for text in lower.texts] == ["0.001   (0.0005 to 0.002)", "0.0011", "no answer"]
    assert [label.get_text() for label in lower.get_yticklabels()] == ["valley", "steepest", "minimum"]
    bars = [one for one in lower.lines if one.get_linewidth() == 5]
    assert [one.get_xydata().tolist() for one in bars] == [[[5e-4, 0], [2e-3, 0]]]


def test_the_finder_without_a_suggestion_says_why():
    nothing = [("valley", math.nan, math.nan, math.nan)]
    for losses in (curve(1), np.full((2, 30), np.nan), np.full((2, 30), 2.0), np.full((1, 30), 1e308)):
        figure = draw_lr_find(RATES, losses, nothing, reason="The loss $\\x{ did not fall.")
        (axes,) = figure.axes
        assert texts(axes) == {"The loss $\\x{ did not fall."}
        assert png(figure).startswith(b"\x89PNG")
    assert png(draw_lr_find(RATES[:1], np.ones((1, 1)), nothing, reason="Only 1.")).startswith(b"\x89PNG")


def test_a_notebook_shows_a_figure():
    assert draw_hypers({"lr": [1.0]})._repr_png_().startswith(b"\x89PNG")
