"""The diagnosis of a run: what the rules found, in plain words. The rules themselves are in _rules.py."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from ravine.diagnose._evidence import Evidence
from ravine.diagnose._readings import counted
from ravine.diagnose._rules import RULES
from ravine.errors import OptionError

_WIDTH = 100


@dataclass(frozen=True)
class Symptom:
    """One fault: the name of its rule, what is wrong, what shows it, and what to try."""

    rule: str
    title: str
    evidence: str
    advice: str


class Diagnosis(Sequence[Symptom]):
    """What was found, the most serious first; empty where nothing was. Printing it shows all of it.

    Attributes:
        findings: what was found.
        steps: how many steps the run had.
        looked_at: what there was to look at, in words.
    """

    def __init__(self, findings: Sequence[Symptom], steps: int, looked_at: str) -> None:
        self.findings, self.steps, self.looked_at = tuple(findings), steps, looked_at

    @overload
    def __getitem__(self, index: int) -> Symptom: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Symptom, ...]: ...
    def __getitem__(self, index: int | slice) -> Symptom | tuple[Symptom, ...]:
        return self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Symptom]:
        return iter(self.findings)

    @property
    def headline(self) -> str:
        """The result in a line."""
        found = "nothing found" if not self.findings else f"{counted(len(self), 'finding')}, the most serious first,"
        return f"{found} in {counted(self.steps, 'step')}"

    def __repr__(self) -> str:
        return f"<Diagnosis: {', '.join(f.rule for f in self) or 'nothing found'} in {counted(self.steps, 'step')}>"

    def __str__(self) -> str:
        parts = [self.headline]
        for place, finding in enumerate(self, start=1):
            label = f"{place}. "
            parts.append("")
            parts.append(label + finding.title)
            for text in (finding.evidence, f"Try: {finding.advice}"):
                indent = " " * len(label)
                parts.append(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent))
        parts += ["", textwrap.fill(self.looked_at, _WIDTH)]
        return "\n".join(parts)


def diagnose(run: Any) -> Diagnosis:
    """What is wrong with a run, by the rules of ``ravine.diagnose._rules.RULES``.

    Args:
        run: a Learner, the folder of a run, an ``Evidence``, or anything with a method ``evidence()`` that gives one.

    Raises:
        DataError: the folder has no evidence of a run, or it is damaged.
        OptionError: ``run`` is something else.
    """
    evidence = _evidence(run)
    found = {}
    for rule in RULES:
        text = rule.check(evidence)
        if text is not None:
            found[rule.name] = (rule, Symptom(rule.name, rule.title, _printable(text), rule.advice))
    explained = {name for rule, _ in found.values() for name in rule.explains}
    findings = [finding for name, (_, finding) in found.items() if name not in explained]
    return Diagnosis(findings, len(evidence.losses), _looked_at(evidence))


def _printable(text: str) -> str:
    """The text without characters that move a terminal's cursor: names come from whoever wrote the model."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _evidence(run: Any) -> Evidence:
    if isinstance(run, str | os.PathLike):
        return Evidence.load(Path(run))
    given = run.evidence() if callable(getattr(run, "evidence", None)) else run
    if isinstance(given, Evidence):
        return given
    from ravine.diagnose._learner_evidence import evidence_of  # which a diagnosis of a folder can do without
    from ravine.train._learner import Learner

    if not isinstance(run, Learner):
        raise OptionError(
            f"diagnose({type(run).__name__}): give a Learner, the folder of a run, or a ravine.diagnose.Evidence."
        )
    return evidence_of(run)


def _looked_at(evidence: Evidence) -> str:
    """What there was to look at, and what was missing."""
    history = evidence.history
    validated = sum("valid_loss" in row for row in evidence.epochs)
    parts = {
        f"the loss of {counted(len(evidence.losses), 'step')}": len(evidence.losses),
        f"the history of {counted(len(history.names), 'parameter')}": len(history),
        f"the units of {counted(len(evidence.dead_units), 'layer')}": len(evidence.dead_units),
        f"the validation of {counted(validated, 'epoch')}": validated,
    }
    seen = [text for text, count in parts.items() if count]
    missing = [
        text
        for text, count in zip(("losses", "a history", "units", "validation"), parts.values(), strict=True)
        if not count
    ]
    text = f"Looked at {', '.join(seen) or 'nothing'}"
    text += f" of {evidence.optimizer}." if evidence.optimizer else "."
    if missing:
        text += f" Not known: {', '.join(missing)}."
    return _printable(text)
