"""The notebooks run from top to bottom: their cells, one after the other, in one namespace."""

import json
import sys
import warnings
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent.parent / "docs" / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    return [
        "".join(c["source"]) for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as in a notebook, what lies beside it can be imported
    scope = {"__name__": "__main__"}
    for number, code in enumerate(cells(path, "code")):
        with warnings.catch_warnings():
            exec(compile(code, f"{path.name}, code cell {number}", "exec"), scope)
    for name in ("my_rule", "my_task"):  # the next test may have others of these names
        sys.modules.pop(name, None)


def test_there_is_one_for_each_text():
    assert {path.stem for path in NOTEBOOKS} == {
        "fastai-chapter-16",
        "theano-book",
        "tutorial-784-200-10",
        "hasty",
        "notes-plateau",
        "textbook-rmsprop",
        "your-own-optimizer",
        "which-optimizer-for-my-task",
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_shows_the_same_numbers_and_holds_no_outputs(path):
    """An output would be of a machine and a day; the website has the code, and who runs it the numbers."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert (tree["nbformat"], tree["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in tree["cells"]}) == len(tree["cells"])
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in tree["cells"])
    assert any("assert" in code for code in cells(path, "code"))
    assert cells(path, "markdown")[0].startswith("# ")
