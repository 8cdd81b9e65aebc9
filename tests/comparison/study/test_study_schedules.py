"""Schedules of a comparison: for all optimizers, or for one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ravine
from ravine.comparison._run_study import resume_command
from ravine.comparison._study.declare import declare
from ravine.comparison._study.location import Location
from ravine.comparison._study.schedules import schedules_from_words, schedules_of
from ravine.comparison._study.study_spec import StudySpec
from ravine.comparison._study.trial import Trial, run
from ravine.errors import OptionError
from ravine.optim._spec import parse_all
from ravine.tasks import find
from ravine.train._schedules.by_text import usage

TASK = find("breast-cancer")


def spec_with(schedule, names=("sgd", "adam"), **options):
    options = {"points": 1, "seeds": 2, "steps": 7, **options}
    return declare(TASK, "breast-cancer", parse_all(names), schedule=schedule, **options)


def rates(schedule, label, monkeypatch, lr=0.1, steps=7):
    """The learning rates of all steps of a trial."""
    seen, spec = [], spec_with(schedule, steps=steps)
    optimizer = parse_all([label])[0]
    build = type(optimizer).build

    def watched(self, params):
        made = build(self, params)
        made.register_step_pre_hook(lambda o, *rest: seen.append(float(o.param_groups[0]["lr"])))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(type(optimizer), "build", watched)
        run(spec, TASK, Trial(label, {"lr": lr}, 3, "tune"), optimizer)
    return np.array(seen)


def test_each_optimizer_is_trained_with_its_own_schedule_over_all_steps(monkeypatch):
    schedule = {"*": "cosine", "adam": "warmup-linear:0.3"}
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(7) / 7))
    assert rates(schedule, "sgd", monkeypatch) == pytest.approx(cosine), "7 steps end within an epoch"
    warm = 0.1 * np.array([0.5, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert rates(schedule, "adam", monkeypatch) == pytest.approx(warm)
    assert rates({"*": "cosine", "adam": ""}, "adam", monkeypatch) == pytest.approx([0.1] * 7)


def test_every_schedule_of_a_training_works_in_a_comparison():
    values = {"SIZE": "3", "SHARE": "0.5", "PATIENCE": "0", "FACTOR": "0.5", "FINAL": "0", "GAMMA": "0.9"}
    sgd = parse_all(["sgd"])[0]
    for form in usage():
        name, _, arguments = form.partition(":")
        text = f"{name}:{','.join(values[a] for a in arguments.split(','))}" if arguments else name
        result = run(spec_with(text), TASK, Trial("sgd", {"lr": 0.1}, 3, "tune"), sgd)
        assert np.isfinite(result.score), text


def test_a_plateau_goes_by_the_validation_loss(monkeypatch):
    """At a rate of 0 nothing improves: with a patience of 0 every epoch after the first halves it."""
    epoch = -(-round(0.8 * len(TASK.train)) // TASK.batch_size)
    seen = rates("plateau:0,0.5", "sgd", monkeypatch, lr=1e-6, steps=3 * epoch)
    assert seen / 1e-6 == pytest.approx(np.repeat([1, 1, 0.5], epoch))


def test_a_schedule_that_is_not_own_changes_no_key_and_an_own_one_does():
    both, own = spec_with(""), spec_with({"adam": "cosine"})
    trials = {label: Trial(label, {"lr": 0.1}, 3, "tune") for label in ("sgd", "adam")}
    assert trials["sgd"].key(both) == trials["sgd"].key(own)
    assert trials["adam"].key(both) != trials["adam"].key(own)
    assert both.hash != own.hash
    assert "schedule" not in both.to_json().partition('"optimizers"')[2].partition("]")[0], "as before"
    assert StudySpec.from_json(own.to_json()) == own
    assert own.differences(both) == ["adam, schedule: that of all in the study, cosine now"]


def test_what_is_said_of_all_is_no_schedule_of_its_own():
    assert schedules_of({"*": "cosine", "adam": "cosine", "sgd": ""}, ["adam", "sgd"]) == (
        "cosine",
        {"sgd": "constant"},
    )
    assert schedules_of({"adam": "constant"}, ["adam"]) == ("", {})
    assert spec_with({"*": "cosine", "sgd": ""}).schedules_text == "cosine; sgd: constant"


def test_words_of_the_command_line():
    words = ["cosine", "rmsprop:alpha=0.9=warmup:0.1"]
    assert schedules_from_words(words) == {"*": "cosine", "rmsprop:alpha=0.9": "warmup:0.1"}
    spec = spec_with(schedules_from_words(words), names=("sgd", "rmsprop:alpha=0.9"))
    where = Location("a", "ravine-out/a/study.journal", Path("ravine-out/a"))
    said = resume_command(spec, where)
    assert "--schedule cosine --schedule rmsprop:alpha=0.9=warmup:0.1" in said
    with pytest.raises(OptionError, match="for all optimizers is 'cosine' already.*LABEL=SCHEDULE"):
        schedules_from_words(["cosine", "linear"])


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"adan": "cosine"}, "schedule: 'adan' is not among the optimizers. Did you mean 'adam'"),
        ({"adam": "cosin"}, "no schedule 'cosin'. Did you mean 'cosine'"),
        ({"adam": 3}, "schedule = 3: name one as text"),
        (3, "schedule = 3: name one as text, such as 'cosine', or one for each"),
        ("warm-up", "no schedule 'warm-up'. Did you mean 'warmup'"),
    ],
)
def test_what_is_no_schedule_of_a_comparison(schedule, message):
    with pytest.raises(OptionError, match=message):
        spec_with(schedule)


@pytest.mark.slow  # a whole comparison
def test_the_same_optimizer_with_another_schedule_is_another_and_the_report_says_so(tmp_path):
    result = ravine.compare(
        "breast-cancer",
        {"sgd": torch.optim.SGD, "sgd, warm": torch.optim.SGD},
        schedule={"sgd, warm": "warmup-cosine"},
        points=1,
        seeds=2,
        steps=6,
        out=tmp_path,
        quiet=True,
        jobs=1,
    )
    result.write()
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "none (constant); sgd, warm: warmup-cosine" in page
    assert "at a constant learning rate (`sgd, warm` with warmup-cosine)" in text
