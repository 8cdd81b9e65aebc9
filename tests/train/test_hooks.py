"""When callbacks are called, what they see, and what they may change and end."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from hand_loops import by_hand, lists, mlp, rows, same
from torch import nn
from torch.nn.functional import cross_entropy

from ravine.train import Batches, Callback, Learner, MixedPrecision
from ravine.train._callback import HOOKS


class Diary(Callback):
    """Writes down every hook."""

    def __init__(self):
        self.said = []

    def note(self, hook, fit):
        self.said.append((hook, fit.state.epoch, fit.state.batch, fit.state.step))


for _hook in HOOKS:
    setattr(Diary, _hook, functools.partialmethod(lambda self, name, fit: self.note(name, fit), _hook))


def test_hooks_are_called_in_the_documented_order_and_number():
    diary = Diary()
    Learner(mlp(), (lists()[:2], lists()), cross_entropy, callbacks=[diary], quiet=True).fit(2)

    def batch(epoch, number, step):
        return [
            *((hook, epoch, number, step) for hook in ("before_batch", "after_loss", "before_step")),
            ("after_step", epoch, number, step + 1),
            ("after_batch", epoch, number + 1, step + 1),
        ]

    assert diary.said == [
        ("before_fit", 0, 0, 0),
        ("before_epoch", 1, 0, 0),
        *batch(1, 0, 0),
        *batch(1, 1, 1),
        ("after_epoch", 1, 0, 2),
        ("before_epoch", 2, 0, 2),
        *batch(2, 0, 2),
        *batch(2, 1, 3),
        ("after_epoch", 2, 0, 4),
        ("after_fit", 2, 0, 4),
    ]


def test_callbacks_are_called_by_their_order_and_then_as_given():
    called = []

    class Early(Callback):
        order = -5

        def before_fit(self, fit):
            called.append(type(self).__name__)

        def after_fit(self, fit):
            called.append(type(self).__name__)

    class One(Early):
        order = 0

    class Other(Early):
        order = 0

    learn = Learner(mlp(), (lists(), None), cross_entropy, callbacks=[One(), Other()], quiet=True)
    learn.fit(1, callbacks=[Early()])
    assert called == ["Early", "One", "Other", "Other", "One", "Early"]


def test_gradients_and_the_batch_are_there_until_after_batch():
    seen = []

    class Look(Callback):
        def after_batch(self, fit):
            seen.append([p.grad.clone() for p in fit.model.parameters()])
            self.parts = fit.inputs, fit.targets, fit.outputs, fit.loss, fit.epoch_ends, fit.step_skipped

    model, look = mlp(), Look()
    hand = copy.deepcopy(model)
    Learner(model, (lists()[:1], None), cross_entropy, torch.optim.SGD, callbacks=[look], quiet=True).fit(1)
    inputs, targets = lists()[0]
    outputs = hand(inputs)
    loss = cross_entropy(outputs, targets)
    loss.backward()
    assert same(seen, [[p.grad for p in hand.parameters()]])
    assert same(list(look.parts), [inputs, targets, outputs, loss, True, False])
    assert not look.parts[3].requires_grad


def test_before_batch_may_replace_the_batch():
    class Double(Callback):
        def before_batch(self, fit):
            fit.inputs = fit.inputs * 2

    model, hand = mlp(), mlp()
    doubled = [(x * 2, y) for x, y in lists()]
    expected = by_hand(hand, doubled, cross_entropy, torch.optim.SGD(hand.parameters(), lr=0.1), 1)
    learn = Learner(model, (lists(), None), cross_entropy, torch.optim.SGD, callbacks=[Double()], quiet=True)
    learn.fit(1, lr=0.1)
    assert learn.recorder.losses.tolist() == expected


@pytest.mark.parametrize(
    ("hook", "batches", "epochs"),
    [("before_fit", 0, 0), ("after_batch", 2, 1), ("after_epoch", 4, 1)],
)
@pytest.mark.parametrize("reason", ["that is enough", ""])
def test_stop_ends_the_fit_and_says_why(hook, batches, epochs, reason):
    class Stop(Callback):
        pass

    def stop(self, fit):
        if hook != "after_batch" or fit.state.batch == 2:
            fit.stop(reason)

    setattr(Stop, hook, stop)
    learn = Learner(mlp(), (lists(), lists()), cross_entropy, callbacks=[Stop()], quiet=True)
    learn.fit(3)
    assert len(learn.recorder) == batches
    assert [row["epoch"] for row in learn.recorder.epochs] == [1] * epochs
    ((step, sentence),) = learn.recorder.notes
    assert step == batches
    assert sentence == (reason or f"epoch {min(batches, 1)}: stopped")
    if epochs:
        assert learn.recorder.column("valid_loss") == pytest.approx([learn.validate()["valid_loss"]])
    learn.fit(1, callbacks=[])
    assert len(learn.recorder) >= batches


def test_progress_goes_evenly_from_0_to_1():
    seen = []

    class Ask(Callback):
        def before_batch(self, fit):
            seen.append(fit.progress)

    Learner(mlp(), (lists(), None), cross_entropy, callbacks=[Ask()], quiet=True).fit(2)
    assert seen == pytest.approx([i / 8 for i in range(8)])


def test_contexts_of_a_fit_end_with_it():
    inputs, targets = rows()
    learn = Learner(mlp(), ([(inputs, targets)], None), cross_entropy, quiet=True)
    learn.fit(1, callbacks=[MixedPrecision()])
    assert learn.predict(inputs).dtype == torch.float32
    always = Learner(mlp(), ([(inputs, targets)], None), cross_entropy, callbacks=[MixedPrecision()], quiet=True)
    assert always.predict(inputs).dtype == torch.bfloat16
    always.fit(1)
    assert always.predict(inputs).dtype == torch.bfloat16


def test_random_numbers_of_a_first_look_at_validation_leave_no_trace():
    inputs, targets = rows()

    def noisy(outputs, targets):
        return float(random.random() + np.random.rand() + torch.rand(()))

    model = mlp()
    model.insert(1, nn.Dropout(0.5))
    hand = copy.deepcopy(model)
    torch.manual_seed(5)
    expected = by_hand(hand, lists(), cross_entropy, torch.optim.SGD(hand.parameters(), lr=0.1), 1)
    torch.manual_seed(5)
    random.seed(5)
    state = random.getstate()
    learn = Learner(model, (lists(), Batches(inputs, targets, 50)), cross_entropy, torch.optim.SGD, [noisy], quiet=True)

    class Same(Callback):
        def before_epoch(self, fit):
            assert random.getstate() == state

    learn.fit(1, lr=0.1, callbacks=[Same()])
    assert learn.recorder.losses.tolist() == expected


def test_an_error_in_a_fit_leaves_what_was_trained_and_recorded():
    data = lists()
    broken = [*data[:2], (torch.zeros(3, 7), torch.zeros(3, dtype=torch.long))]
    hand, model = mlp(), mlp()
    expected = by_hand(hand, data[:2], cross_entropy, torch.optim.SGD(hand.parameters(), lr=0.1), 1)
    learn = Learner(model, (broken, None), cross_entropy, torch.optim.SGD, quiet=True)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        learn.fit(2, lr=0.1)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))
    learn.train = data
    learn.fit(1)
    assert len(learn.recorder) == 6
