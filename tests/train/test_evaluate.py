"""validate() gives means over rows and predict() a row for each row, and neither leaves a trace in the model."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import OptionError, TrainingError
from ravine.train import Batches, Learner, accuracy

ROWS = 26


def data():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(ROWS, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 3, (ROWS,), generator=generator)


def model():
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    ).double()
    net[1].running_mean += 0.3
    return net


def learner(valid=None, net=None, **options):
    return Learner(net or model(), (Batches(*data(), 8), valid), cross_entropy, quiet=True, **options)


def kinds(size=8):
    return {
        "Batches": Batches(*data(), size, shuffle=True),
        "Batches in order": Batches(*data(), size, shuffle=False),
        "DataLoader": DataLoader(TensorDataset(*data()), size),
        "list": list(Batches(*data(), size, shuffle=False)),
    }


def by_one_big_batch():
    """The outputs for all rows at once, by torch alone."""
    net = model().eval()
    with torch.no_grad():
        return net(data()[0])


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("size", [7, 8, 24, 25, 100])
def test_means_are_over_rows_also_where_the_last_batch_is_smaller(kind, size):
    valid = kinds(size)[kind]
    outputs, targets = by_one_big_batch(), data()[1]
    expected = {
        "valid_loss": cross_entropy(outputs, targets).item(),
        "accuracy": (outputs.argmax(1) == targets).double().mean().item(),
    }
    learn = learner(valid)
    for found in (learn.validate(), learner().validate(valid)):
        assert found.keys() == expected.keys()
        # accuracy is computed in float32
        assert found == {
            "valid_loss": pytest.approx(expected["valid_loss"], abs=1e-14),
            "accuracy": pytest.approx(expected["accuracy"], abs=1e-7),
        }


def test_rows_are_those_of_the_first_tensor_of_nested_targets():
    inputs, targets = data()
    batches = [(inputs[:20], {"class": targets[:20]}), (inputs[20:], {"class": targets[20:]})]
    learn = Learner(model(), (batches, batches), lambda o, t: cross_entropy(o, t["class"]), metrics=[], quiet=True)
    expected = cross_entropy(by_one_big_batch(), targets).item()
    assert learn.validate()["valid_loss"] == pytest.approx(expected, abs=1e-14)


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("looks", ["validate", "predict"])
@pytest.mark.parametrize("fails", [False, True])
def test_no_module_and_no_gradient_is_other_afterwards(looks, fails):
    net = model().train()
    net[1].eval()  # frozen statistics in a model that is trained
    for p in net.parameters():
        p.grad = torch.full_like(p, 2.0)
    before, modes = state(net), [m.training for m in net.modules()]
    learn = learner(kinds()["Batches"], net)
    seen = []

    def watch(module, inputs, outputs):
        seen.append((any(m.training for m in net.modules()), outputs.requires_grad))
        if fails:
            raise ArithmeticError

    net.register_forward_hook(watch)
    random = torch.get_rng_state()
    if fails:
        with pytest.raises(ArithmeticError):
            getattr(learn, looks)()
    else:
        getattr(learn, looks)()
    assert set(seen) == {(False, False)}
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all((p.grad == 2).all() for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("kind", kinds())
def test_predictions_stand_in_the_order_of_the_rows(kind):
    expected = by_one_big_batch()
    valid = kinds()[kind]
    for found in (learner(valid).predict(), learner().predict(valid)):
        assert found.dtype == torch.float64
        assert not found.requires_grad
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("valid", [None, "Batches"])
def test_predictions_for_a_tensor(valid):
    learn = learner(valid and kinds()[valid])
    torch.testing.assert_close(learn.predict(data()[0]), by_one_big_batch(), rtol=0, atol=1e-14)
    many = data()[0].repeat(200, 1)
    torch.testing.assert_close(learn.predict(many), by_one_big_batch().repeat(200, 1), rtol=0, atol=1e-14)


def test_validation_in_a_fit_is_that_of_validate_and_the_model_trains_on():
    learn = learner(kinds()["Batches"], metrics={"accuracy": accuracy})
    learn.fit(2, 1e-3)
    expected = learn.validate()
    assert {name: learn.recorder.epochs[-1][name] for name in expected} == expected
    modes = []
    learn.model.register_forward_hook(lambda module, *_: modes.append(module.training))
    learn.fit(2, 1e-3)
    train, valid = [True] * 4, [False] * 4
    # the first is a rehearsal; after each epoch one batch is looked at for idle units
    assert modes == [False, *train, *valid, False, *train, *valid, False]


def test_data_that_is_validated_is_not_changed_by_a_model_that_works_in_place():
    inputs, targets = torch.randn(10, 4), torch.randn(10, 4)
    kept = copy.deepcopy((inputs, targets))

    class InPlace(torch.nn.Linear):
        def forward(self, inputs):
            inputs -= 1
            return super().forward(inputs)

    learn = Learner(InPlace(4, 4), (Batches(inputs, targets, 4),) * 2, mse_loss, metrics=[], quiet=True)
    learn.fit(1, 1e-3)
    assert learn.validate() == learn.validate()
    assert torch.equal(inputs, kept[0])


class Pair(torch.nn.Linear):
    def forward(self, inputs):
        return inputs, super().forward(inputs)


def test_outputs_that_cannot_be_stacked_are_named():
    learn = Learner(Pair(4, 3), (Batches(data()[0].float(), data()[1], 8), None), cross_entropy, quiet=True)
    with pytest.raises(TrainingError, match="The model's output is a tuple of 2; predict stacks tensors"):
        learn.predict(data()[0].float())


@pytest.mark.parametrize("looks", ["validate", "predict"])
def test_there_is_nothing_to_look_at(looks):
    with pytest.raises(OptionError, match=f"no validation data; pass some: learn.{looks}"):
        getattr(learner(), looks)()
    with pytest.raises(OptionError, match="gave no batch"):
        getattr(learner(), looks)([])
