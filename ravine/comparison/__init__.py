"""Fair comparisons: equal tuning, repeated; fresh seeds; everyone against the best; and a report of what it shows.

from ravine.comparison import compare, complement, log

compare("digits", {"RMSprop": RMSprop, "Adam": Adam}, space={"RMSprop": {"lr": log(1e-5, 0.1)}})

_api.py       `compare`; _run_study.py runs the study of a task, _live_view.py shows it meanwhile
_result.py    what it returns; _tasks_result.py of several tasks
_study/       declares, runs and keeps the trials
_judge/       says what they show: plain numbers in, verdicts and intervals out
_report/      shows it: page, text, pictures and terminal
_across/      what several tasks say together; _tasks_report/ shows it
_curves/      reads curves that other programs have logged
_logged/      judges them
_export/      writes it for other programs: results.json and results.csv
"""

from typing import TYPE_CHECKING

from ravine._lazy import lazy

if TYPE_CHECKING:
    from ravine.comparison._across import Aggregate as Aggregate
    from ravine.comparison._api import compare as compare
    from ravine.comparison._api import load_study as load_study
    from ravine.comparison._judge import Judgement as Judgement
    from ravine.comparison._judge import Standing as Standing
    from ravine.comparison._judge import WithBest as WithBest
    from ravine.comparison._logged import LoggedResult as LoggedResult
    from ravine.comparison._logged import judge_files as judge_files
    from ravine.comparison._result import Result as Result
    from ravine.comparison._tasks_result import TasksResult as TasksResult
    from ravine.optim.search import Range as Range
    from ravine.optim.search import complement as complement
    from ravine.optim.search import linear as linear
    from ravine.optim.search import log as log

__all__ = [
    "Aggregate",
    "Judgement",
    "LoggedResult",
    "Range",
    "Result",
    "Standing",
    "TasksResult",
    "WithBest",
    "compare",
    "complement",
    "judge_files",
    "linear",
    "load_study",
    "log",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("compare", "load_study"), "ravine.comparison._api"),
        "Judgement": "ravine.comparison._judge",
        **dict.fromkeys(("LoggedResult", "judge_files"), "ravine.comparison._logged"),
        "Standing": "ravine.comparison._judge",
        "WithBest": "ravine.comparison._judge",
        "Aggregate": "ravine.comparison._across",
        "Result": "ravine.comparison._result",
        "TasksResult": "ravine.comparison._tasks_result",
        **dict.fromkeys(("Range", "complement", "linear", "log"), "ravine.optim.search"),
    },
)
