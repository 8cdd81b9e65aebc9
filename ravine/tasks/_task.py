"""What a task is: a model to start from, data to train and test it on, a loss, metrics, and how long to train.

A test function of two variables is a task, too: its model is a point, and its data are empty rows, one for each step.
So one training loop serves every task. Knows how to train it, by a Learner; no comparison and no command line.
"""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ravine._plotting.notebook_html import html_facts, output
from ravine._whole_numbers import whole
from ravine.errors import OptionError, an
from ravine.optim import RMSprop
from ravine.tasks._new_weights import check_new
from ravine.tasks._task_data import (
    Data,
    TaskData,
    batch_size_of,
    is_data,
    row_number,
    to_measure_on,
    to_train_on,
)
from ravine.train import Learner
from ravine.train._arguments_of_others import answers
from ravine.train._callback import argument_text
from ravine.train._learner_output import data_text
from ravine.train._metrics import Measure, named, refuse_swapped
from ravine.train._untrained import own_parameters

DEFAULT_NAME = "task"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# for fields that a Task needs: the name before them has a default, so they must have one, too
_NEEDED: Any = None


@dataclass(frozen=True, repr=False)
class Surface:
    """A function of two variables, and what a plot of it needs.

    Attributes:
        value: maps points of shape (..., 2) to values of shape (...).
        start: where optimizers begin.
        minimum: where the value is lowest (0 for all of ours); None if that is not known.
        window: the part to show: (left, right, bottom, top).
    """

    value: Callable[[Tensor], Tensor]
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    window: tuple[float, float, float, float]

    def __repr__(self) -> str:
        name = getattr(self.value, "__name__", "function")
        return f"Surface({name}, start={self.start}, minimum={self.minimum}, window={self.window})"


