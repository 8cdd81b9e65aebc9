"""Arguments that other libraries call otherwise, answered with what is written here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ravine.errors import OptionError

_Given = ParamSpec("_Given")
_Returned = TypeVar("_Returned")

_CALLED = {
    "loss_func": "loss", "loss_fn": "loss", "criterion": "loss",
    "cbs": "callbacks", "dls": "data", "dataloaders": "data",
    "opt": "opt_func", "optim": "opt_func", "optimizer": "opt_func",
    "path": "folder", "model_dir": "folder", "log_dir": "folder", "default_root_dir": "folder",
    "bs": "batch_size", "n_epoch": "epochs", "epoch": "epochs", "n_epochs": "epochs", "num_epochs": "epochs", "max_epochs": "epochs",
    "learning_rate": "lr", "max_lr": "lr", "verbose": "quiet", "scheduler": "schedule", "lr_scheduler": "schedule", "sched": "schedule",
    "val": "valid", "validation": "valid", "validation_data": "valid", "net": "model", "train_data": "train", "test_data": "test",
    "n_acc": "batches", "accumulate_grad_batches": "batches", "accumulation_steps": "batches", "max_norm": "norm",
    "dl": "data", "test_dl": "data", "start_lr": "start", "min_lr": "start", "end_lr": "end", "num_it": "steps", "num_iter": "steps",
    "num_training": "steps", "batchsize": "batch_size", "n_points": "points", "spaces": "space",
}  # fmt: skip
"""What is only called otherwise, for every function that has such an argument."""

_WEIGHT_DECAY = "it is the optimizer's: opt_func=functools.partial(AdamW, weight_decay=0.01)"
_VALID = "data to validate on belong to the Learner: Learner(model, (train, valid), loss)"
_DEVICE = "training runs where the model is: model.to('cuda')"
_ELSEWHERE = {
    "suggest_funcs": "it suggests by every rule: learn.lr_find().suggestions",
    "show_plot": "its picture: learn.lr_find().plot()",
    "skip_start": "all steps are drawn; to smooth them: learn.recorder.plot_loss(window=20)",
    "with_valid": "the validation loss is drawn where there is one: learn.recorder.plot_loss()",
    "keys": "names come one after another: learn.recorder.plot_schedule('lr', 'momentum')",
    "ds_idx": "data is given itself: learn.predict(learn.train)",
    "lr_max": "the highest rate is lr: fit_one_cycle(3, lr=0.01)",
    "lr": "the rate is given to the fit: learn.fit(3, lr=0.01)",
    "epochs": "they are given to the fit: learn.fit(3, lr=0.01)",
    "moms": "they are given to the cycle: learn.fit_one_cycle(3, lr=0.01, moms=(0.95, 0.85, 0.95))",
    "batch_size": "it is that of the data: Batches(inputs, targets, batch_size=64)",
    "bs": "it is that of the data: Batches(inputs, targets, batch_size=64)",
    "wd": _WEIGHT_DECAY,
    "weight_decay": _WEIGHT_DECAY,
    "validation_data": _VALID,
    "validation_split": f"{_VALID}; torch.utils.data.random_split divides a dataset",
    "verbose": "it is the Learner's: Learner(..., quiet=True) prints nothing",
    "shuffle": "it is that of the data: Batches(inputs, targets, 64, shuffle=False)",
    "class_weight": "it is the loss's: torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))",
    "sample_weight": "it is the loss's: let the targets hold the weights, and write a loss that reads them",
    "initial_epoch": "a run goes on by learn.fit(5, lr=0.01, resume=True), and epochs are those of the whole run",
    "restore_best_weights": "that is a callback of its own: callbacks=[EarlyStopping(patience=3), BestCheckpoint()]",
    "save_best_only": "only the best is kept: BestCheckpoint()",
    "start_from_epoch": "it watches every epoch; a callback of your own may begin later",
    "device": _DEVICE,
    "accelerator": _DEVICE,
}
"""What of a training is said somewhere else here."""


def answers(function: Callable[_Given, _Returned]) -> Callable[_Given, _Returned]:
    """The function, which answers arguments that other libraries call otherwise, and leaves the rest to Python.

    Raises:
        OptionError: it was called with one of them.
    """
    known = inspect.signature(function).parameters
    elsewhere = _ELSEWHERE if function.__module__.startswith("ravine.train.") else {}
    name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

    @functools.wraps(function)
    def answering(*args: _Given.args, **options: _Given.kwargs) -> _Returned:
        for word in options:
            if word in known:
                continue
            if _CALLED.get(word) in known:
                raise OptionError(f"{name} has no {word}; it is called {_CALLED[word]} here.")
            if word in elsewhere:
                raise OptionError(f"{name} has no {word}; {elsewhere[word]}.")
        return function(*args, **options)

    return answering
