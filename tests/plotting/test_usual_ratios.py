"""The usual band of update over parameter is said in one place, and pictures, pages and the diagnosis take it from there."""

import re
from pathlib import Path

import ravine
from ravine._plotting.usual_ratios import USUAL, USUAL_TEXT
from ravine.comparison._report.explanations import EXPLAINED

PACKAGE = Path(ravine.__file__).parent
SOURCE = PACKAGE / "_plotting" / "usual_ratios.py"


def test_the_words_are_those_of_the_numbers():
    assert [float(word) for word in USUAL_TEXT.split(" to ")] == list(USUAL)
    assert USUAL_TEXT in EXPLAINED["watch"]


def test_nobody_else_writes_the_band():
    written = re.compile(r"(1e-3|0?\.001)\W{1,3}(to|and)?\W{0,3}(3e-2|0?\.03)\b")
    files = [p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".js", ".html") and p != SOURCE and p.is_file()]
    assert [str(p.relative_to(PACKAGE)) for p in files if written.search(p.read_text(encoding="utf-8"))] == []
