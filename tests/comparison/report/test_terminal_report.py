"""A study on a terminal: the verdict first, one table of whatever width, and what the report has beside it."""

import io

import pytest
from rich.console import Console
from studies import study

from ravine.comparison._report import report_tables
from ravine.comparison._report.markdown_report import markdown_report
from ravine.comparison._report.note_sentences import notes
from ravine.comparison._report.notebook_report import notebook_html
from ravine.comparison._report.terminal_report import results

EIGHT = ("sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adadelta", "adam", "torch-rmsprop:alpha=0.9")


@pytest.fixture(scope="module")
def eight():
    return study({name: 0.3 + 0.01 * i for i, name in enumerate(EIGHT)}, points=4, failing=[("adagrad", 3)])


def shown(result, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    return str(result).splitlines()


def test_the_verdict_is_the_first_line_and_the_notes_are_the_last(eight, monkeypatch):
    lines = shown(eight, 100, monkeypatch)
    assert lines[:2] == [eight.judgement.sentence, ""]
    assert (
        lines[2]
        == "digits: 8 optimizers, 4 points, 5 seeds, 100 steps; sorted by the difference to the best of the others"
    )
    said = notes(eight.report)
    assert lines[-len(said) :] == said
    assert lines[-len(said) - 1] == (
        "The report also has: typical point, median steps, test loss, ms per step and diverged in tuning."
    )


def test_all_that_may_be_the_best_are_bold():
    result = study({"sgd": 0.9, "adam": 0.3, "rmsprop": 0.3001}, points=4)
    top = result.judgement.losses.top
    assert sorted(top) == ["adam", "rmsprop"]
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(results(result.report))
    bold = [line for line in console.file.getvalue().splitlines() if "\x1b[1m" in line]
    assert [name for name in ("adam", "rmsprop", "sgd") if any(name in line for line in bold)] == ["adam", "rmsprop"]


def test_runs_far_out_are_said_in_the_same_words_everywhere(eight, monkeypatch):
    """One of adagrad raised and counts as the loss that it began with."""
    wanted = "Far out, and counted as 5 times the usual difference: 1 of 5 runs of adagrad"
    assert {s.name: s.far_out for s in eight.judgement.losses.standings if s.far_out} == {"adagrad": 1}
    assert f"{wanted}." in shown(eight, 100, monkeypatch)
    assert report_tables.results(eight.report).caption.endswith(wanted)
    assert f"{wanted}." in markdown_report(eight.report).replace("`adagrad`", "adagrad")
    assert f"{wanted}." in notebook_html(eight.report)
    whole = study({"sgd": 0.3, "adam": 0.33}, points=4)
    for said in (str(whole), markdown_report(whole.report), notebook_html(whole.report)):
        assert "Far out" not in said


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_eight_optimizers_are_one_table(eight, columns, monkeypatch):
    lines = shown(eight, columns, monkeypatch)
    head = next(i for i, line in enumerate(lines) if line.lstrip().startswith("optimizer"))
    rows = lines[head : lines.index("", head)]
    assert max(map(len, rows)) <= columns
    assert sum("optimizer" in line for line in rows) == 1
    order = [each.label for each in eight.report.results]
    starts = [line.split()[0] for line in rows[2:] if line[1] != " "]
    assert [name for name in starts if name in order or name == "torch-rmsprop:"] == [
        name if columns > 60 or ":" not in name else "torch-rmsprop:" for name in order
    ]
    if columns == 100:
        assert len(rows) == 2 + 8 + 1, "only that a mean is over 4 of 5 runs takes a line of its own"


def test_one_optimizer_has_nobody_to_stand_against(monkeypatch):
    said = "\n".join(shown(study({"sgd": 0.3}, points=2, seeds=2), 100, monkeypatch))
    assert said.startswith("Only sgd took part")
    assert "against" not in said


def test_of_one_optimizer_no_order_is_said(monkeypatch):
    alone = study({"sgd": 0.3}, points=4)
    text = "\n".join(shown(alone, 100, monkeypatch))
    for said in (text, markdown_report(alone.report), notebook_html(alone.report), report_tables.caption(alone.report)):
        assert "sorted by" not in said.lower()
    assert "digits: 1 optimizer, 4 points, 5 seeds, 100 steps\n" in text
    assert report_tables.caption(alone.report) == "Mean ± standard deviation over the fresh runs"
