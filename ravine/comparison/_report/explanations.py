"""The sentence that explains each figure and table to a reader who has never seen one."""

from collections.abc import Mapping

EXPLAINED: Mapping[str, str] = {
    "results": "Each optimizer at the best point of its search space, over its fresh seeds, best first; see Differences "
    "for which pairs are statistically distinguishable.",
    "curves": "Each line is the median validation loss of an optimizer's fresh runs (lower is better); the band spans its "
    "best and its worst run.",
    "sensitivity": "Each mark is one training at another value of the hyperparameter: a wide valley forgives a bad guess, a "
    "narrow one does not. Crosses at the top diverged.",
    "budget": "Expected best loss after tuning with N trials: take the optimizer whose line is lowest at the number of "
    "trials that you can afford.",
    "target": "Each mark is one run: the steps it took to reach the target loss (fewer is better). Runs that missed the "
    "target are marked at the right and counted with all their steps.",
    "differences": "Each line is the difference to the best optimizer on the same seeds, with its 95% interval. Where the "
    "interval includes no difference, these runs cannot tell the two apart.",
    "watch": "How far one step moves a parameter relative to the parameter's own size, as the median over the run. About "
    "0.001 is typical; parameters that differ a lot learn at different speeds.",
    "seconds": "Time of one step, measured alone on one thread: the whole step, and the optimizer's part of it.",
    "formulas": "What one step computes for each element of each parameter: θ is the parameter, g its gradient, u the "
    "update, t the number of the step.",
    "selection_bias": "The best of many noisy scores is partly luck (the winner's curse). Here the tuning score of the "
    "chosen point is compared with its mean over fresh seeds; quote only the fresh one.",
    "failures": "Trainings that raised an error; they count as diverged.",
    "spec": "Everything that was declared before the first training: the same declaration gives the same numbers anywhere.",
    "trials": "Every training of the study: the tuning trials, which chose the hyperparameters, and the final evaluation "
    "with fresh seeds.",
}
