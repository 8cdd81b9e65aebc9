"""What a user holds says in one line what it is, and in a notebook with a table."""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from ravine import train
from ravine.diagnose import Diagnosis, Evidence, FindNonFinite, Symptom, diagnose, evidence_of, find_nonfinite
from ravine.optim import RMSprop
from ravine.tasks import find
from ravine.train import Batches, Callback, Learner, Recorder

CALLBACKS: list[Callback] = [
    train.BestCheckpoint(),
    train.EarlyStopping(2),
    train.GradientAccumulation(2),
    train.GradientClipping(1.0),
    train.HyperSchedule(lr=abs),
    train.MixedPrecision(),
    train.OneCycle(0.1),
    train.ReduceOnPlateau(),
    train.StopOnNaN(),
    train.TensorBoard("folder"),
    train.TorchScheduler(StepLR, 3),
    FindNonFinite(),
]


@pytest.fixture(scope="module")
def learn() -> Learner:
    torch.manual_seed(0)
    inputs = torch.randn(24, 4)
    data = Batches(inputs, (inputs[:, 0] > 0).long(), 8)
    learn = Learner(nn.Linear(4, 2), (data, data), cross_entropy, functools.partial(RMSprop, lr=1e-3), quiet=True)
    learn.fit(2)
    return learn


