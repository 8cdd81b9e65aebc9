"""A Learner trains exactly what a loop written by hand trains: the same losses and parameters, bit for bit."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ravine import optim
from ravine.errors import OptionError
from ravine.train import Batches, Callback, Learner, MixedPrecision, accuracy
from ravine.train._callback import HOOKS


def rows(count=50, width=6, classes=3, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=generator, dtype=dtype)
    return inputs, torch.randint(classes, (count,), generator=generator)


def mlp(dtype=torch.float32, seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def by_hand(model, loader, loss, optimizer, epochs=2):
    """The loop that everybody writes."""
    losses = []
    for _ in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            if isinstance(inputs, dict):
                outputs = model(**inputs)
            elif isinstance(inputs, tuple | list):
                outputs = model(*inputs)
            else:
                outputs = model(inputs)
            value = loss(outputs, targets)
            value.backward()
            optimizer.step()
            losses.append(value.item())
    return losses


def same(a, b):
    """Whether the two hold the same tensors and numbers, bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def check_equal(model, loader, loss, opt_func, hand_opt=None, epochs=2, **options):
    """Train one copy by hand and one by a Learner."""
    hand = copy.deepcopy(model)
    make = hand_opt or opt_func
    optimizer = make(hand.parameters())
    torch.manual_seed(5)
    expected = by_hand(hand, copy.deepcopy(loader), loss, optimizer, epochs)
    torch.manual_seed(5)
    learn = Learner(model, (loader, None), loss, opt_func, metrics=(), quiet=True, **options)
    learn.fit(epochs)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))
    assert same(learn.optimizer.state_dict()["state"], optimizer.state_dict()["state"])
    assert len(set(expected)) == len(expected) > epochs  # something was trained
    return learn


def lists(seed=0, dtype=torch.float32, classes=3):
    inputs, targets = rows(seed=seed, dtype=dtype, classes=classes)
    return list(zip(inputs.split(16), targets.split(16), strict=True))  # 16, 16, 16 and 2


OURS = {
    "class": (optim.RMSprop, lambda p: optim.RMSprop(p)),
    "partial": (functools.partial(optim.RMSprop, alpha=0.9, momentum=0.9), None),
    "function": (lambda p: optim.Adam(p, lr=3e-3), None),
    "SGD": (functools.partial(optim.SGD, lr=0.1, momentum=0.9, nesterov=True), None),
    "dialect": (functools.partial(optim.RMSprop.dialect, "keras"), None),
}
THEIRS = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "Adam": torch.optim.Adam,
    "AdamW": functools.partial(torch.optim.AdamW, lr=1e-2),
    "RMSprop": torch.optim.RMSprop,
    "Adagrad": torch.optim.Adagrad,
}


@pytest.mark.parametrize("name", OURS)
def test_our_optimizers_however_they_are_given(name):
    opt_func, hand = OURS[name]
    check_equal(mlp(), lists(), cross_entropy, opt_func, hand)


@pytest.mark.parametrize("name", THEIRS)
def test_optimizers_of_torch(name):
    check_equal(mlp(), lists(), cross_entropy, THEIRS[name])


def test_a_closure_is_evaluated_as_often_as_it_is_asked_for():
    model, loader = mlp(torch.float64), lists(dtype=torch.float64)
    hand = copy.deepcopy(model)
    make = functools.partial(torch.optim.LBFGS, lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    optimizer, expected = make(hand.parameters()), []
    for _ in range(2):
        for inputs, targets in loader:

            def closure(inputs=inputs, targets=targets):
                optimizer.zero_grad()
                value = cross_entropy(hand(inputs), targets)
                value.backward()
                return value

            expected.append(optimizer.step(closure).item())  # LBFGS gives the loss it began with
    learn = Learner(model, (loader, None), cross_entropy, make, metrics=(), quiet=True)
    learn.fit(2)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))


def test_a_closure_has_the_penalty_that_a_callback_adds():
    class Ridge(Callback):
        def after_loss(self, fit):
            fit.backward_loss = fit.backward_loss + 0.1 * sum(p.square().sum() for p in fit.model.parameters())

    inputs, targets = rows(dtype=torch.float64)
    targets = inputs[:, :1] * 2
    torch.manual_seed(0)
    model = nn.Linear(6, 1, bias=False).double()
    make = functools.partial(
        torch.optim.LBFGS, max_iter=30, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )
    Learner(model, ([(inputs, targets)], None), mse_loss, make, (), callbacks=[Ridge()], quiet=True).fit(3)
    x, y = inputs.numpy(), targets.numpy()
    expected = np.linalg.solve(x.T @ x / len(x) + 0.1 * np.eye(6), x.T @ y / len(x))
    np.testing.assert_allclose(model.weight.detach().numpy().T, expected, atol=1e-8)


