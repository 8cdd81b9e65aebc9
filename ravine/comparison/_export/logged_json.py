"""``results.json`` of logged runs: the verdict on them for other programs. docs/results-files.md says what each entry means."""

from __future__ import annotations

import json

from ravine.comparison._export.judgement_tree import compared_tree, steps_tree
from ravine.comparison._export.strict import strict
from ravine.comparison._logged.judged_runs import JudgedRuns

#: It rises with changes that break or mislead a program that reads the file.
LOGGED_FORMAT = 1
#: What the entry ``kind`` says, by which the file is told from that of a study.
KIND = "logged runs"


def logged_json(result: JudgedRuns) -> bytes:
    """The file as UTF-8, one line for each entry of a list."""
    tree = {
        "format": LOGGED_FORMAT,
        "kind": KIND,
        "files": list(result.files),
        "sentence": result.sentence,
        "paired": result.paired,
        "notes": list(result.notes),
        "compared": compared_tree(result.compared),
        "target": result.target,
        "steps_to_target": steps_tree(result.steps),
        "runs": [
            {
                "optimizer": name,
                "run": run.run,
                "value": None if run.diverged else float(run.values[-1]),
                "step": float(run.steps[-1]) if run.steps.size else None,
                "diverged_at": run.diverged_at,
            }
            for name, runs in result.judged.items()
            for run in runs
        ],
    }
    return (json.dumps(strict(tree), indent=1, ensure_ascii=False) + "\n").encode()
