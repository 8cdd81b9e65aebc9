"""Everything that decides a study, declared before it runs: the same spec and seed give the same trial anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from ravine._written_alike import alike
from ravine.errors import DataError
from ravine.optim.search import Range
from ravine.train._data_content import NOT_THE_SAME

#: Seeds of torch that a study can have: studies of different seeds share none.
_SEEDS_PER_STUDY = 20_000

#: Rises where a stored study means something else than before: an older one is refused.
FORMAT = 4

_OF_A_TRAINING = ("format", "task", "data", "steps", "evaluations", "schedule", "versions")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


#: What is no number and no option: names of files, and versions.
_EXACT = ("task", "data", "content", "versions")


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer as it was declared.

    Attributes:
        label: what it is called.
        space: the search space of what is not given, in one order, however it was written: points and edges go
            through the names in it.
        source: what any process reads as the optimizer; empty where only the process has it that declared it.
        schedule: how its learning rate changes, as text; empty: as the study says for all.
    """

    label: str
    space: Mapping[str, Range]
    source: str = ""
    schedule: str = ""

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
        points: how many points of its space each tuning tries.
        looks: after how many seeds the study is judged. A seed is a tuning with points and a seed of its own, and a fresh run
            at the best of them. After the last look it ends; after one that settles everything it ends early.
        extra_points: how many more points every tuning tries each time most best points of an optimizer lie at an edge.
        expansions: how often that may happen.
        evaluations: how often the validation loss is measured in a training, after once before it.
        margin: the largest difference in the loss that does not matter, as text; empty: the spread between tunings.
        ratio: whether losses are compared by how many times one is the other, as those of test functions are.
        schedule: how the learning rate changes, as text, of all that have no schedule of their own; empty: it stays.
        halving: whether only the better half of a tuning's points is trained for more than a quarter of the steps.
        seed: of the study: another one has other points and other seeds.
        content: a short name of the data's content; empty: it was not known, as in studies of earlier versions.
        extended: how often seeds were added after the study had been judged.
        versions: of what decides numbers: the packages, and the user's own code.
    """

    task: str
    optimizers: tuple[OptimizerConfig, ...]
    steps: int
    data: str | None = None
    points: int = 4
    looks: tuple[int, ...] = (10,)
    extra_points: int = 1
    expansions: int = 2
    evaluations: int = 20
    margin: str = ""
    ratio: bool = False
    schedule: str = ""
    halving: bool = False
    seed: int = 0
    extended: int = 0
    content: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        labels = ", ".join(config.label for config in self.optimizers)
        return f"StudySpec({self.task}: {labels}; {self.points} points, {self.seeds} seeds, {self.steps} steps)"

    @property
    def seeds(self) -> int:
        """How many seeds there are at most."""
        return self.looks[-1]

    @property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of points of which the best is trained afresh: 1, 2, 4, ... and all."""
        return tuple(sorted({*(2**i for i in range(self.points.bit_length()) if 2**i <= self.points), self.points}))

    def tuning_seed(self, number: int) -> int:
        """The seed of the trials of a tuning: the same for all its points and all optimizers."""
        return self.seed * _SEEDS_PER_STUDY + 2 * number

    def fresh_seed(self, number: int) -> int:
        """The seed of the run that follows a tuning."""
        return self.tuning_seed(number) + 1

    def config(self, label: str) -> OptimizerConfig:
        """The optimizer of that label."""
        return next(config for config in self.optimizers if config.label == label)

    def schedule_of(self, label: str) -> str:
        """How the learning rate of that optimizer changes, as text; empty: it stays."""
        return self.config(label).schedule or self.schedule

    @property
    def schedules_text(self) -> str:
        """All schedules, as a report names them: ``cosine; adam: warmup:0.1``."""
        own = [f"{config.label}: {config.schedule}" for config in self.optimizers if config.schedule]
        return "; ".join([self.schedule or "none (constant)", *own])

    def to_json(self) -> str:
        """The spec as text, always in the same order."""
        tree = {"format": FORMAT, **asdict(self)}
        for config in tree["optimizers"]:  # what is not there, as in studies that were made without it
            config["space"] = {n: {k: v for k, v in r.items() if v is not None} for n, r in config["space"].items()}
            if not config["schedule"]:
                del config["schedule"]
        if not self.halving:
            del tree["halving"]
        if not self.content:
            del tree["content"]
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
            OptimizerConfig(
                o["label"], {name: Range(**r) for name, r in o["space"].items()}, o["source"], o.get("schedule", "")
            )
            for o in tree.pop("optimizers")
        )
        return cls(optimizers=optimizers, looks=tuple(tree.pop("looks")), **tree)

    @cached_property
    def hash(self) -> str:
        """A short name of all of it: another spec has another."""
        return _digest(self.to_json())

    @cached_property  # every key of a trial asks for it
    def training_hash(self) -> str:
        """A short name of what decides the numbers of a training, beside its optimizer, point and seed.

        How many points, seeds and optimizers there are is not in it: a study that is extended keeps its trainings.
        """
        tree = json.loads(self.to_json())
        return _digest(json.dumps([tree[n] for n in _OF_A_TRAINING], sort_keys=True))

    def joined_to(self, stored: StudySpec) -> StudySpec | None:
        """The spec of a stored study of which this asks for as many seeds or more, or for as many as it had before it was extended;
        None if anything else differs.

        The looks that were had stay looks. What was said at them was said without knowing of more, so their price is higher
        than what is paid for here: ``extended`` keeps how often.
        """
        by_label = {config.label: config for config in self.optimizers}
        if by_label.keys() == {config.label for config in stored.optimizers}:  # in another order they are the same
            self = replace(self, optimizers=tuple(by_label[config.label] for config in stored.optimizers))
        content = self.content if stored.content else ""  # of a study that was begun without it nothing is known
        same = replace(self, looks=stored.looks, extended=stored.extended, content=content)
        if not _same(json.loads(same.to_json()), json.loads(stored.to_json())):
            return None
        if self.seeds < stored.seeds:  # the command that made the study resumes it, though seeds were added since
            return stored if stored.extended and self.looks == stored.looks[: len(self.looks)] else None
        if self.seeds == stored.seeds:
            return stored
        more = tuple(n for n in self.looks if n > stored.seeds)
        return replace(stored, looks=(*stored.looks, *more), extended=stored.extended + 1)

    def differences(self, other: StudySpec) -> list[str]:
        """What keeps this from being joined to another spec, the stored one: a line for each, with both values.

        More seeds do not, and what follows from something else that is said is not said again.
        """
        mine, theirs = json.loads(self.to_json()), json.loads(other.to_json())
        configs, others = ({o["label"]: o for o in tree.pop("optimizers")} for tree in (mine, theirs))
        versions, other_versions = mine.pop("versions"), theirs.pop("versions")
        looks, planned = (" to ".join(map(str, sorted({e.looks[0], e.seeds}))) for e in (self, other))
        content, other_content = (tree.pop("content", "") for tree in (mine, theirs))
        for tree in (mine, theirs):
            del tree["extended"], tree["looks"]
            tree.setdefault("halving", False)
        lines = [f"seeds: {planned} in the study, {looks} now"] if self.seeds < other.seeds else []
        tasks = [] if self.task == other.task else [self.task, other.task]
        decided = _BY_THE_TASK if tasks else _BY_THE_STEPS if self.steps != other.steps else ()
        lines += [
            f"{_CALLED.get(name, name)}: {_said(name, theirs[name])} in the study, {_said(name, mine[name])} now"
            for name in mine
            if name not in decided and not _same_value(name, mine[name], theirs[name])
        ]
        for name in dict.fromkeys([*versions, *other_versions]):
            if any(f"{task}:".startswith(f"{name}:") for task in tasks):
                continue
            here, there = versions.get(name, "none"), other_versions.get(name, "none")
            lines += [f"{name}: {there} in the study, {here} now"] if here != there else []
        only, left = (
            [label for label in one if label not in other] for one, other in ((configs, others), (others, configs))
        )
        for label in tuple(only):
            if "=" in label and (same := next((one for one in left if alike(one, label)), None)) is not None:
                lines.append(f"{same} in the study is written {label} now: write {same}")
                only.remove(label)
                left.remove(same)
        lines += [f"{label} takes part only now" for label in only]
        lines += [f"{label} takes part only in the study" for label in left]
        for label in configs:
            if label not in others:
                continue
            for name in ("source", "schedule"):
                there, here = (config[label].get(name) or "that of all" for config in (others, configs))
                lines += [] if alike(here, there) else [f"{label}, {name}: {there} in the study, {here} now"]
            spaces, other_spaces = self.config(label).space, other.config(label).space
            for name in dict.fromkeys([*spaces, *other_spaces]):
                ranges = other_spaces.get(name), spaces.get(name)
                there, here = map(_range_text, ranges)
                if there == here:  # but for where they end when they are expanded
                    there, here = (str(each and asdict(each)) for each in ranges)
                lines += [f"{label}, {name}: {there} in the study, {here} now"] if ranges[0] != ranges[1] else []
        if not tasks and other_content and content != other_content:
            lines.append(
                f"the content of the data: {other_content} in the study, {content or 'not known'} now. {NOT_THE_SAME}"
            )
        return lines


#: What a spec has without being told: it follows from the task, or from the steps.
_BY_THE_TASK, _BY_THE_STEPS = ("evaluations", "ratio"), ("evaluations",)
_CALLED = {"seed": "study seed"}
_UNNAMED = {"margin": "the default", "schedule": "constant", "data": "none"}


def _said(name: str, value: Any) -> str:
    return _UNNAMED[name] if name in _UNNAMED and not value else str(value)


def _range_text(values: Range | None) -> str:
    """``log(1e-05, 0.1)``, as it is written."""
    return "not tuned" if values is None else f"{values.scale}({values.low:g}, {values.high:g})"


def _same_value(name: str, mine: Any, theirs: Any) -> bool:
    return mine == theirs if name in _EXACT else alike(mine, theirs)


def _same(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two specs are one, as trees."""
    return mine.keys() == theirs.keys() and all(_same_value(name, mine[name], theirs[name]) for name in mine)
