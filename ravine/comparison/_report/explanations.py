"""The sentence that explains each figure and table to a reader who has never seen one."""

from collections.abc import Mapping

from ravine._plotting.usual_ratios import USUAL_TEXT
from ravine.comparison._judge.limited_differences import MOST

EXPLAINED: Mapping[str, str] = {
    "results": "One row per optimizer: mean ± standard deviation over its fresh runs. 'Against the best of the others' is the "
    "interval of its validation loss minus that of the best other optimizer, over the same seeds. "
    f"A difference that is more than {MOST:g} times the usual one (the median size) counts as {MOST:g} times that, so that a single "
    "run far out cannot hide what all others show. If the interval lies entirely on the worse side of no difference, the "
    "optimizer is not the best. The typical point is the one chosen by the tuning with the median learning rate.",
    "curves": "Each line is the median validation loss of an optimizer's fresh runs (lower is better); the band spans its "
    "best and its worst run.",
    "sensitivity": "Each mark is one training of a tuning: the value it tried and the validation loss at its end. A wide valley "
    "forgives a bad guess; a narrow one does not. Filled marks are the best of their tuning; crosses at the top diverged.",
    "budget": "The mean loss of fresh runs if each tuning tries only N points. Pick the optimizer whose line is lowest at the "
    "number of points that you can afford. Points that were added at the edge of a search space are not counted.",
    "target": "Each mark is one fresh run: the number of steps it took to reach the target loss (fewer is better). Runs that "
    "missed the target are marked at the right.",
    "differences": "Each line is one optimizer minus the best of the others, with its interval. An optimizer "
    "whose interval is entirely on the worse side of the dashed line (no difference) is not the best. If only one is left, it is "
    "the best; otherwise each of those left may be. Differences inside the grey band, the margin, are too small to matter. All "
    "intervals hold jointly with 95% confidence if no run diverged, else perhaps less often.",
    "watch": "How far one step moves a parameter, relative to the size of the parameter (the median over the run). "
    f"{USUAL_TEXT} is usual; parameters with very different values learn at different speeds.",
    "seconds": "Time of one step on one thread, with nothing else running: the whole step, and the optimizer's part of it.",
    "formulas": "What one step computes for each element of each parameter: θ is the parameter, g its gradient, u the "
    "update, t the number of the step. Chosen values are the median over the tunings, with the smallest and the largest in brackets.",
    "selection_bias": "The best of many noisy scores is partly luck (the winner's curse). This table compares the tuning scores "
    "of the chosen points with fresh runs at the same points; quote only the fresh ones.",
    "failures": "Trainings that raised an error. They count as diverged.",
    "spec": "Everything that was declared before the first training. The same declaration gives the same numbers anywhere.",
    "trials": "Every training of the study. 'tune' is one point of a tuning ('short': its first quarter, with halving), "
    "and 'final' is a fresh run at the point that a tuning chose, from all of its points or only the first few (for the budget).",
}
