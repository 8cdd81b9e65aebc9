"""What can be said of docs/trainers/ without the trainers: links lead somewhere, versions are those that are pinned."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs/trainers").glob("*.md"))
PINS = dict(
    line.split("==") for line in (Path(__file__).parent / "requirements.txt").read_text().splitlines() if "==" in line
)
PACKAGES = {"Hugging Face Trainer": "transformers", "ignite": "pytorch-ignite"}


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_table_has_the_versions_that_ran():
    table = (ROOT / "docs/trainers/index.md").read_text(encoding="utf-8").split("## What was run")[1]
    rows = re.findall(r"^\| ([A-Z][\w ]+|skorch|fastai|ignite) \| (\d[\d.]+)", table, re.M)
    assert len(rows) == len(PAGES) - 1
    assert {name: version for name, version in rows if PINS[PACKAGES.get(name, name.lower())] != version} == {}
