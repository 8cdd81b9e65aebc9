"""Curves from tables and JSON lines: what is read, and what the errors say of what cannot be."""

import contextlib
import json
import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravine.comparison._curves import RunCurve, columns_of, read_curves
from ravine.comparison._curves.curves import CurveRows, Place
from ravine.errors import ComparisonError, DataError, OptionError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text):
    with open(name, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    return name


def plain(curves):
    return {(c.optimizer, c.run): (c.steps.tolist(), c.values.tolist(), c.diverged_at) for c in curves}


def error_of(text, name="a.csv", **options):
    with pytest.raises(DataError) as raised:
        read_curves([write(name, text)], **options)
    return str(raised.value)


LOG = "optimizer,run,step,val_loss\nadam,1,0,10.5\nadam,1,125,4.25\nsgd,1,0,10.5\nsgd,1,125,inf\nadam,2,0,10.25\n"
TOLD = {
    ("adam", "1"): ([0.0, 125.0], [10.5, 4.25], None),
    ("sgd", "1"): ([0.0], [10.5], 125.0),
    ("adam", "2"): ([0.0], [10.25], None),
}


def test_a_table():
    curves = read_curves([write("log.csv", LOG)])
    assert plain(curves) == TOLD
    assert curves.optimizers == ["adam", "sgd"]
    assert [c.run for c in curves.of("adam")] == ["1", "2"]
    assert [c.diverged for c in curves] == [False, True, False]
    assert repr(curves) == "Curves(2 optimizers, 3 runs)"
    assert repr(curves.curves[1]) == "RunCurve('sgd', run '1', 1 values, diverged at step 125)"


@pytest.mark.parametrize(
    "text",
    [
        LOG.replace(",", ";"),
        LOG.replace(",", "\t"),
        LOG.replace("\n", "\r\n"),
        "\ufeff" + LOG,
        "\n\n" + LOG.replace("\nsgd", "\n\n , ,,\nsgd", 1),
        LOG.replace("adam", '"adam"'),
        LOG.replace("adam,1,0", " adam , 1 , 0 "),
        LOG.replace("optimizer,run,step,val_loss", "Method, Seed ,_step,Val/Loss"),
        LOG.replace("optimizer,run,step,val_loss", "config,trial,Iteration,loss"),
        LOG.replace("inf", "NaN"),
        LOG.replace("inf", "-Infinity"),
        LOG.replace("125", "1.25e2").rstrip("\n"),
    ],
)
def test_the_same_table_as_others_write_it(text):
    assert plain(read_curves([write("log.txt", text)])) == TOLD


def test_more_columns_than_are_needed_and_names_of_ones_own():
    text = "name,n,step,epoch,loss,perplexity\nadam,1,10,1,3,7\n"
    assert "'name', 'n', 'step', 'epoch', 'loss', 'perplexity': say which it is" in error_of(text)
    columns = "optimizer=name, run = n, value=perplexity, step=epoch"
    expected = {("adam", "1"): ([1.0], [7.0], None)}
    assert plain(read_curves(["a.csv"], columns=columns)) == expected
    assert plain(read_curves(["a.csv"], columns=columns_of(columns))) == expected
    assert "has no column 'perplexty' for the value. Did you mean 'perplexity'?" in error_of(
        text, columns="optimizer=name,run=n,value=perplexty"
    )
    both = "optimizer,run,step,loss,val_loss\nadam,1,10,3,7\n"
    assert "'loss' and 'val_loss' may each be the value: say which, columns='value=loss'." in error_of(both)
    assert plain(read_curves(["a.csv"], columns={"value": "val_loss"}))["adam", "1"][1] == [7.0]
    with pytest.raises(OptionError, match=r"no 'metric' .*Known: optimizer, run, step, value"):
        read_curves(["a.csv"], columns={"metric": "loss"})
    for wrong in ("optimizer", "=a", "value="):
        with pytest.raises(OptionError, match="names no column: write columns='optimizer=method") as raised:
            columns_of(wrong)
        assert "write --columns optimizer=method,value=val_loss." in raised.value.on_command_line
    with pytest.raises(OptionError, match="value is given twice, as 'a' and as 'b'"):
        columns_of("value=a,value=b")


def test_a_column_is_one_of_what_a_curve_needs():
    for columns in ("value=step,step=step", {"value": "step", "step": "step"}):
        with pytest.raises(
            OptionError, match="'step' is named for the (value|step) and for the (step|value); a column is"
        ):
            read_curves([write("a.csv", LOG)], columns=columns)
    for name, text in (("a.csv", LOG), ("a.jsonl", '{"opt":"a","run":1,"step":2}\n{"opt":"a","run":1,"step":3}')):
        told = error_of(text, name, columns="value=step")
        assert " 'step' was named for the value, so there is none for the step. Of 'opt" in told
    assert error_of(LOG, columns="run=step").startswith("a.csv, line 1: the column 'step' was named for the run, so")


def test_a_tag_is_of_tensorboard():
    with pytest.raises(
        OptionError, match="The tag 'val_loss' is for a scalar of TensorBoard, and 'a.csv' has none"
    ) as raised:
        read_curves([write("a.csv", LOG)], tag="val_loss")
    assert raised.value.on_command_line.endswith("name the column, --columns value=val_loss.")
    for run in (1, 2):
        write(f"rms-{run}.csv", "Wall time,Step,Value\n1,2,3\n")
    assert len(read_curves(["a.csv", "rms-1.csv", "rms-2.csv"], tag="val_loss")) == 5


def test_lines_in_any_order_and_in_several_files():
    lines = LOG.splitlines()
    first, second = "\n".join([lines[0], *lines[:3:-1]]), "\n".join([lines[0], *lines[3:0:-1]])
    assert plain(read_curves([write("a.csv", first), write("b.csv", second)])) == TOLD
    with pytest.raises(
        DataError, match=r"b.csv, line 2: run '1' of 'adam' has a second value at step 125; .* a.csv, line 3"
    ):
        read_curves([write("a.csv", LOG), write("b.csv", f"{lines[0]}\nadam,1,125.0,4\n")])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a.csv, line 1 is empty: write a table with the columns optimizer, run, step and value"),
        (" \n\n", "a.csv, line 1 is empty"),
        ("optimizer,run,step,value\n", "There are no values in a.csv"),
        (
            "optimizer,step,value\nadam,1,2\n",
            "a.csv, line 1 has no column 'run' (or seed, trial, replicate). It has 'optimizer', 'step', 'value': add one with a "
            "name or a number for each run, such as its seed.",
        ),
        (
            "optimizer,attempt,step,value\nadam,1,1,2\n",
            "'attempt', 'step', 'value': say which it is, as in columns='run=attempt'.",
        ),
        (
            "optimizer,run,step,value\nadam,1,2,x\n",
            "a.csv, line 2, column 'value': found 'x'; write a number, nan where the run diverged, or nothing",
        ),
        (
            "optimizer,run,step,value\nadam,1,2,\nadam,1,3,\nadam,2,1,1\n",
            "a.csv, line 2: run '1' of 'adam' has no values: all of them are empty or null, which is not measured. Leave",
        ),
        ("optimizer,run,step,value\nadam,1,2,1_0\n", "found '1_0'"),
        ("optimizer;run;step;value\nadam;1;2;3,28\n", "line 2, column 'value': found '3,28'; write 3.28."),
        ("optimizer,run,step,value\nadam,1,two,3\n", "line 2, column 'step': found 'two'; write the step as a number"),
        ("optimizer,run,step,value\nadam,1,-2,3\n", "column 'step': found '-2'"),
        ("optimizer,run,step,value\nadam,1,nan,3\n", "column 'step': found 'nan'"),
        (
            "optimizer,run,step,value\n,1,2,3\n",
            "line 2, column 'optimizer': found nothing; write the name of the optimizer",
        ),
        ("optimizer,seed,step,value\nadam, ,2,3\n", "line 2, column 'seed': found nothing; write the name of the run"),
        ("optimizer,run,step,value\nadam,1,2\n", "a.csv, line 2 has 3 cells, and the first line has 4"),
        ("optimizer,run,step,value\nadam,1,2,3,4\n", "a.csv, line 2 has 5 cells"),
        (
            "optimizer,run,step,value,value\nadam,1,2,3,4\n",
            "there are 2 columns 'value', so which is the value? Rename",
        ),
        ('optimizer,run,step,value\n\n"adam\n,1,2,3\n', "a.csv, line 3 is not a line of a table"),
        ('optimizer,run,step,value\n"a\nb",1,2,3\nadam,1,2,x\n', "a.csv, line 4, column 'value'"),
        ("optimizer,run,step,value\nadam\u2028,1,2,x\n", "a.csv, line 2, column 'value'"),
        ("optimizer,run,step,value\nadam,1,2,\0\n", "a.csv is not text in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_says_where_and_what_to_write(text, told):
    assert told in error_of(text)


def test_two_columns_of_the_name_that_was_given():
    assert "there are 2 columns 'x', so which is the value?" in error_of(
        "optimizer,run,step,x,x\nadam,1,2,3,4\n", columns="value=x"
    )


def test_paths_that_are_no_curves(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.csv cannot be read: No such file"):
        read_curves(["nowhere.csv"])
    with pytest.raises(OptionError, match="name at least one file"):
        read_curves([])
    (tmp_path / "latin.csv").write_bytes(LOG.replace("sgd", "sgdé").encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.csv, line 4 is not UTF-8 \(byte 0xe9\)"):
        read_curves(["latin.csv"])
    with pytest.raises(OptionError, match="is not a storage: give postgresql"):
        read_curves(["https://host/log.csv"])


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_what_pandas_writes_of_what_was_not_measured(name):
    """The first step has no validation, as of most logs, and one run diverged, which pandas cannot say."""
    pandas = pytest.importorskip("pandas")
    rows = [("adam", 0, math.nan), ("adam", 5, 1.0), ("adam", 9, 0.5), ("sgd", 0, math.nan), ("sgd", 5, 2.0)]
    rows += [("sgd", 9, math.nan), ("sgd", 12, math.nan)]
    frame = pandas.DataFrame([(o, 1, s, v) for o, s, v in rows], columns=["optimizer", "run", "step", "value"])
    if name == "log.csv":
        frame.to_csv(name, index=False)
    else:
        frame.to_json(name, orient="records", lines=True)
    curves = read_curves([name])
    assert plain(curves) == {("adam", "1"): ([5, 9], [1.0, 0.5], None), ("sgd", "1"): ([5], [2.0], None)}
    assert [curve.blank_from for curve in curves] == [None, 9]


@pytest.mark.parametrize(
    "text", ["optimizer,run,value\na,1,\na,1,2\n", '{"opt":"a","run":1,"value":null}\n{"opt":"a","run":1,"value":2}']
)
def test_a_row_without_a_value_is_no_second_value(text):
    assert plain(read_curves([write("log.txt", text)])) == {("a", "1"): ([0], [2], None)}


@pytest.fixture
def from_pipe(monkeypatch):
    """Makes content standard input, which cannot be read twice, and returns its number."""
    with contextlib.ExitStack() as opened:

        def piped(content):
            read, write_end = os.pipe()
            with open(write_end, "wb") as file:
                file.write(content)
            monkeypatch.setattr("sys.stdin", opened.enter_context(open(read, encoding="utf-8")))
            return read

        yield piped


@pytest.mark.parametrize(
    "text", [LOG, LOG.replace(",", ";"), '{"opt":"adam","run":1,"step":0,"loss":10.5}', "\ufeff" + LOG]
)
def test_a_table_from_a_pipe_is_that_of_a_file(text, from_pipe):
    told = plain(read_curves([write("log.txt", text)]))
    from_pipe(text.encode())
    assert plain(read_curves(["-"])) == told
    assert plain(read_curves([f"/dev/fd/{from_pipe(text.encode())}"])) == told


def test_pipes_that_are_no_curves(from_pipe, monkeypatch):
    for content, message in (
        (b"", "standard input, line 1 is empty: write a table"),
        (b"SQLite format 3\0", "standard input has an Optuna storage, which cannot be read from a pipe: name its file"),
        (LOG.encode("utf-16"), "standard input is not text in UTF-8"),
        (b"optimizer,run,step,value\nadam,1,2,x", "standard input, line 2, column 'value': found 'x'"),
        (
            b"Wall time,Step,Value\n1,2,3",
            "standard input: the name of the run 'standard input' does not end in its number",
        ),
    ):
        from_pipe(content)
        with pytest.raises(DataError, match=message):
            read_curves(["-"])
    with pytest.raises(DataError, match="/dev/zero is not text"):
        read_curves(["/dev/zero"])
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="There is no standard input to read: name a file"):
        read_curves(["-"])


# --- JSON lines -------------------------------------------------------------------------------------------------------


def test_json_lines():
    lines = [
        {"method": "adam", "seed": 1, "step": 0, "train_loss": 10, "val_loss": 10.5},
        {"method": "adam", "seed": 1, "step": 60, "train_loss": 5.5},
        {"method": "adam", "seed": 1.0, "step": 125.0, "val_loss": 4.25},
        {"method": "sgd", "seed": "1", "step": 0, "val_loss": 10.5},
        {"method": "sgd", "seed": 1, "step": 125, "val_loss": None},
        {"method": "adam", "seed": 2, "step": "0", "val_loss": "10.25"},
    ]
    text = "\n\n".join(map(json.dumps, lines))
    assert plain(read_curves([write("log.jsonl", text.replace("null", "NaN"))])) == TOLD
    assert plain(read_curves([write("log.jsonl", text.replace("null", '"-inf"'))])) == TOLD
    assert plain(read_curves([write("log.jsonl", text)], columns="value=train_loss"))["adam", "1"][1] == [10.0, 5.5]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "a.jsonl, line 2 is not JSON"),
        ("[1]", "a.jsonl, line 2 is a list: write one object in each line"),
        (
            '{"optimizer": "a", "run": 1, "value": 2}',
            "a.jsonl, line 2 has a 'value' and no 'step': write the step, too",
        ),
        ('{"optimizer": "a", "run": true, "step": 2, "value": 2}', "line 2, column 'run': found True; write the name"),
        ('{"optimizer": "a", "run": [], "step": 2, "value": 2}', "line 2, column 'run': found []"),
        ('{"optimizer": "a", "run": 1, "step": null, "value": 2}', "line 2, column 'step': found None"),
        ('{"optimizer": "a", "run": 1, "step": 2, "value": {"x": 1}}', "line 2, column 'value': found {'x': 1}"),
        ('{"optimizer": "a", "run": 1, "step": 2, "value": false}', "line 2, column 'value': found False"),
        ('{"optimizer": "a", "run": 1, "step": 1' + "0" * 400 + ', "value": 2}', "column 'step': found 1000"),
        (
            '{"optimizer": "a", "run": 0, "step": 0, "value": 2}',
            "a.jsonl, line 2: run '0' of 'a' has a second value at",
        ),
    ],
)
def test_json_lines_that_cannot_be_read(line, told):
    first = '{"optimizer": "a", "run": 0, "step": 0, "value": 1}\n'
    assert told in error_of(first + line, "a.jsonl")


