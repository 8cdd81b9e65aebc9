"""The learning-rate finder: curves whose truth is known, and any numbers at all."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ravine.errors import OptionError
from ravine.train._lr_find import sweep as sweeps
from ravine.train._lr_find.lr_find_result import LRFind
from ravine.train._lr_find.lr_rules import RULES, short, suggest

RATES = sweeps.rates(1e-6, 100, 100)


def quadratic(curvatures, noise, seed, offset=0.0):
    """One sweep of SGD on sum(c x² / 2) with noisy gradients; it is stable below 2 / max(c)."""
    rng, curvatures = np.random.default_rng(seed), np.asarray(curvatures, dtype=float)
    x = np.ones(len(curvatures))

    def step(rate):
        nonlocal x
        with np.errstate(all="ignore"):
            loss = (curvatures * x * x).sum() / 2
            x = x - rate * (curvatures * x + noise * np.sqrt(curvatures) * rng.standard_normal(len(x)))
        return loss + offset

    return sweeps.sweep(step, RATES)


def replay(losses):
    """A step that returns these losses, whatever the rate."""
    coming = iter(losses)
    return lambda rate: next(coming)


def bowl(rates, bottom, offset=0.0):
    """A loss with its minimum at ``bottom``: it falls by 1 a decade, over two, and rises as fast."""
    t = np.log10(rates / bottom)
    return offset + np.where(t < 0, 2 - 2 * np.clip(1 + t / 2, 0, 1), t)


def cliff(rates):
    """A loss that falls fastest at 0.01 and rises above 1."""
    t = np.log10(rates)
    return 3 - 2 / (1 + np.exp(-4 * (t + 2))) + np.where(t > 0, 20 * t, 0)


def refusals(found):
    assert not found.answered
    assert all(not s.answered and s.reason for s in found.suggestions.values())
    with pytest.raises(OptionError, match="There is no learning rate to suggest"):
        _ = found.lr
    (reason,) = {s.reason for s in found.suggestions.values()}
    assert reason in str(found).replace("\n", " ")
    return reason


# the sweep's control ---------------------------------------------------------------------------------------------


def test_the_grid_is_exponential():
    grid = sweeps.rates(1e-5, 1.0, 11)
    assert grid == pytest.approx(10 ** np.linspace(-5, 0, 11))
    assert sweeps.rates(1, 2, 10)[[0, -1]].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start": 0.0}, "start 0.0"),
        ({"start": -1e-3}, "above 0"),
        ({"start": math.nan}, "start nan"),
        ({"end": math.inf}, "end inf"),
        ({"end": "1"}, "end '1'"),
        ({"start": 1e-3, "end": 1e-3}, "not above start"),
        ({"steps": 9}, "at least 10"),
        ({"steps": 20.0}, "steps 20.0"),
        ({"start": 1.0, "end": math.nextafter(1, 2), "steps": 10}, "too near"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(options, match):
    with pytest.raises(OptionError, match=match):
        sweeps.rates(**options)


def test_a_sweep_asks_for_each_rate_in_order():
    asked = []
    losses = sweeps.sweep(lambda rate: asked.append(rate) or 1.0 / len(asked), RATES)
    assert asked == RATES.tolist()
    assert losses.tolist() == [1.0 / n for n in range(1, 101)]


@pytest.mark.parametrize("end", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 40])
def test_a_sweep_ends_at_a_loss_that_is_not_finite(end, at):
    asked = []
    losses = sweeps.sweep(lambda rate: asked.append(rate) or (end if len(asked) == at + 1 else 2.0), RATES)
    assert len(asked) == at + 1
    assert np.isfinite(losses).tolist() == [i < at for i in range(100)]


@pytest.mark.parametrize("offset", [0.0, -50.0, 3.0])
def test_a_sweep_ends_where_the_loss_climbs_above_its_start(offset):
    """A fall from 2 to 0 (which four times the best never leaves, or always) and then a climb by 1.1 a step."""
    curve = [2.0] * 40 + [2.0 - 0.1 * i for i in range(20)] + [0.0] * 9 + [1.1 * i for i in range(1, 100)]
    losses = sweeps.sweep(replay(np.array(curve) + offset), np.geomspace(1e-6, 1, 160))
    count = int(np.isfinite(losses).sum())
    # the threshold: the start and 3 times the largest of the fall and a tenth of the start's size
    threshold = 2 + 3 * max(2.0, abs(2 + offset) / 10)
    assert np.median(curve[count - 5 : count]) > threshold >= np.median(curve[count - 6 : count - 1])


@pytest.mark.parametrize("level", [0.0, 2.0, -3.0])
def test_noise_and_bad_batches_do_not_end_a_sweep(level):
    ended = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        curve = level + rng.standard_normal(100)
        curve[[20, 21, 50]] = 1e6
        ended += not np.isfinite(sweeps.sweep(replay(curve), RATES)).all()
    assert ended <= 1


# curves whose truth is known ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, -100.0])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
@pytest.mark.parametrize(
    "curvatures", [[1.0], np.geomspace(0.01, 1, 50), np.geomspace(1e-4, 100, 50), [1e3] * 5 + [1.0] * 50]
)
def test_suggestions_for_a_quadratic_lie_below_the_limit_of_stability(curvatures, noise, offset):
    limit = 2 / max(curvatures)
    found = LRFind(RATES, np.stack([quadratic(curvatures, noise, seed, offset) for seed in range(3)]))
    for suggestion in found.suggestions.values():
        assert limit / 100 < suggestion.lr < limit
        assert limit / 100 < suggestion.low <= suggestion.lr <= suggestion.high < limit
    assert found.lr == found.suggestions["valley"].lr


@pytest.mark.parametrize("offset", [0.0, -2.0, 1000.0])
@pytest.mark.parametrize("orders", [1, 4])
def test_the_rules_mean_what_they_say(offset, orders):
    rng = np.random.default_rng(0)
    losses = bowl(RATES, 0.1, offset) + 0.01 * rng.standard_normal((orders, 100))
    found = suggest(RATES, losses)
    assert math.log10(found["minimum"].lr) == pytest.approx(-2, abs=0.15)
    # a tenth of the fall is done at 10**-2.8, nine tenths at 10**-1.2
    assert math.log10(found["valley"].lr) == pytest.approx(-2.8 + 1.6 * 2 / 3, abs=0.2)
    assert 1e-3 < found["steepest"].lr < 0.1
    for suggestion in found.values():
        if orders == 1:
            assert math.isnan(suggestion.low)
            assert math.isnan(suggestion.high)
            assert "one sweep shows no spread" in suggestion.reason
        else:
            assert "4 of 4 sweeps" in suggestion.reason


def test_the_steepest_descent_is_that_against_the_logarithm():
    assert math.log10(suggest(RATES, cliff(RATES)[None])["steepest"].lr) == pytest.approx(-2, abs=0.15)


def test_the_band_is_the_spread_of_the_single_sweeps():
    found = suggest(RATES, np.stack([bowl(RATES, bottom) for bottom in (0.05, 0.1, 0.3)]))
    minimum = found["minimum"]
    assert minimum.high / minimum.low == pytest.approx(6, rel=0.2)
    assert minimum.low < minimum.lr < minimum.high


def test_a_sweep_that_alone_falls_nowhere_has_no_part_in_the_band():
    found = suggest(RATES, np.stack([bowl(RATES, 0.1), bowl(RATES, 0.1), np.full(100, 2.0)]))
    for suggestion in found.values():
        assert "2 of 3 sweeps" in suggestion.reason
        assert suggestion.low > 1e-3


def test_a_fall_after_the_minimum_counts_for_nothing():
    """A loss that has jumped up and comes down again, faster than it fell before."""
    losses = np.concatenate(
        [np.full(40, 2.0), np.linspace(2, 0, 25), np.full(10, 2.0), np.linspace(2, 0.5, 8), [3.0] * 17]
    )
    assert RATES[40] < suggest(RATES, losses[None])["steepest"].lr < RATES[65]


def test_the_last_rate_is_never_suggested_as_its_effect_was_not_seen():
    rates = [*np.linspace(0.001, 0.009, 9), 1000.0, 2000.0]
    losses = [[10.0 - i for i in range(10)] + [math.inf]]
    found = suggest(rates, losses)
    assert all(s.answered and s.lr <= 0.009 for s in found.values())
    assert found["minimum"].lr == 0.009  # not a tenth of 1000, above rates that were seen


def test_a_single_spike_moves_nothing():
    clean = cliff(RATES)[None] + 0.01 * np.random.default_rng(0).standard_normal((3, 100))
    before = suggest(RATES, clean)
    for at in (3, 30, 52):
        for height in (1e9, -1e9):
            spiked = clean.copy()
            spiked[:, at] = height
            for rule, suggestion in suggest(RATES, spiked).items():
                assert math.log(suggestion.lr / before[rule].lr) == pytest.approx(0, abs=0.5), (at, height, rule)


def test_what_diverged_does_not_reach_back():
    """The size of the last losses, and losses that are not finite anywhere after, change no suggestion."""
    losses = bowl(RATES, 0.1)[None].repeat(2, axis=0)
    losses[:, 80:] = np.nan
    before = suggest(RATES, losses)
    losses[0, 85:] = -1e9  # after a divergence: means nothing
    losses[:, 76:80] = 1e300
    after = suggest(RATES, losses)
    assert [s.lr for s in after.values()] == pytest.approx([s.lr for s in before.values()], rel=0.2)


# refusals ------------------------------------------------------------------------------------------------------------


def test_a_flat_curve_did_not_fall():
    assert "did not fall at any rate between 1e-06 and 1e+02: it was 2.3 at the start" in refusals(
        LRFind(RATES, np.full((3, 100), 2.3))
    )
    assert "did not fall" in refusals(LRFind(RATES, np.zeros((3, 100))))
    rounding = 2.3 * (1 - 1e-7 * np.arange(100) / 100)
    assert "did not fall" in refusals(LRFind(RATES, rounding[None]))


def test_an_immediate_divergence_is_told_with_its_remedy():
    rising = np.full((1, 100), np.nan)
    rising[0, :30] = 2.0 ** np.arange(30)
    reason = refusals(LRFind(RATES, rising))
    assert "did not fall" in reason
    assert "let the sweep start lower" in reason


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize("level", [0.0, 2.0])
def test_noise_gives_no_suggestion(orders, level):
    wrong = 0
    for seed in range(100):
        losses = level + np.random.default_rng(seed).standard_normal((orders, 100))
        found = LRFind(RATES, losses)
        wrong += found.answered
        if not found.answered:
            assert "noise" in refusals(found) or "did not fall" in refusals(found)
    assert wrong <= 3


def test_nan_from_the_start_names_the_sweep():
    losses = bowl(RATES, 0.1)[None].repeat(3, axis=0)
    losses[1] = np.nan
    assert "The loss of sweep 2 of 3 was nan at the first rate, 1e-06, before any update" in refusals(
        LRFind(RATES, losses)
    )
    assert "The loss was inf" in refusals(LRFind(RATES, np.full((1, 100), np.inf)))


def test_too_few_points():
    """Where others gave None (Lightning 10557, 13844) or a rate picked from what was left (fastai 3476)."""
    losses = bowl(RATES, 0.1)[None].repeat(2, axis=0)
    losses[0, 9:] = np.nan
    assert "of sweep 1 of 2 diverged after 9 rates" in refusals(LRFind(RATES, losses))
    assert "Only 5 rates" in refusals(LRFind(RATES[:5], losses[1:, :5]))
    losses = bowl(RATES[50:60], 0.1)
    assert isinstance(LRFind(RATES[50:60], losses[None]).answered, bool)


def test_a_fall_up_to_the_end_gives_no_minimum():
    t = np.log10(RATES)
    early = 3 - 2 / (1 + np.exp(-4 * (t + 2)))
    found = LRFind(RATES, np.stack([early, early]))
    assert not found.suggestions["minimum"].answered
    assert "end higher" in found.suggestions["minimum"].reason
    assert not found.suggestions["valley"].answered
    assert found.lr == found.suggestions["steepest"].lr == pytest.approx(0.01, rel=0.3)
    assert "a higher rate may do as well" in found.suggestions["steepest"].reason
    late = LRFind(RATES, (100 - RATES)[None])
    assert not late.answered
    assert "falls fastest at the last rates" in late.suggestions["steepest"].reason


def test_a_minimum_near_the_first_rate_gives_no_tenth_of_it():
    grid = sweeps.rates(0.01, 10, 60)
    found = LRFind(grid, np.stack([bowl(grid, 0.06)] * 2))
    assert "start lower" in found.suggestions["minimum"].reason
    assert 0.01 <= found.lr < 0.06


@pytest.mark.parametrize(
    ("rates", "losses"),
    [
        ([1.0, 2.0], [[1.0]]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([2.0, 1.0], [[1.0, 2.0]]),
        ([0.0, 1.0], [[1.0, 2.0]]),
        ([1.0, math.nan], [[1.0, 2.0]]),
        ([], [[]]),
    ],
)
def test_what_does_not_fit_is_refused(rates, losses):
    with pytest.raises(OptionError, match="rates"):
        LRFind(rates, losses)


# any numbers -----------------------------------------------------------------------------------------------------------

FLOATS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-10, 10), st.sampled_from([0.0, 1.0, math.nan])
)


@settings(deadline=None, max_examples=150)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=FLOATS), st.booleans())
@example(np.array([[1e308] * 12, [-1e308] * 12]), False)
@example(np.array([[5e-324] + [0.0] * 14]), False)
@example(np.concatenate([np.full((1, 20), 1.79e308), np.full((1, 5), -1.79e308)], axis=1), True)
def test_any_numbers_give_a_suggestion_or_a_reason(losses, falling):
    if falling:
        losses = -np.sort(-losses, axis=1)  # NaN last: long falls, which random numbers hardly ever make
    grid = np.geomspace(1e-5, 1, losses.shape[1]) if losses.shape[1] > 1 else np.array([0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = LRFind(grid, losses)
        text = str(found)
    assert tuple(found.suggestions) == RULES
    finite = np.isfinite(losses).all(axis=0)
    for s in found.suggestions.values():
        assert s.reason
        assert math.isnan(s.low) == math.isnan(s.high)
        if not s.answered:
            assert math.isnan(s.low)
            continue
        assert grid[0] <= s.lr <= grid[-1]
        assert finite[: np.searchsorted(grid, s.lr) + 1].all()
        assert math.isnan(s.low) or grid[0] <= s.low <= s.lr <= s.high <= grid[-1]
    assert ("<- recommended" in text) == found.answered


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, 30, elements=FLOATS))
def test_any_losses_can_be_swept(losses):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = sweeps.sweep(replay(losses), RATES[:30])
    count = int(np.isfinite(kept).sum())
    assert kept[:count].tolist() == losses[:count].tolist()
    assert np.isnan(kept[count:]).all()


# the result ----------------------------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_says_what_is_recommended():
    found = LRFind(RATES, bowl(RATES, 0.1)[None] + 0.01 * np.random.default_rng(0).standard_normal((3, 100)))
    head, *rows = str(found).splitlines()
    assert head.split() == ["rule", "lr", "low", "high"]
    assert [row.split()[0] for row in rows] == list(RULES)
    assert {row[: len(head)].rstrip().__len__() for row in rows} == {len(head)}
    assert rows[0].endswith("<- recommended")
    assert not any("recommended" in row for row in rows[1:])
    assert repr(found) == "LRFind(lr=0.014; 3 sweeps over 100 rates from 1e-06 to 1e+02)"
    assert all(len(line) <= 79 for line in str(LRFind(RATES, np.ones((1, 100)))).splitlines())


def test_the_picture_is_made_and_written(tmp_path):
    found = LRFind(RATES, bowl(RATES, 0.1)[None].repeat(2, axis=0))
    figure = found.plot(tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
    assert any(found.lr in np.atleast_1d(line.get_xdata()) for line in figure.axes[0].lines)
    refused = LRFind(RATES, np.full((2, 100), np.nan))
    (text,) = refused.plot().axes[0].texts
    assert "before any update" in text.get_text().replace("\n", " ")
    assert found.plot()._repr_png_().startswith(b"\x89PNG")
    page = found._repr_html_()
    assert f"<strong>Learning rate {short(found.lr)}</strong>" in page
    assert "<svg" in page
    assert len(page) < 20_000
    page = refused._repr_html_()
    assert "<strong>There is no learning rate to suggest</strong>" in page
    assert "before any update" in page
