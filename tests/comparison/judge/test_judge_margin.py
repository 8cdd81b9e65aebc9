"""The margin: as declared, or the spread of tunings; never from the runs that are judged."""

import numpy as np
import pytest

from ravine.comparison._judge import LOSS, Metric, judge, margin_of, parse_margin
from ravine.errors import OptionError

RATIO = Metric("validation loss", ratio=True)


@pytest.mark.parametrize(("text", "wanted"), [("0.01", (0.01, False)), (" 1 % ", (0.01, True)), ("0", (0.0, False))])
def test_it_is_read(text, wanted):
    assert parse_margin(text) == wanted


@pytest.mark.parametrize("text", ["much", "-1", "inf", "nan%", "%", "1%%"])
def test_what_is_no_margin_is_refused(text):
    with pytest.raises(OptionError, match="write a difference"):
        parse_margin(text)


def test_without_a_word_it_is_the_spread_between_tunings_of_the_better_half(make_optimizer):
    rng = np.random.default_rng(0)
    scores = {
        level: level + spread * rng.standard_normal(5) for level, spread in ((1, 0.1), (2, 0.2), (7, 0.5), (9, 0.9))
    }
    optimizers = [make_optimizer(f"o{level}", tunings=s[:, None]) for level, s in scores.items()]
    wanted = np.median([scores[1].std(ddof=1), scores[2].std(ddof=1)])
    assert margin_of(optimizers, LOSS) == pytest.approx(wanted)
    assert margin_of(optimizers[::-1], LOSS) == pytest.approx(wanted)
    first = np.median([scores[1][:3].std(ddof=1), scores[2][:3].std(ddof=1)])
    assert margin_of(optimizers, LOSS, tunings=3) == pytest.approx(first)


def test_runs_that_are_judged_do_not_move_it(make_optimizer):
    rng = np.random.default_rng(0)
    tunings = [rng.uniform(0.4, 0.5, (5, 3)), rng.uniform(0.4, 0.5, (5, 3))]
    margins = set()
    for spread in (0.01, 1.0):
        optimizers = [make_optimizer(n, rng.normal(1, spread, 5), t) for n, t in zip("ab", tunings, strict=True)]
        margins |= {margin_of(optimizers, LOSS), judge(optimizers).losses.margin}
    assert len(margins) == 1


def test_a_share_is_of_the_best_optimizers_usual_score(make_optimizer):
    optimizers = [make_optimizer("a", tunings=[0.2, 0.4, 0.6]), make_optimizer("b", tunings=[0.9, 1.0, 1.1])]
    assert margin_of(optimizers, LOSS, "5%") == pytest.approx(0.05 * 0.4)
    assert margin_of(optimizers, LOSS, "0.05") == 0.05


def test_a_share_without_tunings_is_of_the_runs_for_want_of_anything_else(make_optimizer):
    optimizers = [make_optimizer("a", [3.2, 3.3, 3.4, None]), make_optimizer("b", [5.0])]
    assert margin_of(optimizers, LOSS, "1%") == pytest.approx(0.033)
    assert margin_of(optimizers, LOSS) == 0.0


def test_a_ratio_has_its_margin_on_the_logarithm(make_optimizer):
    optimizers = [make_optimizer("a", tunings=[1e-3, 1e-5, 1e-7])]
    assert margin_of(optimizers, RATIO) == pytest.approx(np.log(100))
    assert margin_of(optimizers, RATIO, "20%") == margin_of(optimizers, RATIO, "0.2") == pytest.approx(np.log(1.2))


def test_one_tuning_or_diverged_tunings_say_nothing(make_optimizer):
    assert margin_of([make_optimizer("a", tunings=[0.5])], LOSS) == 0
    assert margin_of([make_optimizer("a", tunings=[[None], [None], [0.5]])], LOSS) == 0
