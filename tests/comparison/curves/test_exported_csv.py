"""Tables as Weights & Biases and TensorBoard download them, written here as their pages write them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from ravine.comparison import judge_files
from ravine.comparison._curves import read_curves
from ravine.comparison._curves.curves import Place
from ravine.comparison._curves.run_names import split_name
from ravine.errors import DataError, OptionError


def wandb_file(path, runs, metrics=("val_loss",), axis="Step"):
    """As the page exports a chart: all quoted, three columns for each run and metric, a row for every step of any run.

    ``runs`` has the values by step, by name; the range around each is 1 wide, so that it would be noticed.
    """
    heads = [axis]
    for run in runs:
        heads += [f"{run} - _step", f"{run} - _step__MIN", f"{run} - _step__MAX"]
        heads += [f"{run} - {metric}{end}" for metric in metrics for end in ("", "__MIN", "__MAX")]
    rows = []
    for step in sorted({step for values in runs.values() for step in values}):
        cells = [step]
        for values in runs.values():
            there = step in values
            cells += [step] * 3 if there else [""] * 3
            for shift, _ in enumerate(metrics):
                cells += [values[step] + shift + by for by in (0, -1, 1)] if there else [""] * 3
        rows.append(cells)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([heads, *rows])
    return path


def tensorboard_file(path, values):
    lines = ["Wall time,Step,Value", *(f"{1.7e9 + i},{step},{value}" for i, (step, value) in enumerate(values.items()))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    return {
        f"{name}-{run}": {step + run: level + 1 / (1 + step) + rng.normal(0, 0.01) for step in (0, 50, 100)}
        for name, level in (("adam", 0.3), ("sgd:lr=1e-1", 0.5))
        for run in range(1, 7)
    }


def test_a_chart_of_wandb(tmp_path, runs):
    curves = read_curves(wandb_file(tmp_path / "a.csv", runs))
    assert {(c.optimizer, c.run) for c in curves} == {tuple(name.rsplit("-", 1)) for name in runs}
    for curve in curves:
        values = runs[f"{curve.optimizer}-{curve.run}"]
        assert dict(zip(curve.steps, curve.values, strict=True)) == pytest.approx(values)
    result = judge_files(tmp_path / "a.csv")
    assert result.paired
    assert result.sentence.startswith("adam is the best")
    assert result.notes[0].startswith(
        "Runs were grouped by their names: adam has 1, 2, 3, 4, 5, 6; sgd:lr=1e-1 has 1, 2, 3, 4, 5, 6. The same number "
    )


def test_a_run_of_wandb_that_diverged(tmp_path, runs):
    runs["adam-2"][102] = float("nan")
    (curve,) = [c for c in read_curves(wandb_file(tmp_path / "a.csv", runs)) if (c.optimizer, c.run) == ("adam", "2")]
    assert curve.diverged_at == 102


def test_a_cell_of_tensorboard_without_a_value(tmp_path):
    for run in (1, 2):
        (tmp_path / f"adam-{run}.csv").write_text("Wall time,Step,Value\n1,0,\n2,5,3\n3,9,\n")
    curves = read_curves([tmp_path / f"adam-{run}.csv" for run in (1, 2)])
    assert [(c.steps.tolist(), c.values.tolist(), c.blank_from) for c in curves] == [([5], [3], 9)] * 2


def test_a_metric_of_several_is_named(tmp_path, runs):
    file = wandb_file(tmp_path / "a.csv", runs, ("train/gap", "test/gap"))
    with pytest.raises(
        DataError, match=r"has the metrics 'train/gap', 'test/gap': say which .* columns='value=train/gap'"
    ):
        read_curves(file)
    (curve, *_) = read_curves(file, columns="value=test/gap")
    assert curve.values.tolist() == pytest.approx([value + 1 for value in runs["adam-1"].values()])


def test_an_accuracy_that_only_the_file_names_is_refused_too(tmp_path, runs):
    with pytest.raises(OptionError, match="'val_acc' is better if it is higher"):
        judge_files(wandb_file(tmp_path / "a.csv", runs, ("val_acc",)))
    assert judge_files(tmp_path / "a.csv", higher_is_better=True).sentence.startswith("sgd:lr=1e-1 is the best")


def test_names_that_say_no_optimizer_are_refused_with_what_to_write(tmp_path, runs):
    values = runs["adam-1"]
    with pytest.raises(DataError, match=r"'baseline' does not end in its number.* adam,baseline,100,0.5"):
        read_curves(wandb_file(tmp_path / "a.csv", {**runs, "baseline": values}))
    with pytest.raises(DataError, match=r"eager-sun has 5, brave-fog has 6\..* adam,eager-sun-5,100,0.5"):
        read_curves(wandb_file(tmp_path / "a.csv", {"eager-sun-5": values, "brave-fog-6": values}))
    twice = (tmp_path / "b.csv", {"adam-1": values, "adam-2": values})
    text = wandb_file(*twice).read_text().replace("adam-2 -", "adam-1 -")
    twice[0].write_text(text)
    with pytest.raises(DataError, match="two runs have the name 'adam-1'"):
        read_curves(twice[0])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("adam-1", ("adam", "1")),
        ("adam_seed2", ("adam", "2")),
        ("adam/seed=3", ("adam", "3")),
        ("adam-s4", ("adam", "4")),
        ("adam run 5", ("adam", "5")),
        ("adam_lr0.01_seed_6", ("adam_lr0.01", "6")),
        ("adam-lr1e-3-7", ("adam-lr1e-3", "7")),
        ("adam-lr1e-3", None),
        ("adam-lr0.01", None),
        ("adam2", None),
        ("adam", None),
        ("12", None),
    ],
)
def test_a_name_is_taken_apart(name, wanted):
    if wanted is None:
        with pytest.raises(DataError, match="does not end in its number"):
            split_name(name, Place("a.csv", 1))
    else:
        assert split_name(name, Place("a.csv", 1)) == wanted


def test_scalars_of_tensorboard_a_file_for_each_run(tmp_path, runs):
    files = [
        tensorboard_file(tmp_path / f"run-{name.replace('-', '_')}-tag-val_loss.csv", values)
        for name, values in runs.items()
        if name.startswith("adam")
    ]
    files += [tensorboard_file(tmp_path / f"sgd-{run}.csv", runs[f"sgd:lr=1e-1-{run}"]) for run in range(1, 7)]
    curves = read_curves(files, tag="val/loss")
    assert [(c.optimizer, c.run) for c in curves] == [
        (name, str(run)) for name in ("adam", "sgd") for run in range(1, 7)
    ]
    assert (
        dict(zip(*(getattr(curves.of("sgd")[0], of) for of in ("steps", "values")), strict=True))
        == runs["sgd:lr=1e-1-1"]
    )
    assert judge_files(files).sentence.startswith("adam is the best")
    with pytest.raises(DataError, match="has the scalar 'val_loss', and not 'train/loss'"):
        read_curves(files, tag="train/loss")


def test_an_accuracy_of_tensorboard_is_refused(tmp_path, runs):
    files = [tensorboard_file(tmp_path / f"run-adam_{i}-tag-accuracy.csv", runs[f"adam-{i}"]) for i in (1, 2)]
    with pytest.raises(OptionError, match="'accuracy' is better if it is higher"):
        judge_files(files)
