"""The judgement of a fair comparison: pure functions of what was measured. No training, no files, no search.

:func:`judge` does it all. Its parts can be used alone:

measurements.py      what was measured; values.py makes one number of each run
with_best.py         every optimizer against the best: intervals, and the verdict read off them; from
                     limited_differences.py, where no run counts for too much, and critical_values.py
few_finished.py      what is not said where most of a few runs diverged
of_finished_runs.py  the same of metrics that runs which diverged do not have
margin.py            the largest difference that does not matter
target.py            the target, and the steps to it
budget.py            what few points bring; selection_bias.py how much of a tuning score is luck
warnings.py          what speaks against the comparison
verdict.py           all of it together; verdict_text.py says it
"""

from ravine.comparison._judge.budget import BudgetCurve, budget_of
from ravine.comparison._judge.margin import margin_of, parse_margin
from ravine.comparison._judge.measurements import LOSS, FreshRun, Metric, OptimizerRuns, TuningTrial
from ravine.comparison._judge.selection_bias import SelectionBias, selection_bias_of
from ravine.comparison._judge.target import StepsToTarget, Target, rank_tests, steps_to, target_of
from ravine.comparison._judge.values import Values, values_of
from ravine.comparison._judge.verdict import Compared, Judgement, compare_losses, judge
from ravine.comparison._judge.warnings import Edge, Range, WarningNote, edges, under_tuned, warnings_of
from ravine.comparison._judge.with_best import Standing, WithBest, with_best, with_best_unpaired

__all__ = [
    "LOSS",
    "BudgetCurve",
    "Compared",
    "Edge",
    "FreshRun",
    "Judgement",
    "Metric",
    "OptimizerRuns",
    "Range",
    "SelectionBias",
    "Standing",
    "StepsToTarget",
    "Target",
    "TuningTrial",
    "Values",
    "WarningNote",
    "WithBest",
    "budget_of",
    "compare_losses",
    "edges",
    "judge",
    "margin_of",
    "parse_margin",
    "rank_tests",
    "selection_bias_of",
    "steps_to",
    "target_of",
    "under_tuned",
    "values_of",
    "warnings_of",
    "with_best",
    "with_best_unpaired",
]
