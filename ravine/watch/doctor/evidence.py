"""What is known about a run when it is judged: plain arrays, however the run was made.

A Learner gives it (``learn.evidence()``) and keeps it in the run's folder as ``watch.safetensors``, where
``Evidence.load`` finds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ravine.errors import DataError
from ravine.files import checkpoint
from ravine.watch.history import History

FILE = "watch.safetensors"


@dataclass(frozen=True)
class Evidence:
    """Everything that the rules of the diagnosis look at; what is not known is empty.

    Attributes:
        optimizer: the name of the optimizer's class.
        losses: the training loss of every step, shape (steps,).
        epochs: the rows of the table of epochs: ``epoch``, ``train_loss``, ``valid_loss``, metrics by name, ``time``.
        hypers: the values that each step used by name (``lr``, ``momentum``, ``eps``, ...; those of a second group
            end in ``/1``), each of shape (steps,), or (steps, 2) for ``betas``.
        history: what the steps did to each parameter.
        dims: the number of dimensions of each parameter, in the order of ``history.names``.
        dtypes: the dtype of each, such as ``"float32"``.
        trained: of each, whether it asks for a gradient.
        units: by layer, in the order in which they are called: how many of its input units there are, and how many
            of them were 0 for every row of the last batches looked at. The first layer's inputs are data, and not here.
        skipped: how many steps were left out because gradients were not finite.
        first_nonfinite: the first step in which a parameter's gradient was not finite, by parameter name.
    """

    optimizer: str = ""
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    epochs: list[dict[str, Any]] = field(default_factory=list)
    hypers: dict[str, np.ndarray] = field(default_factory=dict)
    history: History = field(default_factory=History.empty)
    dims: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()
    trained: tuple[bool, ...] = ()
    units: dict[str, tuple[int, int]] = field(default_factory=dict)
    skipped: int = 0
    first_nonfinite: dict[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``watch.safetensors`` into the folder, whole or not at all."""
        tree = {f.name: getattr(self, f.name) for f in fields(self)} | {"history": self.history.tree()}
        checkpoint.save(folder / FILE, {"evidence": tree})

    @classmethod
    def load(cls, run: Path | str) -> Evidence:
        """The evidence of a run's folder, or of that file.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = Path(run)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise DataError(
                f"There is no {path}: it is written at the end of each epoch of a run that is watched (`ravine train`, or a "
                "Learner with a folder)."
            )
        tree = checkpoint.load(path)
        if not isinstance(tree, dict) or "evidence" not in tree:
            raise DataError(f"{path} is not the evidence of a run.")
        found = tree["evidence"]
        try:
            return cls(**{**found, "history": History.of_tree(found["history"])})
        except (TypeError, KeyError) as error:
            raise DataError(f"{path} is not the evidence of a run that this Ravine can read: {error}.") from error
