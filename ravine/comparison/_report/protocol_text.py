"""How a study was made, in one paragraph."""

from __future__ import annotations

from ravine.comparison._judge.number_text import count
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._study.study_spec import REEVALUATION_SEEDS


def protocol_text(data: ReportData) -> str:
    """What was trained how often and how long, and what kept it fair."""
    spec = data.spec
    every = {entry.points for entry in data.optimizers}
    tried = f"{min(every)} to {max(every)} points" if len(every) > 1 else count(max(every, default=0), "point")
    said = [f"Every optimizer was tried at {tried} of its search space with one seed"]
    if spec.finalists and REEVALUATION_SEEDS:
        said[0] += (
            f", and its best {min(spec.finalists, max(every, default=0))} with {count(len(REEVALUATION_SEEDS), 'more seed')}"
        )
    said[0] += "; the point with the least mean validation loss was chosen."
    if max(every, default=0) > spec.points:
        said.append(
            f"{count(spec.points, 'point')} were planned: where a best point lay at an edge of what was tried, "
            "its space was widened, and every optimizer got as many points more."
        )
    said.append(
        f"The chosen points were then trained with {count(spec.seeds, 'fresh seed')}, the same for all: the same first "
        "weights, validation rows and batches. Only these runs are compared, and only they read the test data."
    )
    schedule = f", with the schedule {spec.schedule}" if spec.schedule else ", at a constant learning rate"
    measured = max(1, spec.steps // spec.evaluations)
    said.append(
        f"Every training had {count(spec.steps, 'step')}{schedule}, and was measured every {count(measured, 'step')}."
    )
    return " ".join(said)
