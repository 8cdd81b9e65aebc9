"""``ravine compare`` from the outside: what it prints, writes, refuses and returns."""

import json
import sys

import pytest
from click.testing import CliRunner

from ravine.cli import compare, main
from ravine.comparison import contenders


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "compare", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def results(path):
    return {c["spec"]: c for c in json.loads(path.read_text())["contenders"]}


def test_digits_with_everything_it_needs_by_itself(ravine, tmp_path):
    code, out, err = ravine("digits", "--quick")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    found = results(tmp_path / "ravine-out" / "compare-digits" / "results.json")
    assert list(found) == list(contenders.DEFAULTS)
    for spec, contender in found.items():
        assert spec in out
        assert contender["accuracy"] > 0.93
        assert contender["steps"] == 5 * 23
    losses = [float(line.split()[3]) for line in out.splitlines() if line.strip().split(" ")[0] in found]
    assert len(losses) == 9
    assert losses == sorted(losses)
    ours, theirs = found["rmsprop:alpha=0.9"], found["torch-rmsprop:alpha=0.9"]
    assert ours["lr"] == theirs["lr"]
    for key in ("train_loss", "test_loss"):
        assert ours[key] == pytest.approx(theirs[key], rel=5e-4)
    assert ours["curve"]["loss"] == pytest.approx(theirs["curve"]["loss"], rel=1e-3)
    written = {path.name for path in (tmp_path / "ravine-out" / "compare-digits").iterdir()}
    assert written == {"curves.png", "results.json"}
    for name in written:
        assert f"Wrote ravine-out/compare-digits/{name}" in out


@pytest.mark.slow
def test_digits_at_its_usual_length_agrees_with_torch_to_three_digits(ravine, tmp_path):
    assert ravine()[0] == 0
    found = results(tmp_path / "ravine-out" / "compare-digits" / "results.json")
    ours, theirs = found["rmsprop:alpha=0.9"], found["torch-rmsprop:alpha=0.9"]
    for key in ("train_loss", "test_loss"):
        assert ours[key] == pytest.approx(theirs[key], rel=5e-4)
    assert min(contender["accuracy"] for contender in found.values()) > 0.95


def test_a_second_run_gets_its_own_folder_and_the_same_losses(ravine, tmp_path):
    for folder in ("compare-beale", "compare-beale-2"):
        code, out, _ = ravine("beale", "--quick", "-o", "rmsprop", "-o", "torch-adam", "--seed", "3")
        assert code == 0
        assert f"Wrote ravine-out/{folder}/contour.png" in out
        assert (tmp_path / "ravine-out" / folder / "contour.png").read_bytes().startswith(b"\x89PNG")
    first, second = (
        results(tmp_path / "ravine-out" / f / "results.json") for f in ("compare-beale", "compare-beale-2")
    )
    for spec, contender in first.items():
        assert second[spec]["curve"] == contender["curve"]


def test_rates_and_epochs_are_the_users(ravine, tmp_path):
    code, out, _ = ravine(
        "ravine", "--epochs", "1", "--lr", "0.03", "-o", "sgd", "-o", "torch-sgd:lr=0.04", "--out", "here"
    )
    assert code == 0
    assert "1 epoch," in out
    found = results(tmp_path / "here" / "results.json")
    assert {spec: c["lr"] for spec, c in found.items()} == {"sgd": 0.03, "torch-sgd:lr=0.04": 0.04}
    assert found["sgd"]["steps"] == 100


def test_a_diverged_optimizer_is_shown_last(ravine, tmp_path):
    code, out, _ = ravine("rosenbrock", "--quick", "-o", "torch-sgd:lr=1", "-o", "torch-adam", "--out", "here")
    assert code == 0
    lines = [line for line in out.splitlines() if "torch-" in line]
    assert lines[0].startswith(" torch-adam") or lines[0].startswith("torch-adam")
    assert "diverged" in lines[1]
    assert "NaN" not in (tmp_path / "here" / "results.json").read_text()


def test_an_occupied_folder_is_refused_before_training_and_replaced_with_force(ravine, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "results.json").write_text("old")
    arguments = ("ravine", "--quick", "-o", "torch-sgd", "--out", "here")
    with monkeypatch.context() as patch:
        patch.setattr(compare, "_train_all", None)  # were it called, that would be an error
        code, _, err = ravine(*arguments)
    assert code == 2
    assert err.startswith("ravine: The folder here is not empty.")
    assert "--force" in err
    assert (tmp_path / "here" / "results.json").read_text() == "old"
    assert ravine(*arguments, "--force")[0] == 0
    assert "torch-sgd" in results(tmp_path / "here" / "results.json")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["diggits"], "Did you mean 'digits'?"),
        (["ravine", "-o", "rmsporp"], "Did you mean 'rmsprop'?"),
        (["ravine", "-o", "rmsprop:alhpa=0.9"], "Did you mean 'alpha'?"),
        (["ravine", "-o", "torch-rmsprop:alpha=-1"], "torch-rmsprop:alpha=-1: Invalid alpha value"),
        (["ravine", "-o", "torch-lbfgs"], "torch-lbfgs: its step fails"),
        (["ravine", "--lr", "nan"], "finite number above 0"),
        (["ravine", "--lr", "-1"], "finite number above 0"),
        (["ravine", "--data", "."], "reads no files"),
        (["mnist", "--data", "nowhere"], "The data folder nowhere does not exist. To get the data"),
        (["ravine", "--quick", "--epochs", "2"], "give one"),
        (["ravine", "--force"], "--force is for the folder that --out names"),
        (["ravine", "--epochs", "0"], "--epochs"),
        (["ravine", "--sed", "1"], "--seed"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2_and_leaves_nothing(ravine, tmp_path, arguments, text):
    code, out, err = ravine(*arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err
    left = list(tmp_path.rglob("*"))
    assert [path for path in left if path.name != "ravine-out"] == []


def interrupt_at(monkeypatch, number):
    calls, train = [], compare.train

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(compare, "train", stopped)


def test_ctrl_c_writes_what_is_finished_and_exits_with_130(ravine, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 2)
    code, out, err = ravine("ravine", "--quick", "-o", "torch-sgd", "-o", "torch-adam", "--out", "here")
    assert code == 130
    assert "Finished, 1 of 2: torch-sgd." in err
    assert "torch-adam" not in out
    assert list(results(tmp_path / "here" / "results.json")) == ["torch-sgd"]
    assert json.loads((tmp_path / "here" / "results.json").read_text())["interrupted"] is True


def test_ctrl_c_before_anything_is_finished_leaves_no_folder(ravine, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 1)
    code, out, err = ravine("ravine", "--quick", "-o", "torch-sgd", "--out", "here")
    assert (code, out) == (130, "")
    assert "nothing" in err
    assert not (tmp_path / "here").exists()
    monkeypatch.setattr(compare, "find", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert ravine("ravine")[0] == 130


def test_help_names_the_tasks():
    result = CliRunner().invoke(compare.command, ["--help"])
    assert result.exit_code == 0
    for word in ("digits", "fashion-mnist", "rosenbrock", "--optimizer", "--quick", "--force"):
        assert word in result.output
