"""Shows what a study found: a page of HTML, a text for papers, and pictures.

figures.py   the numbers behind every figure, and the sentence that explains it; page, text and pictures draw the same
formulas.py  what one step of each optimizer computes
page.py      report.html; charts.py has what its script draws, tables.py, trials.py and described.py what it writes
pictures.py  the figures as PNGs; rows.py those with a row for each optimizer, looks.py what they share
markdown.py  the report as text; results.py its table, protocol.py how it was made, markup.py what is never obeyed
"""

from pathlib import Path

from ravine import _files as files
from ravine.comparison._judge import Judgement
from ravine.comparison._study.result import Result


def write(result: Result, judgement: Judgement, folder: Path) -> list[Path]:
    """Write report.md, report.html and the pictures into a folder that exists, and return their paths.

    The numbers come first: where a picture fails, the text is there.

    Raises:
        OptionError: a file cannot be written.
    """
    # neither pictures nor page are needed by those who only ask for numbers
    from ravine.comparison._report.markdown import text
    from ravine.comparison._report.page import page
    from ravine.comparison._report.pictures import pictures

    written = []

    def put(name: str, content: bytes) -> None:
        files.write(folder / name, content)
        written.append(folder / name)

    put("report.md", text(result, judgement).encode())
    put("report.html", page(result, judgement))
    for name, content in pictures(result, judgement).items():
        put(name, content)
    return written
