"""A study knows the content of its data: other data are refused, and so are data that are others each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.comparison._run_study import plan_study
from ravine.comparison._study.code_versions import check_content
from ravine.comparison._study.store import Store
from ravine.comparison._study.study_spec import StudySpec
from ravine.errors import DataError, OptionError, TrainingError
from ravine.tasks import Data, Task, find

FILE = """
import numpy as np
import torch
from ravine.tasks import Data, Task


def task():
    rows = torch.as_tensor({rows})
    x = torch.arange(200.0)[rows][:, None] / 200
    y = (x[:, 0] > {edge}).long()
    return Task(
        model=lambda: torch.nn.Linear(1, 2),
        train=Data(x[:160], y[:160]),
        test=Data(x[160:], y[160:]),
        loss=torch.nn.functional.cross_entropy,
        batch_size=40,
    )
"""
SEEDED, DRAWN = "np.random.default_rng(0).permutation(200)", "np.random.permutation(200)"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(rows=SEEDED, edge=0.5):
        (tmp_path / "t.py").write_text(FILE.format(rows=rows, edge=edge))
        return planned("t.py")

    return write


def planned(task):
    return plan_study(task, ["sgd"], 1, None, points=2, seeds=2, steps=4)


@pytest.mark.parametrize("rows", [DRAWN, "torch.randperm(200)"])
def test_a_task_that_draws_other_data_each_time_is_refused(written, rows):
    with pytest.raises(DataError, match=r"t\.py gives other data each time .* give a seed: torch.manual_seed\(0\)"):
        written(rows)


def test_a_worker_refuses_other_data(written):
    plan = written()
    check_content(plan.spec, find("t.py"))
    check_content(replace(plan.spec, content=""), find("t.py"))  # a study of before
    written(edge=0.6)
    with pytest.raises(
        DataError, match=r"The data of t\.py are not those that the study was made with: .* give a seed"
    ):
        check_content(plan.spec, find("t.py"))


def test_a_study_whose_data_changed_is_refused_and_one_without_their_content_goes_on(written, tmp_path):
    plan = written()
    assert plan.spec.content.startswith("blake2b:")
    others = replace(plan.spec, content=replace(written(edge=0.6).spec).content)
    more = replace(plan.spec, looks=(3,))
    store = Store("one", str(tmp_path / "journal"))
    store.create(plan.spec)
    with pytest.raises(OptionError, match="declared differently: the content of the data: blake2b:.* give a seed"):
        store.create(others)
    assert store.create(more).seeds == 3
    store.close()
    before = Store("before", str(tmp_path / "journal"))
    old = before.create(replace(plan.spec, content=""))
    assert "content" not in old.to_json()
    assert before.create(plan.spec) == old
    before.close()


def test_keys_of_trainings_are_those_of_before(written):
    spec = written().spec
    assert spec.training_hash == replace(spec, content="").training_hash
    assert StudySpec.from_json(spec.to_json()) == spec


def task(**changed):
    torch.manual_seed(0)
    x = torch.randn(120, 4)
    y = (x.sum(1) > 0).long()
    given = {"train": Data(x[:80], y[:80]), "test": Data(x[80:], y[80:]), "batch_size": 20}
    return Task(model=lambda: nn.Linear(4, 2), loss=nn.functional.cross_entropy, **{**given, **changed})


def test_nan_in_the_data_is_named_before_anything_is_trained(tmp_path):
    data = task().train
    data.inputs[7, 2] = float("nan")
    with pytest.raises(DataError, match=r"inputs of row 7 \(1 of 80 rows\), .* no optimizer is at fault"):
        ravine.compare(task(train=data), ["sgd"], quiet=True, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_row_that_is_left_over_when_a_fifth_is_held_out(tmp_path):
    """Of 81 rows 65 are trained on, in batches of 16."""
    torch.manual_seed(0)
    data = Data(torch.randn(81, 4), torch.arange(81) % 2)
    normalizing = lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))  # noqa: E731
    broken = replace(task(train=data, batch_size=16), model=normalizing)
    with pytest.raises(TrainingError, match=r"1 row left over.*Task\(\.\.\., drop_last=True\)"):
        ravine.compare(broken, ["sgd"], quiet=True, out=tmp_path / "out")
    planned(replace(broken, drop_last=True))


@pytest.mark.slow  # whole comparisons
def test_tasks_of_loaders_and_of_several_inputs_are_compared(tmp_path):
    from torch.utils.data import DataLoader, TensorDataset

    class Sum(nn.Linear):
        def forward(self, one, other):
            return super().forward(one + other)

    data = task().train
    loader = DataLoader(TensorDataset(data.inputs, data.targets), 20, shuffle=True)
    several = Data((data.inputs, data.inputs), data.targets)
    tasks = [
        replace(task(train=loader), name="loader"),
        replace(task(train=several, test=several), name="several", model=lambda: Sum(4, 2)),
    ]
    for one in tasks:
        options = {"points": 2, "seeds": 2, "steps": 6, "quiet": True}
        first, again = (
            ravine.compare(one, ["sgd", "adam"], out=tmp_path / f"{one.name}{i}", **options) for i in range(2)
        )
        assert first.trials().score.tolist() == again.trials().score.tolist()
        assert first.judgement.sentence
