"""Shows what a study found: a page of HTML, a text for papers, and pictures.

figures.py   the numbers behind every figure, and the sentence that explains it; page, text and pictures draw the same
"""

from __future__ import annotations

from pathlib import Path

from ravine.comparison.judge import Judgement
from ravine.comparison.study.result import Result


def write(result: Result, judgement: Judgement, folder: Path) -> list[Path]:
    return []