def test_a_sparse_embedding():
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(20, 3, sparse=True, mode="mean"))
    generator = torch.Generator().manual_seed(1)
    loader = [(torch.randint(20, (8, 4), generator=generator), torch.randint(3, (8,))) for _ in range(4)]
    check_equal(model, loader, cross_entropy, torch.optim.SparseAdam)


@pytest.mark.parametrize("library", [torch.optim, optim])
def test_groups_of_parameters(library):
    def make(parameters):
        first, *rest = list(parameters)
        return library.SGD([{"params": [first], "lr": 0.5}, {"params": rest, "momentum": 0.9}], lr=0.05)

    learn = check_equal(mlp(), lists(), cross_entropy, make)
    assert learn.recorder.hyper("lr")[-1] == 0.5
    assert learn.recorder.hyper("lr/1")[-1] == 0.05
    learn.fit(1, lr=0.25)
    assert [group["lr"] for group in learn.optimizer.param_groups] == [0.25, 0.25]


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left, right):
        return {"class": self.left(left), "size": self.right(right)}


@pytest.mark.parametrize("kind", ["tuple", "list", "dict"])
def test_several_inputs_and_nested_targets(kind):
    inputs, labels = rows()
    batches = []
    for x, y in zip(inputs.split(16), labels.split(16), strict=True):
        given = {"left": x[:, :4], "right": x[:, 4:]}
        given = given if kind == "dict" else {"tuple": tuple, "list": list}[kind](given.values())
        batches.append((given, {"class": y, "size": [x.sum(1), "a text"]}))

    def loss(outputs, targets):
        return cross_entropy(outputs["class"], targets["class"]) + l1_loss(outputs["size"][:, 0], targets["size"][0])

    torch.manual_seed(0)
    check_equal(Two(), batches, loss, torch.optim.Adam)


class Flow(IterableDataset):
    """Rows that come one by one, nobody knows how many."""

    def __init__(self):
        self.inputs, self.targets = rows(23)

    def __iter__(self):
        yield from zip(self.inputs, self.targets, strict=True)


def loader(seed, **options):
    return DataLoader(TensorDataset(*rows()), 16, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize(
    "data",
    [
        lambda: loader(3, shuffle=True),
        lambda: DataLoader(TensorDataset(*rows()), 16, shuffle=True),  # drawing from torch's own generator
        lambda: loader(3, shuffle=True, drop_last=True),
        lambda: DataLoader(Flow(), 8),
    ],
    ids=["own generator", "global generator", "drop_last", "without length"],
)
def test_data_loaders_give_the_same_batches_as_to_a_loop(data):
    check_equal(mlp(), data(), cross_entropy, torch.optim.Adam, epochs=3)


def test_making_a_learner_draws_no_random_number_and_takes_no_batch():
    inputs, targets = rows()
    batches = Batches(inputs, targets, 16)
    first = next(iter(Batches(inputs, targets, 16)))
    model = nn.Linear(6, 3)
    state = torch.get_rng_state()
    Learner(model, (DataLoader(TensorDataset(inputs, targets), 16, shuffle=True), None), cross_entropy)
    Learner(model, (batches, batches), cross_entropy)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(next(iter(batches)), first)


def test_batches_in_memory_are_in_the_order_of_their_seed():
    inputs, targets = rows()
    hand, model = mlp(), mlp()
    order = Batches(inputs, targets, 16, seed=7)
    expected = by_hand(hand, order, cross_entropy, torch.optim.Adam(hand.parameters()), epochs=3)
    valid = Batches(inputs, targets, 20)
    learn = Learner(model, (Batches(inputs, targets, 16, seed=7), valid), cross_entropy, torch.optim.Adam, quiet=True)
    learn.fit(1)
    learn.validate()
    learn.predict()
    learn.fit(2)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))


@pytest.mark.parametrize("loss", [mse_loss, nn.SmoothL1Loss(), lambda o, t: (o - t).abs().mean().reshape(1)])
def test_regression(loss):
    inputs, _ = rows()
    batches = [(x, x[:, :1].sin()) for x in inputs.split(16)]
    torch.manual_seed(0)
    check_equal(nn.Linear(6, 1), batches, loss, optim.RMSprop, lambda p: optim.RMSprop(p))


def test_a_model_in_double_precision():
    learn = check_equal(mlp(torch.float64), lists(dtype=torch.float64), cross_entropy, torch.optim.Adam)
    assert learn.loop.fit.loss.dtype == torch.float64


def test_frozen_layers_stay():
    model = mlp()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    check_equal(model, lists(), cross_entropy, optim.RMSprop, lambda p: optim.RMSprop(p))
    assert same(dict(model[0].state_dict()), dict(before))


def test_a_lazy_model_with_dropout_and_batch_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.LazyLinear(3))
    check_equal(model, lists()[:3], cross_entropy, torch.optim.SGD)


