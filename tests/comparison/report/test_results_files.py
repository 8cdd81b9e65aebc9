"""results.json and results.csv: all of a study, exactly, for programs; read here with the standard library alone."""

import csv
import hashlib
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
from studies import result as made_up
from studies import study

import ravine
from ravine.comparison._export.results_csv import results_csv
from ravine.comparison._export.results_json import results_json
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_progress import StudyProgress, progress_of
from ravine.comparison._study.study_record import StudyOrigin, StudyRecord
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

SMALL = {"preset": "quick", "points": 3, "seeds": 2, "steps": 8, "jobs": 1, "quiet": True}
ODD = ("sgd:momentum=0.9,nesterov=True", "adam")  # a label with a comma


@pytest.fixture(scope="module")
def whole():
    """A study with points that diverge, and with trainings that raise."""
    return study(
        {ODD[0]: 0.5, "adam": 0.2},
        failing={("adam", 3)},
        space={"lr": Range(1e-4, 1.0), "beta1": Range(0.5, 0.99, "complement")},
    )


def read_json(result):
    def refuse(token):
        raise AssertionError(f"{token} is not strict JSON")

    return json.loads(results_json(result.record, result.judgement), parse_constant=refuse)


def read_csv(result):
    return list(csv.DictReader(io.StringIO(results_csv(result.record).decode(), newline="")))


def test_json_has_every_training_exactly(whole):
    tree = read_json(whole)
    assert tree["format"] == 2
    assert len(tree["trainings"]) == len(whole.trial_results) > 30
    assert any(t["error"] for t in tree["trainings"])
    for training, (trial, result) in zip(tree["trainings"], whole.record.trials, strict=True):
        assert whole.trial_results[training["key"]] is result
        renamed = training | {"watch": training["update_ratios"], "seconds": training["seconds_per_step"]}
        assert TrialResult.from_tree(renamed).to_tree() == result.to_tree()
        assert (training["optimizer"], training["kind"]) == (trial.label, trial.kind)
        assert (training["point"], training["seed"]) == (dict(trial.point), trial.seed)