class Cells(HTMLParser):
    """The texts of the cells of a table, and the tags that were not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(re.sub("<style>.*?</style>", "", html))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br", "img", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_a_learner_and_what_it_is_made_of(learn: Learner) -> None:
    assert repr(learn) == "Learner(Linear of 10 parameters, RMSprop, 2 epochs trained)"
    assert repr(learn.train) == "Batches(inputs (24, 4) float32, targets (24,) int64, 3 of 8 rows, seed=0)"
    in_order = Batches(torch.zeros(3, 1), torch.zeros(3, 1), 2, shuffle=False)
    assert repr(in_order) == "Batches(inputs (3, 1) float32, targets (3, 1) float32, 2 of 2 rows, in order)"
    assert learn.loop is not None
    assert repr(learn.loop.fit) == "Fit(epoch 2 of 2, 0 batches, step 6)"
    assert repr(learn.loop) == "Loop(Fit(epoch 2 of 2, 0 batches, step 6))"
    assert repr(learn.state).startswith("FitState(epochs=2, epoch=2, batch=0, step=6")
    one = Learner(nn.Linear(4, 2), (learn.train, None), cross_entropy, quiet=True)
    one.fit(1)
    assert repr(one) == "Learner(Linear of 10 parameters, RMSprop, 1 epoch trained)"
    assert repr(one.recorder).startswith("Recorder(1 epoch, 3 steps")
    lazy = Learner(nn.LazyLinear(2), (in_order, None), mse_loss, quiet=True)
    assert repr(lazy) == "Learner(LazyLinear of 0 parameters, RMSprop, 0 epochs trained)"


def test_a_learner_in_a_notebook(learn: Learner) -> None:
    page = learn._repr_html_()
    data = "Batches(inputs (24, 4) float32, targets (24,) int64, 3 of 8 rows, seed=0)"
    cells = Cells(page).cells
    assert cells[0] == "Linear of 10 parameters, RMSprop, 2 epochs trained"
    assert cells[1:7] == ["trains on", data, "validates on", data, "loss", "cross_entropy"]
    assert page.endswith(learn.recorder._repr_html_())
    loader = DataLoader(TensorDataset(torch.zeros(4, 1), torch.zeros(4, 1)), 2)
    fresh = Learner(nn.Linear(1, 1), (loader, None), mse_loss, metrics={"<b>": mse_loss}, quiet=True)
    assert Cells(fresh._repr_html_()).cells == [
        *("Linear of 2 parameters, RMSprop, 0 epochs trained", "trains on", "DataLoader of 2 batches", "validates on"),
        *("nothing", "loss", "mse_loss", "metrics", "<b>"),
    ]


def test_a_recorder_and_its_table(learn: Learner) -> None:
    recorder = learn.recorder
    row = recorder.epochs[-1]
    losses = f"train_loss {row['train_loss']:.5g}, valid_loss {row['valid_loss']:.5g}"
    assert repr(recorder) == f"Recorder(2 epochs, 6 steps, {losses})"
    assert repr(Recorder()) == "Recorder(0 epochs, 0 steps)"
    page = recorder._repr_html_()
    best = min(row["valid_loss"] for row in recorder.epochs)
    assert Cells(page).cells[0].startswith(f"2 epochs, 6 steps: lowest valid_loss {best:.5f} after epoch ")
    assert Cells(Recorder()._repr_html_()).cells == ["0 epochs, 0 steps"]
    cells = Cells(page[page.index("<table") :].removesuffix("</div></div></div></div>")).cells
    assert cells[:5] == ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
    assert (cells[5], cells[10]) == ("1", "2")
    assert len(cells) == 15


def test_epochs_of_several_fits_are_counted_on_as_the_curve_does() -> None:
    recorder = Recorder()
    recorder.epochs = [
        {"epoch": epoch, "step": step, "valid_loss": loss}
        for epoch, step, loss in ((1, 3, 0.9), (2, 6, 0.8), (1, 9, 0.7))
    ]
    assert Cells(recorder._repr_html_()).cells[0].endswith("lowest valid_loss 0.70000 after epoch 3")


def test_what_the_steps_did(learn: Learner) -> None:
    watch = learn.optimizer.watch  # type: ignore[attr-defined]
    assert repr(watch) == "Watch(6 steps of 2 parameters)"
    assert repr(watch.last) == f"StepTable(step 6, 2 parameters, grad_norm {watch.last.grad_norm:.3g})"
    assert repr(watch.history) == "History(2 parameters, steps 1 to 6 in 6 rows)"
    for shown in (watch, watch.last):
        cells = Cells(shown._repr_html_()).cells
        row = cells.index("weight", cells.index("parameter"))
        last = watch.last["weight"]
        assert cells[row + 1 : row + 5] == [
            f"{value:.3g}" for value in (last.grad_norm, last.param_norm, last.update_norm, last.ratio)
        ]
    history = watch.history._repr_html_()
    assert Cells(history).cells[:3] == ["2 parameters, steps 1 to 6 in 6 rows", "weight", "bias"]
    assert "<img" in history
    assert Cells(RMSprop([torch.zeros(1, requires_grad=True)]).watch.history._repr_html_()).cells == [
        "1 parameter, no steps"
    ]
    assert f"the update was {watch.last.ratio:.2g} of the parameters" in watch._repr_html_()
    assert repr(RMSprop([torch.zeros(1, requires_grad=True)], watch=False).watch) == "Watch(off)"


def test_one_of_a_thing_is_singular() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = RMSprop([weight])
    weight.grad = torch.ones(1)
    optimizer.step()
    assert repr(optimizer.watch) == "Watch(1 step of 1 parameter)"
    assert repr(optimizer.watch.last) == "StepTable(step 1, 1 parameter, grad_norm 1)"
    assert repr(optimizer.watch.history) == "History(1 parameter, steps 1 to 1 in 1 row)"
    assert "1 number in 1 tensor\n" in repr(optimizer)
    assert repr(train.Stream([weight], 1)) == "Stream(list, 1 batch in an epoch)"
    assert repr(train.Stream([weight], 2)) == "Stream(list, 2 batches in an epoch)"
    data = [(torch.ones(1, 1), torch.ones(1, 1))]
    learn = Learner(nn.Linear(1, 1), (data, None), mse_loss, RMSprop, quiet=True)
    learn.fit(1, lr=1e-3)
    assert repr(learn.recorder).startswith("Recorder(1 epoch, 1 step,")


def test_a_diagnosis_and_a_finding(learn: Learner) -> None:
    evidence = evidence_of(learn)
    assert repr(evidence) == "Evidence(RMSprop, 6 losses, History(2 parameters, steps 1 to 6 in 6 rows))"
    assert repr(diagnose(learn)) == "Diagnosis(no problem in 6 steps)"
    hostile = Diagnosis([Symptom("rule", "<b>", "<script>", "&")], 3, "</p>")
    assert repr(hostile) == "Diagnosis(rule in 3 steps)"
    cells = Cells(hostile._repr_html_()).cells
    assert cells == ["1 problem found in 3 steps", "<b>", "<script>", "Try: &", "</p>"]
    assert Cells(diagnose(Evidence())._repr_html_()).cells[0] == "Nothing to diagnose yet: no step was made"

    class Log(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.log()

    finding = find_nonfinite(nn.Sequential(Log()), torch.zeros(3))
    assert repr(finding) == "Finding(module '0' (Log), where='forward', operation='log')"


@pytest.mark.parametrize("callback", CALLBACKS, ids=lambda callback: type(callback).__name__)
def test_a_callback_is_shown_as_it_is_made(callback: Callback) -> None:
    assert repr(callback).startswith(f"{type(callback).__name__}(")
    assert "\n" not in repr(callback)
    assert " at 0x" not in repr(callback)  # a run that is resumed compares it


def test_every_callback_is_tested() -> None:
    exported = [getattr(train, name) for name in train.__all__]
    classes = {c for c in exported if isinstance(c, type) and issubclass(c, Callback) and c is not Callback}
    assert classes | {FindNonFinite} == {type(callback) for callback in CALLBACKS}


def test_a_task_and_its_data() -> None:
    task = find("digits")
    assert repr(task) == "Task(digits: 1,437 rows to train on, 360 to test on, batches of 64, 20 epochs)"
    assert Cells(task._repr_html_()).cells == [
        *("Task digits: batches of 64, 20 epochs of 23 steps", "trains on", repr(task.train)),
        *("validates on", "rows held out of those", "tests on", repr(task.test)),
        *("loss", "cross_entropy", "metrics", "accuracy"),
    ]
    surface = find("ravine")
    assert Cells(surface._repr_html_()).cells[1:] == ["function", repr(surface.surface)]
    assert repr(task.test) == "Data(inputs (360, 64) float32, targets (360,) int64)"
    assert repr(find("ravine").surface) == (
        "Surface(ravine, start=(-8.0, 1.5), minimum=(0.0, 0.0), window=(-10.0, 4.0, -2.5, 2.5))"
    )
