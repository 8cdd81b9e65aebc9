"""Judges runs that other programs have logged, and shows what they say.

logged_verdict.py  `judge_files`: reads, compares, and collects what a reader has to know
logged_result.py   `LoggedResult`, what it returns: `JudgedRuns` (judged_runs.py), and how they are shown
logged_notes.py    the sentences beside the verdict
logged_data.py     what a report shows; logged_report.py makes its files
"""

from ravine.comparison._logged.logged_result import LoggedResult
from ravine.comparison._logged.logged_verdict import judge_files

__all__ = ["LoggedResult", "judge_files"]
