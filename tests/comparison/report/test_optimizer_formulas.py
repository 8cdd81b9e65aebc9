"""The formulas of a report: of the chosen points, with their sources, and never a reason to fail."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from studies import parsed, study

from ravine.comparison._report.optimizer_formulas import Formula, formulas
from ravine.comparison._study.study_spec import OptimizerConfig
from ravine.optim import RMSprop
from ravine.optim.search import Range


def with_optimizers(result, *configs):
    """The same study as if its optimizers were others: formulas ask only the spec."""
    labels = [config.label for config in configs]
    return replace(result.record, spec=replace(result.spec, optimizers=configs), results={}, optimizers=parsed(labels))


@pytest.fixture(scope="module")
def result():
    return study({"sgd": 0.1, "rmsprop": 0.2}, points=2, seeds=2)


def test_each_has_its_lines_and_its_source(result):
    found = formulas(result.record)
    assert list(found) == ["sgd", "rmsprop"]
    assert found["sgd"].lines == ("θₜ = θₜ₋₁ − lr · g",)
    assert found["rmsprop"].source == RMSprop.reference
    assert ElementTree.fromstring(found["rmsprop"].mathml).get("alttext") == "; ".join(found["rmsprop"].lines)


def test_the_formula_is_that_of_the_label(result):
    configs = (OptimizerConfig("rmsprop:centered=True", {}), OptimizerConfig("sgd:momentum=0.9,nesterov=True", {}))
    centered, nesterov = formulas(with_optimizers(result, *configs)).values()
    assert any("grad_avg" in line for line in centered.lines)
    assert "u = g + μ · momentum_bufferₜ" in nesterov.lines


def test_the_formula_is_that_of_the_typical_point():
    found = study(
        {"sgd": 0.1}, points=2, seeds=2, space={"lr": Range(1e-4, 1.0), "momentum": Range(0.4, 0.6, "linear")}
    )
    assert found.record.runs[0].typical["momentum"] > 0
    assert any("momentum_buffer" in line for line in formulas(found.record)["sgd"].lines)


def test_sources_of_dialects_and_of_torch(result):
    configs = (
        OptimizerConfig("rmsprop-keras", {}),
        OptimizerConfig("torch-rmsprop:alpha=0.9", {}),
        OptimizerConfig("rmsprop-optax", {}),
    )
    keras, torch, optax = formulas(with_optimizers(result, *configs)).values()
    assert keras.source == "Keras 3, keras.optimizers.RMSprop (a dialect of RMSprop)"
    assert optax.lines
    assert torch == Formula(source="torch.optim.RMSprop")


@pytest.mark.parametrize("label", ["no such optimizer", "", "<script>", "rmsprop:alpha="])
def test_an_optimizer_that_cannot_be_made_has_no_formula(result, label):
    assert formulas(with_optimizers(result, OptimizerConfig(label, {}))) == {label: Formula()}


def test_an_optimizer_that_refuses_its_options_still_has_its_source(result):
    (found,) = formulas(with_optimizers(result, OptimizerConfig("rmsprop:alpha=-1", {}))).values()
    assert found == Formula(source=RMSprop.reference)
