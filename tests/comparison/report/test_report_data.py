"""A report's data: everything is computed once, however often and in however many ways it is drawn."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from studies import study

import ravine.comparison
from ravine.comparison._report import difference_data, figure_data, optimizer_formulas, report_data
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
