"""A Learner trains exactly what a loop written by hand trains: the same losses and parameters, bit for bit."""

import copy
import functools

import numpy as np
import pytest
import torch
from hand_loops import by_hand, check_equal, lists, mlp, rows, same
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ravine import optim
from ravine.errors import OptionError
from ravine.train import Batches, Callback, Learner, accuracy

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
        {
            "epoch": 2,
            "train_loss": np.average(learn.recorder.losses[-len(lists()) :], weights=[len(t) for _, t in lists()]),
            **expected,
        }
        | {"time": learn.loop.fit.row["time"]},
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
