"""The warnings: each is shown where it is planted, and stays silent where it is not."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ravine.comparison._judge import (
    OptimizerRuns,
    Range,
    compare_losses,
    edges,
    judge,
    under_tuned,
    values_of,
    warnings_of,
)
from ravine.comparison._judge.warnings import diverged, unequal_spread
from ravine.comparison._study.spaces import spaces_of
from ravine.optim._spec import parse, special_cases

#: Optimizers, and those that they become at some setting.
SPECIAL = special_cases()
RATE = Range(1e-4, 1.0)
TWO = {"lr": RATE, "beta1": Range(0.0, 0.99, "complement")}


@pytest.fixture
def losing(make_optimizer):
    """Two optimizers, of which the first is worse by ``gap``, and how they compare."""

    def make(gap, rng, names=("adam", "rmsprop"), noise=0.02, **options):
        base = rng.normal(0.5, 0.05, 10)
        worse = base + gap + noise * rng.standard_normal(10)
        optimizers = [make_optimizer(names[0], worse), make_optimizer(names[1], base)]
        return optimizers, compare_losses(optimizers, **options)

    return make


class TestUnderTuned:
    def test_one_that_loses_to_its_special_case_beyond_noise(self, losing):
        rng = np.random.default_rng(0)
        [note] = under_tuned(*losing(0.1, rng, noise=0), SPECIAL)
        assert (note.kind, note.optimizer) == ("under-tuned", "adam")
        assert note.sentence == (
            "adam is under-tuned: it loses to its own special case rmsprop (validation loss 0.1 higher). Tune it with more "
            "points or a wider search space before judging it."
        )
        assert under_tuned(*losing(0.1, rng), SPECIAL)
        assert not under_tuned(*losing(-0.1, rng), SPECIAL)
        wrong = [bool(under_tuned(*losing(0.0, rng), SPECIAL)) for _ in range(300)]
        assert np.mean(wrong) <= 0.05

    def test_special_cases_are_found_by_name_and_by_family(self, losing):
        rng = np.random.default_rng(0)
        assert under_tuned(*losing(0.1, rng, ("torch-adam:eps=1e-6", "rmsprop-keras:alpha=0.9")), SPECIAL)
        assert not under_tuned(*losing(0.1, rng, ("rmsprop", "adam")), SPECIAL)
        assert not under_tuned(*losing(0.1, rng, ("adam", "adam:eps=1e-6")), SPECIAL)
        assert under_tuned(*losing(0.1, rng, ("mine", "other")), {"mine": {"other": {"decay": 0.0}}})

    def test_only_what_leads_to_the_special_case_counts_as_searched(self, losing):
        pair = losing(0.1, np.random.default_rng(0))
        assert not under_tuned(*pair, SPECIAL, {"adam": {"lr": RATE}, "rmsprop": TWO})
        assert not under_tuned(*pair, SPECIAL, {})
        assert under_tuned(*pair, SPECIAL, {"adam": TWO})
        never_0 = {"lr": RATE, "beta1": Range(0.5, 0.99, "complement")}
        assert not under_tuned(*pair, SPECIAL, {"adam": never_0})
        heavy = losing(0.1, np.random.default_rng(0), ("momentum", "sgd"))
        assert under_tuned(*heavy, SPECIAL, {"momentum": {"lr": RATE, "momentum": Range(0.0, 0.99, "complement")}})
        assert not under_tuned(*heavy, SPECIAL, {"momentum": {"lr": RATE, "dampening": Range(0.0, 0.9, "linear")}})
        both = losing(0.1, np.random.default_rng(0), ("adamw", "rmsprop"))
        assert not under_tuned(*both, SPECIAL, {"adamw": TWO})
        assert under_tuned(*both, SPECIAL, {"adamw": {**TWO, "weight_decay": Range(0.0, 0.1, "linear")}})

    def test_the_space_file_of_the_documentation_accuses_nobody(self, losing, tmp_path):
        """It searches beta2 of adam, and leaves beta1 at .9."""
        page = (Path(__file__).parents[3] / "docs" / "compare.md").read_text(encoding="utf-8")
        (tmp_path / "space.toml").write_text(page.split('write_text("""')[1].split('"""')[0])
        spaces = spaces_of(tmp_path / "space.toml", ["rmsprop", "adam"])
        assert set(spaces["adam"]) == {"lr", "beta2"}
        assert not under_tuned(*losing(0.1, np.random.default_rng(0)), SPECIAL, spaces)

    def test_what_leads_to_a_special_case_is_a_hyperparameter(self):
        for name, cases in SPECIAL.items():
            takes = parse(name).all_options
            parts = {
                f"{key.removesuffix('s')}{i + 1}" for key in ("betas", "nus") for i in range(len(takes.get(key, ())))
            }
            for special, setting in cases.items():
                assert parse(special).name == special
                assert setting.keys() <= takes.keys() | parts

    def test_a_difference_that_does_not_matter_is_none(self, losing):
        rng = np.random.default_rng(0)
        assert under_tuned(*losing(3e-6, rng, noise=0), SPECIAL)
        assert not under_tuned(*losing(3e-6, rng, noise=0, margin="0.001"), SPECIAL)

    def test_a_ratio_is_said_as_one(self, make_optimizer):
        optimizers = [make_optimizer("adam", [0.2, 0.4, 0.6]), make_optimizer("rmsprop", [0.1, 0.2, 0.3])]
        [note] = under_tuned(optimizers, compare_losses(optimizers, ratio=True), SPECIAL, ratio=True)
        assert "(validation loss 2 times as high)" in note.sentence

    def test_alone_it_loses_to_nobody(self, make_optimizer):
        assert under_tuned([make_optimizer("adam", [0.5])], None, SPECIAL) == []


class TestEdges:
    @staticmethod
    def at(make_optimizer, *rates):
        return make_optimizer("adam", [0.5] * len(rates), points=[{"lr": rate} for rate in rates])

    def test_most_tunings_must_end_there(self, make_optimizer):
        found = edges(self.at(make_optimizer, 1e-4, 1.2e-4, 1e-4, 0.1, 1.0), {"lr": RATE})
        assert [(edge.hyperparameter, edge.side, edge.tunings, edge.total) for edge in found] == [("lr", "lower", 3, 5)]
        assert found[0].sentence == (
            "adam: in 3 of 5 tunings the best lr is at the lower edge of the search space; smaller values were not tried and "
            "may be better."
        )
        assert edges(self.at(make_optimizer, 1e-4, 1e-4, 0.1, 0.1), {"lr": RATE}) == []
        assert [edge.side for edge in edges(self.at(make_optimizer, 0.9, 2.0), {"lr": RATE})] == ["upper"]

    def test_an_end_that_cannot_be_passed_is_no_edge(self, make_optimizer):
        upper = self.at(make_optimizer, 1.0, 1.0)
        assert edges(upper, {"lr": Range(1e-4, 1.0, most=1.0)}) == []
        assert edges(make_optimizer("adam"), {"lr": RATE}) == []


class TestSpread:
    def test_equal_means_and_ten_times_the_spread_are_told_apart_from_a_level(self, make_optimizer):
        """Of level nothing is claimed, in all but one in twenty studies; of spread something is in nearly all."""
        rng, called, noted = np.random.default_rng(0), {"steady": 0, "wild": 0}, 0
        for _ in range(400):
            steady, wild = rng.normal(0.5, 0.001, 10), rng.normal(0.5, 0.01, 10)
            found = judge([make_optimizer("steady", steady), make_optimizer("wild", wild)], target=0.5)
            for name in found.losses.others:
                called[name] += 1
            notes = [note for note in found.warnings if note.kind == "spread"]
            noted += bool(notes)
            assert all(note.optimizer == "wild" for note in notes)
        assert sum(called.values()) / 400 <= 0.05 + 0.022
        assert noted / 400 > 0.9

    def test_it_is_brown_and_forsythes_test(self, make_optimizer):
        rng, seen = np.random.default_rng(1), set()
        for _ in range(60):
            a, b = rng.normal(0.5, 0.01, 8), rng.normal(0.5, 0.03, 8)
            note = unequal_spread(values_of([make_optimizer("a", a), make_optimizer("b", b)]))
            level = stats.levene(a, b, center="median").pvalue
            if max(a.std(), b.std()) >= 2 * min(a.std(), b.std()):
                assert (note is not None) == (level < 0.05)
                seen.add(note is not None)
        assert seen == {True, False}

    def test_equal_spreads_are_seldom_called_unequal(self, make_optimizer):
        rng = np.random.default_rng(2)
        wrong = [
            unequal_spread(values_of([make_optimizer(name, rng.standard_t(3, 10)) for name in "abcd"])) is not None
            for _ in range(300)
        ]
        assert np.mean(wrong) <= 0.05

    def test_runs_that_diverged_are_no_spread(self, make_optimizer):
        rng = np.random.default_rng(3)
        lost = make_optimizer("lost", [*rng.normal(0.5, 0.01, 6), None, None, None, None])
        assert unequal_spread(values_of([lost, make_optimizer("good", rng.normal(0.5, 0.01, 10))])) is None

    def test_less_than_twice_the_spread_is_not_worth_a_word(self, make_optimizer):
        a, b = np.linspace(-1, 1, 60), 1.9 * np.linspace(-1, 1, 60)
        assert stats.levene(a, b, center="median").pvalue < 0.001
        assert unequal_spread(values_of([make_optimizer("a", a), make_optimizer("b", b)])) is None

    def test_the_sentence(self, make_optimizer):
        steady, wild = np.linspace(0.4, 0.5, 9), np.linspace(0.2, 1.2, 9)
        note = unequal_spread(values_of([make_optimizer("sgd", wild), make_optimizer("adam", steady)]))
        assert note.sentence == "The runs of sgd vary 10 times as much as those of adam."


class TestDiverged:
    def test_the_share_that_diverged_is_counted_with_its_interval(self, make_optimizer):
        optimizer = make_optimizer("sgd", [1.0, None, None, 1.0], [[1.0, None], [None, 0.5]])
        low, high = stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(0.975, 3, 2)
        assert diverged(optimizer).sentence == (
            "sgd diverged at 2 of 4 tuning points (50%) and in 2 of 4 fresh runs "
            f"(50%, 95% interval {low:.0%} to {high:.0%})."
        )
        assert (
            diverged(make_optimizer("sgd", [1.0], [[1.0, None]])).sentence
            == "sgd diverged at 1 of 2 tuning points (50%)."
        )
        assert diverged(make_optimizer("sgd", [1.0], [[1.0, 2.0]])) is None


def test_all_warnings_come_together(make_optimizer):
    rng = np.random.default_rng(0)
    lucky = rng.uniform(0.4, 0.41, (10, 4))
    adam = make_optimizer("adam", rng.normal(0.6, 0.01, 10), lucky, points=[{"lr": 1e-4, "beta1": 0.9}] * 10)
    rms = make_optimizer("rmsprop", rng.normal(0.4, 0.01, 10), [[0.4, None]])
    found = warnings_of([adam, rms], compare_losses([adam, rms]), {"adam": TWO}, SPECIAL)
    assert {(w.kind, w.optimizer) for w in found} == {
        ("under-tuned", "adam"),
        ("selection bias", "adam"),
        ("edge", "adam"),
        ("diverged", "rmsprop"),
    }
    assert warnings_of([OptimizerRuns("sgd")], None) == []


def test_several_lucky_tunings_are_one_warning(make_optimizer):
    rng = np.random.default_rng(0)
    lucky = [make_optimizer(n, rng.normal(0.6, 0.01, 10), rng.uniform(0.4, 0.41, (10, 4))) for n in ("adam", "sgd")]
    (note,) = [w for w in warnings_of(lucky, None) if w.kind == "selection bias"]
    assert note.sentence.startswith(
        "Part of the best tuning scores is luck: 0.2 of that of adam and 0.2 of that of sgd."
    )
