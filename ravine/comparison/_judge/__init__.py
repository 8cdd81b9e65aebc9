"""The judgement of a fair comparison: pure functions of what was measured. No training, no files, no search.

:func:`judge` does it all. Its parts can be used alone: the target and the steps to it (``target``), paired
differences and verdicts (``pairs``), how many seeds it takes (``power``), what few points bring (``budget``), and
what speaks against the comparison (``warnings``, ``bias``).
"""

from ravine.comparison._judge.budget import BudgetCurve, budget_of, expected_best
from ravine.comparison._judge.measurements import LOSS, STEPS, ConfirmationRun, Metric, OptimizerRuns, TuningTrial
from ravine.comparison._judge.pair import Pair
from ravine.comparison._judge.pairs import compare, compare_pairs, holm, interval, p_value
from ravine.comparison._judge.power import planned_seeds, power_of, seeds_needed
from ravine.comparison._judge.selection_bias import SelectionBias, expected_bias, selection_bias_of
from ravine.comparison._judge.target import StepsToTarget, Target, steps_to, target_of
from ravine.comparison._judge.values import Values, values_of
from ravine.comparison._judge.verdict import Judgement, judge, overall
from ravine.comparison._judge.warnings import Edge, Range, WarningNote, edges, under_tuned, warnings_of

__all__ = [
    "LOSS",
    "STEPS",
    "BudgetCurve",
    "ConfirmationRun",
    "Edge",
    "Judgement",
    "Metric",
    "OptimizerRuns",
    "Pair",
    "Range",
    "SelectionBias",
    "StepsToTarget",
    "Target",
    "TuningTrial",
    "Values",
    "WarningNote",
    "budget_of",
    "compare",
    "compare_pairs",
    "edges",
    "expected_best",
    "expected_bias",
    "holm",
    "interval",
    "judge",
    "overall",
    "p_value",
    "planned_seeds",
    "power_of",
    "seeds_needed",
    "selection_bias_of",
    "steps_to",
    "target_of",
    "under_tuned",
    "values_of",
    "warnings_of",
]
