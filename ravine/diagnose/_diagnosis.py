"""The diagnosis of a run: the symptoms that the rules (_rules.py) find, in plain words."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, overload

from ravine._plotting.notebook_html import output, paragraph
from ravine._whole_numbers import count
from ravine.diagnose._evidence import Evidence
from ravine.diagnose._rules import RULES
from ravine.errors import OptionError

_WIDTH = 100


@dataclass(frozen=True)
class Symptom:
    """One fault of a run: the name of its rule, what is wrong, the evidence, and what to try."""

    rule: str
    title: str
    evidence: str
    advice: str


class Diagnosis(Sequence[Symptom]):
    """The symptoms of a run, the most serious first; empty for a run without any. Printing it shows everything.

    Attributes:
        symptoms: as a tuple.
        steps: how many steps the run had.
        examined: what there was to examine, in words.
    """

    def __init__(self, symptoms: Sequence[Symptom], steps: int, examined: str) -> None:
        self.symptoms, self.steps, self.examined = tuple(symptoms), steps, examined

    @overload
    def __getitem__(self, index: int) -> Symptom: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Symptom, ...]: ...
    def __getitem__(self, index: int | slice) -> Symptom | tuple[Symptom, ...]:
        return self.symptoms[index]

    def __len__(self) -> int:
        return len(self.symptoms)

    def __iter__(self) -> Iterator[Symptom]:
        return iter(self.symptoms)

    @property
    def headline(self) -> str:
        """The result in a line."""
        if not self.symptoms and not self.steps:
            return "Nothing to diagnose yet: no step was made"
        if not self.symptoms:
            return f"No problem found in {count(self.steps, 'step')}"
        many = ", the most serious first" if len(self) > 1 else ""
        return f"{count(len(self), 'problem')} found in {count(self.steps, 'step')}{many}"

    def __repr__(self) -> str:
        return f"Diagnosis({', '.join(s.rule for s in self) or 'no problem'} in {count(self.steps, 'step')})"

    def __str__(self) -> str:
        parts = [self.headline]
        for place, symptom in enumerate(self, start=1):
            label = f"{place}. "
            parts.append("")
            parts.append(label + symptom.title)
            for text in (symptom.evidence, f"Try: {symptom.advice}"):
                indent = " " * len(label)
                parts.append(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent))
        parts += ["", textwrap.fill(self.examined, _WIDTH)]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><b>{escape(s.title)}</b><br>{escape(s.evidence)}<br><i>Try: {escape(s.advice)}</i></li>" for s in self
        )
        listed = f"<ol>{items}</ol>" if items else ""
        return output(self.headline, listed, paragraph(self.examined))


def diagnose(run: Any) -> Diagnosis:
    """What is wrong with a run, by the rules in ``ravine.diagnose._rules.RULES``.

    Args:
        run: an optimizer of ``ravine.optim``, also in a trainer or a wrapper, a Learner, the folder of a run, an ``Evidence``, or anything with a method
            ``evidence()`` that gives one. With an optimizer, losses are those of ``optimizer.watch.loss(loss)``.

    Raises:
        DataError: the folder has no evidence of a run, or it is damaged.
        OptionError: ``run`` is something else, or an optimizer that was made with ``watch=False``.
    """
    evidence = _evidence(run)
    by_rule = {}
    for rule in RULES:
        text = rule.check(evidence)
        if text is not None:
            by_rule[rule.name] = (rule, Symptom(rule.name, rule.title, _printable(text), rule.advice))
    explained = {name for rule, _ in by_rule.values() for name in rule.explains}
    symptoms = [symptom for name, (_, symptom) in by_rule.items() if name not in explained]
    return Diagnosis(symptoms, evidence.steps, _examined(evidence))


def _printable(text: str) -> str:
    """The text without control characters: the names in it come from whoever wrote the model."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _evidence(run: Any) -> Evidence:
    if isinstance(run, str | os.PathLike):
        return Evidence.load(Path(run))
    given = run.evidence() if callable(getattr(run, "evidence", None)) else run
    if isinstance(given, Evidence):
        return given
    import torch  # not needed to diagnose a folder

    from ravine.diagnose._learner_evidence import evidence_of
    from ravine.diagnose._optimizer_evidence import evidence_of_optimizer
    from ravine.optim import unwrap
    from ravine.train._learner import Learner

    if not isinstance(run, Learner):
        try:
            return evidence_of_optimizer(unwrap(run))
        except OptionError:
            if isinstance(run, torch.optim.Optimizer):
                return evidence_of_optimizer(run)  # which says what is wrong with it
        raise OptionError(
            f"diagnose({type(run).__name__}): give an optimizer of ravine.optim, a Learner, the folder of a run, or a "
            "ravine.diagnose.Evidence."
        )
    return evidence_of(run)


def _examined(evidence: Evidence) -> str:
    """What was examined, and what was missing."""
    history = evidence.history
    validated = sum("valid_loss" in row for row in evidence.epochs)
    parts = {
        f"the loss of {count(len(evidence.losses), 'step')}": len(evidence.losses),
        f"the history of {count(len(history.names), 'parameter')}": len(history),
        f"the units of {count(len(evidence.dead_units), 'layer')}": len(evidence.dead_units),
        f"the validation of {count(validated, 'epoch')}": validated,
    }
    known = [text for text, size in parts.items() if size]
    missing = [
        text
        for text, size in zip(("losses", "a history", "units", "validation"), parts.values(), strict=True)
        if not size
    ]
    text = f"Examined: {', '.join(known) or 'nothing'}"
    text += f" ({evidence.optimizer})." if evidence.optimizer else "."
    if missing:
        text += f" Not available: {', '.join(missing)}."
    if len(evidence.losses) and not len(history):
        text += " Every optimizer of ravine.optim records a history."
    return _printable(text)
