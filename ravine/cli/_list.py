"""``ravine list``: tasks, optimizers, and the runs and studies in this folder. It imports no torch, so it is quick."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ravine.cli._optimizer_names import families
from ravine.cli._out_folder import OUT, kept, size_text
from ravine.cli._screen import say
from ravine.tasks import describe

_HELP = """Show tasks, optimizers by family, and the runs and studies in the folder ravine-out here, the newest first.

What a run is at: done, or stopped after so many epochs. `ravine train TASK --resume` goes on with a run, `ravine report`
draws the report of a study again.
"""


@click.command(name="list", help=_HELP)
def command() -> None:
    say("Tasks, for ravine train, compare, lr-find and bench; one of your own is a file: my_task.py")
    _rows(describe())
    say("\nOptimizers, for -o; torch-NAME is torch's own, my_rule.py:MyRule yours")
    _rows({name: ", ".join(variants) for name, variants in families().items()})
    runs = kept()
    if not runs:
        say(f"\nThere are no runs in {OUT} yet. Begin with one: ravine train digits")
        return
    say(f"\nRuns and studies in {OUT}, {size_text()}; delete a folder to remove one")
    _rows({one.path.name: f"{one.state}: {one.what}" for one in runs})


def _rows(rows: Mapping[str, str]) -> None:
    """Names, and behind them what is said of each."""
    width = max(map(len, rows))
    for name, text in rows.items():
        say(f"  {name:<{width}}  {text}".rstrip(), indent=width + 4)
