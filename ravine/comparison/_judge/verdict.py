"""The judgement of a whole comparison: the losses first, the steps to the target beside them, warnings, words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine.comparison._judge.budget import BudgetCurve, budget_of
from ravine.comparison._judge.few_finished import no_equivalence_text, without_doubtful_margin
from ravine.comparison._judge.margin import margin_of
from ravine.comparison._judge.measurements import LOSS, Metric, OptimizerRuns, by_name
from ravine.comparison._judge.number_text import count
from ravine.comparison._judge.of_finished_runs import with_best_of_finished
from ravine.comparison._judge.selection_bias import SelectionBias, selection_bias_of
from ravine.comparison._judge.target import StepsToTarget, Target, check_target, steps_to, target_of
from ravine.comparison._judge.values import paired, values_of
from ravine.comparison._judge.verdict_text import verdict_text
from ravine.comparison._judge.warnings import Range, SpecialCases, WarningNote, unequal_spread, warnings_of
from ravine.comparison._judge.with_best import WithBest, check_alpha, with_best
from ravine.errors import ComparisonError


@dataclass(frozen=True)
class Compared:
    """All optimizers in one metric. In ``with_best`` lower is better: of a metric where more is better, its negative."""

    metric: Metric
    with_best: WithBest


@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """All that a comparison says.

    Attributes:
        sentence: the verdict in words: who may be the best, who is not, and what it takes to know more.
        compared: by the name of the metric, every optimizer against the best, the validation loss first; empty with
            one optimizer. The verdict is that of the validation loss.
        ranked: the optimizers, best first: in the order of the standings of the loss, in which one that missed the target in
            most runs is below those that reached it, unless it alone is the best.
        target, steps: the target and the steps to it; None and empty where there is no target (a warning says why).
        budget: the loss by number of tuning points.
        selection_bias: how much of the tuning scores was luck.
        warnings: what speaks against the comparison.
    """

    sentence: str
    compared: Mapping[str, Compared]
    ranked: Sequence[str]
    target: Target | None
    steps: Mapping[str, StepsToTarget]
    budget: Mapping[str, BudgetCurve]
    selection_bias: Mapping[str, SelectionBias]
    warnings: Sequence[WarningNote]

    def __repr__(self) -> str:
        return f"Judgement({self.sentence!r}, {count(len(self.warnings), 'warning')})"

    @property
    def losses(self) -> WithBest | None:
        """The comparison that the verdict is read off; None with one optimizer."""
        return self.compared[LOSS.name].with_best if LOSS.name in self.compared else None


def compare_losses(
    optimizers: Sequence[OptimizerRuns],
    *,
    looks: Sequence[int] = (),
    margin: str = "",
    ratio: bool = False,
    alpha: float = 0.05,
) -> WithBest:
    """The comparison that the verdict is read off, as a study asks for it at each look.

    There is no margin, and so nobody is equivalent, where one would be of whose few runs more than half diverged.

    Raises:
        ComparisonError: fewer than two optimizers or runs, or no run has a loss.
    """
    metric = Metric(LOSS.name, ratio=ratio)
    read = values_of(optimizers, metric)
    values, _ = paired(read)
    first = looks[0] if looks else None
    found = with_best(values, looks=looks, margin=margin_of(optimizers, metric, margin, first), alpha=alpha)
    diverged = {name: [seed in each.bounded for seed in each.numbers] for name, each in read.items()}
    return without_doubtful_margin(found, diverged, lambda: with_best(values, looks=looks, alpha=alpha))


def judge(
    optimizers: Sequence[OptimizerRuns],
    *,
    looks: Sequence[int] = (),
    margin: str = "",
    ratio: bool = False,
    target: float | None = None,
    metrics: Sequence[Metric] = (),
    spaces: Mapping[str, Mapping[str, Range]] | None = None,
    special_cases: SpecialCases | None = None,
    alpha: float = 0.05,
) -> Judgement:
    """Judge a comparison by the protocol.

    Args:
        optimizers: what was measured of each; their order changes nothing but the order of warnings.
        looks: the numbers of runs at which it was planned to look; () is one look at all.
        margin: the largest difference in the loss that does not matter, ``"0.01"`` or ``"1%"``; empty: the spread between
            tunings.
        ratio: whether losses are compared by how many times one is the other, as those of test functions are.
        target: the loss to be reached; None takes it from the tunings.
        metrics: the numbers of the test set to compare, each with its direction.
        spaces: optimizer to hyperparameter to the range it was looked for in.
        special_cases: optimizer to those it can become, and how; see :func:`~ravine.comparison._judge.under_tuned`.
        alpha: the chance that anything that is said of a metric is wrong.

    Raises:
        ComparisonError: the measurements do not fit together.
    """
    by_name(optimizers)
    check_alpha(alpha)
    check_target(target, "loss")
    first = looks[0] if looks else None
    notes: list[WarningNote] = []
    goal, steps = None, dict[str, StepsToTarget]()
    try:
        goal = target_of(optimizers, first) if target is None else Target(target)
        steps = steps_to(goal, optimizers)
    except ComparisonError as error:
        goal = None
        notes.append(WarningNote("target", "", f"There are no steps to a target. {error}"))
    loss = Metric(LOSS.name, ratio=ratio)
    values = values_of(optimizers, loss)
    compared: dict[str, Compared] = {}
    if len(optimizers) > 1:
        missing = [name for name, taken in steps.items() if taken.missed_by_most]
        diverged = {each.name: [run.diverged for run in each.runs] for each in optimizers}
        lost = [name for name, runs in diverged.items() if all(runs)]
        losses = compare_losses(optimizers, looks=looks, margin=margin, ratio=ratio, alpha=alpha)
        losses = losses.with_diverged(lost).with_last(missing)
        ranked = [s.name for s in losses.standings]
        compared[loss.name] = Compared(loss, losses)
        for metric in metrics:
            sign = -1.0 if metric.higher_is_better else 1.0
            arrays, _ = paired(values_of(optimizers, metric))
            signed = {name: sign * array for name, array in arrays.items()}
            among = with_best_of_finished(signed, looks=looks, alpha=alpha)
            if among is not None:
                compared[metric.name] = Compared(metric, among)
        left_out = paired(values)[1]
        if left_out:
            text = f"Only seeds that every optimizer has are compared: {count(left_out, 'run')} left out."
            notes.append(WarningNote("seeds", "", text))
        spread = unequal_spread(values)
        notes += [] if spread is None else [spread]
        sentence = verdict_text(losses, loss, diverged)
        notes += _missing_best(losses, steps, missing)
        if losses.margin < margin_of(optimizers, loss, margin, first):
            notes.append(WarningNote("seeds", "", no_equivalence_text("seeds")))
    else:
        ranked = [optimizers[0].name]
        sentence = f"Only {ranked[0]} took part: there is nothing to compare it with."
    biases = {} if ratio else {e.name: bias for e in optimizers if (bias := selection_bias_of(e)) is not None}
    judged = compared[loss.name].with_best if compared else None
    warnings = warnings_of(optimizers, judged, spaces, special_cases or {}, ratio=ratio)
    return Judgement(sentence, compared, ranked, goal, steps, budget_of(optimizers, loss), biases, [*notes, *warnings])


def _missing_best(losses: WithBest, steps: Mapping[str, StepsToTarget], missing: Sequence[str]) -> list[WarningNote]:
    """That the best one misses the target which others reach: its runs end lowest, but never were as low as theirs."""
    best = losses.best
    if best is None or best not in missing or len(missing) == len(steps):
        return []
    taken = steps[best]
    text = f"{best} is the best by its loss at the end, but missed the target in {len(taken.missed)} of {count(len(taken.steps), 'run')}."
    return [WarningNote("target", best, text)]