def test_a_run_of_which_every_value_is_null():
    line = '{"optimizer": "a", "run": 0, "step": 0, "value": null}'
    assert "a.jsonl, line 1: run '0' of 'a' has no values: all of them are empty or null" in error_of(line, "a.jsonl")


def test_json_lines_without_what_is_needed():
    assert "a.jsonl has no key 'value' (or loss, valloss, validloss). It has 'optimizer'" in error_of(
        '{"optimizer": "a", "run": 0, "step": 0}', "a.jsonl"
    )


# --- curves -----------------------------------------------------------------------------------------------------------


def test_a_table_of_the_shape_of_a_public_benchmark():
    """Many configurations with many runs each, of different lengths, in steps that become finer towards the end."""
    rng, lines, told = np.random.default_rng(0), ["optimizer,run,step,val_loss"], {}
    for number in range(56):
        name = f"2026050{number % 9}_rule{number:02}" if number else "1bd8db7a"
        for run in range(1, 2 + number % 12):
            steps = [*range(0, 3000, 125), *range(3000, 3001 + 25 * (number % 7), 25)]
            values = [
                f"{value:.5f}"
                for value in 3.28 + 7.5 * np.exp(-np.array(steps) / 400) + rng.normal(0, 1e-3, len(steps))
            ]
            lines += [f"{name},{run},{step},{value}" for step, value in zip(steps, values, strict=True)]
            told[name, str(run)] = ([float(s) for s in steps], [float(v) for v in values], None)
    assert plain(read_curves([write("track.csv", "\n".join(lines) + "\n")])) == told


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"])),
        st.dictionaries(st.floats(0, 1e9), st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6),
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
def test_curves_are_what_was_added_in_any_order(runs, random):
    rows, points = CurveRows(), [(key, step, value) for key, run in runs.items() for step, value in run.items()]
    random.shuffle(points)
    for (optimizer, run), step, value in points:
        rows.add(optimizer, run, step, value, Place("here"))
    curves = rows.curves()
    assert {(c.optimizer, c.run) for c in curves} == set(runs)
    for curve in curves:
        points = sorted(runs[curve.optimizer, curve.run].items())
        kept = dict(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
        bad = [step for step, value in points if not math.isfinite(value)]
        assert curve.diverged_at == (min(bad) if bad else None)
        assert kept == {step: value for step, value in points if not bad or step < min(bad)}


def test_a_run_that_is_declared_needs_values():
    rows = CurveRows()
    rows.declare("adam", "1", Place("log", 3))
    with pytest.raises(DataError, match=r"log, line 3: run '1' of 'adam' has no values"):
        rows.curves()


@pytest.mark.parametrize(
    ("steps", "values", "told"),
    [
        ([], [], "has no values"),
        ([1, 2], [1], "steps of shape"),
        ([2, 1], [1, 1], "do not rise"),
        ([1, 1], [1, 1], "do not rise"),
        ([-1], [1], "do not rise"),
        ([1], [math.nan], "not finite"),
    ],
)
def test_a_curve_made_by_hand_is_checked(steps, values, told):
    with pytest.raises(ComparisonError, match=f"Run '1' of 'adam' has .*{told}|Run '1' of 'adam' {told}"):
        RunCurve("adam", "1", np.array(steps, dtype=float), np.array(values, dtype=float))
    assert RunCurve("adam", "1", np.array([]), np.array([]), diverged_at=0.0).diverged
