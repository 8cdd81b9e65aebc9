"""The report as text: GitHub-flavoured Markdown for those who paste it into an issue or a paper."""

from __future__ import annotations

from collections import Counter

from ravine.comparison._judge.number_text import count
from ravine.comparison._report.declaration import space_rows
from ravine.comparison._report.explanations import EXPLAINED
from ravine.comparison._report.markdown_syntax import code, fenced, prose, table
from ravine.comparison._report.note_sentences import confidence_text, warnings
from ravine.comparison._report.protocol_text import protocol_text
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.report_tables import caption
from ravine.comparison._report.report_tables import target as target_table
from ravine.comparison._report.result_table import result_table
from ravine.comparison._report.trial_table import last_line

_CAPTIONS = {
    "curves": "Validation loss against step",
    "target": "Steps to target",
    "differences": "Each against the best of the others",
    "sensitivity": "Validation loss by hyperparameter",
    "budget": "Validation loss of fresh runs by number of points",
}


def markdown_report(data: ReportData) -> str:
    """All of report.md; the pictures are expected beside it."""
    labels, judgement = data.labels, data.judgement
    heads, lines = result_table(data)
    parts = [
        f"# Comparison of optimizers on {code(data.spec.task)}",
        f"**{prose(judgement.sentence, labels)}**",
        *(
            ["\n".join(f"- Note: {prose(one.sentence, labels)}" for one in beside)]
            if (beside := warnings(data))
            else []
        ),
        prose(protocol_text(data), labels),
        *([prose(judgement.target.sentence, labels)] if judgement.target else []),
        "## Results",
        table([prose(head) for head in heads], [[code(line[0]), *line[1:]] for line in lines]),
        prose(f"{caption(data)}.", labels),
        prose(EXPLAINED["results"]),
        *_differences(data),
        *_target(data),
        "## Figures",
        *(f"![{_CAPTIONS[name]}]({name}.png)\n\n{prose(EXPLAINED[name])}" for name in data.figures),
        *_spaces(data),
        *_failures(data),
        *_formulas(data),
        *_source(data),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(data: ReportData) -> list[str]:
    parts = []
    for name, one in data.differences.items():
        heads = ["optimizer", "ratio" if one.ratio else "difference", "interval", "verdict"]
        lines = [[code(r.label), r.text(r.middle, 3), r.interval_text, r.verdict] for r in one.rows]
        how = "relative to" if one.ratio else "minus"
        parts += [
            f"**{prose(name[:1].upper() + name[1:])}**, {how} the best of the others':",
            table(heads, lines, left=(0, 3)),
        ]
    intro = f"The verdict is read off these intervals. {confidence_text(data)}."
    return ["## Each against the best of the others", intro, *parts] if parts else []


def _target(data: ReportData) -> list[str]:
    if not data.judgement.steps:
        return []
    steps = target_table(data)
    rows = [[code(row[0]), *row[1:]] for row in steps.rows]
    return [
        "## Steps to the target",
        table([prose(head) for head in steps.columns], rows),
        f"{prose(steps.caption, data.labels)}.",
    ]


def _spaces(data: ReportData) -> list[str]:
    lines = [
        [code(label), code(name) if name else "none: all are fixed", *rest] for label, name, *rest in space_rows(data)
    ]
    if not lines:
        return []
    heads = ["optimizer", "hyperparameter", "low", "high", "scale", "points"]
    return ["## Search spaces", table(heads, lines, left=(0, 1, 4))]


def _failures(data: ReportData) -> list[str]:
    """What trainings raised: how many of which optimizer, with the last line of the traceback."""
    seen = Counter((row.trial.label, last_line(row.result.error)) for row in data.trials if row.result.error)
    if not seen:
        return []
    lines = [f"- {code(label)}: {count(n, 'training')} raised {code(what)}" for (label, what), n in seen.items()]
    return ["## Failures", "\n".join(lines)]


def _formulas(data: ReportData) -> list[str]:
    parts = ["## Formulas", prose(EXPLAINED["formulas"])]
    for entry in data.optimizers:
        source = f": {prose(entry.formula.source)}" if entry.formula.source else ""
        parts.append(f"{code(entry.label)}{source}")
        if entry.formula.lines:
            parts.append(fenced("\n".join(entry.formula.lines), "text"))
    return parts


def _source(data: ReportData) -> list[str]:
    origin, spec = data.origin, data.spec
    versions = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
    facts = [("Declaration", spec.hash), ("Versions", versions), ("Machine", origin.machine), ("Study", origin.study)]
    facts.append(("Storage", origin.storage))
    parts = ["## How to repeat it", "\n".join(f"- {name}: {code(fact)}" for name, fact in facts if fact)]
    if origin.command:
        parts += ["Repeat the study:", fenced(origin.command, "sh")]
    if origin.study:
        parts += ["Repeat one training, by its key in the page's table of trials:", fenced(origin.rerun("KEY"), "sh")]
    return parts
