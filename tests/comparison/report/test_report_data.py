"""A report's data: everything is computed once, however often and in however many ways it is drawn."""

import ast
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from studies import study

import ravine.comparison
from ravine.comparison._export.results_json import results_json
from ravine.comparison._report import (
    difference_data,
    figure_data,
    forest_plots,
    optimizer_formulas,
    report_data,
    report_tables,
    terminal_report,
)
from ravine.comparison._report.chart_data import chart_data
from ravine.comparison._report.markdown_report import markdown_report
from ravine.comparison._study import study_record

#: What computes, by the module that calls it: of each one call for a whole report.
COMPUTING = {
    report_data: [
        *(
            "bands",
            "budget_limits",
            "budget_points",
            "ceiling",
            "curves_ceiling",
            "differences",
            "figure_names",
            "formulas",
            "horizon",
        ),
        *("hyperparameters", "update_ratios"),
    ],
    study_record: ["judge", "stage"],
}
#: What is called more than once: for each hyperparameter; for each optimizer's losses, accuracy and test loss.
SEVERAL = {"sensitivity": 1, "summary": 2 * 3}
FOLDER = Path(ravine.comparison.__file__).parent


@pytest.fixture
def counted(monkeypatch):
    """How often each computing function was called."""
    calls = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counting(*arguments, **options):
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(module, name, counting)

    for module, names in COMPUTING.items():
        for name in [*names, *(SEVERAL if module is report_data else ())]:
            count(module, name)
    return calls


@pytest.mark.slow  # draws every figure
def test_a_report_drawn_four_ways_is_computed_once(counted, tmp_path):
    result = study({"sgd": 0.3, "rmsprop": 0.33}, points=3, seeds=3)
    counted.clear()  # the study was played stage by stage
    assert len(result.write(tmp_path)) == 9
    assert str(result).startswith(result.judgement.sentence)
    assert result._repr_html_()
    assert counted == {name: 1 for names in COMPUTING.values() for name in names} | SEVERAL


def test_every_computing_function_is_counted():
    """A function of figure_data or of the formulas that is new must stand in the list above."""
    for module in (difference_data, figure_data, optimizer_formulas):
        defined = {
            node.name
            for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        }
        assert defined <= {*COMPUTING[report_data], *SEVERAL}


def test_what_draws_computes_nothing():
    """Page, text, pictures and tables know the report's data, and none of what makes them."""
    drawing = {path.stem for path in (FOLDER / "_report").glob("*.py")} - {
        *("__init__", "report_data", "figure_data", "difference_data", "optimizer_formulas"),
    }
    assert len(drawing) > 10
    for name in drawing:
        for node in ast.walk(ast.parse((FOLDER / "_report" / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ravine.comparison"):
                known = {*(alias.name for alias in node.names)}
                assert not known & {*COMPUTING[report_data], *SEVERAL, "StudyRecord", "Result", "judge", "stage"}, name
                assert "study_record" not in node.module, name


def test_one_that_diverged_in_every_run_has_that_verdict_everywhere():
    result = study({"sgd": 0.3, "adam": 0.31, "gone": 0.3}, failing=[("gone", 2 * i + 1) for i in range(5)])
    data = result.report
    assert "gone diverged in every run." in str(result)
    words = "diverged in every run"
    tables = report_tables.results(data), report_tables.differences(data, "validation loss")
    assert [table.rows[-1][0] for table in tables] == ["gone", "gone"]
    assert tables[1].rows[-1][1] == words
    assert [row["verdict"] for row in chart_data(data)["differences"]["validation loss"]["rows"]][-1] == words
    assert [row["filled"] for row in chart_data(data)["differences"]["validation loss"]["rows"]] == [True, True, False]
    assert f"| {words} |" in markdown_report(data)
    judgement = json.loads(results_json(result.record, result.judgement))["judgement"]
    assert [s["verdict"] for s in judgement["compared"][0]["standings"]][-1] == words


@pytest.mark.parametrize(
    ("floor", "noise", "ranked", "answer"),
    [
        (0.4, 0.01, ["sgd", "adam", "adagrad"], "sgd is the best: "),
        (0.302, 0.1, ["adam", "sgd", "adagrad"], "adam and sgd are equivalent: "),
    ],
)
def test_one_order_is_that_of_the_answer_everywhere(floor, noise, ranked, answer):
    """sgd ends lower and never reaches the target, which adam was below for a moment; adagrad reaches nothing."""
    result = study({"adagrad": 0.9, "adam": floor, "sgd": 0.3}, noise=noise, points=4)
    done = dict(result.record.results)
    for trial, training in result.record.trials:
        if trial.kind == "final" and trial.label == "adam":
            dipped = (*training.losses[:5], 0.01, *training.losses[6:])
            done[trial.key(result.spec)] = replace(training, losses=dipped)
    record = replace(result.record, results=done)
    judgement = record.judge(target=0.02)
    data = report_data.report_data(record, judgement)
    assert judgement.sentence.startswith(answer)
    assert data.ranked == [s.name for s in judgement.losses.standings] == ranked
    assert [row.label for row in data.differences["validation loss"].rows] == ranked
    assert [row[0] for row in report_tables.results(data).rows] == ranked
    assert [row[0] for row in report_tables.differences(data, "validation loss").rows] == ranked
    rows = forest_plots.differences(data).axes[0].get_yticklabels()
    assert [label.get_text() for label in rows] == ranked
    tree = json.loads(results_json(record, judgement))["judgement"]
    assert tree["ranked"] == ranked == [s["name"] for s in tree["compared"][0]["standings"]]
    terminal, markdown = terminal_report.text(data), markdown_report(data)
    lines = [line.split()[0] for line in terminal.splitlines() if line.strip()]
    assert [name for name in lines if name in ranked][-3:] == ranked
    first = [line for line in markdown.split("**Accuracy**")[0].splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in first] == ranked * 2
    missed = "sgd is the best by its loss at the end, but missed the target in 5 of 5 runs."
    moved = "those that miss the target in most runs last"
    for said in (terminal, markdown.replace("`", "")):
        assert (missed in said) == (ranked[0] == "sgd")
        assert (moved in said) == (ranked[0] == "adam")
