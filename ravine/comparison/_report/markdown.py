"""The report as text: GitHub-flavoured Markdown for those who paste it into an issue or a paper."""

from __future__ import annotations

from collections import Counter

from ravine.comparison._judge import Judgement
from ravine.comparison._judge.words import count, number
from ravine.comparison._report import figures
from ravine.comparison._report.formulas import formulas
from ravine.comparison._report.markup import code, fenced, prose, table
from ravine.comparison._report.protocol import protocol
from ravine.comparison._report.results import results
from ravine.comparison._study.result import Result

_CAPTIONS = {
    "curves": "Validation loss against step",
    "target": "Steps to the target",
    "differences": "Differences to the best",
    "sensitivity": "Loss against the hyperparameter that was searched",
    "budget": "Expected best loss against points tried",
}


def text(result: Result, judgement: Judgement) -> str:
    """All of report.md; the pictures are expected beside it."""
    labels = [arm.label for arm in result.spec.arms]
    heads, lines = results(result, judgement)
    parts = [
        f"# Comparison of optimizers on {code(result.spec.task)}",
        f"**{prose(judgement.sentence, labels)}**",
        *(["\n".join(f"- ⚠ {prose(w.sentence, labels)}" for w in judgement.warnings)] if judgement.warnings else []),
        *([prose(judgement.target.sentence, labels)] if judgement.target else []),
        prose(protocol(result), labels),
        "## Results",
        table([prose(head) for head in heads], [[code(line[0]), *line[1:]] for line in lines]),
        "Mean ± standard deviation over the fresh seeds. Runs that diverged have no number: means are of the others, "
        "and say so.",
        *_differences(judgement, labels),
        "## Figures",
        *(
            f"![{_CAPTIONS[name]}]({name}.png)\n\n{prose(figures.EXPLAINED[name])}"
            for name in figures.shown(result, judgement)
        ),
        *_spaces(result),
        *_failures(result),
        *_formulas(result),
        *_source(result),
    ]
    return "\n\n".join(parts) + "\n"


def _differences(judgement: Judgement, labels: list[str]) -> list[str]:
    parts = []
    for name, pairs in judgement.pairs.items():
        if pairs:
            parts.append(f"**{prose(name[:1].upper() + name[1:])}**, against {code(judgement.base[name])}:")
            parts.append("\n".join(f"- {prose(pair.sentence, labels)}" for pair in pairs))
    return ["## Differences", *parts] if parts else []


def _spaces(result: Result) -> list[str]:
    lines = []
    for tuning in result.stage.tunings:
        tried = f"{len(tuning.points):,}"
        for name, found in tuning.space.items():
            declared = tuning.arm.space[name]
            low, high = (
                number(now, 3) + ("" if now == before else f" (declared {number(before, 3)})")
                for now, before in ((found.low, declared.low), (found.high, declared.high))
            )
            lines.append([code(tuning.arm.label), code(name), low, high, found.scale, tried])
        if not tuning.arm.space:
            lines.append([code(tuning.arm.label), "nothing: all is given", "", "", "", tried])
    if not lines:
        return []
    heads = ["optimizer", "hyperparameter", "low", "high", "scale", "points"]
    return ["## Search spaces", table(heads, lines, left=(0, 1, 4))]


def _failures(result: Result) -> list[str]:
    """What trainings raised: how many of which optimizer, with the last line of the traceback."""
    seen = Counter((job.label, _last(outcome.error)) for job, outcome in result.jobs() if outcome.error)
    if not seen:
        return []
    lines = [f"- {code(label)}: {count(n, 'training')} raised {code(what)}" for (label, what), n in seen.items()]
    return ["## Failures", "\n".join(lines)]


def _last(traceback: str) -> str:
    return next((line for line in reversed(traceback.splitlines()) if line.strip()), "an error without words")


def _formulas(result: Result) -> list[str]:
    parts = ["## Formulas", prose(figures.EXPLAINED["formulas"])]
    for label, formula in formulas(result).items():
        source = f": {prose(formula.source)}" if formula.source else ""
        parts.append(f"{code(label)}{source}")
        if formula.lines:
            parts.append(fenced("\n".join(formula.lines), "text"))
    return parts


def _source(result: Result) -> list[str]:
    about, spec = result.about, result.spec
    versions = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
    facts = [("Spec", spec.hash), ("Versions", versions), ("Machine", about.machine), ("Study", about.study)]
    facts.append(("Storage", about.storage))
    parts = ["## Where this comes from", "\n".join(f"- {name}: {code(fact)}" for name, fact in facts if fact)]
    if about.command:
        parts += ["The same study again:", fenced(about.command, "sh")]
    if about.study:
        parts += ["One training again, by its key in the table of trials:", fenced(about.rerun("KEY"), "sh")]
    return parts
