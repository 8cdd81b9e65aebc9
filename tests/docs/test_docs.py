"""The code in the README and in docs/ runs: Python blocks of a page one after the other, commands by themselves."""

import re
import shlex
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import ravine.cli

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n)?```(python|bash)\n(.*?)```", re.DOTALL)


def blocks(page, language):
    return [(skip, code) for skip, kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    for skip, code in blocks(page, "python"):
        if not skip:
            with warnings.catch_warnings():
                exec(compile(code, str(page), "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist_and_quick_ones_run(page, tmp_path, monkeypatch):
    """Every `ravine` line is parsed by the command line; those of blocks that are not marked also run."""
    monkeypatch.chdir(tmp_path)
    for skip, code in blocks(page, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "ravine":
                continue
            name, *arguments = words[1:]
            assert name in ravine.cli.COMMANDS, line
            command = ravine.cli._ravine.get_command(None, name)
            command.make_context(name, list(arguments))
            if not skip:
                result = CliRunner().invoke(command, arguments, catch_exceptions=False)
                assert result.exit_code == 0, f"{line}: {result.output}"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
