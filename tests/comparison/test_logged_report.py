"""The report on logged runs: its files, and that each says what the verdict says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ravine.cli import main
from ravine.cli._out_folder import kept
from ravine.comparison import judge_files
from ravine.comparison._logged.logged_data import against_the_best, curve_ends, logged_bands, results, target
from ravine.comparison._logged.logged_report import LOGGED_DRAWERS
from ravine.comparison._report.markdown_syntax import prose


@pytest.fixture
def table(tmp_path):
    """Two optimizers with three runs of steps 0, 5 and 10; the last of ``b`` diverges at 10, and one of ``a`` lacks step 5."""
    lines = ["optimizer,run,step,value"]
    for name, level in (("a", 1.0), ("b", 2.0)):
        for run in range(3):
            values = {0: 9.0, 5: level + 1 + run / 10, 10: level + run / 10}
            if (name, run) == ("a", 1):
                del values[5]
            if (name, run) == ("b", 2):
                values[10] = float("nan")
            lines += [f"{name},{run},{step},{value}" for step, value in values.items()]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "a.csv"


def ravine(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["ravine", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code or 0


def test_the_files_have_the_verdict_and_the_numbers(table, monkeypatch, capsys):
    folder = table.parent / "report"
    assert ravine(monkeypatch, "judge", table, "--target", "1.15", "--out", folder) == 0
    said = capsys.readouterr().out
    names = ["results.json", "report.md", "differences.png", "curves.png", "target.png", "report.html"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    sentence = said.splitlines()[0]
    tree = json.loads((folder / "results.json").read_text())
    text, page = ((folder / name).read_text() for name in ("report.md", "report.html"))
    assert tree["sentence"] == sentence
    assert f"**{prose(sentence, 'ab')}**" in text
    assert f'<p id="verdict">{sentence}</p>' in page
    assert f"ravine judge {table} --target 1.15 --out {folder}" in text
    for note in tree["notes"]:
        assert f"- {prose(note, 'ab')}\n" in text
        assert f"<li>{note}</li>" in page
    assert page.count("data:image/png;base64,") == 3
    assert "<script" not in page


def test_results_json_of_logged_runs(table):
    result = judge_files(table, target=1.15)
    (table.parent / "out").mkdir()
    result.write(table.parent / "out")
    tree = json.loads((table.parent / "out" / "results.json").read_text())
    assert (tree["format"], tree["kind"], tree["files"]) == (1, "logged runs", [str(table)])
    assert tree["target"] == 1.15
    assert [one["reached"] for one in tree["steps_to_target"]] == [2, 0]
    assert tree["runs"][1] == {"optimizer": "a", "run": "1", "value": 1.1, "step": 10.0, "diverged_at": None}
    assert tree["runs"][5] == {"optimizer": "b", "run": "2", "value": None, "step": 5.0, "diverged_at": 10.0}


def test_the_tables_are_those_of_the_runs(table):
    result = judge_files(table, target=1.15)
    assert [[row[0], row[2], row[-1]] for row in results(result).rows] == [
        ["a", "1.10 ± 0.10", "3"],
        ["b", "2.050 ± 0.071 (2 of 3 runs)", "3"],
    ]
    on_screen = [[cell.replace("\n", " ") for cell in row[:5]] for row in result.table().rows]
    assert on_screen == results(result).rows
    assert [row[1] for row in against_the_best(result).rows] == [s.verdict for s in result.with_best.standings]
    assert target(result).rows[0][:3] == ["a", "2 of 3 (9% to 99%)", "10"]
    assert target(judge_files(table)) is None


def test_curves_are_drawn_at_the_steps_that_all_runs_have(table):
    bands = logged_bands(judge_files(table))
    assert bands["a"].steps.tolist() == [0, 10]
    assert bands["a"].median.tolist() == [9, 1.1]
    assert bands["b"].steps.tolist() == [0, 5, 10]
    assert bands["b"].high[-1] == np.inf
    assert curve_ends(judge_files(table)).rows[1] == ["b", "10", "2.1", "2", "infinite", "1 of 3"]


def test_where_more_is_better_the_best_run_is_the_highest(table):
    result = judge_files(table, higher_is_better=True)
    band = logged_bands(result)["a"]
    assert (band.median[-1], band.low[-1], band.high[-1]) == (1.1, 1.2, 1.0)


def test_runs_of_one_value_have_no_curves_and_independent_ones_no_p(tmp_path):
    lines = ["optimizer,run,step,value"] + [
        f"{o},{o}{r},9,{v + r / 9}" for o, v in (("a", 1), ("b", 2)) for r in range(3)
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    result = judge_files(tmp_path / "a.csv", target=1.15)
    assert curve_ends(result) is None
    assert "p" not in target(result).columns
    assert not {"curves.png"} & {path.name for path in result.write(tmp_path / "out")}


def test_the_confidence_is_the_one_that_was_asked_for(table):
    judge_files(table, alpha=0.01).write(table.parent / "out")
    text = (table.parent / "out" / "report.md").read_text()
    assert "99% confidence" in text
    assert "95%" not in text
    assert "All intervals hold jointly with 99% confidence, or less, since runs diverged" in text
    title = LOGGED_DRAWERS["differences"](judge_files(table, alpha=0.01)).get_suptitle()
    assert "jointly" not in title
    table.write_text(table.read_text().replace("nan", "2.2"))
    assert "or less" not in against_the_best(judge_files(table, alpha=0.01)).caption
    title = LOGGED_DRAWERS["differences"](judge_files(table, alpha=0.01)).get_suptitle()
    assert title.replace("\n", " ").endswith("All intervals hold jointly (99%).")


def test_a_report_is_written_again_and_nothing_else_is_written_over(table, monkeypatch, capsys):
    folder = table.parent / "report"
    for _ in range(2):
        assert ravine(monkeypatch, "judge", table, "--out", folder) == 0
    assert [(one.path, one.state) for one in kept(table.parent)] == [(folder, "done")]
    (table.parent / "mine").mkdir()
    (table.parent / "mine" / "results.json").write_text("[]")
    assert ravine(monkeypatch, "judge", table, "--out", table.parent / "mine") == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (table.parent / "mine").iterdir()] == ["results.json"]


@pytest.mark.parametrize("kind", ["same", "symlink", "hard link", "in a folder", "device"])
def test_json_does_not_write_over_what_is_read(table, monkeypatch, capsys, kind):
    before, other, read = table.read_bytes(), table.with_name("other"), table
    if kind == "symlink":
        other.symlink_to(table)
    elif kind == "hard link":
        other.hardlink_to(table)
    elif kind == "in a folder":
        (table.parent / "runs").mkdir()
        read, other = table.parent / "runs", table.rename(table.parent / "runs" / "tfevents.1")
    elif kind == "device":
        os.mkfifo(other)
    else:
        other = table
    assert ravine(monkeypatch, "judge", read, "--json", other) == 2
    told = (
        "is a device or a pipe" if kind == "device" else f"--json {other} would write over what is read, {read}. Name"
    )
    assert told in capsys.readouterr().err
    assert other.is_fifo() if kind == "device" else other.read_bytes() == before


def test_json_writes_over_nothing_but_its_own_file(table, monkeypatch, capsys):
    other = table.with_name("study.journal")
    other.write_text('{"op_code": 0}\n')
    assert ravine(monkeypatch, "judge", table, "--json", other) == 2
    assert f"--json {other} would write over a file that ravine judge did not write. Name" in capsys.readouterr().err
    assert other.read_text() == '{"op_code": 0}\n'
    other.write_text("")
    for _ in range(2):  # an empty one is nothing to lose
        assert not ravine(monkeypatch, "judge", table, "--json", other)
    assert json.loads(other.read_text())["kind"] == "logged runs"


def test_what_is_read_from_standard_input_is_not_written_over(table):
    with open(table, "rb") as opened:
        words = ["judge", "-", "--json", table]
        done = subprocess.run(
            [sys.executable, "-m", "ravine", *map(str, words)],
            stdin=opened,
            capture_output=True,
            text=True,
            check=False,
        )
    assert f"--json {table} would write over what is read, -." in done.stderr
    done = subprocess.run(
        f"cat {table} | {sys.executable} -m ravine judge -", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Either a or b may be the best.")


def test_a_name_moves_no_cursor(table, monkeypatch, capsys):
    table.write_text(table.read_text().replace("a,", '"\x1b[31ma\nb\x9b",'))
    assert ravine(monkeypatch, "judge", table) == 0
    said = capsys.readouterr().out
    assert said.startswith(r"Either \x1b[31ma\nb\x9b or b may be the best.")
    assert said.count(r"\x1b[31ma\nb\x9b") >= 3, "in the table and the notes, too"
    for text in (said, str(judge_files(table))):
        assert all(c.isprintable() or c == "\n" for c in text)
    only = table.with_name("only.csv")
    only.write_text('optimizer,run,step,value\n"\x1b[31ma",1,2,3\n')
    assert ravine(monkeypatch, "judge", only) == 2
    assert "\x1b" not in capsys.readouterr().err
