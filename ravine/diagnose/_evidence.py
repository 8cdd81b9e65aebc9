"""What is known about a run when it is diagnosed: plain arrays, however it was trained.

A Learner's is made by _learner_evidence.py and stored in the run's folder as ``watch.safetensors``, where
``Evidence.load`` finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ravine._files import checkpoint
from ravine.errors import DataError, OptionError
from ravine.watch._history import History

FILE = "watch.safetensors"


@dataclass(frozen=True, repr=False)
class Evidence:
    """Everything that the rules of a diagnosis use; what is not known is empty.

    Attributes:
        optimizer: the name of the optimizer's class.
        losses: the training loss of every step, shape (steps,).
        epochs: the rows of the epoch table: ``epoch``, ``train_loss``, ``valid_loss``, metrics by name, ``time``.
        hypers: by name, the values that each step used (``lr``, ``momentum``, ``eps``, ...; those of a second group
            end in ``/1``), each of shape (steps,), or (steps, 2) for ``betas``.
        history: what the steps did to each parameter.
        dims: the number of dimensions of each parameter, in the order of ``history.names``.
        dtypes: the dtype of each, such as ``"float32"``.
        trained: whether each requires a gradient.
        narrow: of each parameter by its name, what of it is kept in 16 or 8 bits: ``["param" or the name of a state, dtype,
            "nearest" or "stochastic"]``.
        dead_units: by layer, in the order of the calls: how many input units it has, and how many of them were 0 for
            every row of a batch. The first layer's inputs are data, so it is left out.
        magnitudes: by layer, in the order of the calls: the mean magnitude of what came into it in the first batch that was
            trained on. The first layer is left out here, too.
        skipped: how many steps were left out because gradients were not finite.
        first_nonfinite: the first step in which a parameter's gradient was not finite, by parameter name.
        shapes: of the outputs and the targets of a batch, if the loss broadcasts them against each other.
        left_out: the parameters that require a gradient and are in no group of the optimizer.
        bad_data: which data have NaN or infinity, and in which rows; looked for where a loss was not finite.
        traces: the files in the run's folder that reproduce what was not finite.
    """

    optimizer: str = ""
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    epochs: list[dict[str, Any]] = field(default_factory=list)
    hypers: dict[str, np.ndarray] = field(default_factory=dict)
    history: History = field(default_factory=History.empty)
    dims: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    trained: tuple[bool, ...] = ()
    narrow: dict[str, list[list[str]]] = field(default_factory=dict)
    dead_units: dict[str, tuple[int, int]] = field(default_factory=dict)
    magnitudes: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    first_nonfinite: dict[str, int] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = ()
    left_out: tuple[str, ...] = ()
    bad_data: str = ""
    traces: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Evidence({self.optimizer or 'unknown optimizer'}, {len(self.losses):,} losses, {self.history!r})"

    def __post_init__(self) -> None:
        """Numbers become arrays; what is not known of parameters gets the usual values."""
        losses = _array(self.losses, "losses").reshape(-1)
        hypers = {name: _array(value, f"hypers[{name!r}]") for name, value in self.hypers.items()}
        hypers = {name: np.full(max(len(losses), 1), v) if v.ndim == 0 else v for name, v in hypers.items()}
        names = self.history.names
        usual = {
            # a guess by the name, which tells a bias from a weight
            "dims": tuple(2 if name.endswith("weight") else 1 for name in names),
            "dtypes": ("float32",) * len(names),
            "trained": (True,) * len(names),
        }
        for attribute in ("left_out", "traces"):
            object.__setattr__(self, attribute, tuple(getattr(self, attribute)))
        object.__setattr__(self, "shapes", tuple(tuple(shape) for shape in self.shapes))
        for attribute, value in {"losses": losses, "hypers": hypers}.items():
            object.__setattr__(self, attribute, value)
        for attribute, guess in usual.items():
            given = tuple(getattr(self, attribute))
            if given and len(given) != len(names):
                raise OptionError(f"Evidence: {attribute} has {len(given)} entries for {len(names)} parameters.")
            object.__setattr__(self, attribute, given or guess)

    def save(self, folder: Path) -> None:
        """Write ``watch.safetensors`` into the folder, whole or not at all."""
        tree = {f.name: getattr(self, f.name) for f in fields(self)} | {"history": self.history.tree()}
        checkpoint.save(folder / FILE, {"evidence": tree})

    @property
    def steps(self) -> int:
        """How many steps are known: by their losses, or by what they did to the parameters."""
        return max(len(self.losses), int(self.history.last[-1]) if len(self.history) else 0)

    @classmethod
    def load(cls, run: Path | str) -> Evidence:
        """The evidence of a run's folder, or of that file.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = Path(run)
        if not path.exists():
            raise DataError(f"There is no run {path}; name its folder, such as ravine-out/train-digits.")
        path = path / FILE if path.is_dir() else path
        if path.is_file() and path.suffix != Path(FILE).suffix:
            raise DataError(
                f"{path} is not the evidence of a run: that is {FILE} in the run's folder. Name the folder"
                + (f", {path.parent}." if (path.parent / FILE).is_file() else ", such as ravine-out/train-digits.")
            )
        if not path.is_file():
            raise DataError(
                f"There is no {path}. It is written after each epoch of `ravine train`, or of a Learner with a folder."
            )
        tree = checkpoint.load(path)
        if not isinstance(tree, dict) or "evidence" not in tree:
            raise DataError(f"{path} is not the evidence of a run.")
        values = tree["evidence"]
        try:
            history = History.of_tree(values["history"])
            return cls(**{**values, "history": history, "traces": traces_in(path.parent)})
        except (TypeError, KeyError, AttributeError, OptionError) as error:
            raise DataError(f"{path} is not the evidence of a run that this Ravine can read: {error}.") from error


def traces_in(folder: Path | None) -> tuple[str, ...]:
    """The files of a folder that reproduce what was not finite (``FindNonFinite`` writes them), the newest first."""
    if folder is None:
        return ()
    paths = sorted(folder.glob("nan-*.safetensors"), key=lambda path: (-path.stat().st_mtime, path.name))
    return tuple(str(path) for path in paths)


def _array(value: Any, what: str) -> np.ndarray:
    """Numbers as a NumPy array, from a list, an array or a tensor."""
    try:
        value = value.detach().cpu() if hasattr(value, "detach") else value
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"Evidence: {what} must be numbers, not {type(value).__name__}: {error}") from None
