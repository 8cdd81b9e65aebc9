"""How much of a tuning score is luck: studies of known truth, with seeds that are easy or hard for all points alike."""

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import selection_bias_of

RHO = 0.8


def _tuned(make_optimizer, rng, truth, noise, tunings=10, rho=RHO):
    """Tunings that take the best of noisy scores, each followed by a fresh run there; a share rho of the variance is the seed's."""
    shared, own = noise * np.sqrt(rho), noise * np.sqrt(1 - rho)
    scores = truth + shared * rng.standard_normal((tunings, 1)) + own * rng.standard_normal((tunings, len(truth)))
    fresh = truth[scores.argmin(1)] + noise * rng.standard_normal(tunings)
    return make_optimizer("adam", fresh, scores)


def _biases(make_optimizer, truth, noise, studies=400, **options):
    rng = np.random.default_rng(0)
    return [selection_bias_of(_tuned(make_optimizer, rng, truth, noise, **options)) for _ in range(studies)]


def test_it_is_not_shown_where_nothing_was_chosen(make_optimizer):
    """One point is far better than the others, so it is always taken: no luck, however easy the tuning's seed."""
    truth = np.array([0.5, 2, 2, 2])
    biases = _biases(make_optimizer, truth, 0.1)
    assert np.mean([bias.shown for bias in biases]) <= 0.05
    assert np.mean([bias.bias for bias in biases]) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("rho", [0.0, RHO])
def test_it_is_unbiased_where_all_points_are_equal(make_optimizer, rho):
    """The least of 16 normal numbers is 1.766 spreads too low: an integral by scipy."""
    biases = _biases(make_optimizer, np.full(16, 1.0), 0.1, rho=rho)
    truth = -0.1 * np.sqrt(1 - rho) * _expected_least(16)
    assert np.mean([bias.bias for bias in biases]) == pytest.approx(truth, abs=0.006)
    held = np.mean([bias.low <= truth <= bias.high for bias in biases])
    assert held == pytest.approx(0.95, abs=0.03)


def _expected_least(count):
    return stats.norm.expect(lambda x: x * count * stats.norm.sf(x) ** (count - 1))


def test_it_is_shown_where_it_is_large(make_optimizer):
    biases = _biases(make_optimizer, np.full(16, 1.0), 0.1, studies=100, rho=0.0)
    assert np.mean([bias.shown for bias in biases]) > 0.95


def test_the_interval_is_scipys_paired_t_test(make_optimizer):
    rng = np.random.default_rng(0)
    optimizer = _tuned(make_optimizer, rng, np.full(4, 1.0), 0.1)
    bias = selection_bias_of(optimizer)
    test = stats.ttest_rel([run.score for run in optimizer.runs], optimizer.tuned)
    interval = test.confidence_interval(0.95)
    assert (bias.low, bias.high) == pytest.approx((interval.low, interval.high))
    assert (bias.points, bias.tunings) == (4, 10)


def test_without_a_choice_or_a_pair_there_is_nothing_to_say(make_optimizer):
    assert selection_bias_of(make_optimizer("a", [1.0, 2.0])) is None
    assert selection_bias_of(make_optimizer("a", [1.0, 2.0], [[0.9], [1.1]])) is None  # one point: nothing was chosen
    assert selection_bias_of(make_optimizer("a", [1.0], [[0.9, 1.1]])) is None
    assert selection_bias_of(make_optimizer("a", [1.0, None], [[0.9, 1.1], [0.9, 1.0]])) is None
    assert selection_bias_of(make_optimizer("a", [1.0, 2.0], [[None, None], [0.9, 1.0]])) is None


def test_the_sentences(make_optimizer):
    shown = selection_bias_of(make_optimizer("adam", [0.5, 0.51, 0.52], [[0.4, 1], [0.41, 1], [0.421, 1]]))
    assert shown.sentence == (
        "adam: the best of 2 points scored 0.41 in tuning and 0.51 in fresh runs, over 3 tunings: 0.1 of its tuning score is "
        "luck. Quote the score of fresh runs."
    )
    silent = selection_bias_of(make_optimizer("adam", [0.5, 0.4, 0.45], [[0.4, 1], [0.5, 1], [0.44, 1]]))
    assert silent.sentence.endswith("over 3 tunings; the gap is within the noise between seeds.")
