"""What is seen of a study while it runs."""

import io

from rich.console import Console

from ravine.comparison._live_view import LiveView, expected
from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import OptimizerConfig, StudySpec
from ravine.comparison._study.trial import TrialResult
from ravine.optim.search import Range

SPEC = StudySpec(
    "digits",
    (OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})),
    steps=100,
    points=8,
    finalists=3,
    seeds=5,
    expansions=0,
)


def text(view, now, done, clock):
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(view.shown(now, done, clock))
    return console.file.getvalue()


def test_trainings_done_the_time_left_and_the_best_so_far():
    view = LiveView(SPEC)
    first = stage(SPEC, {})
    assert expected(SPEC, first) == 2 * (8 + 3 * 2 + 5)
    assert "0 of 38" in text(view, first, {}, 100.0)
    done = {}
    for number, trial in enumerate(first.trials[:6]):
        kind = [TrialResult(0.5 + number, (1,), (1.0,), False), TrialResult(), TrialResult(error="Traceback")][
            number % 3
        ]
        done[trial.key(SPEC)] = kind
    now = stage(SPEC, done)
    shown = text(view, now, done, 112.0)
    assert "6 of 38" in shown
    assert "1:04 left" in shown  # 6 in 12 seconds, 32 are left
    assert "Tuning: 8 points for each optimizer" in shown
    rows = [line.split() for line in shown.splitlines() if line.strip().startswith(("sgd", "adam"))]
    assert rows[0] == ["sgd", "0.5", "lr", f"{first.trials[0].point['lr']:.3g}", "6", "2", "2"]
    assert rows[1] == ["adam", "0"]


def test_hours_are_told_as_hours():
    view = LiveView(SPEC)
    first = stage(SPEC, {})
    text(view, first, {}, 0.0)
    done = {first.trials[0].key(SPEC): TrialResult(0.5, (1,), (1.0,), False)}
    assert "1:01:40 left" in text(view, stage(SPEC, done), done, 100.0)


def test_going_on_counts_only_what_is_done_now():
    view, first = LiveView(SPEC), stage(SPEC, {})
    done = {trial.key(SPEC): TrialResult(0.5, (1,), (1.0,), False) for trial in first.trials[:10]}
    assert "left" not in text(view, stage(SPEC, done), done, 0.0)
    done |= {first.trials[10].key(SPEC): TrialResult(0.5, (1,), (1.0,), False)}
    assert "4:30 left" in text(view, stage(SPEC, done), done, 10.0)


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with LiveView(SPEC) as view:
        view.update(stage(SPEC, {}), {})
    assert capsys.readouterr() == ("", "")