def test_validation_between_epochs_leaves_no_trace_in_training():
    model, inputs_targets = mlp(), rows()
    model.insert(1, nn.Dropout(0.5))
    model.insert(2, nn.BatchNorm1d(8))
    hand, data = copy.deepcopy(model), lists()
    torch.manual_seed(5)
    expected = by_hand(hand, data, cross_entropy, torch.optim.Adam(hand.parameters()), epochs=3)
    torch.manual_seed(5)
    learn = Learner(model, (data, Batches(*inputs_targets, 50)), cross_entropy, torch.optim.Adam, quiet=True)
    learn.fit(3)
    assert learn.recorder.losses.tolist() == expected
    assert same(dict(model.state_dict()), dict(hand.state_dict()))


def test_valid_loss_metrics_and_predictions_are_over_all_rows():
    model, (inputs, targets) = mlp(torch.float64), rows(50, dtype=torch.float64)
    valid = Batches(inputs, targets, 16)  # its last batch has 2 rows, and it is not shuffled here
    metrics = {"error": lambda o, t: 1 - accuracy(o, t), "l1": lambda o, t: l1_loss(o[:, 0], t.double()).item()}
    learn = Learner(model, (lists(dtype=torch.float64), valid), cross_entropy, torch.optim.Adam, metrics, quiet=True)
    learn.fit(2)
    model.eval()
    with torch.no_grad():
        outputs = model(inputs)
    expected = {
        "valid_loss": cross_entropy(outputs, targets).item(),
        "error": (outputs.argmax(1) != targets).double().mean().item(),
        "l1": (outputs[:, 0] - targets).abs().mean().item(),
    }
    assert learn.validate() == pytest.approx(expected, abs=1e-7)
    assert learn.loop.fit.row == pytest.approx(
        {"epoch": 2, "train_loss": learn.recorder.smooth_loss, **expected} | {"time": learn.loop.fit.row["time"]},
        abs=1e-7,
    )
    torch.testing.assert_close(learn.predict(), outputs)
    torch.testing.assert_close(learn.predict(inputs), outputs)
    assert learn.validate([(inputs[:5], targets[:5])])["valid_loss"] == pytest.approx(
        cross_entropy(outputs[:5], targets[:5]).item()
    )


def test_modules_are_in_the_mode_they_were_in_after_looking():
    model = mlp()
    model.insert(1, nn.Dropout(0.5))
    model.train()
    model[1].eval()  # dropout off on purpose
    learn = Learner(model, (lists(), lists()), cross_entropy, quiet=True)
    learn.validate()
    learn.predict()
    assert [module.training for module in model.modules()] == [True, True, False, True, True]


def test_without_validation_the_table_has_no_such_columns():
    learn = Learner(mlp(), (lists(), None), cross_entropy, quiet=True)
    learn.fit(1)
    assert set(learn.loop.fit.row) == {"epoch", "train_loss", "time"}
    for ask in (learn.validate, learn.predict):
        with pytest.raises(OptionError, match="no validation data; pass some"):
            ask()
    assert set(learn.validate(lists())) == {"valid_loss", "accuracy"}


def test_several_fits_go_on_with_the_same_optimizer():
    hand, model = mlp(), mlp()
    optimizer = torch.optim.Adam(hand.parameters(), lr=1e-2)
    expected = by_hand(hand, lists(), cross_entropy, optimizer, 1)
    optimizer.param_groups[0]["lr"] = 1e-3
    expected += by_hand(hand, lists(), cross_entropy, optimizer, 2)
    learn = Learner(model, (lists(), None), cross_entropy, torch.optim.Adam, (), quiet=True)
    learn.fit(1, lr=1e-2)
    first = learn.optimizer
    learn.fit(2, lr=1e-3)
    assert learn.optimizer is first
    assert learn.recorder.losses.tolist() == expected
    assert learn.recorder.hyper("lr").tolist() == [1e-2] * 4 + [1e-3] * 8
    assert same(dict(model.state_dict()), dict(hand.state_dict()))
    assert learn.optimizer.state[next(model.parameters())]["step"] == 12


@pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5), np.float64(0.5), np.float32(0.5)])
def test_a_rate_is_a_number_however_it_is_given(lr):
    learn = Learner(mlp(), (lists(), None), cross_entropy, torch.optim.SGD, quiet=True)
    learn.fit(1, lr)
    assert learn.optimizer.param_groups[0]["lr"] == 0.5
    assert type(learn.optimizer.param_groups[0]["lr"]) is float


def test_a_tensor_as_the_rate_stays_the_tensor():
    rate = torch.tensor(0.1)
    make = functools.partial(torch.optim.SGD, lr=rate, foreach=False)
    learn = Learner(mlp(), (lists(), None), cross_entropy, make, quiet=True)
    learn.fit(1, lr=0.25)
    assert learn.optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.25


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