def test_json_has_the_spec_and_the_hash_of_it(whole):
    tree = read_json(whole)
    canonical = json.dumps(tree["spec"], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest()[:16] == tree["spec_hash"] == whole.spec.hash
    assert StudySpec.from_json(json.dumps(tree["spec"])) == whole.spec
    assert tree["progress"] == {"stage": "done", "done": len(whole.trial_results), "total": len(whole.trial_results)}
    for entry, config in zip(tree["optimizers"], whole.spec.optimizers, strict=True):
        assert entry["label"] == config.label
        assert {name: Range(**values) for name, values in entry["space"].items()} == config.space
        runs = next(each.runs for each in whole.record.runs if each.name == config.label)
        assert entry["chosen"] == [dict(run.point) for run in runs]
        assert len(entry["chosen"]) == 5, "of each tuning"
        assert entry["step_seconds"] == whole.seconds[config.label].step
    assert tree["machine"] == whole.origin.machine


def test_json_has_the_judgement(whole):
    tree, judgement = read_json(whole), whole.judgement
    written = tree["judgement"]
    assert written["sentence"] == judgement.sentence
    assert written["ranked"] == list(judgement.ranked)
    assert written["target"] == judgement.target.loss
    assert [one["metric"] for one in written["compared"]] == ["validation loss", "accuracy", "test loss"]
    assert [one["higher_is_better"] for one in written["compared"]] == [False, True, False]
    for one, compared in zip(written["compared"], judgement.compared.values(), strict=True):
        found = compared.with_best
        assert one["standings"] == [asdict(standing) for standing in found.standings]
        assert {(p["first"], p["second"]): (p["difference"], p["low"], p["high"]) for p in one["pairs"]} == found.pairs
        assert (one["margin"], one["alpha"], one["looks"]) == (found.margin, 0.05, [5])
        assert (one["settled"], one["more_seeds"], one["logarithm"]) == (found.settled, found.more, False)
    for entry in written["budget"]:
        curve = judgement.budget[entry["optimizer"]]
        assert entry["points"] == [1, 2, 4, 8]
        for name, values in (("loss", curve.expected), ("low", curve.low), ("high", curve.high)):
            assert entry[name] == values.tolist()
    assert [w["sentence"] for w in tree["warnings"]] == [w.sentence for w in judgement.warnings] != []
    for entry in written["steps_to_target"]:
        taken = judgement.steps[entry["optimizer"]]
        read = {s: math.nan if n is None else n for s, n in zip(entry["seeds"], entry["steps"], strict=True)}
        assert read == pytest.approx(dict(taken.steps), nan_ok=True, rel=0)
        assert entry["restricted_mean"] == taken.restricted_mean
        assert entry["reached"] == 5 - len(taken.missed)
        assert (entry["share_low"], entry["share_high"]) == taken.share_interval
        first = judgement.ranked[0]
        wanted = None if entry["optimizer"] == first else taken.rank_p(judgement.steps[first])
        assert entry["rank_p"] == wanted, "of two optimizers there is nothing to correct"
        assert entry["median"] == (taken.median if math.isfinite(taken.median) else None)
        assert entry["diverged_seeds"] == sorted(taken.diverged)


def test_csv_has_a_row_for_each_training_exactly(whole):
    rows = read_csv(whole)
    assert list(rows[0]) == [
        *("study", "task", "optimizer", "kind", "judged", "seed", "hp.lr", "hp.beta1", "score", "diverged"),
        *("metric.accuracy", "metric.test_loss", "seconds_per_step", "error", "key"),
    ]
    for row, (trial, result) in zip(rows, whole.record.trials, strict=True):
        assert (row["study"], row["task"]) == ("compare-digits", "digits")
        assert (row["optimizer"], row["kind"], int(row["seed"])) == (trial.label, trial.kind, trial.seed)
        assert {"lr": float(row["hp.lr"]), "beta1": float(row["hp.beta1"])} == dict(trial.point)
        assert row["diverged"] == ("true" if result.diverged else "false")
        assert row["score"] == ("" if result.diverged else repr(result.score))
        read = {name: float(row[f"metric.{name}"]) for name in ("accuracy", "test_loss") if row[f"metric.{name}"]}
        assert read == result.metrics
        assert row["error"] == ("ValueError: <b>made up</b>" if result.error else "")
        assert row["key"] == trial.key(whole.spec)


def test_the_rows_that_are_judged_have_the_means_of_the_verdict(whole):
    """Other fresh runs are at the best of fewer points: a mean over all of them ranks differently from the verdict."""
    runs = [row for row in read_csv(whole) if row["judged"] == "true"]
    assert {row["kind"] for row in runs} == {"final"}
    assert len(runs) < sum(row["kind"] == "final" for row in read_csv(whole))
    assert [row["seed"] for row in runs] == ["1", "3", "5", "7", "9"] * 2, "one for each seed"
    scores = [float(row["score"]) for row in runs if row["optimizer"] == ODD[0]]  # a run of the other raised
    assert sum(scores) / 5 == pytest.approx(whole.judgement.losses.standing(ODD[0]).mean, rel=1e-12)
    judged = {t["key"] for t in read_json(whole)["trainings"] if t["judged"]}
    assert judged == {row["key"] for row in runs} == {row["key"] for row in whole.rows() if row["judged"]}


def test_a_hyperparameter_of_one_optimizer_is_empty_in_the_rows_of_the_others():
    arms = (OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}), OptimizerConfig("adam", {"eps": Range(1e-9, 1e-3)}))
    spec = StudySpec("digits", arms, steps=100, points=2, looks=(2,))
    now = stage(spec, {})
    done = {trial.key(spec): made_up(spec, trial, 0.2, 0.01, ()) for trial in now.trials}
    rows = list(csv.DictReader(io.StringIO(results_csv(StudyRecord(spec, done)).decode())))
    assert {(r["optimizer"], r["hp.lr"] != "", r["hp.eps"] != "") for r in rows} == {
        ("sgd", True, False),
        ("adam", False, True),
    }


