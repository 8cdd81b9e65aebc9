"""The record of steps against NumPy over all of them: rows are combined, nothing grows, nothing is lost."""

from __future__ import annotations

import json
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from ravine.backends import STATISTICS, statistic
from ravine.errors import OptionError, RavineError
from ravine.watch._history import FIGURES, History
from ravine.watch._record import ROWS, Record
from ravine.watch._step_table import ParameterRow, StepTable

GRAD_MAX, PARAM_MAX, NONFINITE, STEPS = statistic("grad_max", "param_max", "nonfinite", "steps")


def figures_of(steps, width=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    figures = torch.rand(steps, len(STATISTICS), width, generator=generator, dtype=torch.float64)
    figures[:, statistic("nonfinite")] = 0.0
    figures[:, statistic("steps")] = 1.0
    return figures


def history(record, width=3):
    return record.history([f"p{i}" for i in range(width)], [1] * width, lambda figures: figures)


@pytest.mark.parametrize("steps", [1, 5, ROWS, ROWS + 1, 1000, 2 * ROWS, 5003])
@pytest.mark.parametrize("batch", [1, 7, 300])
def test_rows_are_means_and_largest_values_of_their_steps(steps, batch):
    figures, record = figures_of(steps), Record()
    for part in figures.split(batch):
        record.add(part)
    found = history(record)
    every = 1
    while steps > ROWS * every:
        every *= 2
    assert len(found) == -(-steps // every)
    assert (found.first[0], found.last[-1]) == (1, steps)
    for row, (first, last) in enumerate(zip(found.first, found.last, strict=True)):
        here = figures[first - 1 : last].numpy()
        assert np.allclose(found.grad_norm[row], np.sqrt(here[:, 0].mean(0)), rtol=1e-12)
        assert np.allclose(found.update_norm[row], np.sqrt(here[:, 2].mean(0)), rtol=1e-12)
        assert np.array_equal(found.param_max[row], here[:, PARAM_MAX].max(0))
        assert np.allclose(found.param_rounding[row], np.sqrt(here[:, 4].mean(0)), rtol=1e-12)
        assert (found.steps[row] == last - first + 1).all()


def test_a_history_and_a_row_have_a_field_for_each_statistic():
    of_history = [f.name for f in fields(History) if f.name not in ("names", "sizes", "first", "last")]
    assert of_history == list(FIGURES)
    assert len(FIGURES) == len(STATISTICS)
    of_row = {f.name for f in fields(ParameterRow)} - {"name", "ratio"}
    assert of_row == {*FIGURES} - {"steps"}


def test_how_the_steps_come_in_changes_no_bit():
    figures = figures_of(3000)
    results = []
    for batch in (1, 3, 256, 3000):
        record = Record()
        for part in figures.split(batch):
            record.add(part)
        results.append(history(record).tree())
    for name in FIGURES:
        assert len({r[name].tobytes() for r in results}) == 1


def test_memory_is_bounded_over_100_000_steps():
    record = Record()
    record.add(figures_of(10))
    size = sum(t.numel() for t in record._tables.values())
    part = figures_of(1000)
    for _ in range(100):
        record.add(part)
    assert record.steps == 100_010
    assert sum(t.numel() for t in record._tables.values()) == size
    assert len(history(record)) <= ROWS


def test_steps_that_are_not_finite_are_counted_and_left_out_of_the_norms():
    figures = figures_of(4, 1)
    figures[2, 0] = float("nan")
    figures[2, NONFINITE] = 5
    figures[3, STEPS] = 0  # not stepped
    figures[3, :STEPS] = 0
    record = Record()
    record.add(figures)
    record.every = 1
    found = history(record, 1)
    assert np.isfinite(found.grad_norm[:, 0]).tolist() == [True, True, False, False]
    assert found.nonfinite[:, 0].tolist() == [0, 0, 5, 0]
    assert found.steps[:, 0].tolist() == [1, 1, 1, 0]
    assert record.first_nonfinite(["p0"]) == {"p0": 3}
    record._combine_neighbours()
    combined = history(record, 1)
    assert combined.grad_norm[0, 0] == pytest.approx(figures[:2, 0, 0].mean().sqrt().item())


def test_history_as_records_json_and_pandas():
    record = Record()
    figures = figures_of(2, 2)
    figures[1, GRAD_MAX, 1] = float("inf")
    figures[0, GRAD_MAX, 0] = float("nan")
    record.add(figures)
    found = history(record, 2)
    rows = found.records()
    assert [(r["first"], r["name"]) for r in rows] == [(1, "p0"), (1, "p1"), (2, "p0"), (2, "p1")]
    assert rows[3]["ratio"] == pytest.approx((figures[1, 2, 1] / figures[1, 1, 1]).sqrt().item())
    tree = json.loads(found.to_json())
    assert tree["grad_max"] == [[None, figures[0, GRAD_MAX, 1].item()], [figures[1, GRAD_MAX, 0].item(), "inf"]]
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 4
    assert frame[frame["name"] == "p1"]["grad_norm"].iloc[0] == pytest.approx(figures[0, 0, 1].sqrt().item())
    assert History.of_tree(found.tree()).grad_norm.tobytes() == found.grad_norm.tobytes()


def test_a_record_of_version_0_1_goes_on():
    """It has no figures of rounding: those of its steps are 0. Its maxima had another name."""
    figures = figures_of(6, 2)
    record, old = Record(), Record()
    record.add(figures[:3])
    state = record.state_dict()
    keep = [0, 1, 2, *range(5, len(STATISTICS))]
    state["tables"]["tops"] = state["tables"].pop("maxima")
    state["last"] = state["last"][keep]
    state["tables"]["sums"] = state["tables"]["sums"][:, [0, 1, 2, 5, 6, 7, 10, 11]]
    old.load_state_dict(state)
    assert old.last.shape == (len(STATISTICS), 2)
    assert torch.equal(old.last[keep], record.last[keep])
    for one in (record, old):
        one.add(figures[3:])
        one._combine_neighbours()
    ours, theirs = history(record, 2), history(old, 2)
    for name in set(FIGURES) - {"state_rounding", "param_rounding"}:
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    assert not theirs.param_rounding[0].any()
    assert theirs.param_rounding[1] == pytest.approx(np.sqrt(figures[3, 4].numpy() / 2))
    tree = {n: v for n, v in ours.tree().items() if "rounding" not in n}
    assert not History.of_tree(tree).rounding.any()


def test_rounding_is_shown_where_something_is_narrow():
    figures = figures_of(1, 2)
    figures[0, 3:5] = 0.0
    record = Record()
    record.add(figures)
    assert "rounding" not in str(StepTable(history(record, 2)))
    figures[0, 3, 1], figures[0, 4, 1] = 0.25, 0.16
    record.add(figures)
    table = StepTable(history(record, 2))
    assert (table["p1"].rounding, table["p1"].param_rounding) == (0.5, 0.4)
    lines = str(table).splitlines()
    assert lines[1].split()[4:7] == ["ratio", "rounding", "grad_max"]
    assert [line.split()[-3] for line in lines[2:]] == ["0", "0.5", "0.5"]


def test_an_empty_history_is_one():
    record = Record()
    found = history(record)
    assert (len(found), found.grad_norm.shape) == (0, (0, 3))
    assert "no steps" in repr(found)
    assert found.records() == []


def test_an_absent_pandas_is_an_import_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    history = History.empty(["weight"], [3])
    for table in (history, StepTable(history)):
        with pytest.raises(ImportError, match=r"needs pandas: pip install pandas") as caught:
            table.to_pandas()
        assert isinstance(caught.value, RavineError)
        assert not isinstance(caught.value, OptionError)
