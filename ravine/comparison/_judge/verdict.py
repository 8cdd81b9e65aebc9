"""The judgement of a whole comparison: every pair, every warning, and two sentences for the top of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ravine.comparison._judge.budget import BudgetCurve, budget_of
from ravine.comparison._judge.measurements import LOSS, STEPS, Metric, OptimizerRuns, by_name
from ravine.comparison._judge.number_text import article, count, listed, number
from ravine.comparison._judge.pair import TOO_MANY, Pair
from ravine.comparison._judge.pairs import compare, compare_pairs
from ravine.comparison._judge.selection_bias import SelectionBias, selection_bias_of
from ravine.comparison._judge.target import StepsToTarget, Target, steps_to, target_of
from ravine.comparison._judge.values import Values, values_of
from ravine.comparison._judge.warnings import Range, WarningNote, warnings_of
from ravine.errors import ComparisonError, OptionError, nearest


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """All that a comparison says.

    Attributes:
        target: the loss that had to be reached; None if it cannot tell the optimizers apart (a warning says why).
        steps: how many steps the runs of each optimizer took to the target, by its label; empty without a target.
        pairs: by the name of the metric, every other optimizer against ``base[metric]``.
        base: by the name of the metric, the optimizer that the others are compared with: the best, unless one was named.
        headline: the metric that ``sentence`` is about: steps to target, or the validation loss without a target.
        budget: the expected best loss against the number of tuning trials, by optimizer.
        selection_bias: how much better the chosen point scored in tuning than on fresh seeds, by optimizer.
        warnings: what speaks against the comparison.
        sentence: the verdict, in one or two sentences.
    """

    target: Target | None
    steps: Mapping[str, StepsToTarget]
    pairs: Mapping[str, Sequence[Pair]]
    base: Mapping[str, str]
    headline: Metric
    budget: Mapping[str, BudgetCurve]
    selection_bias: Mapping[str, SelectionBias]
    warnings: Sequence[WarningNote]
    sentence: str

    def __repr__(self) -> str:
        return f"Judgement({self.sentence!r}, {count(len(self.warnings), 'warning')})"


def judge(
    optimizers: Sequence[OptimizerRuns],
    *,
    reference: str,
    against: str | None = None,
    metrics: Sequence[Metric] = (),
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    special_cases: Mapping[str, Sequence[str]] | None = None,
    smallest: Mapping[str, float] | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> Judgement:
    """Judge a comparison by the protocol: target, steps, differences, warnings, words.

    Args:
        optimizers: what was measured of each optimizer.
        reference: the optimizer that the target comes from.
        against: the optimizer that all are held against; None takes the best in each metric.
        metrics: the numbers of the test set to compare, each with its direction.
        spaces: optimizer to hyperparameter to the range it was looked for in.
        special_cases: optimizer to those it can become; see :func:`~ravine.comparison._judge.under_tuned`.
        smallest: name of a metric to the smallest difference of interest in it.
        alpha, power: the family-wise error of each metric, and the power that "n more seeds" must have.

    Raises:
        ComparisonError: the measurements do not fit together.
        OptionError: an optimizer or metric that was named does not exist.
    """
    named = by_name(optimizers)
    for name in (reference, *([] if against is None else [against])):
        if name not in named:
            raise OptionError(f"There is no optimizer {name!r}. {nearest(name, named)}")
    notes: list[WarningNote] = []
    target, steps = None, dict[str, StepsToTarget]()
    try:
        target = target_of(named[reference])
        steps = steps_to(target, optimizers)
    except ComparisonError as error:
        target = None
        notes.append(
            WarningNote(
                "target", reference, f"There are no steps to target, so validation losses are compared instead. {error}"
            )
        )
    values: dict[Metric, Mapping[str, Values]] = {}
    if steps:
        values[STEPS] = {name: taken.values for name, taken in steps.items()}
    for metric in (LOSS, *metrics):
        values[metric] = values_of(optimizers, metric)
    known = [metric.name for metric in values]
    for name in smallest or {}:
        if name not in (*known, STEPS.name):
            raise OptionError(f"There is no metric {name!r} to have a smallest difference. {nearest(name, known)}")
    notes += _unpaired(optimizers)
    pairs = {
        metric.name: compare(
            numbers, metric, against=against, smallest=(smallest or {}).get(metric.name), alpha=alpha, power=power
        )
        for metric, numbers in values.items()
    }
    headline = STEPS if steps else LOSS
    base = {name: held[0].second if held else optimizers[0].name for name, held in pairs.items()}
    biases = {optimizer.name: bias for optimizer in optimizers if (bias := selection_bias_of(optimizer)) is not None}
    return Judgement(
        target,
        steps,
        pairs,
        base,
        headline,
        budget_of(optimizers),
        biases,
        [*notes, *warnings_of(optimizers, spaces, special_cases or {})],
        overall(
            _with_losses(pairs[headline.name], base[headline.name], values[LOSS], against, alpha),
            base[headline.name],
            steps,
            [optimizer.name for optimizer in optimizers if all(run.diverged for run in optimizer.runs)],
        ),
    )


def _with_losses(
    pairs: Sequence[Pair], base: str, losses: Mapping[str, Values], against: str | None, alpha: float
) -> list[Pair]:
    """The pairs for the sentence: where the steps show nothing and the losses very clearly do, the losses speak.

    Half of the reference's own runs miss the target by its definition, so an optimizer that never reaches it may still not
    differ in steps. The losses are held to a fifth of alpha: with both, a tie is kept in all but 1.2 alpha.
    """
    if not pairs:
        return []
    names = list(losses)
    family = list(combinations(names, 2)) if against is None else [(n, base) for n in names if n != base]
    sure = {}
    for pair in compare_pairs(losses, family, LOSS, alpha=alpha / 5):
        if base in (pair.first, pair.second) and pair.kind != "no difference shown":
            seen = pair if pair.second == base else pair.reversed
            sure[seen.first] = seen
    return [sure.get(pair.first, pair) if pair.kind == "no difference shown" else pair for pair in pairs]


def overall(
    pairs: Sequence[Pair], base: str, steps: Mapping[str, StepsToTarget] | None = None, lost: Sequence[str] = ()
) -> str:
    """At most two sentences: who is within noise of ``base`` or that it stands alone, and what the others lose.

    ``lost`` are those of which every run diverged: they have no numbers, so the pairs with them say nothing.
    """
    if not pairs:
        return f"Only {base} took part: there is nothing to compare it with."
    pairs = [pair for pair in pairs if pair.first not in lost]
    ties = [pair for pair in pairs if pair.kind == "no difference shown"]
    others = [pair for pair in pairs if pair.kind != "no difference shown"]
    sentences = []
    if ties:
        names = [pair.first for pair in ties]
        who = f"{listed([base, *names])} are within noise of each other"
        if len(names) > 1:
            who = f"{listed(names)} are within noise of {base}"
        sentences.append(f"{who}: {_seeds_text(ties)}.")
    elif pairs and not steps and all(pair.kind == "worse" for pair in pairs):
        sentences.append(f"{base} is best.")
    elif pairs and steps and all(pair.kind == "worse" for pair in pairs):
        median = steps[base].median
        after = f": it reaches the target in a median of {number(median, 3)} steps" if np.isfinite(median) else ""
        sentences.append(f"{base} is best{after}.")
    if not pairs:
        sentences.append(f"{base} is best.")
    parts = [_differing(others, steps or {}, base, bool(sentences))] if others else []
    if lost:
        parts.append(f"{listed(lost)} diverged in every run")
    if parts:
        sentences.append("; ".join(parts) + ".")
    return " ".join(sentences)


def _seeds_text(ties: Sequence[Pair]) -> str:
    """What it would take to decide, for the easiest of the pairs and for the hardest."""
    easiest, *_, hardest = sorted([*ties, *ties], key=lambda pair: pair.more_seeds or 0)
    least, most = easiest.more_seeds or 0, hardest.more_seeds or 0
    if least == most or hardest.smallest is not None:
        return hardest.seeds_text
    if least > TOO_MANY:
        return f"more than {TOO_MANY:,} more seeds would be needed to settle it"
    ends = f"{least:,} to {most:,}" if most <= TOO_MANY else f"{least:,} to more than {TOO_MANY:,}"
    return f"{ends} more seeds would settle it, depending on the pair"


def _differing(pairs: Sequence[Pair], steps: Mapping[str, StepsToTarget], base: str, base_is_said: bool) -> str:
    """What the optimizers that differ from the base lose or gain, in one sentence without its full stop."""
    lost = [pair.first for pair in pairs if pair.kind == "worse" and pair.first in steps]
    never = [name for name in lost if len(steps[name].missed) == len(steps[name].steps)]
    rest = [pair for pair in pairs if pair.first not in never]
    parts = []
    if 0 < len(rest) <= 3:
        parts += [f"{pair.first} {pair.effect_text}" for pair in rest]
    for kind, metric in product(("better", "worse"), (STEPS, LOSS)):
        group = [pair for pair in rest if pair.kind == kind and pair.metric == metric]
        if len(rest) > 3 and group:
            parts.append(f"{listed([pair.first for pair in group])} {_range(group)}")
    if parts and not base_is_said:
        last = rest[-1].metric
        parts[-1] += f" {'as' if last == STEPS else 'of' if last.ratio else 'than'} {base}"
    if never:
        runs = len(steps[never[0]].steps)
        parts.append(f"{listed(never)} never reached the target in {count(runs, 'run')}{' each' * (len(never) > 1)}")
    return listed(parts)


def _range(group: Sequence[Pair]) -> str:
    """The differences of several that are all better, or all worse: ``need 2.1 to 2.9 times as many steps``."""
    sizes = sorted(pair.ratio if pair.metric.ratio else abs(pair.difference) for pair in group)
    ends = " to ".join(dict.fromkeys(number(size) for size in (sizes[0], sizes[-1])))
    metric, many = group[0].metric, len(group) > 1
    if metric.ratio:
        noun = "as many steps" if metric == STEPS else f"the {metric.name}"
        return f"{'need' if many else 'needs'} {ends} times {noun}"
    side = "higher" if group[0].difference > 0 else "lower"
    return f"{'have' if many else 'has'} {article(metric.name)} {ends} {side}"


def _unpaired(optimizers: Sequence[OptimizerRuns]) -> list[WarningNote]:
    """A warning for each optimizer with seeds that another lacks: they cannot be paired."""
    everywhere = set.intersection(*(set(optimizer.seeds) for optimizer in optimizers))
    return [
        WarningNote(
            "seeds",
            optimizer.name,
            f"{count(len(optimizer.seeds) - len(everywhere), 'seed')} of {optimizer.name} "
            f"{'was' if len(optimizer.seeds) - len(everywhere) == 1 else 'were'} not run with every other optimizer; "
            "a seed counts only where it can be paired.",
        )
        for optimizer in optimizers
        if set(optimizer.seeds) - everywhere
    ]
