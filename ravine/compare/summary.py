"""The results of a comparison in the words and numbers of its final table."""

from collections.abc import Sequence

from ravine.compare.run import Result
from ravine.tasks import Task


def ranked(results: Sequence[Result]) -> list[Result]:
    """Least test loss first, diverged ones last; the same losses stay in the order they were trained."""
    return sorted(results, key=lambda result: (result.diverged, 0.0 if result.diverged else result.test_loss))


def table(task: Task, results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows of cells, best first.

    For a test function train and test loss are one and the same, its value at the end, and the metric
    is the distance to its minimum.
    """
    losses = ["value at end"] if task.surface else ["train loss", "test loss"]
    heads = ["optimizer", "lr", *losses, *task.metrics, "s/epoch", "in step"]
    return heads, [_row(task, result) for result in ranked(results)]


def _row(task: Task, result: Result) -> list[str]:
    lr = result.options.get("lr")
    cells = [result.contender.label, "" if lr is None else f"{float(lr):.4g}"]
    if result.diverged:
        cells += ["diverged", *[""] * ((0 if task.surface else 1) + len(task.metrics))]
    else:
        cells += [] if task.surface else [_number(result.train_loss)]
        cells.append(_number(result.test_loss))
        cells += [f"{v:.1%}" if name == "accuracy" else _number(v) for name, v in result.metrics.items()]
    return [*cells, f"{result.seconds_per_epoch:.2g}", f"{result.step_share:.0%}"]


def _number(value: float) -> str:
    """Four digits, never wider than 9 characters."""
    return f"{value:.4f}" if 0.001 <= abs(value) < 1000 else f"{value:.2e}"
