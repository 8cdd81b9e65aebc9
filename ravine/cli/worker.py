"""``ravine worker``: runs trials of a study that others, on this or other machines, may work on too."""

from __future__ import annotations

from pathlib import Path

import click

from ravine.cli.options import DATA
from ravine.comparison.study.protocol import Stage
from ravine.comparison.study.store import Store, hidden
from ravine.comparison.study.versions import check
from ravine.comparison.study.worker import work
from ravine.errors import DataError
from ravine.tasks import find

_HELP = """Run trials of a study until none is needed.

Any number of workers, on any number of machines, may work on one study: they share its trials through the storage. One
that is killed loses its trial to another. The study is made by `ravine compare --study NAME --storage URL`. Where it has a
task or an optimizer in a Python file, start the worker in the folder from which the study named it, with the same file.
"""


@click.command(name="worker", help=_HELP)
@click.option("--study", required=True, metavar="NAME", help="The study's name.")
@click.option("--storage", required=True, metavar="URL", help="postgresql://..., or the path of a journal file.")
@DATA
@click.option("--quiet", is_flag=True, help="Say nothing.")
def command(study: str, storage: str, data: Path | None, quiet: bool) -> None:
    if "://" not in storage and not Path(storage).is_file():
        raise DataError(f"There is no journal file {storage}; ravine compare makes it.")
    store = Store(study, storage)
    spec = store.spec()
    check(spec)  # before a file is run that is not the study's
    task = find(spec.task, data or (None if spec.data is None else Path(spec.data)))
    last = [""]

    def say(now: Stage) -> None:
        line = f"{now.name}: {now.total - len(now.jobs)} of {now.total}"
        if not quiet and line != last[0]:
            click.echo(line)
            last[0] = line

    try:
        work(store, spec, task, say)
    except KeyboardInterrupt:
        click.echo("Interrupted; what was done is kept.", err=True)
        raise SystemExit(130) from None
    finally:
        store.close()
    if not quiet:
        click.echo(f"The study {study} in {hidden(storage)} is complete.")
