"""What a study is, in words: its optimizers with their formulas and spaces, and its declaration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ravine.comparison._judge.words import count
from ravine.comparison._report.formulas import Formula, formulas
from ravine.comparison._report.tables import short
from ravine.comparison._study.result import Result
from ravine.comparison._study.spec import AGAIN_SEEDS
from ravine.errors import OptionError
from ravine.optim import _spec as specs
from ravine.optim.search import Range


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of the study: its formula, and a row for each hyperparameter that was given or searched.

    Attributes:
        label: how it was written.
        formula: what one step computes.
        given: options that stand in its label, the same in all trainings.
        searched: of each hyperparameter its name, the chosen value, the declared range and the widened one, if it was.
        edge: where the best point still lies at an edge; empty if it does not.
    """

    label: str
    formula: Formula
    given: Mapping[str, str]
    searched: Sequence[tuple[str, str, str, str]]
    edge: str


def optimizers(result: Result) -> list[Optimizer]:
    """All of them, in the order of the spec."""
    found, stage = formulas(result), result.stage
    return [
        Optimizer(
            arm.label,
            found[arm.label],
            _given(arm.label),
            [
                (
                    name,
                    short(stage.chosen[arm.label][name], 4) if arm.label in stage.chosen else "–",
                    _range(declared),
                    "" if tuning.space[name] == declared else _range(tuning.space[name]),
                )
                for name, declared in arm.space.items()
            ],
            stage.edges.get(arm.label, ""),
        )
        for arm, tuning in zip(result.spec.arms, stage.tunings, strict=True)
    ]


def _given(label: str) -> dict[str, str]:
    with suppress(OptionError):
        return {name: str(value) for name, value in specs.written(label).items()}
    return {}


def declaration(result: Result) -> list[tuple[str, str]]:
    """The spec as rows of name and value, without its optimizers."""
    spec = result.spec
    return [
        ("hash", spec.hash),
        ("task", spec.task),
        ("data", spec.data or "the task's own"),
        ("optimizers", count(len(spec.arms), "optimizer")),
        ("points of each optimizer", str(spec.points)),
        ("best points tried again", f"{spec.again}, with {count(len(AGAIN_SEEDS), 'seed')} more"),
        ("extra points where the best lies at an edge", f"{spec.extra}, at most {count(spec.widenings, 'time')}"),
        ("fresh seeds of each optimizer", str(spec.seeds)),
        ("steps of each training", f"{spec.steps:,}"),
        ("measurements of each training", str(spec.evaluations)),
        ("schedule of the learning rate", spec.schedule or "none: it stays constant"),
        ("reference for the target", spec.reference or spec.arms[0].label),
        *((f"version of {name}", version) for name, version in spec.versions.items()),
        ("machine", result.about.machine or "not recorded"),
        ("study", result.about.study or "not named"),
        ("storage", result.about.storage or "none"),
    ]


def indented(result: Result) -> str:
    """The whole spec as JSON for people."""
    return json.dumps(json.loads(result.spec.to_json()), indent=2, ensure_ascii=False)


def _range(found: Range) -> str:
    spread = {"log": "in powers of ten", "linear": "evenly", "complement": "in powers of ten of 1 − x"}[found.scale]
    return f"{short(found.low)} to {short(found.high)}, {spread}"
