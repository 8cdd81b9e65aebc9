"""What TensorBoard reads is what the recorder has."""

import sys

import pytest
import torch
from callback_runs import SGD, Start, data, model, parameters
from torch.nn.functional import cross_entropy

from ravine.errors import OptionError
from ravine.train import (
    Learner,
    TensorBoard,
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_was_recorded(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    learn = Learner(
        model(),
        (data(4, 4, 4), data(8)),
        cross_entropy,
        torch.optim.Adam,
        {"share": lambda o, t: 0.25},
        folder=tmp_path / "run",
        callbacks=[TensorBoard(every=2)],
        quiet=True,
    )
    learn.fit(2, 1e-2)
    learn.fit(2, 1e-3)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()

    def curve(tag):
        return {event.step: event.value for event in events.Scalars(tag)}

    losses, lrs = learn.recorder.losses, learn.recorder.hyper("lr")
    steps = range(2, 13, 2)
    assert curve("train/loss") == pytest.approx({step: losses[step - 1] for step in steps}, rel=1e-6)
    assert curve("hyper/lr") == pytest.approx({step: lrs[step - 1] for step in steps}, rel=1e-6)
    assert curve("hyper/betas[1]") == pytest.approx(dict.fromkeys(steps, 0.999), rel=1e-6)
    column = learn.recorder.column("valid_loss")
    assert curve("epoch/valid_loss") == pytest.approx({i + 1: value for i, value in enumerate(column)}, rel=1e-6)
    assert curve("epoch/share") == {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}
    assert {"epoch/train_loss", "epoch/time"} <= set(events.Tags()["scalars"])
    assert "epoch/epoch" not in events.Tags()["scalars"]


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(ImportError, match=r"not installed: pip install tensorboard"):
        learn.fit(1, callbacks=[TensorBoard(tmp_path)])
    assert torch.equal(parameters(learn), parameters(Start))


def test_tensorboard_needs_a_folder():
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(OptionError, match="TensorBoard needs a folder"):
        learn.fit(1, callbacks=[TensorBoard()])
