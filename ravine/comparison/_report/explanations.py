"""The sentence that explains each figure and table to a reader who has never seen one."""

from collections.abc import Mapping

EXPLAINED: Mapping[str, str] = {
    "results": "Every optimizer at the best point of its search space, over its fresh seeds, the best first; whether "
    "two of them differ is told under the differences.",
    "curves": "Each line is the median validation loss of an optimizer's fresh runs, lower is better; the band "
    "goes from its best to its worst run.",
    "sensitivity": "Each mark is a training with another value of the hyperparameter: a wide valley forgives a bad "
    "guess, a narrow one does not, and crosses at the top diverged.",
    "budget": "Who tries only so many points of an optimizer's search space can expect this loss from the best of "
    "them: the optimizer whose line is lowest at your number of tries is yours.",
    "target": "Each mark is a run and how many steps it took to the target loss, fewer is better; a run that never "
    "got there stands at the right as a miss and counts with all its steps.",
    "differences": "Each line is the difference to the best optimizer on the same seeds with its 95% interval: "
    "where it crosses no difference, these runs cannot tell the two apart.",
    "watch": "How far one step moves a parameter, as a share of the parameter's own size, in the median over the "
    "run: about 0.001 is usual, and parts that differ by much learn at different speeds.",
    "seconds": "What one step takes, measured alone on one thread: all of it, and the part that is the optimizer's.",
    "formulas": "What one step computes, for every number of every parameter: θ is the parameter, g its gradient, "
    "u the update, t the number of the step.",
    "selection_bias": "The best of many noisy scores is partly luck: this holds the score that the chosen point had in tuning "
    "against its mean over fresh seeds, and only the fresh one may be quoted.",
    "failures": "Trainings that stopped with an error of the program; they count as diverged.",
    "spec": "What was declared before the first training ran: the same declaration gives the same numbers anywhere.",
    "trials": "Every training of the study: those of tuning, which chose the hyperparameters, and those that confirm "
    "the choice with fresh seeds.",
}
