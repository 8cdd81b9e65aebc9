"""``judge_files`` and ``ravine judge``: logged runs with a known truth, and what they are told."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from ravine.cli import main
from ravine.comparison import judge_files
from ravine.comparison._judge.critical_values import critical_values, critical_values_of_many
from ravine.comparison._judge.number_text import count
from ravine.comparison._judge.with_best import with_best_unpaired
from ravine.comparison._logged.logged_data import results
from ravine.errors import ComparisonError, DataError, OptionError


def written(path, ends, names=None, steps=(10, 20), column="val_loss"):
    """A table of runs that end at these values, by optimizer; half way they are 1 higher."""
    lines = [f"optimizer,run,step,{column}"]
    for optimizer, values in ends.items():
        for i, value in enumerate(values):
            run = i if names is None else names(optimizer, i)
            lines += [f"{optimizer},{run},{step},{float(value + (step < steps[-1]))!r}" for step in steps]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def ends():
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, 8)
    return {"adam": 1 + shared + rng.normal(0, 0.05, 8), "sgd": 2 + shared + rng.normal(0, 0.05, 8)}


def test_runs_of_the_same_name_are_pairs(tmp_path, ends):
    result = judge_files(written(tmp_path / "a.csv", ends))
    assert result.paired
    assert result.sentence.startswith("adam is the best")
    wanted = stats.ttest_rel(ends["sgd"], ends["adam"]).confidence_interval(0.95)
    standing = result.with_best.standing("sgd")
    assert (standing.low, standing.high) == pytest.approx((wanted.low, wanted.high))


def test_other_names_are_independent_runs(tmp_path, ends):
    ends = {**ends, "sgd": ends["sgd"][:6]}
    result = judge_files(written(tmp_path / "a.csv", ends, lambda optimizer, i: f"{optimizer}{i}"))
    assert not result.paired
    assert "independent" in result.notes[-1]
    wanted = stats.ttest_ind(ends["sgd"], ends["adam"], equal_var=False).confidence_interval(0.95)
    difference, low, high = result.with_best.pairs["sgd", "adam"]
    assert difference == pytest.approx(ends["sgd"].mean() - ends["adam"].mean())
    assert (low, high) == pytest.approx((wanted.low, wanted.high))


def test_more_may_be_better(tmp_path, ends):
    file = written(tmp_path / "a.csv", ends, column="accuracy")
    result = judge_files(file, columns="value=accuracy", higher_is_better=True)
    assert result.sentence.startswith("sgd is the best")
    row = next(row for row in result.table().rows if row[0] == "sgd")
    assert row[2] == f"{ends['sgd'].mean():.2f} ± {ends['sgd'].std(ddof=1):.2f}"


def test_steps_to_a_target_and_runs_that_diverge(tmp_path):
    rows = ["optimizer,run,step,value"]
    rows += [f"{o},{r},{s},{v}" for o in "ab" for r in range(3) for s, v in ((0, 3), (5, 1.5 + r / 10), (9, 1.0))]
    rows[-1] = "b,2,9,nan"
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    result = judge_files(tmp_path / "a.csv", target=1.55)
    assert [result.steps[name].reached_text for name in "ab"] == ["3 of 3", "2 of 3"]
    assert result.steps["a"].restricted_mean == pytest.approx((5 + 9 + 9) / 3)
    assert "b diverged in 1 of 3 runs, which the verdict counts as the value they began with" in " ".join(result.notes)
    assert result.with_best.standing("b").mean == pytest.approx((1 + 1 + 3) / 3)


def test_what_a_run_without_a_number_counts_as_and_rows_without_a_value_are_said(tmp_path):
    rows = [f"{o},{r},{s},{v}" for o in "ab" for r in range(3) for s, v in ((0, 3 + r), (5, 2), (9, 1.0))]
    rows[:3] = ["a,0,0,nan", "a,0,5,nan", "a,0,9,nan"]
    rows[-1] = "b,2,9,"
    rows += ["a,1,10,", "a,1,11,1.0", "b,1,10,1.0", "b,1,12,1.0", "b,1,13,"]  # in the middle, and after the last of all
    (tmp_path / "a.csv").write_text("\n".join(["optimizer,run,step,value", *rows]) + "\n")
    result = judge_files(tmp_path / "a.csv")
    assert result.with_best.standing("a").mean == pytest.approx((5 + 1 + 1) / 3)
    assert result.with_best.standing("b").mean == pytest.approx((1 + 1 + 2) / 3)
    assert (
        "Note: run 0 of a diverged before the first number, and so counts as the worst first value of all runs."
        in result.notes
    )
    assert (
        "Note: run 2 of b has rows after the last value that are empty or null, which is not measured. Write nan there if the run diverged."
        in result.notes
    )


def with_diverged_runs(path, runs, lost, at=1.0, pairs=True):
    """``a`` ends at 1; ``b`` began ``at``, and all but a few of its runs diverged. Runs of other names are no pairs."""
    spread = 0.001 * np.random.default_rng(10).normal(size=(2, runs))
    lines = ["optimizer,run,step,value"]
    for run in range(runs):
        other = run if pairs else run + 100
        lines += [f"a,{run},0,2", f"a,{run},9,{1 + spread[0, run]}", f"b,{other},0,{at + spread[1, run]}"]
        lines += [f"b,{other},9,{'nan' if run < lost else at + spread[1, run]}"]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("runs", "lost", "equivalent"), [(7, 4, False), (7, 3, True), (6, 3, True), (8, 5, True), (5, 3, False)]
)
@pytest.mark.parametrize("at", [1.0, 0.9, 1.1])
@pytest.mark.parametrize("pairs", [True, False])
def test_few_runs_of_which_most_diverged_are_not_called_equivalent(tmp_path, runs, lost, equivalent, at, pairs):
    """Whether they are as low as the others, or lower (and so the best), or higher."""
    result = judge_files(with_diverged_runs(tmp_path / "a.csv", runs, lost, at, pairs), margin="0.5")
    assert result.paired == pairs
    more = f"About {count(8 - runs, 'more seed')} would settle it"
    assert (more in result.sentence) == (pairs and not equivalent and at == 1.0)
    assert any(s.equivalent and s.verdict != "best" for s in result.with_best.standings) == equivalent
    said = (
        "Note: Nobody is called equivalent: with fewer than 8 runs, and most runs diverged, that would often be wrong."
    )
    assert (said in result.notes) != equivalent
    assert any("too small to matter" in note for note in result.notes) == equivalent
    if not (pairs or equivalent):
        ends = {o: [c.values[-1] for c in result.curves.of(o)] for o in "ab"}
        assert result.with_best.pairs == with_best_unpaired({o: np.array(v) for o, v in ends.items()}).pairs
    called_good = "b" in result.with_best.top or equivalent
    assert ("But b diverged in " in result.sentence) == (called_good and 2 * lost > runs)


def test_the_verdict_on_one_that_diverged_in_every_run_says_so(tmp_path):
    rows = ["optimizer,run,step,value", *(f"sgd,{r},{s},{v + r / 10}" for r in range(8) for s, v in ((0, 9), (9, 1.0)))]
    rows += [f"gone,{r},{s},{v}" for r in range(8) for s, v in ((0, 0.5), (9, "nan"))]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    result = judge_files(tmp_path / "a.csv")
    assert result.sentence == "Nobody can be called the best: gone diverged in every run."
    assert verdicts(result) == {"sgd": "not the best", "gone": "diverged in every run"}
    assert [s.name for s in result.with_best.standings] == ["sgd", "gone"]
    assert "those that diverged in every run last" in results(result).caption
    near = judge_files(tmp_path / "a.csv", margin="9")
    assert not any(s.equivalent for s in near.with_best.standings), "as good as a best that is none"
    assert "seed" not in near.sentence


def test_all_that_may_be_the_best_are_bold(tmp_path, ends):
    near = {"adam": ends["adam"], "lion": [end + (-1) ** i for i, end in enumerate(ends["adam"])]}
    result = judge_files(written(tmp_path / "a.csv", {**near, "sgd": ends["adam"] + 90}), margin="0")
    assert sorted(result.with_best.top) == ["adam", "lion"]
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(result.table())
    bold = [line for line in console.file.getvalue().splitlines() if "\x1b[1m" in line]
    assert [name for name in ("adam", "lion", "sgd") if any(name in line for line in bold)] == ["adam", "lion"]


def verdicts(result):
    return {row[0]: row[1] for row in result.table().rows}


def test_the_best_is_not_said_to_be_within_the_margin_and_who_is_near_is(tmp_path, ends):
    result = judge_files(written(tmp_path / "a.csv", {**ends, "late": ends["adam"] + 7}), margin="3")
    assert verdicts(result) == {
        "adam": "best",
        "sgd": "not the best, but within the margin",
        "late": "not the best",
    }
    assert verdicts(judge_files(tmp_path / "a.csv", margin="0.05"))["adam"] == "best"


def test_a_best_that_is_ahead_by_less_than_the_margin_is_not_called_the_best(tmp_path, ends):
    near = {"adam": ends["adam"], "sgd": ends["adam"] + 3e-6}
    result = judge_files(written(tmp_path / "a.csv", near))
    spread = np.std(ends["adam"], ddof=1)
    assert result.with_best.margin == pytest.approx(spread)
    assert result.sentence.startswith(
        f"adam and sgd are equivalent: their values at the end are within {spread:.2g} of each other; that of adam is "
    )
    assert f"{spread:.2g} (the spread from one run to the next), are too small to matter" in " ".join(result.notes)
    assert judge_files(tmp_path / "a.csv", margin="0").sentence.startswith("adam is the best")


def test_the_margin_is_the_median_spread_of_the_better_half_and_diverged_runs_have_no_part_in_it(tmp_path):
    rng = np.random.default_rng(3)
    values = {name: level + rng.normal(0, 0.1 * (level + 1), 6) for level, name in enumerate("abcd")}
    file = written(tmp_path / "a.csv", values)
    wanted = np.median([np.std(values[name], ddof=1) for name in "ab"])
    assert judge_files(file).with_best.margin == pytest.approx(wanted)
    lines = file.read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("a,5,"))
    file.write_text("\n".join([*lines[:last], "a,5,20,nan", *lines[last + 1 :]]))
    wanted = np.median([np.std(values["a"][:5], ddof=1), np.std(values["b"], ddof=1)])
    assert judge_files(file).with_best.margin == pytest.approx(wanted)


def test_few_runs_are_said_to_show_little(tmp_path, ends):
    result = judge_files(written(tmp_path / "a.csv", {"a": [0.1, 0.3], "b": [0.2, 0.4]}))
    assert result.sentence.startswith("a is the best")
    assert result.with_best.margin == 0
    assert result.notes[0] == "The value is val_loss."
    assert "Note: 2 runs of a and 2 runs of b hardly show how much runs vary" in result.notes[1]
    assert "it takes 5 runs to estimate a margin" in result.notes[2]
    assert not any("hardly" in note for note in judge_files(written(tmp_path / "b.csv", ends)).notes)


def test_independent_runs_far_out_are_said(tmp_path):
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(1, 0.01, 20), "b": rng.normal(1.1, 0.01, 20)}
    file = written(tmp_path / "a.csv", values, lambda optimizer, i: f"{optimizer}{i}")
    assert not any("far out" in note for note in judge_files(file).notes)
    values["b"][3] = 9.0
    result = judge_files(written(tmp_path / "a.csv", values, lambda optimizer, i: f"{optimizer}{i}"))
    assert result.sentence == "Either a or b may be the best."
    assert "far out from the other runs of the same optimizer: b3 of b. This widens" in result.notes[-1]
    assert judge_files(written(tmp_path / "b.csv", values)).sentence.startswith("a is the best")


def test_runs_far_out_of_pairs_are_said(tmp_path):
    values = {"a": 1 + 0.01 * np.arange(8.0), "b": 1.1 + 0.01 * np.arange(8.0)[::-1]}
    assert "Far out" not in " ".join(judge_files(written(tmp_path / "a.csv", values)).notes)
    values["b"][3] = 9.0
    result = judge_files(written(tmp_path / "b.csv", values))
    assert "Far out, and counted as 5 times the usual difference: 1 of 8 runs of b." in result.notes


def test_unpaired_intervals_hold_together():
    """Groups of unequal size and spread, all equal in truth."""
    rng, studies = np.random.default_rng(1), 400
    covered = false = 0
    for _ in range(studies):
        groups = {str(n): rng.normal(0, spread, n) for n, spread in ((5, 1.0), (8, 3.0), (20, 1.0), (30, 0.3))}
        study = with_best_unpaired(groups)
        covered += all(s.low <= 0 <= s.high for s in study.standings)
        false += bool(study.others)
    assert covered / studies >= 0.95 - 0.025
    assert false / studies <= 0.05 + 0.025


@pytest.mark.parametrize("optimizers", [2, 5])
def test_critical_values_of_many_runs_are_the_limit_of_those_of_some(optimizers):
    many, some = critical_values_of_many(optimizers), critical_values(optimizers, (200,))[:, 0]
    assert many == pytest.approx(some, abs=0.05)
    wanted = stats.studentized_range.ppf(0.95, optimizers, np.inf) / np.sqrt(2)
    assert many[-1] == pytest.approx(wanted, abs=0.03)


def test_what_cannot_be_judged_is_told(tmp_path, ends):
    with pytest.raises(
        ComparisonError, match=r"two optimizers with at least two runs each; .* 1 such optimizer, and sgd"
    ):
        judge_files(written(tmp_path / "a.csv", {**ends, "sgd": ends["sgd"][:1]}))
    with pytest.raises(OptionError, match="margin = 'much'"):
        judge_files(written(tmp_path / "b.csv", ends), margin="much")


def test_the_command(tmp_path, ends, monkeypatch, capsys):
    written(tmp_path / "a.csv", ends)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ravine", "judge", "a.csv", "--margin", "1%", "--json", "out.json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("adam is the best")
    tree = json.loads((tmp_path / "out.json").read_text())
    assert tree["sentence"] == out.splitlines()[0]
    assert [s["name"] for s in tree["compared"]["standings"]] == ["adam", "sgd"]
    assert tree["compared"]["margin"] == pytest.approx(0.01 * ends["adam"].mean())


def test_equal_numbers_have_no_difference_and_a_target_that_all_meet_is_a_note(tmp_path):
    same = {"a": [0.1] * 2, "b": [0.1] * 7}
    result = judge_files(written(tmp_path / "a.csv", same, lambda optimizer, i: f"{optimizer}{i}"), target=5.0)
    assert sorted(result.with_best.top) == ["a", "b"]
    assert result.with_best.pairs["a", "b"] == (0, 0, 0)
    assert result.steps == {}
    assert "target of 5 at its first value" in " ".join(result.notes)


def of_one_value(path, ends, separator="\n"):
    rows = [
        {"optimizer": name, "seed": i, "loss": value} for name, values in ends.items() for i, value in enumerate(values)
    ]
    if path.suffix == ".csv":
        return path.write_text("\n".join(["optimizer,seed,loss", *(",".join(map(str, row.values())) for row in rows)]))
    return path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_runs_of_one_value_need_no_step(tmp_path, ends, name):
    of_one_value(tmp_path / name, ends)
    found = judge_files(tmp_path / name)
    assert found.sentence == judge_files(written(tmp_path / "steps.csv", ends)).sentence


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_runs_of_several_values_do(tmp_path, ends, name):
    of_one_value(tmp_path / name, ends)
    lines = (tmp_path / name).read_text()
    (tmp_path / name).write_text(lines + "\n" + lines.splitlines()[-1])
    with pytest.raises(DataError, match="has no (column|key) 'step' .*, which a run with several values needs"):
        judge_files(tmp_path / name)


@pytest.mark.parametrize("column", ["accuracy", "val_acc", "test/F1"])
def test_the_lowest_accuracy_is_not_called_the_best(tmp_path, ends, column):
    path = written(tmp_path / "a.csv", ends, column=column)
    with pytest.raises(OptionError, match="is better if it is higher, .*higher_is_better=True") as raised:
        judge_files(path, columns=f"value={column}")
    assert raised.value.on_command_line.endswith("say so by --higher.")
    assert judge_files(path, columns={"value": column}, higher_is_better=True).sentence.startswith("sgd is the best")
