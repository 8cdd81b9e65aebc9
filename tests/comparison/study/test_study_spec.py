"""A spec as text, and what keeps one from being joined to another: only what differs is said, with both values."""

from dataclasses import replace

import pytest

from ravine.comparison._study.stages import stage
from ravine.comparison._study.study_spec import FORMAT, OptimizerConfig, StudySpec
from ravine.errors import DataError
from ravine.optim.search import Range

SGD, ADAM = OptimizerConfig("sgd", {"lr": Range(1e-3, 10.0)}), OptimizerConfig("adam", {"lr": Range(1e-5, 0.1)})
THIRD = OptimizerConfig("rmsprop", {"lr": Range(1e-5, 0.1)})
SPEC = StudySpec("digits", (SGD, ADAM), steps=10, points=4, looks=(3,))


def test_fewer_seeds_or_another_study_are_not_joined_and_what_differs_is_said():
    few = replace(SPEC, looks=(2,))
    assert few.joined_to(SPEC) is None
    assert few.differences(SPEC) == ["seeds: 3 in the study, 2 now"]
    assert replace(SPEC, looks=(2, 4)).joined_to(replace(SPEC, looks=(5, 10))) is None
    assert replace(SPEC, looks=(2, 4)).differences(replace(SPEC, looks=(5, 10))) == [
        "seeds: 5 to 10 in the study, 2 to 4 now"
    ]
    other = replace(SPEC, looks=(9,), seed=1)
    assert other.joined_to(SPEC) is None
    assert other.differences(SPEC) == ["study seed: 0 in the study, 1 now"], "more seeds alone would be joined"
    turned = replace(SPEC, optimizers=(ADAM, SGD))
    assert turned.joined_to(SPEC) == SPEC, "the order of the optimizers is none of a study"
    assert turned.differences(SPEC) == []


def test_a_spec_survives_being_written():
    again = StudySpec.from_json(SPEC.to_json())
    assert again == SPEC
    assert (again.hash, again.training_hash) == (SPEC.hash, SPEC.training_hash)
    assert [t.key(SPEC) for t in stage(SPEC, {}).trials] == [t.key(again) for t in stage(again, {}).trials]
    with pytest.raises(DataError, match="written by an older version of Ravine"):
        StudySpec.from_json(SPEC.to_json().replace(f'"format":{FORMAT}', f'"format":{FORMAT - 1}'))


def test_what_differs_between_specs_is_said():
    other = replace(
        SPEC, steps=11, optimizers=(OptimizerConfig("sgd", {"lr": Range(1e-3, 1.0)}), replace(THIRD, label="rmsprop"))
    )
    assert other.hash != SPEC.hash
    text = "; ".join(SPEC.differences(other))
    assert "steps: 11 in the study, 10 now" in text
    assert "adam takes part only now" in text
    assert "rmsprop takes part only in the study" in text
    assert "sgd, lr: log(0.001, 1) in the study, log(0.001, 10) now" in text
    assert SPEC.differences(SPEC) == []


def test_of_another_task_what_follows_from_it_is_not_said():
    other = replace(
        SPEC, task="mine.py", content="b", ratio=True, evaluations=3, versions={"torch": "2.1", "mine.py": "sha256:0"}
    )
    spec = replace(SPEC, content="a", versions={"torch": "2.1"}, looks=(5,))
    assert (
        other.differences(spec)
        == [f"task: {SPEC.task} in the study, mine.py now", "seeds: 5 in the study, 3 now"][::-1]
    )
    (said,) = replace(spec, content="c").differences(spec)
    assert said.startswith("the content of the data: a in the study, c now. If they are drawn")
    assert replace(spec, steps=200, evaluations=20).differences(spec) == ["steps: 10 in the study, 200 now"]


def test_what_was_not_named_is_said_in_words():
    named = replace(SPEC, margin="1%", schedule="cosine", optimizers=(SGD, replace(ADAM, space={})))
    assert sorted(named.differences(SPEC)) == [
        "adam, lr: log(1e-05, 0.1) in the study, not tuned now",
        "margin: the default in the study, 1% now",
        "schedule: constant in the study, cosine now",
    ]
    moved = {"lr": Range(SGD.space["lr"].low, SGD.space["lr"].high, most=2.0)}
    (said,) = replace(SPEC, optimizers=(replace(SGD, space=moved), ADAM)).differences(SPEC)
    assert "'most': None} in the study" in said
    assert "'most': 2.0} now" in said


def test_what_is_only_written_otherwise_is_no_difference():
    """Numbers as text, whole numbers for others, spaces: it is the study that there is."""
    one = replace(
        SPEC,
        margin="0.010",
        schedule="step:5, 0.5",
        optimizers=(OptimizerConfig("a", {"lr": Range(1.0, 10.0)}, "sgd:lr=1e-3"), ADAM),
    )
    other = replace(
        one,
        margin="1e-2",
        schedule="step:5,.5",
        optimizers=(OptimizerConfig("a", {"lr": Range(1, 10)}, "sgd:lr=0.001"), ADAM),
    )
    assert other.joined_to(one) == one
    assert other.differences(one) == []
    exact = replace(one, versions={"torch": "2.10"}, task="v1.0/task.py")
    for name, value in (("versions", {"torch": "2.1"}), ("task", "v1/task.py")):
        assert replace(exact, **{name: value}).joined_to(exact) is None
        assert len(replace(exact, **{name: value}).differences(exact)) == 1
    looked = replace(SPEC, looks=(2, 4, 5))
    before = replace(SPEC, looks=(2, 3, 5))
    assert looked.joined_to(before) == before, "the looks that were planned are kept"
    assert looked.differences(before) == []
    sgd = [
        replace(SPEC, optimizers=(OptimizerConfig(label, SGD.space), ADAM)) for label in ("sgd:lr=1e-3", "sgd:lr=0.001")
    ]
    assert sgd[1].differences(sgd[0]) == ["sgd:lr=1e-3 in the study is written sgd:lr=0.001 now: write sgd:lr=1e-3"]
