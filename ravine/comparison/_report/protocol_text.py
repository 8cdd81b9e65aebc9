"""How a study was made, in one paragraph that explains its terms."""

from __future__ import annotations

from ravine.comparison._judge import LOSS
from ravine.comparison._judge.number_text import count, listed
from ravine.comparison._judge.verdict_text import margin_text
from ravine.comparison._report.note_sentences import seeds_text
from ravine.comparison._report.report_data import ReportData


def protocol_text(data: ReportData) -> str:
    """What was trained how often and how long, and what kept it fair."""
    spec = data.spec
    tuned = {entry.points for entry in data.optimizers if entry.searched}
    sentences = [*_tuning(data, tuned)]
    if max(tuned, default=0) > spec.points:
        sentences.append(
            f"{count(spec.points, 'point')} were planned; because most best points of an optimizer were at the edge of its "
            "search space, that space was expanded and every optimizer got the same number of extra points."
        )
    sentences.append(
        "Only the fresh runs are compared, and only they are evaluated on the test data. For the same seed, all optimizers "
        "start from the same weights and see the same batches and validation split."
    )
    sentences += _margin(data)
    if len(spec.looks) > 1:
        looks = f"{', '.join(map(str, spec.looks[:-1]))} and {spec.looks[-1]}"  # all of them, however many
        sentences.append(
            f"Seeds were added {count(spec.extended, 'time')} after a verdict, which was not planned: the study was judged after "
            f"{looks} seeds, and each time optimizers that were clearly not the best were dropped."
            if spec.extended
            else f"The plan was to judge after {looks} seeds, to drop optimizers that are clearly not the best, and to stop as "
            "soon as everything is settled."
        )
    schedule = f"with the schedule {spec.schedule}" if spec.schedule else "at a constant learning rate"
    own = [f"{config.label} with {config.schedule}" for config in spec.optimizers if config.schedule]
    schedule += f" ({listed(own)})" if own else ""
    every = max(1, spec.steps // spec.evaluations)
    sentences.append(
        f"Every training{' that was not stopped' * spec.halving} ran for {count(spec.steps, 'step')} {schedule} and was evaluated every {count(every, 'step')}."
    )
    return " ".join([*sentences, *seeds_text(data)])


def _tuning(data: ReportData, tuned: set[int]) -> list[str]:
    runs = sorted({row.runs for row in data.results})
    most = count(runs[-1], "seed")
    seeds = most if len(runs) == 1 else f"{runs[0]} to {most}"
    if not tuned:
        return [
            f"Nothing was tuned: all hyperparameters were fixed. With each of {seeds}, each optimizer was trained once to find the "
            "margin and the target, and once more as a fresh run, with a seed of its own."
        ]
    often = f"each of {seeds}" if len(runs) == 1 else f"every seed ({seeds})"
    points = f"{min(tuned)} to {max(tuned)} points" if len(tuned) > 1 else count(max(tuned), "point")
    sentences = [
        f"Each optimizer was tuned and then trained with {often}. A tuning tries {points}, that is, combinations of "
        "hyperparameters, and chooses the one with the lowest validation loss. A fresh run then trains at the chosen point "
        "with a seed that the tuning has not seen."
    ]
    if data.spec.halving:
        sentences.append(
            "By successive halving, all points of a tuning were trained for a quarter of the steps, and only the best half of "
            "them for all steps. Stopped points could not be chosen, and the pictures do not show them."
        )
    fixed = [entry.label for entry in data.optimizers if not entry.searched]
    if fixed:
        verb = "has" if len(fixed) == 1 else "have"
        sentences.append(
            f"{listed(fixed)} {verb} nothing to tune: in place of a tuning there is one training, which counts for the margin and "
            "the target."
        )
    return sentences


def _margin(data: ReportData) -> list[str]:
    losses = data.judgement.losses
    if losses is None or not losses.margin:
        return []
    why = (
        f"declared as {data.spec.margin}" if data.spec.margin else "the spread of the loss from one tuning to the next"
    )
    return [margin_text(losses, data.judgement.compared[LOSS.name].metric, why)]
