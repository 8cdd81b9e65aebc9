"""The code of docs/trainers/ runs from top to bottom, each page in a folder and a process of its own."""

import re

import pytest
from inside import ROOT, run_script

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = sorted((ROOT / "docs/trainers").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page, tmp_path):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    printed = run_script("\n".join(blocks), tmp_path)
    if page.stem not in ("lightning", "huggingface"):  # these write it instead
        assert "No problem found" in printed
    else:
        assert any("No problem found" in file.read_text() for file in tmp_path.rglob("diagnosis.txt"))