@dataclass(frozen=True, repr=False)
class Task:
    """A model and its data, to be trained.

    Attributes:
        name: used for folders: 1 to 64 letters, digits, dots, hyphens and underscores, not beginning with a dot.
        model: makes the model with new random weights from torch's global generator.
        train, test: the rows to train and to test on: ``Data``, or a DataLoader, whose augmentation is then done anew in
            every epoch. Data without a length is a ``ravine.train.Stream``.
        loss: from outputs and targets to one number, their mean over the rows.
        batch_size: rows in a batch; not needed where ``train`` is a DataLoader, which has it.
        epochs: the usual length of a training.
        quick_epochs: the shortest length that still ranks optimizers sensibly.
        metrics: functions like ``loss`` that are only reported, by name.
        valid: what trainings are validated on; None holds out rows of ``train``, as a comparison does.
        drop_last: leave out the rows of an epoch that do not fill a batch, such as the single one that batch normalization
            cannot train on.
        surface: of a test function of two variables, whose model has its point as the parameter ``point``, shape (2,).

    Raises:
        OptionError: ``model``, ``train``, ``test``, ``loss`` or ``batch_size`` is missing, or a field has an impossible
            value.
    """

    name: str = DEFAULT_NAME
    model: Callable[[], nn.Module] = _NEEDED
    train: Any = _NEEDED
    test: Any = _NEEDED
    loss: Measure = _NEEDED
    batch_size: int = _NEEDED
    epochs: int = 5
    quick_epochs: int = 1
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    surface: Surface | None = None
    valid: Any = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is None and (size := batch_size_of(self.train)):
            object.__setattr__(self, "batch_size", size)
        missing = [name for name in ("model", "train", "test", "loss", "batch_size") if getattr(self, name) is None]
        if missing:
            raise OptionError(f"A Task also needs {', '.join(missing)}.")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise OptionError(
                f"A Task cannot have the name {self.name!r}: use 1 to 64 letters of A-Z and a-z, digits, dots, hyphens and "
                "underscores, not beginning with a dot."
            )
        if isinstance(self.model, nn.Module):
            raise OptionError(
                f"The Task's model is an instance of {type(self.model).__name__}; give a function that makes it, such as "
                "model=lambda: Net(), because every training begins with new weights."
            )
        for name in ("model", "loss"):
            if not callable(getattr(self, name)):
                raise OptionError(f"The Task's {name} is {getattr(self, name)!r}; it must be a function.")
        refuse_swapped(self.loss, "The Task's loss", "loss=")
        for name in ("train", "test", "valid"):
            part = getattr(self, name)
            if not is_data(part) and not (name == "valid" and part is None):
                kind = type(part).__name__
                raise OptionError(f"The Task's {name} is {an(kind)}; it must be Data(inputs, targets) or a DataLoader.")
        for name in ("batch_size", "epochs", "quick_epochs"):
            number = whole(getattr(self, name))
            if number is None or number < 1:
                raise OptionError(
                    f"The Task's {name} is {getattr(self, name)!r}; it must be a whole number, at least 1."
                )
            object.__setattr__(self, name, number)
        loaded = batch_size_of(self.train)
        if loaded not in (None, self.batch_size):
            raise OptionError(
                f"The Task's batch_size is {self.batch_size}, but its train is a DataLoader with batches of {loaded}: leave "
                "batch_size out."
            )
        if not isinstance(self.drop_last, bool):
            raise OptionError(f"The Task's drop_last is {self.drop_last!r}; it must be True or False.")
        if not isinstance(self.metrics, Mapping):
            kind = type(self.metrics).__name__
            raise OptionError(f"The Task's metrics is {an(kind)}; it must map names to functions: {{name: function}}.")
        named(self.metrics)
        if self.surface is not None and not isinstance(self.surface, Surface):
            kind = type(self.surface).__name__
            raise OptionError(f"The Task's surface is {an(kind)}; it must be a Surface, or left out.")

    def __repr__(self) -> str:
        rows = f"{row_number(self.train):,} rows to train on, {row_number(self.test):,} to test on"
        return f"Task({self.name}: {rows}, batches of {self.batch_size}, {self.epochs} epochs)"

    def _repr_html_(self) -> str:
        facts = [
            ("trains on", data_text(self.train)),
            ("validates on", "rows held out of those" if self.valid is None else data_text(self.valid)),
            ("tests on", data_text(self.test)),
            ("loss", argument_text(self.loss)),
            ("metrics", ", ".join(self.metrics) or "none"),
        ]
        if self.surface is not None:
            facts = [("function", repr(self.surface))]
        long = f"batches of {self.batch_size}, {self.epochs} epochs of {self.steps_per_epoch:,} steps"
        return output(f"Task {self.name}: {long}", html_facts(facts))

    @property
    def steps_per_epoch(self) -> int:
        """How many batches, and so optimizer steps, one epoch has."""
        if not isinstance(self.train, Data):
            return len(to_train_on(self.train, self.batch_size, 0, drop_last=self.drop_last))
        return len(self.train) // self.batch_size if self.drop_last else -(-len(self.train) // self.batch_size)

    def start(self, seed: int = 0) -> nn.Module:
        """A new model whose random weights depend on ``seed``; torch's global generator is not changed.

        Raises:
            OptionError: the Task's ``model`` gives weights that it has given before, and that may be trained by now.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.model()
        check_new(self.model, model)
        return model

    def batches(self, seed: int = 0) -> tuple[Any, Any]:
        """Batches to train on, shuffled by ``seed``, and batches to test on."""
        train = to_train_on(self.train, self.batch_size, seed, drop_last=self.drop_last)
        return train, self.in_order(self.test)

    def in_order(self, data: TaskData) -> Any:
        """All rows of ``data`` in large batches, to measure a model on."""
        return to_measure_on(data, self.batch_size)

    def learner(
        self,
        opt_func: Callable[..., torch.optim.Optimizer] = RMSprop,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        metrics: Any = None,
        **options: Any,
    ) -> Learner:
        """A Learner of this task.

        Args:
            opt_func: makes the optimizer from the model's parameters.
            seed: decides the initial weights and the order of the data.
            model: train this one and not a new one.
            metrics: others than those of the task.
            options: others of :class:`ravine.train.Learner`.
        """
        model = self.start(seed) if model is None else model
        loss = copy.deepcopy(self.loss) if own_parameters(self.loss, model) else self.loss  # each training begins anew
        metrics = self.metrics if metrics is None else metrics
        return Learner(model, self.batches(seed), loss, opt_func, metrics, **options)


Task.__init__ = answers(Task.__init__)  # type: ignore[method-assign]


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them, on rows flattened to ``widths[0]`` numbers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def standardize(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels to float32 with mean 0 and standard deviation 1.

    Mean and deviation are those of all pixels of the training images together, so that pixels keep their relations and
    nothing of the test images is used.
    """
    train, test = train.float(), test.float()
    mean, deviation = train.mean(), train.std().clamp_min(1e-12)  # all pixels equal: zeros, not NaN
    return (train - mean) / deviation, (test - mean) / deviation
