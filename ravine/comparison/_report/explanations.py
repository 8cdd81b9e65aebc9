"""The sentence that explains each figure and table to a reader who has never seen one."""

from collections.abc import Mapping

EXPLAINED: Mapping[str, str] = {
    "results": "One row per optimizer, over its fresh runs: mean ± standard deviation. 'Against the best of the others' is the "
    "interval of its validation loss minus that of the best other optimizer, over the same seeds; wholly on the worse side of no "
    "difference means not the best. The typical point is what the tuning with the median learning rate chose.",
    "curves": "Each line is the median validation loss of an optimizer's fresh runs (lower is better); the band spans its "
    "best and its worst run.",
    "sensitivity": "Each mark is one training of a tuning: the value it tried and the validation loss it ended with. A wide valley "
    "forgives a bad guess, a narrow one does not. Filled marks are the best of their tuning; crosses at the top diverged.",
    "budget": "The mean loss of fresh runs when each tuning tries only N points: pick the optimizer whose line is lowest at the "
    "number of points that you can afford to try. Points that were added at the edge of a search space are not counted.",
    "target": "Each mark is one fresh run: the number of steps it took to reach the target loss (fewer is better). Runs that "
    "missed the target are marked at the right.",
    "differences": "Each line is one optimizer minus the best of the others, over the same seeds, with its interval. An optimizer "
    "whose interval is wholly on the worse side of the dashed line (no difference) is not the best. If that leaves only one, it is "
    "the best; otherwise each of those left may be. Differences inside the grey band, the margin, are too small to matter. All "
    "intervals hold jointly with 95% confidence.",
    "watch": "How far one step moves a parameter, relative to the size of the parameter (the median over the run). About "
    "0.001 is typical; parameters with very different values learn at different speeds.",
    "seconds": "Time of one step, measured alone on one thread: the whole step, and the optimizer's part of it.",
    "formulas": "What one step computes for each element of each parameter: θ is the parameter, g its gradient, u the "
    "update, t the number of the step. Chosen values are the median over the tunings, with the smallest and the largest.",
    "selection_bias": "The best of many noisy scores is partly luck (the winner's curse). This table compares the tuning scores "
    "of the chosen points with fresh runs at the same points; quote only the fresh ones.",
    "failures": "Trainings that raised an error; they count as diverged.",
    "spec": "Everything that was declared before the first training: the same declaration gives the same numbers anywhere.",
    "trials": "Every training of the study. Kind 'tune' is one point of a tuning ('short': its first quarter, where points are "
    "halved), kind 'final' is a fresh run at the point that a "
    "tuning chose, from all of its points or from only the first few (for the budget).",
}