def test_a_study_without_a_judgement_has_its_files_too():
    arms = (OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}),)
    spec = StudySpec("digits", arms, steps=100, points=2, looks=(2,))
    tree = json.loads(results_json(StudyRecord(spec, {}), None))
    assert tree["judgement"] is None
    assert tree["trainings"] == tree["warnings"] == []
    assert tree["optimizers"][0]["chosen"] == []
    assert results_csv(StudyRecord(spec, {})).decode().count("\n") == 1, "the header alone"


def test_what_no_text_can_hold_is_written_all_the_same():
    arms = (OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}),)
    spec = StudySpec("digits", arms, steps=100, points=1, looks=(2,))
    error = 'Traceback\nKeyError: "\udcff", a\0b;\r\n\n'
    done = {
        t.key(spec): TrialResult(losses=(math.inf, math.nan), steps=(5, 10), error=error)
        for t in stage(spec, {}).trials
    }
    record = StudyRecord(spec, done, origin=StudyOrigin("é"))
    tree = json.loads(results_json(record, None))
    assert tree["trainings"][0]["error"] == error
    assert tree["trainings"][0]["losses"] == [None, None]
    row = next(csv.DictReader(io.StringIO(results_csv(record).decode(), newline="")))
    assert (row["study"], row["error"]) == ("é", r'KeyError: "\udcff", a' + "\0b;")


@pytest.mark.slow  # trains a study
def test_a_study_resumed_or_written_again_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []
    for folder in ("first", "second"):
        result = ravine.compare("breast-cancer", ["sgd", "rmsprop"], **SMALL, study="mine")
        paths = {path.name: path for path in result.write(folder)}
        written.append([paths[name].read_bytes() for name in ("results.json", "results.csv")])
    assert written[0] == written[1]
    again = {path.name: path.read_bytes() for path in result.write("second")}
    assert [again["results.json"], again["results.csv"]] == written[0]


def test_how_far_a_study_is():
    arms = tuple(OptimizerConfig(name, {"lr": Range(1e-4, 1.0)}) for name in ("sgd", "adam"))
    spec = StudySpec("digits", arms, steps=100, points=8, looks=(5,))
    done, seen = {}, []
    while True:
        now = stage(spec, done)
        seen.append(progress_of(spec, now, done))
        if now.name == "done":
            break
        trial = now.trials[0]
        done[trial.key(spec)] = made_up(spec, trial, 0.2, 0.01, ())
    # of each tuning its 8 points, and the best of 1, 2, 4 and 8 of them: half the time that of the fewer before
    assert seen[0] == StudyProgress("tune", 0, round(2 * 5 * (8 + 1 + 3 / 2)))
    assert [p.done for p in seen] == list(range(len(done) + 1))
    assert seen[-1] == StudyProgress("done", len(done), len(done))
    assert all(p.total == pytest.approx(len(done), rel=0.1) for p in seen)
    assert seen[3].sentence == f"3 of about {seen[3].total} trainings are done."
    assert seen[-1].sentence == f"{len(done)} of {len(done)} trainings are done."


def test_every_entry_is_described(whole):
    page = (Path(__file__).parents[3] / "docs" / "results-files.md").read_text(encoding="utf-8")
    tree = read_json(whole)
    judgement = tree["judgement"]
    (compared, *_), (steps, *_), (budget, *_) = (judgement[n] for n in ("compared", "steps_to_target", "budget"))
    described = [tree, tree["progress"], tree["optimizers"][0], tree["trainings"][0], tree["warnings"][0], judgement]
    described += [compared, compared["standings"][0], compared["pairs"][0], steps, budget]
    for name in dict.fromkeys(name for entries in described for name in entries):
        assert f"`{name}`" in page, name
