"""What a task is: a model to start from, data to train and test it on, a loss, metrics, and how long to train.

A test function of two variables is a task, too: its model is a point, and its data are empty rows, one for each step.
So one training loop serves every task. Knows how to train it, by a Learner; no comparison and no command line.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import OptionError
from ravine.optim import RMSprop
from ravine.train import Batches, Learner
from ravine.train._metrics import Measure, named

DEFAULT_NAME = "task"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# for fields that a Task needs: the name before them has a default, so they must have one, too
_NEEDED: Any = None
# large enough to be fast, small enough for any memory, even if a layer makes 64 numbers of each input
_EVALUATION_ROWS = 4096
_EVALUATION_NUMBERS = 2**17


@dataclass(frozen=True, repr=False)
class Data:
    """Rows in memory: ``inputs`` of shape (rows, ...) and ``targets`` of shape (rows, ...).

    Raises:
        OptionError: one of them is not a tensor or has no rows, or their numbers of rows differ.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        for name, value in (("inputs", self.inputs), ("targets", self.targets)):
            if not isinstance(value, Tensor):
                raise OptionError(
                    f"Data: {name} is a {type(value).__name__}; it must be a tensor with a row for each example. "
                    "Convert a NumPy array or a list by torch.as_tensor."
                )
            if not value.ndim or not len(value):
                raise OptionError(f"Data: {name} has shape {tuple(value.shape)}; it needs at least one row.")
        if len(self.inputs) != len(self.targets):
            raise OptionError(f"Data: there are {len(self.inputs)} rows of inputs, but {len(self.targets)} of targets.")

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        inputs, targets = (
            f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in (self.inputs, self.targets)
        )
        return f"Data(inputs {inputs}, targets {targets})"


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
        train, test: the rows to train and to test on.
        loss: from outputs and targets to one number, their mean over the rows.
        batch_size: rows in a batch.
        epochs: the usual length of a training.
        quick_epochs: the shortest length that still ranks optimizers sensibly.
        metrics: functions like ``loss`` that are only reported, by name.
        surface: of a test function of two variables, whose model has its point as the parameter ``point``, shape (2,).

    Raises:
        OptionError: ``model``, ``train``, ``test``, ``loss`` or ``batch_size`` is missing, or a field has an impossible
            value.
    """

    name: str = DEFAULT_NAME
    model: Callable[[], nn.Module] = _NEEDED
    train: Data = _NEEDED
    test: Data = _NEEDED
    loss: Measure = _NEEDED
    batch_size: int = _NEEDED
    epochs: int = 5
    quick_epochs: int = 1
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    surface: Surface | None = None

    def __post_init__(self) -> None:
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
        for name in ("train", "test"):
            if not isinstance(getattr(self, name), Data):
                kind = type(getattr(self, name)).__name__
                raise OptionError(f"The Task's {name} is a {kind}; it must be Data(inputs, targets).")
        for name in ("batch_size", "epochs", "quick_epochs"):
            number = getattr(self, name)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise OptionError(f"The Task's {name} is {number!r}; it must be a whole number, at least 1.")
        if not isinstance(self.metrics, Mapping):
            kind = type(self.metrics).__name__
            raise OptionError(f"The Task's metrics is a {kind}; it must map names to functions: {{name: function}}.")
        named(self.metrics)
        if self.surface is not None and not isinstance(self.surface, Surface):
            kind = type(self.surface).__name__
            raise OptionError(f"The Task's surface is a {kind}; it must be a Surface, or left out.")

    def __repr__(self) -> str:
        rows = f"{len(self.train):,} rows to train on, {len(self.test):,} to test on"
        return f"Task({self.name}: {rows}, batches of {self.batch_size}, {self.epochs} epochs)"

    @property
    def steps_per_epoch(self) -> int:
        """How many batches, and so optimizer steps, one epoch has."""
        return -(-len(self.train) // self.batch_size)

    def start(self, seed: int = 0) -> nn.Module:
        """A new model whose random weights depend on ``seed``; torch's global generator is not changed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.model()

    def batches(self, seed: int = 0) -> tuple[Batches, Batches]:
        """Batches to train on, shuffled by ``seed``, and batches to test on."""
        train = Batches(self.train.inputs, self.train.targets, self.batch_size, seed=seed)
        return train, self.in_order(self.test)

    def in_order(self, data: Data) -> Batches:
        """All rows of ``data`` in large batches, to measure a model on."""
        rows = _EVALUATION_NUMBERS // max(data.inputs[0].numel(), 1)
        size = max(self.batch_size, min(_EVALUATION_ROWS, rows))
        return Batches(data.inputs, data.targets, size, shuffle=False)

    def learner(
        self,
        opt_func: Callable[..., torch.optim.Optimizer] = RMSprop,
        *,
        seed: int = 0,
        model: nn.Module | None = None,
        **options: Any,
    ) -> Learner:
        """A Learner of this task.

        Args:
            opt_func: makes the optimizer from the model's parameters.
            seed: decides the initial weights and the order of the data.
            model: train this one and not a new one.
            options: others of :class:`ravine.train.Learner`.
        """
        model = self.start(seed) if model is None else model
        return Learner(model, self.batches(seed), self.loss, opt_func, self.metrics, **options)


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
