"""``ravine live`` and ``--live``: which run is meant, what is said, and that the page ends with what it stands beside."""

import json
import os
import re
import shlex
import signal
import sys
import time
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner
from forked import COMPARES, DEVNULL, PIPE, Forked, run_forked

from ravine._live import serving
from ravine._live.serving import LiveServer
from ravine.cli import main
from ravine.cli._live import command
from ravine.train._fit_lines import announced  # noqa: F401  # torch is loaded once for all of these

LIMIT = 60


@pytest.fixture
def shown(monkeypatch):
    """What a browser would see of each page that a command serves, instead of serving it until Ctrl-C."""
    pages = []

    def once(server):
        with server.running() as address:
            page = ""
            while '"head":' not in page:  # the first judgement takes seconds, for which a page does not wait
                with urllib.request.urlopen(address, timeout=LIMIT) as answer:
                    page = answer.read().decode()
            pages.append(page)

    run = LiveServer.run
    monkeypatch.setattr("ravine.cli._live.LiveServer.run", lambda server: once(_Plain(server, run)))
    monkeypatch.setattr("ravine.cli._live.open_browser", lambda address: pages.append(address))
    monkeypatch.setattr("ravine.cli._live.os.nice", lambda by: None)
    return pages


class _Plain:
    """A server whose own ``run`` is the real one."""

    def __init__(self, server, run):
        self._server, self._run = server, run

    def running(self):
        self._server.run = lambda: self._run(self._server)
        return self._server.running()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    train = "train digits -o rmsprop --lr 2e-3 --epochs 2"
    compare = "compare breast-cancer -o sgd -o rmsprop --points 1 --seeds 2 --steps 3 --jobs 1 --study small"
    for words in (train, compare):
        run_forked(["-m", "ravine", *words.split()], after=COMPARES, cwd=folder, check=True)
    return folder


def said(*words):
    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def head(page):
    data = re.search(r'id="data">(.*?)</script>', page, re.S)[1]
    return json.loads(data)["head"]


@pytest.mark.parametrize("name", ["ravine-out/train-digits", "train-digits", "digits"])
def test_a_training_is_meant_by_its_folder_or_its_name(name, place, shown, monkeypatch):
    monkeypatch.chdir(place)
    output = said(name, "--no-open")
    assert re.fullmatch(r"Live: http://127\.0\.0\.1:\d+/[\w-]{32}/\n", output)
    (page,) = shown
    assert head(page)["title"] == "digits, rmsprop"
    assert head(page)["word"] == "done"


@pytest.mark.parametrize(
    "words", [["ravine-out/small"], ["small"], ["small", "--storage", "ravine-out/small/study.journal"]]
)
def test_a_study_is_meant_by_its_folder_or_its_name(words, place, shown, monkeypatch):
    monkeypatch.chdir(place)
    said(*words)
    address, page = shown
    assert address.startswith("http://127.0.0.1:")
    assert head(page)["title"] == "breast-cancer: sgd, rmsprop"


def test_other_machines_are_let_in_with_a_warning(place, shown, monkeypatch):
    monkeypatch.chdir(place)
    assert "warning" not in said("digits")
    output = said("digits", "--host", "0.0.0.0")
    assert "everybody in the network who knows the address can read the page" in output
    assert "and stop what runs" in said("digits", "--host", "0.0.0.0", "--control")


def test_a_run_that_is_not_there_is_an_error_with_what_is_meant(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["ravine", "live", "train-digit"])
    lowered = []
    monkeypatch.setattr("ravine.cli._live.os.nice", lowered.append)
    with pytest.raises(SystemExit, match="2"):
        main()
    assert not lowered  # a process that serves nothing keeps its priority
    assert "Did you mean ravine-out/train-digits?" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["live digits", "train digits --epochs 1 --live", "compare digits --live"])
def test_without_the_packages_one_line_says_what_to_install(words, place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    before = sorted((place / "ravine-out").iterdir())
    monkeypatch.setattr(serving, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["ravine", *shlex.split(words)])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err.replace("\n", " ")
    assert "ravine: The live page needs starlette and uvicorn: pip install 'ravine[live]'" in error
    assert sorted((place / "ravine-out").iterdir()) == before


@pytest.mark.slow  # starts processes that train and serve
@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("train digits -o rmsprop --lr 2e-3 --epochs 100000", "digits, rmsprop"),
        ("compare breast-cancer -o sgd -o rmsprop --points 2 --seeds 300 --jobs 1", "breast-cancer: sgd, rmsprop"),
    ],
)
def test_the_page_beside_a_command_follows_it_and_ends_with_it(words, title, tmp_path):
    running = Forked(
        ["-m", "ravine", *words.split(), "--live"],
        after=COMPARES, cwd=tmp_path, stdout=DEVNULL, stderr=PIPE, text=True, session=True,
    )  # fmt: skip
    try:
        address = next(line for line in running.stderr if line.startswith("Live: ")).split()[1]
        with urllib.request.urlopen(f"{address}events", timeout=LIMIT) as stream:
            heads = (json.loads(line[6:]).get("head") for line in stream if line.startswith(b"data: {"))
            begun = next(one for one in heads if one and one["word"] == "running")
            assert begun["title"] == title
            running.send_signal(signal.SIGINT)
            words = {one["word"] for one in heads if one}  # until the server ends
        assert running.wait(LIMIT) == 130
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.stderr.close()
    assert words & {"stopped", "paused"} or title.startswith("breast-cancer")
    until = time.monotonic() + LIMIT
    while True:
        try:
            urllib.request.urlopen(address, timeout=5)
        except (urllib.error.URLError, ConnectionError):
            break
        assert time.monotonic() < until
        time.sleep(0.1)
