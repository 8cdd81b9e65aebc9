"""``ravine contour`` from the outside: what it prints, writes, refuses and returns."""

import json
import re
import shlex
import sys

import pytest
from click.testing import CliRunner

from ravine._plotting.progress_lines import ProgressLines
from ravine.cli import _contour as contour
from ravine.cli import main

SHORT = ("--rates", "3", "--starts", "2", "--steps", "20")
BOWL = "def f(point):\n    x, y = point.unbind(-1)\n    return x**2 + 3 * y**2\n"


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "contour", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def test_three_files_and_a_table_and_the_same_numbers_again(ravine, tmp_path):
    documents = []
    for folder in ("contour-ravine", "contour-ravine-2"):
        code, out, err = ravine("ravine", *SHORT, "-o", "rmsprop:alpha=.9", "-o", "momentum", "-o", "torch-adam")
        assert (code, err) == (0, "")
        where = tmp_path / "ravine-out" / folder
        assert {path.name for path in where.iterdir()} == {"contour.png", "contour.html", "paths.json"}
        assert f"Wrote paths.json, contour.png, contour.html to ravine-out/{folder}\n" in out
        assert out.endswith(f"\nOpen ravine-out/{folder}/contour.html\n")
        assert (where / "contour.png").read_bytes().startswith(b"\x89PNG")
        assert (where / "contour.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        documents.append((where / "paths.json").read_text())
    assert documents[0] == documents[1]
    document = json.loads(documents[0])
    assert [entry["spec"] for entry in document["optimizers"]] == ["rmsprop:alpha=.9", "momentum", "torch-adam"]
    assert document["rates"] == [0.0001, 0.01, 1.0]
    for entry in document["optimizers"]:
        assert [len(row) for row in entry["paths"]] == [2, 2, 2]
    assert max(map(len, out.splitlines())) <= 88


def test_a_sweep_has_every_value_of_those_that_have_it(ravine, tmp_path):
    code, out, _ = ravine("beale", *SHORT, "-o", "rmsprop", "-o", "sgd", "--sweep", "alpha=0.5,0.9", "--out", "here")
    assert code == 0
    found = json.loads((tmp_path / "here" / "paths.json").read_text())["optimizers"]
    assert [(e["spec"], e["family"], e["value"]) for e in found] == [
        ("rmsprop:alpha=0.5", "rmsprop", "0.5"),
        ("rmsprop:alpha=0.9", "rmsprop", "0.9"),
        ("sgd", "sgd", None),
    ]
    assert [e["options"].get("alpha") for e in found] == [0.5, 0.9, None]
    assert "rmsprop:alpha=0.5" in out
    code, _, err = ravine("beale", *SHORT, "-o", "adam:eps=1e-7", "--sweep", "betas=(0.9, 0.99),(0.5, 0.9)")
    assert (code, err) == (0, "")


def test_a_file_of_ones_own_with_a_hostile_name(ravine, tmp_path):
    (tmp_path / "<img src=x onerror=alert(1)>.py").write_text(BOWL + "start = (-3.0, 2.0)\n")
    code, _, err = ravine("<img src=x onerror=alert(1)>.py", *SHORT, "-o", "sgd:momentum=0.5, # <b>\n nesterov=True")
    assert (code, err) == (0, "")
    (folder,) = (tmp_path / "ravine-out").iterdir()
    assert folder.name == "contour--img-src-x-onerror-alert-1-"
    page = (folder / "contour.html").read_text(encoding="utf-8")
    assert "<h1>Search paths on &lt;img src=x onerror=alert(1)&gt;</h1>" in page
    assert json.loads((folder / "paths.json").read_text())["starts"][0] == [-3.0, 2.0]


def test_a_value_below_zero_is_shown_above_the_lowest(ravine, tmp_path):
    (tmp_path / "low.py").write_text(BOWL.replace("x**2 +", "x**2 - 5 +"))
    code, out, _ = ravine("low.py", *SHORT, "-o", "sgd", "--lowest", "0.01", "--highest", "0.1", "--out", "here")
    assert code == 0
    assert "Values are shown above -5" in out
    assert json.loads((tmp_path / "here" / "paths.json").read_text())["lowest"] == pytest.approx(-5)


def test_one_start_at_the_minimum_has_a_picture(ravine, tmp_path):
    (tmp_path / "here.py").write_text(BOWL + "start = minimum = (0, 0)\n")
    assert ravine("here.py", "--rates", "2", "--starts", "1", "--steps", "1", "-o", "sgd")[0] == 0


def test_a_best_rate_at_the_end_of_the_range_is_told(ravine):
    _, out, _ = ravine("ravine", *SHORT, "-o", "sgd", "--lowest", "1e-4", "--highest", "1e-2")
    assert "sgd: the best rate is the highest tried; a better one may lie outside." in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rosenbrok"], "Did you mean 'rosenbrock'?"),
        (["digits"], "There is no function 'digits' of two variables."),
        (["nowhere.py"], "does not exist"),
        (["ravine", "-o", "rmsporp"], "Did you mean 'rmsprop'?"),
        (["ravine", "-o", "rmsprop:alhpa=0.9"], "Did you mean 'alpha'?"),
        (["ravine", "-o", "rmsprop:lr=0.1"], "leave lr out"),
        (["ravine", "-o", "sgd", "-o", "sgd"], "given twice"),
        (["ravine", "-o", "torch-lbfgs"], "torch-lbfgs: its step fails"),
        (["ravine", "-o", "rmsprop", "--sweep", "alhpa=0.5"], "Did you mean 'alpha'?"),
        (["ravine", "-o", "rmsprop", "--sweep", "alpha"], "is not KEY=VALUE,VALUE"),
        (["ravine", "-o", "rmsprop", "--sweep", "alpha=x"], "is not KEY=VALUE,VALUE"),
        (["ravine", "-o", "rmsprop", "--sweep", "alpha=0.5,0.5"], "a value twice"),
        (["ravine", "-o", "rmsprop", "--sweep", "lr=0.5,0.5"], "the number of rates sets the learning rates"),
        (["ravine", "-o", "rmsprop:alpha=0.9", "--sweep", "alpha=0.5"], "alpha is swept; leave it out here"),
        (["ravine", "-o", "rmsprop", "--sweep", "alpha=-1"], "rmsprop:alpha=-1"),
        (["ravine", "--lowest", "1e-6"], "4 decades"),
        (["ravine", "--lowest", "nan"], "finite number above 0"),
        (["ravine", "--rates", "101", "--starts", "50"], "try fewer"),
        (["ravine", "--force"], "--force is for the folder that --out names"),
        (["ravine", "--steps", "0"], "--steps"),
        (["ravine", "--sed", "1"], "--seed"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2_and_leaves_nothing(ravine, tmp_path, arguments, text):
    code, out, err = ravine(*arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err
    assert list(tmp_path.rglob("*")) == []


def test_an_occupied_folder_is_refused_and_replaced_with_force(ravine, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "paths.json").write_text("old")
    arguments = ("ravine", *SHORT, "-o", "sgd", "--out", "here")
    code, _, err = ravine(*arguments)
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "here" / "paths.json").read_text() == "old"
    assert ravine(*arguments, "--force")[0] == 0


def test_ctrl_c_leaves_nothing(ravine, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(contour, "_run", interrupted)
    code, out, err = ravine("ravine", *SHORT)
    assert (code, out, err) == (
        130,
        "",
        f"ravine: Interrupted.\nNothing new is kept. Start again: {shlex.join(['ravine', 'contour', 'ravine', *SHORT])}\n",
    )
    assert not any((tmp_path / "ravine-out").iterdir())


def test_the_help_says_what_it_makes():
    text = CliRunner().invoke(contour.command, ["--help"]).output
    for word in ("rosenbrock", "contour.html", "--sweep", "4 decades", "paths.json"):
        assert word in " ".join(text.split())


def test_without_a_terminal_there_is_a_line_now_and_then(ravine, monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(contour, "ProgressLines", lambda: ProgressLines(clock))
    code, _, err = ravine("ravine", *SHORT)
    assert code == 0
    assert re.fullmatch(r"([\d,]+ of [\d,]+ steps, .+\n)+", err)
