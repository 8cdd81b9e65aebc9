"""The code in the README and in docs/ runs: Python blocks of a page one after the other, commands by themselves."""

import io
import re
import shlex
import urllib.request
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from click.testing import CliRunner

import ravine.cli
from ravine._live.serving import LiveServer

ROOT = Path(__file__).parent.parent.parent
#: Folders of docs/ whose pages are made from something else, which has tests of its own; and that of other trainers, whose code
#: runs where they are installed (tests/integrations).
OTHERS = {"notebooks", "optimizers", "reference", "results", "trainers"}
PAGES = [
    ROOT / "README.md",
    *sorted(
        page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in OTHERS and "results" not in page.parts
    ),
]
#: What is given to a command that does not say it: the same tables and files, after fewer and shorter trainings or paths.
LESS = {"compare": {"--steps": "20", "--points": "4", "--seeds": "3"}, "contour": {"--rates": "5", "--starts": "2"}}
#: A comment says why a block does not run; `scripts/thumbnails` runs what makes the pictures of the gallery. What stands
#: below `printed` is what the block prints, but for its numbers: times and last digits are another on each machine.
BLOCK = re.compile(
    r"(<!-- (?:not run|shows): [^>]+-->\n)?```(python|bash)\n(.*?)```(?:\n\n<!-- printed -->\n```\n(.*?)```)?",
    re.DOTALL,
)


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def words(text):
    return re.sub(r"[-+]?\d[\d.,]*(?:e[-+]\d+)?", "#", text).split()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """In one folder; every `ravine` line is parsed, and those of blocks that are not marked also run."""
    monkeypatch.chdir(tmp_path)
    # Comparisons train here: starting workers takes longer than all that they do.
    monkeypatch.setattr("ravine.comparison._run_study.processors", lambda: 1)
    # A page is served until its text was read once, and beside a command not at all.
    monkeypatch.setattr("ravine.cli._live.LiveServer.run", served_once)
    monkeypatch.setattr("ravine.cli._live.open_browser", lambda address: False)
    monkeypatch.setattr("ravine.cli._live.os.nice", lambda by: None)
    monkeypatch.setattr("ravine.cli._live_beside.start_beside", lambda words: "http://127.0.0.1/")
    monkeypatch.setattr("ravine.cli._live_beside.open_browser", lambda address: False)
    if page.name != "README.md":  # once is enough: the figures for papers take longer than the trainings
        monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))
    scope = {"__name__": "__main__"}
    for skip, kind, code, printed in blocks(page):
        said = ""
        if kind == "bash":
            for line in code.replace("\\\n", " ").splitlines():
                said = command(line, skip)
        elif not skip:
            with warnings.catch_warnings(), redirect_stdout(io.StringIO()) as out:
                exec(compile(code, str(page), "exec"), scope)
            said = out.getvalue()
        assert not printed or words(printed) == words(said)


def served_once(server, run=LiveServer.run):
    server.run = lambda: run(server)
    with server.running() as address, urllib.request.urlopen(address, timeout=60) as answer:
        assert b"<title>" in answer.read()


def command(line, skip):
    """What a line prints if it runs."""
    named = shlex.split(line, comments=True)
    if not named or named[0] != "ravine":
        return ""
    name, *arguments = named[1:]
    assert name in ravine.cli.COMMANDS, line
    found = ravine.cli._ravine.get_command(None, name)
    found.make_context(name, list(arguments))
    if not skip:
        if name == "play":  # and no browser
            arguments.append("--no-open")
        for option, value in LESS.get(name, {}).items():
            arguments += [] if option in arguments else [option, value]
        result = CliRunner().invoke(found, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}: {result.output}"
        return result.stdout
    return ""


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
