"""``ravine live``: a local page of a training or a study while it runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from ravine import _files as files
from ravine._live.beside import BESIDE, end_after
from ravine._live.open_run import live_run
from ravine._live.open_study import live_study
from ravine._live.server import LivePage
from ravine._live.serving import LOCAL, LiveServer, check_packages, is_local, open_browser
from ravine.cli._options import WholeInRange
from ravine.cli._out_folder import OUT, missing
from ravine.cli._screen import say
from ravine.comparison._study.location import JOURNAL, Location
from ravine.comparison._study.stored_study import stored_location

_NICE = 5

_HELP = """Show what runs now on a page in the browser.

RUN is the folder of a training, such as ravine-out/train-digits, or of a study, or a study's name. The page follows it until
it ends, and shows the end afterwards. Any number of browsers may look. Only this machine can reach the page, only with the
token in its address, and it only reads, unless --host or --control say otherwise. Press Ctrl-C to end the page; what runs goes
on.
"""


@click.command(name="live", help=_HELP)
@click.argument("run", metavar="RUN")
@click.option(
    "--storage",
    metavar="URL",
    help="Where the study is stored, if it is shared: postgresql://..., or a journal file. RUN is then its name.",
)
@click.option("--host", default=LOCAL, show_default=True, help="Where to listen; 0.0.0.0 lets other machines in.")
@click.option("--port", type=WholeInRange(0, 65535), default=0, help="Port to listen at; default: any that is free.")
@click.option("--control", is_flag=True, help="Let the page stop what runs.")
@click.option("--no-open", is_flag=True, help="Print the address and do not open it in the browser.")
def command(run: str, storage: str | None, host: str, port: int, control: bool, no_open: bool) -> None:
    check_packages()
    if BESIDE in os.environ:
        _serve_beside(run, storage, *os.environ.pop(BESIDE).split(","))
        return
    server = LiveServer(_page(run, storage, control), host, port)
    if not is_local(host):
        say(_warning(host, control), err=True)
    say(f"Live: {server.address}", wrap=False)
    if not no_open:
        open_browser(server.address)
    _run(server)


def _serve_beside(run: str, storage: str | None, place: str, parent: str, token: str) -> None:
    """Serve what another command has just begun, or is about to begin, until it has ended."""
    if storage is not None:
        folder = OUT / run if len(Path(run).parts) == 1 else Path(run)
        live = live_study(Location("" if folder == Path(run) else run, storage, folder))
    else:
        live = live_run(Path(run))
    server = LiveServer(live, token=token, place=socket.socket(fileno=int(place)))
    end_after(int(parent), server.end)
    _run(server)


def _run(server: LiveServer) -> None:
    os.nice(_NICE)  # what runs goes first
    server.run()


def _warning(host: str, control: bool) -> str:
    act = "read the page, and stop what runs" if control else "read the page"
    return (
        f"ravine: warning: with --host {host} everybody in the network who knows the address can {act}. It is not encrypted. "
        "Over ssh, `ssh -L PORT:127.0.0.1:PORT MACHINE` shows the page without this."
    )


def _page(run: str, storage: str | None, control: bool) -> LivePage:
    if storage:
        return live_study(stored_location(run, storage, None), control=control)
    folder = _folder(run)
    if (folder / JOURNAL).is_file():
        return live_study(Location("", str(folder / JOURNAL), folder), control=control)
    return live_run(folder, control=control)


def _folder(run: str) -> Path:
    """The folder that is meant: a path, or the name of one in ravine-out, or of a task that was trained.

    Raises:
        OptionError: there is no such run.
    """
    folder = files.found(Path(run), OUT) or files.found(OUT / f"train-{run}", OUT)
    if folder is None or not folder.is_dir():
        raise missing(Path(run))
    return folder
