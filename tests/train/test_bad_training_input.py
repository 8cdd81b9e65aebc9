"""What a Learner cannot work with is said in the user's terms, and nothing that was trained is lost."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ravine import optim
from ravine.errors import OptionError, RavineError, TrainingError
from ravine.train import Batches, Callback, GradientClipping, Learner, StopOnNaN, accuracy


def rows(count=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 4, generator=generator), torch.randint(3, (count,), generator=generator)


def pairs(size=4):
    inputs, targets = rows()
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def learner(**changed):
    given = {"model": network(), "data": (pairs(), pairs()), "loss": cross_entropy, "quiet": True, **changed}
    return Learner(given.pop("model"), given.pop("data"), given.pop("loss"), **given)


def weights(learn):
    return [p.detach().clone() for p in learn.model.parameters()]


def refused(learn, error, message, *args, **kwargs):
    """The fit raises that error, and model and recorder are as before."""
    before, batches, epochs = weights(learn), len(learn.recorder), list(learn.recorder.epochs)
    with pytest.raises(error, match=message) as caught:
        learn.fit(*args, **kwargs)
    assert isinstance(caught.value, RavineError)
    assert all(map(torch.equal, weights(learn), before))
    assert len(learn.recorder) == len(learn.recorder.losses) == batches
    assert learn.recorder.epochs == epochs


class Empty(IterableDataset):
    def __iter__(self):
        return iter(())


def loader(*args, **options):
    return DataLoader(TensorDataset(*rows()), *args, **options)


# --- what a Learner is made of ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": nn.ReLU()}, "The model ReLU has no parameters, so there is nothing to train"),
        ({"model": torch.relu}, "The model is a .*; a Learner trains a torch.nn.Module"),
        ({"loss": "mse"}, "The loss is 'mse'; it must be a function of outputs and targets"),
        (
            {"data": rows(999)[0], "loss": rows(999)[1]},
            r"The loss is a Tensor of shape \(999,\); it must be a function .*Data is one argument: Learner\(model, \(Batches",
        ),
        ({"metrics": rows(999)[0]}, r"metrics is a Tensor of shape \(999, 4\); give"),
        ({"callbacks": [rows(999)[0]]}, r"a Tensor of shape \(999, 4\) is not a ravine.train.Callback"),
        ({"folder": [0] * 999}, r"folder \[0, 0, [0, ]{,300}\.\.\. \(list of 999\): give the path"),
        (
            {"model": (pairs(), None)},
            r"The model is a tuple of 2; .* The model comes first: Learner\(model, \(train, valid\), loss\)",
        ),
        ({"loss": (pairs(), None)}, r"The data come before it: Learner\(model, \(train, valid\), loss\)"),
        ({"loss": nn.CrossEntropyLoss}, r"Make an instance: CrossEntropyLoss\(\)"),
        ({"data": pairs()}, r"The data is a list of 3; give a pair \(train, valid\), with None for valid"),
        ({"data": Batches(*rows(), 4)}, r"The data is a Batches; give a pair"),
        ({"data": (None, None)}, "The training data is a NoneType; give Batches"),
        ({"data": (rows()[0], None)}, "The training data is a Tensor; give Batches"),
        ({"data": (pairs(), 3)}, "The validation data is an int; give Batches"),
        (
            {"data": ((pair for pair in pairs()), None)},
            "training data is a generator that can be gone through once only",
        ),
        ({"data": (pairs(), iter(pairs()))}, "validation data is a list_iterator that can be gone through once"),
        ({"data": ([], None)}, "The training data has no batches. Is it empty, or drop_last on"),
        ({"data": (pairs(), [])}, "The validation data has no batches"),
        ({"data": (loader(64, drop_last=True), None)}, "drop_last on with a batch larger than the data"),
        (
            {"opt_func": torch.optim.SGD(network().parameters())},
            r"opt_func is an optimizer that is made already \(SGD\); give what makes",
        ),
        ({"opt_func": "adam"}, "opt_func is 'adam'; give what makes"),
        ({"opt_func": nn.Linear}, "opt_func is the class Linear, which is not a torch.optim.Optimizer"),
        ({"opt_func": functools.partial(nn.Linear, 3)}, "opt_func is the class Linear"),
        ({"metrics": cross_entropy}, "metrics is <function cross_entropy .*; give a list, metrics=.cross_entropy., or"),
        ({"metrics": "accuracy"}, "metrics is 'accuracy'; give a list"),
        ({"metrics": ["accuracy"]}, "a metric is a function of outputs and targets"),
        ({"metrics": [lambda o, t: 1, lambda o, t: 2]}, r"Two metrics have the name '<lambda>'; give them as \{name"),
        (
            {"metrics": {"valid_loss": mse_loss}},
            "A metric cannot have the name 'valid_loss': it is a column of its own",
        ),
        ({"callbacks": GradientClipping(1.0)}, "callbacks is a GradientClipping; give a list"),
        (
            {"callbacks": GradientClipping},
            r"callbacks is the class GradientClipping; .*: callbacks=\[GradientClipping\(...\)\]",
        ),
        ({"metrics": ["accuracy"]}, "The metric 'accuracy' is a text; .* such as ravine.train.accuracy"),
        ({"callbacks": None}, "callbacks is a NoneType; give a list"),
        (
            {"callbacks": [GradientClipping]},
            r"GradientClipping'> is not a ravine.train.Callback. Make an instance: GradientClipping",
        ),
        ({"callbacks": [print]}, "print> is not a ravine.train.Callback"),
    ],
)
def test_what_no_learner_can_be_made_of(changed, message):
    with pytest.raises(OptionError, match=message):
        learner(**changed)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((torch.zeros(3, 2), torch.zeros(2), 2), "3 rows of inputs, but 2 of targets"),
        ((torch.zeros(0, 2), torch.zeros(0), 2), "no rows"),
        ((torch.zeros(3), torch.zeros(3), 0), "batch_size 0: a batch has at least 1 row"),
        ((torch.zeros(3), torch.zeros(3), 2.5), "batch_size 2.5"),
        ((torch.zeros(3), torch.zeros(()), 2), "with a row for each example"),
        (([1.0, 2.0], torch.zeros(2), 2), "a list of 2; Batches and Data take tensors or NumPy arrays"),
        ((np.array(["a", "b"]), torch.zeros(2), 2), "dtype <U1 has no numbers"),
    ],
)
def test_what_no_batches_can_be_made_of(args, message):
    with pytest.raises(OptionError, match=message):
        Batches(*args)


# --- what a fit is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0, -1, 2.5, True, "3", None])
def test_epochs_are_a_whole_number(epochs):
    refused(learner(), OptionError, rf"epochs {epochs!r}: train for a whole number of epochs, at least 1", epochs)


@pytest.mark.parametrize("lr", [0, 0.0, -0.1, math.nan, math.inf, "0.1", True, torch.zeros(2), torch.tensor(-1.0), 1j])
def test_a_rate_is_a_finite_number_above_0(lr):
    learn = learner()
    before = learn.optimizer.param_groups[0]["lr"]
    refused(learn, OptionError, "lr .*: a learning rate is a finite number above 0", 1, lr)
    assert learn.optimizer.param_groups[0]["lr"] == before
    refused(learn, OptionError, r"above 0\. Write it without quotes: lr=1e-3\.$", 1, "1e-3")


@pytest.mark.parametrize("every", [0, -3, 1.5, True, "epochs", "step"])
def test_checkpoints_are_written_every_so_many_steps(every, tmp_path):
    learn = learner(folder=tmp_path / "run")
    refused(
        learn,
        OptionError,
        "checkpoint_every .*: give a number of steps, at least 1, or 'epoch'",
        1,
        checkpoint_every=every,
    )


@pytest.mark.parametrize("options", [{"checkpoint_every": 3}, {"resume": True}])
def test_a_checkpoint_needs_a_folder(options):
    refused(learner(), OptionError, f"{next(iter(options))} needs a folder for the checkpoint", 1, **options)


@pytest.mark.parametrize("callbacks", [[GradientClipping], GradientClipping(1.0), None, "none"])
def test_callbacks_of_a_fit_are_instances_in_a_list(callbacks):
    refused(learner(), OptionError, "is not a ravine.train.Callback|callbacks is ", 1, callbacks=callbacks)


def test_all_frozen():
    learn = learner()
    learn.model.requires_grad_(False)
    refused(learn, OptionError, r"the model Sequential requires a gradient: all are frozen.*requires_grad_\(True\)", 1)


@pytest.mark.parametrize(
    ("opt_func", "message"),
    [
        (lambda parameters: None, "opt_func gave a NoneType; it must give a torch.optim.Optimizer"),
        (lambda parameters: optim.SGD, "opt_func gave a type"),
        (functools.partial(optim.RMSprop, alpha=-1), "alpha"),
        (functools.partial(optim.RMSprop, lr=-1), "lr"),
    ],
)
def test_a_function_that_makes_no_optimizer(opt_func, message):
    refused(learner(opt_func=opt_func), OptionError, message, 1)


def test_an_optimizer_without_a_rate():
    class Fixed(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data -= 0.01 * p.grad

    learn = learner(opt_func=Fixed)
    refused(learn, OptionError, "Fixed has no learning rate; leave out lr", 1, 0.1)
    learn.fit(1)
    assert len(learn.recorder) == 3


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("valid", [None, "batches", "list"])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (functools.partial(cross_entropy, reduction="none"), r"The loss has shape \(\d+,\); it must be one number"),
        (lambda o, t: cross_entropy(o, t).item(), "The loss is a float; it must be a tensor of one number"),
        (
            lambda o, t: cross_entropy(o, t).detach(),
            "The loss does not depend on any parameter that requires a gradient",
        ),
        (lambda o, t: None, "The loss is a NoneType; it must be"),
    ],
)
def test_what_is_no_loss(loss, message, valid):
    given = {None: None, "batches": Batches(*rows(), 12), "list": pairs()}[valid]
    learn = learner(data=(pairs(), given), loss=loss)
    refused(learn, TrainingError, message, 1, 0.1)
    learn.loss_func = cross_entropy
    learn.fit(1)
    assert len(learn.recorder) == 3


def test_a_loss_that_breaks_later_keeps_what_was_trained():
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        value = cross_entropy(outputs, targets)
        return value if len(calls) < 3 else value.item()

    learn = learner(data=(pairs(), None), loss=loss, opt_func=torch.optim.SGD)
    with pytest.raises(TrainingError, match="The loss is a float"):
        learn.fit(1, 0.1)
    after_two = learner(data=(pairs()[:2], None), opt_func=torch.optim.SGD)
    after_two.fit(1, 0.1)
    assert all(map(torch.equal, weights(learn), weights(after_two)))
    assert learn.recorder.losses.tolist() == after_two.recorder.losses.tolist()


def test_a_loss_that_is_not_a_number_is_recorded_and_shown():
    broken = [(x * math.nan, y) for x, y in pairs()]
    learn = learner(data=(broken, broken))
    with pytest.warns(UserWarning, match="the training data have NaN or infinity in the inputs"):
        learn.fit(1)
    assert np.isnan(learn.recorder.losses).all()
    assert math.isnan(learn.loop.fit.row["valid_loss"])
    ((step, sentence),) = learn.recorder.notes
    assert step == 3
    assert sentence.startswith("the loss is nan since step 1: the training data have NaN or infinity in the inputs")
    assert "rate does not help" in sentence


def test_a_loss_that_is_lost_by_a_rate_says_to_lower_it():
    learn = learner(opt_func=torch.optim.SGD)
    learn.fit(8, 1e30)
    sentence = learn.recorder.notes[-1][1]
    assert "the model has learned nothing since. Lower the learning rate" in sentence
    assert "fit(find_nonfinite=True)" in sentence


def test_a_fit_says_since_when_its_loss_is_lost():
    inputs, targets = pairs()[1]
    learn = learner(data=([pairs()[0], (inputs * math.nan, targets), pairs()[2]], None))
    with pytest.warns(UserWarning, match="since step 2: the training data have NaN"):
        learn.fit(1)
    assert learn.recorder.notes[0][1].startswith("the loss is nan since step 2:")
    stopped = learner(data=(learn.train, None), callbacks=[StopOnNaN()])
    stopped.fit(1)
    assert not any("has learned nothing" in sentence for _, sentence in stopped.recorder.notes)


def test_a_fit_that_ended_keeps_no_batch():
    learn = learner()
    learn.fit(1)
    fit = learn.loop.fit
    assert (fit.inputs, fit.targets, fit.outputs) == (None, None, None)
    assert fit.backward_loss is fit.loss
    assert fit.loss.grad_fn is None


def test_one_cycle_without_its_highest_rate_says_how_to_give_it():
    with pytest.raises(
        OptionError, match=r"highest learning rate: fit_one_cycle\(1, lr=0.01\). learn.lr_find\(\) suggests"
    ):
        learner().fit_one_cycle(1)


# --- data ------------------------------------------------------------------------------------------------------------


def test_data_that_turns_out_to_be_empty():
    refused(
        learner(data=(DataLoader(Empty(), 4), None)), OptionError, "The training data gave no batch. Is it empty", 1
    )


def test_validation_data_that_turns_out_to_be_empty_costs_no_epoch():
    learn = learner(data=(pairs(), DataLoader(Empty(), 4)))
    with pytest.raises(OptionError, match="The validation data gave no batch"):
        learn.fit(2)
    assert [row["epoch"] for row in learn.recorder.epochs] == [1]
    assert len(learn.recorder) == 3


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        (rows()[0], "Tensor"),
        ((rows()[0],), "tuple of 1"),
        ((*rows(), 1), "tuple of 3"),
        ({"inputs": rows()[0], "targets": rows()[1]}, "dict of 2"),
        ("a text", "str"),
    ],
)
def test_a_batch_is_a_pair(batch, what):
    message = rf"A batch of the data is a {what}; it must be a pair \(inputs, targets\)"
    refused(learner(data=([batch], None)), OptionError, message, 1)
    learn = learner(data=(pairs(), [batch]))
    with pytest.raises(OptionError, match=message):
        learn.fit(1)
    assert len(learn.recorder.epochs) == 1


@pytest.mark.parametrize("given", [lambda: Batches(*rows(), 5, shuffle=False), lambda: loader(5), lambda: pairs(5)])
def test_the_last_batch_may_be_smaller(given):
    learn = learner(data=(given(), given()), opt_func=torch.optim.SGD, metrics={"rows": lambda o, t: len(t)})
    learn.fit(2, 0.1)
    assert len(learn.recorder) == 6
    assert learn.loop.fit.row["rows"] == 12  # it is not a mean over rows, so it is that of all rows


# --- metrics ---------------------------------------------------------------------------------------------------------


def broken(outputs, targets):
    raise ZeroDivisionError("no rows of class 7")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (broken, "The metric 'm' raised ZeroDivisionError: no rows of class 7"),
        (lambda o, t: o.argmax(1) == t, r"The metric 'm' has shape \(\d+,\); it must be one number, a mean over rows"),
        (lambda o, t: "good", "The metric 'm' is a str; it must be one number"),
        (lambda o, t: None, "The metric 'm' is a NoneType; it must be one number"),
        (lambda o: 1.0, "The metric 'm' raised TypeError: .*positional argument"),
    ],
)
def test_a_metric_that_cannot_work(metric, message):
    """With validation data in memory it is found before anything is trained; else the epoch is kept."""
    in_memory = learner(data=(pairs(), Batches(*rows(), 12)), metrics={"m": metric})
    refused(in_memory, TrainingError, message, 2)
    learn = learner(metrics={"m": metric}, opt_func=torch.optim.SGD)
    with pytest.raises(TrainingError, match=message):
        learn.fit(2, 0.1)
    one_epoch = learner(opt_func=torch.optim.SGD)
    one_epoch.fit(1, 0.1)
    assert all(map(torch.equal, weights(learn), weights(one_epoch)))
    assert learn.recorder.losses.tolist() == one_epoch.recorder.losses.tolist()
    assert [set(row) for row in learn.recorder.epochs] == [{"epoch", "train_loss", "time", "step"}]


def test_a_metric_that_raises_in_the_second_epoch(tmp_path):
    calls, ended = [], []

    def late(outputs, targets):
        calls.append(1)
        return broken(outputs, targets) if len(calls) > 4 else 0.5

    class Ends(Callback):
        def after_fit(self, fit):
            ended.append(fit.state.epoch)

    learn = learner(metrics=[late], folder=tmp_path / "run", callbacks=[Ends()], opt_func=torch.optim.SGD)
    with pytest.raises(TrainingError, match="'late' raised ZeroDivisionError") as caught:
        learn.fit(3, 0.1)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    two_epochs = learner(opt_func=torch.optim.SGD)
    two_epochs.fit(2, 0.1)
    assert all(map(torch.equal, weights(learn), weights(two_epochs)))
    assert ended == [2]
    assert [row.get("late") for row in learn.recorder.epochs] == [0.5, None]
    assert all(module.training for module in learn.model.modules())
    read = type(learn.recorder).load(tmp_path / "run")
    assert read.losses.tolist() == learn.recorder.losses.tolist() == two_epochs.recorder.losses.tolist()
    assert len(read.epochs) == 2
    learn.metrics = {}
    learn.fit(1)
    assert len(learn.recorder.epochs) == 3


def test_an_error_of_the_data_while_validating_costs_no_epoch():
    class Broken:
        def __iter__(self):
            yield pairs()[0]
            raise OSError("the disk is gone")

    learn = learner(data=(pairs(), Broken()))
    with pytest.raises(OSError, match="the disk is gone"):
        learn.fit(2)
    assert [row["epoch"] for row in learn.recorder.epochs] == [1]


def test_accuracy_says_that_it_is_none_for_regression():
    inputs, _ = rows()
    valid = Batches(inputs, inputs[:, :1], 12)
    data = (Batches(inputs, inputs[:, :1], 4), valid)
    learn = Learner(nn.Linear(4, 1), data, mse_loss, metrics=[accuracy], quiet=True)
    refused(learn, TrainingError, r"accuracy compares .*\(12, 1\) and \(12, 1\)\. Choose other metrics", 1)


def test_validate_and_predict_of_nothing():
    learn = learner()
    with pytest.raises(OptionError, match="gave no batch"):
        learn.validate([])
    with pytest.raises(OptionError, match="gave no batch to predict"):
        learn.predict([])


def test_a_hook_that_does_not_exist_is_refused_where_it_is_written():
    with pytest.raises(OptionError, match="'befor_step', which is not a hook. Did you mean 'before_step'"):
        type("Norms", (Callback,), {"befor_step": lambda self, learn: None})
    with pytest.raises(OptionError, match="'after_pred', which another library calls"):
        type("Norms", (Callback,), {"after_pred": lambda self, learn: None})
    with pytest.raises(OptionError, match=r"Norms.before_batch takes only self; .*: def before_batch\(self, fit\)"):
        type("Norms", (Callback,), {"before_batch": lambda self: None})
    type("Norms", (Callback,), {"summary": lambda self: None, "_before_all": lambda self: None})


def test_an_optimizer_of_another_model_is_refused():
    other = nn.Linear(2, 2)
    learn = Learner(
        nn.Linear(4, 3),
        (Batches(torch.ones(4, 4), torch.zeros(4).long(), 2), None),
        nn.CrossEntropyLoss(),
        lambda parameters: torch.optim.SGD(other.parameters(), lr=0.1),
        quiet=True,
    )
    with pytest.raises(OptionError, match="other parameters than the model's"):
        learn.fit(1)


def test_predict_says_what_it_takes():
    data = Batches(torch.ones(4, 4), torch.zeros(4).long(), 2)
    learn = Learner(nn.Linear(4, 3), (data, None), nn.CrossEntropyLoss(), quiet=True)
    with pytest.raises(OptionError, match="not a str: a tensor, Batches or a DataLoader"):
        learn.predict("rows")
