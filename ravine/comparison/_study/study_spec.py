"""Everything that decides a study, declared before it runs: the same spec and seed give the same trial anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from ravine.errors import DataError
from ravine.optim.search import Range

#: The seed of the first tuning round, the seeds of the re-evaluation, and the first seed of the final evaluation.
TUNING_SEED, REEVALUATION_SEEDS, FRESH_SEED = 0, (1, 2), 1000

#: Rises where a stored study means something else than before: an older one is refused.
FORMAT = 2


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer as it was declared.

    Attributes:
        label: what it is called.
        space: the search space of what is not given, in one order, however it was written: points and edges go
            through the names in it.
        source: what any process reads as the optimizer; empty where only the process has it that declared it.
    """

    label: str
    space: Mapping[str, Range]
    source: str = ""

    def __post_init__(self) -> None:
        ordered = dict(sorted(self.space.items(), key=lambda item: (item[0] != "lr", item[0])))
        object.__setattr__(self, "space", ordered)

    @property
    def middle(self) -> dict[str, float]:
        """The point in the middle of its space."""
        return {name: values.value(0.5) for name, values in self.space.items()}


@dataclass(frozen=True, repr=False)
class StudySpec:
    """What a study is.

    Attributes:
        task, data: what is trained, as ``ravine.tasks.find`` takes it.
        optimizers: those that are compared.
        steps: the length of each training.
        points: how many points of its space each optimizer is tuned with.
        finalists: how many of its best points are re-evaluated with ``REEVALUATION_SEEDS``.
        extra_points: how many more points every optimizer gets each time a best point lies at an edge.
        expansions: how often that may happen.
        seeds: how many fresh seeds there are in the final evaluation.
        evaluations: how often the validation loss is measured in a training.
        schedule: how the learning rate changes, the same for all, as text; empty: it stays constant.
        reference: the optimizer whose runs set the target; empty: the first.
        versions: of what decides numbers: the packages, and the user's own code.
    """

    task: str
    optimizers: tuple[OptimizerConfig, ...]
    steps: int
    data: str | None = None
    points: int = 16
    finalists: int = 3
    extra_points: int = 4
    expansions: int = 2
    seeds: int = 10
    evaluations: int = 20
    schedule: str = ""
    reference: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        labels = ", ".join(config.label for config in self.optimizers)
        return f"StudySpec({self.task}: {labels}; {self.points} points, {self.seeds} seeds, {self.steps} steps)"

    def config(self, label: str) -> OptimizerConfig:
        """The optimizer of that label."""
        return next(config for config in self.optimizers if config.label == label)

    def to_json(self) -> str:
        """The spec as text, always in the same order."""
        tree = {"format": FORMAT, **asdict(self)}
        for config in tree["optimizers"]:  # what is not there, as in studies that were made without it
            config["space"] = {n: {k: v for k, v in r.items() if v is not None} for n, r in config["space"].items()}
        return json.dumps(tree, sort_keys=True, separators=(",", ":"), default=repr)

    @classmethod
    def from_json(cls, text: str) -> StudySpec:
        """The spec of :meth:`to_json`.

        Raises:
            DataError: it is that of another version of Ravine.
        """
        tree = json.loads(text)
        written = tree.pop("format", 1)
        if written != FORMAT:
            raise DataError(
                f"It was written by {'an older' if written < FORMAT else 'a newer'} version of Ravine (format {written}; "
                f"this version reads format {FORMAT}). Start a new study, or use that version."
            )
        optimizers = tuple(
            OptimizerConfig(o["label"], {name: Range(**r) for name, r in o["space"].items()}, o["source"])
            for o in tree.pop("optimizers")
        )
        return cls(optimizers=optimizers, **tree)

    @cached_property  # every key of a trial asks for it
    def hash(self) -> str:
        """A short name of all of it: another spec has another."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def differences(self, other: StudySpec) -> list[str]:
        """What is not the same in another spec, a line for each."""
        mine, theirs = json.loads(self.to_json()), json.loads(other.to_json())
        configs, others = ({o["label"]: o for o in tree.pop("optimizers")} for tree in (mine, theirs))
        versions, other_versions = mine.pop("versions"), theirs.pop("versions")
        lines = [
            f"{name}: {theirs[name]!r} in the study, {mine[name]!r} now" for name in mine if mine[name] != theirs[name]
        ]
        for name in dict.fromkeys([*versions, *other_versions]):
            here, there = versions.get(name, "none"), other_versions.get(name, "none")
            lines += [f"{name}: {there} in the study, {here} now"] if here != there else []
        lines += [f"{label} takes part only now" for label in configs if label not in others]
        lines += [f"{label} takes part only in the study" for label in others if label not in configs]
        for label in configs:
            for name in ("source", "space") if label in others else ():
                there, here = others[label][name], configs[label][name]
                lines += [f"{label}, {name}: {there} in the study, {here} now"] if here != there else []
        return lines or (["the order of the optimizers"] if list(configs) != list(others) else [])
