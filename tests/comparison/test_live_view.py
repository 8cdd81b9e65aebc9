"""What is seen of a study while it runs."""

import io
from dataclasses import replace

from rich.console import Console

from ravine._plotting.progress_lines import ProgressLines
from ravine.comparison._live_view import LiveView, doing
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

SPEC = StudySpec(
    "digits",
    (OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})),
    steps=100,
    points=4,
    looks=(5,),
    expansions=0,
)
# 2 optimizers, 5 seeds, 4 points and about 2 fresh runs: 60 trainings


def text(view, now, done, clock):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(view.shown(now, done, clock))
    return console.file.getvalue()


def test_trainings_done_the_time_left_and_the_best_so_far():
    view = LiveView(SPEC)
    first = stage(SPEC, {})
    assert "0 of 60" in text(view, first, {}, 100.0)
    done = {}
    of_sgd = [trial for trial in first.trials if trial.label == "sgd"]
    for number, trial in enumerate(of_sgd[:6]):
        kind = [TrialResult(0.5 + number, (0, 1), (2.0, 1.0), False), TrialResult(), TrialResult(error="Traceback")][
            number % 3
        ]
        done[trial.key(SPEC)] = kind
    now = stage(SPEC, done)
    shown = text(view, now, done, 112.0)
    assert "6 of 60" in shown
    assert "1:48 left" in shown  # 6 in 12 seconds, 54 are left
    assert "Tuning with 4 points: 5 seeds of 2 optimizers" in shown
    rows = [line.split() for line in shown.splitlines() if line.strip().startswith(("sgd", "adam"))]
    assert rows[0] == ["sgd", "0.5", "lr", f"{of_sgd[0].point['lr']:.3g}", "6", "2", "2"]
    assert rows[1] == ["adam", "0"]


def test_hours_are_told_as_hours():
    view = LiveView(SPEC)
    first = stage(SPEC, {})
    text(view, first, {}, 0.0)
    done = {first.trials[0].key(SPEC): TrialResult(0.5, (0, 1), (2.0, 1.0), False)}
    assert "1:38:20 left" in text(view, stage(SPEC, done), done, 100.0)  # 59 of 100 seconds


def test_going_on_counts_only_what_is_done_now():
    view, first = LiveView(SPEC), stage(SPEC, {})
    done = {trial.key(SPEC): TrialResult(0.5, (0, 1), (2.0, 1.0), False) for trial in first.trials[:10]}
    assert "left" not in text(view, stage(SPEC, done), done, 0.0)
    done |= {first.trials[10].key(SPEC): TrialResult(0.5, (0, 1), (2.0, 1.0), False)}
    assert "8:10 left" in text(view, stage(SPEC, done), done, 10.0)  # 49 of 10 seconds


def test_each_stage_says_what_it_does():
    now = stage(SPEC, {})
    assert doing(SPEC, now) == "Tuning with 4 points: 5 seeds of 2 optimizers"
    assert (
        doing(SPEC, replace(now, name="final", active=("sgd",)))
        == "Fresh runs at the best points: 5 seeds of 1 optimizer"
    )
    assert doing(SPEC, replace(now, name="expand")) == "Best points are at an edge: 1 extra point for each tuning"
    assert "nothing else running" in doing(SPEC, replace(now, name="done"))


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    now = 0.0
    first = stage(SPEC, {})
    done = {trial.key(SPEC): TrialResult(0.5, (0, 1), (2.0, 1.0), False) for trial in first.trials[:10]}
    with LiveView(SPEC, lines=ProgressLines(lambda: now)) as view:
        view.update(first, {})
        assert capsys.readouterr() == ("", "")  # what takes a few seconds has none
        now = 10.0
        view.update(stage(SPEC, done), done)
        view.update(stage(SPEC, done), done)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("10 of about 60 trainings after 0:0")
    assert err.endswith("left. Tuning with 4 points: 5 seeds of 2 optimizers\n")
