"""How a study was made, in one paragraph."""

from __future__ import annotations

from ravine.comparison._judge.number_text import count
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._study.study_spec import REEVALUATION_SEEDS


def protocol_text(data: ReportData) -> str:
    """What was trained how often and how long, and what kept it fair."""
    spec = data.spec
    tuned = {entry.points for entry in data.optimizers if entry.searched}
    sentences = [*_tuning(data, tuned)]
    if max(tuned, default=0) > spec.points:
        sentences.append(
            f"{count(spec.points, 'point')} were planned; when a best point lay at the edge of its search space, the space "
            "was expanded and every optimizer got the same number of extra points."
        )
    sentences.append(
        f"The chosen points were then trained with {count(spec.seeds, 'fresh seed')}, the same for all optimizers: the same "
        "initial weights, validation rows and batches. Only these confirmation runs are compared, and only they read the "
        "test data."
    )
    schedule = f"with the schedule {spec.schedule}" if spec.schedule else "at a constant learning rate"
    every = max(1, spec.steps // spec.evaluations)
    sentences.append(
        f"Every training ran for {count(spec.steps, 'step')} {schedule} and was evaluated every {count(every, 'step')}."
    )
    return " ".join(sentences)


def _tuning(data: ReportData, tuned: set[int]) -> list[str]:
    spec = data.spec
    fixed = [entry.label for entry in data.optimizers if not entry.searched]
    if not tuned:
        return ["Nothing was tuned: all hyperparameters were fixed."]
    points = f"{min(tuned)} to {max(tuned)} points" if len(tuned) > 1 else count(max(tuned), "point")
    who = "Every optimizer with a search space" if fixed else "Every optimizer"
    sentence = f"{who} was tuned at {points} of its search space with one seed"
    if spec.finalists and REEVALUATION_SEEDS:
        best = min(spec.finalists, max(tuned))
        seeds = count(len(REEVALUATION_SEEDS), "more seed")
        sentence += f"; its best {best} were re-evaluated with {seeds}"
    return [sentence + ", and the point with the lowest mean validation loss was chosen."]
