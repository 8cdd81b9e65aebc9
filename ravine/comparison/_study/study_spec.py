"""Everything that decides a study, declared before it runs: the same spec and seed give the same trial anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from ravine.optim.search import Range

#: The seed of the first tuning round, the seeds that the best points are tried with again, and the first fresh one.
TUNING_SEED, AGAIN_SEEDS, FRESH_SEED = 0, (1, 2), 1000


@dataclass(frozen=True)
class ArmSpec:
    """An optimizer that takes part: how it was written, and where what is not given is searched."""

    label: str
    space: Mapping[str, Range]

    def __post_init__(self) -> None:
        # one order, however it was written or read again: points and edges go through the names in it
        ordered = dict(sorted(self.space.items(), key=lambda item: (item[0] != "lr", item[0])))
        object.__setattr__(self, "space", ordered)

    @property
    def middle(self) -> dict[str, float]:
        """The point in the middle of its space."""
        return {name: values.value(0.5) for name, values in self.space.items()}


@dataclass(frozen=True)
class Spec:
    """A study.

    Attributes:
        task, data: what is trained, as ``ravine.tasks.find`` takes it.
        arms: the optimizers.
        points: how many points of its space each optimizer is tried with.
        again: how many of the best are tried again with ``AGAIN_SEEDS``.
        extra: how many points more every optimizer gets each time one's best point lies at an edge.
        widenings: how often that may happen.
        seeds: how many fresh seeds each optimizer is confirmed with.
        steps: how long every training is.
        evaluations: how often a training is measured.
        schedule: how the rate changes, the same for all, as text; empty: not at all.
        reference: the optimizer whose runs set the target; empty: the first.
        versions: of what decides numbers: the packages, and the content of the files that the user wrote.
    """

    task: str
    arms: tuple[ArmSpec, ...]
    steps: int
    data: str | None = None
    points: int = 16
    again: int = 3
    extra: int = 4
    widenings: int = 2
    seeds: int = 10
    evaluations: int = 20
    schedule: str = ""
    reference: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def arm(self, label: str) -> ArmSpec:
        """The arm of that label."""
        return next(arm for arm in self.arms if arm.label == label)

    def to_json(self) -> str:
        """The spec as text, always in the same order."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=repr)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """The spec of :meth:`to_json`."""
        tree = json.loads(text)
        arms = tuple(
            ArmSpec(a["label"], {name: Range(**r) for name, r in a["space"].items()}) for a in tree.pop("arms")
        )
        return cls(arms=arms, **tree)

    @cached_property  # every key of a trial asks for it
    def hash(self) -> str:
        """A short name of all of it: another spec has another."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def differences(self, other: Spec) -> list[str]:
        """What is not the same in another spec, a line for each."""
        mine, theirs = json.loads(self.to_json()), json.loads(other.to_json())
        arms, others = ({a["label"]: a for a in tree.pop("arms")} for tree in (mine, theirs))
        versions, other_versions = mine.pop("versions"), theirs.pop("versions")
        lines = [f"{name}: {theirs[name]!r} there, {mine[name]!r} here" for name in mine if mine[name] != theirs[name]]
        for name in dict.fromkeys([*versions, *other_versions]):
            here, there = versions.get(name, "none"), other_versions.get(name, "none")
            lines += [f"{name}: {there} there, {here} here"] if here != there else []
        lines += [f"{label} takes part only here" for label in arms if label not in others]
        lines += [f"{label} takes part only there" for label in others if label not in arms]
        for label in arms:
            if label in others and arms[label] != others[label]:
                lines.append(f"{label}, space: {others[label]['space']} there, {arms[label]['space']} here")
        return lines or (["the order of the optimizers"] if list(arms) != list(others) else [])
