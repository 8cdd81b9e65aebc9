"""``ravine plot``: the losses of runs in one picture, under names that tell them apart."""

import sys

import pytest

from ravine.cli import _plot, main
from ravine.train import Recorder, _recorder

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with two runs of digits that differ in alpha, and one that has no config."""
    folder = tmp_path_factory.mktemp("plotted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for alpha in ("0.9", "0.999"):
            options = ["digits", "-o", f"rmsprop:alpha={alpha}", "--epochs", "2", "--out", f"alpha-{alpha}"]
            patch.setattr(sys, "argv", ["ravine", "train", *options, "--threads", "1"])
            with pytest.raises(SystemExit):
                main()
    (folder / "bare").mkdir()
    (folder / "bare" / "metrics.jsonl").write_bytes((folder / "alpha-0.9" / "metrics.jsonl").read_bytes())
    return folder


@pytest.fixture
def ravine(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    drawn = []
    draw = _recorder.draw_losses

    def seen(curves, **options):
        drawn.append((curves, options))
        return draw(curves, **options)

    monkeypatch.setattr(_recorder, "draw_losses", seen)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "plot", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err, drawn

    return call


def test_the_picture_is_a_new_file_and_an_older_one_is_replaced_only_where_it_is_named(ravine, runs):
    mine = runs / "loss.png"
    mine.write_text("mine")
    assert ravine("alpha-0.9")[1] == "Wrote ravine-out/plot-digits.png\n"
    assert ravine("alpha-0.9")[1] == "Wrote ravine-out/plot-digits-2.png\n"
    assert ravine("bare")[1] == "Wrote ravine-out/plot-runs.png\n"
    assert mine.read_text() == "mine"
    for name in ("digits", "digits-2", "runs"):
        assert (runs / "ravine-out" / f"plot-{name}.png").read_bytes().startswith(PNG)
    assert ravine("alpha-0.9", "--out", "new/one.png")[1] == "Wrote new/one.png\n"
    assert ravine("alpha-0.9", "--out", "new/one.png")[1] == "Replaced the older new/one.png\n"


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ("alpha-0.9/metrics.jsonl", "the picture is a PNG file; name it so: --out alpha-0.9/metrics.png"),
        ("picture", "the picture is a PNG file; name it so: --out picture.png"),
        ("alpha-0.9", "is a folder; name the picture: --out alpha-0.9/plot.png"),
        ("text.png", "is there and is no PNG file: it is left as it is"),
    ],
)
def test_nothing_else_is_written_over(ravine, runs, out, text):
    (runs / "text.png").write_text("no picture")
    before = (runs / "alpha-0.9" / "metrics.jsonl").read_bytes()
    code, _, err, drawn = ravine("alpha-0.9", "--out", out)
    assert (code, drawn) == (2, [])
    assert text in err
    assert (runs / "alpha-0.9" / "metrics.jsonl").read_bytes() == before
    assert (runs / "text.png").read_text() == "no picture"


def test_runs_lie_over_each_other_under_what_differs(ravine, runs):
    code, out, err, drawn = ravine("alpha-0.9", "alpha-0.999", "--out", "both.png")
    assert (code, out, err) == (0, "Wrote both.png\n", "")
    assert (runs / "both.png").read_bytes().startswith(PNG)
    ((curves, options),) = drawn
    assert [c.label for c in curves] == ["rmsprop:alpha=0.9", "rmsprop:alpha=0.999"]
    for curve, folder in zip(curves, ("alpha-0.9", "alpha-0.999"), strict=True):
        kept = Recorder.load(folder)
        assert curve.train.tolist() == kept.losses.tolist()
        assert [value for _, value in curve.valid] == kept.column("valid_loss").tolist()
    assert (options["scale"], options["title"], options["x"]) == ("log", "digits: loss", "step")


def test_names_can_be_given_and_are_needed_where_runs_do_not_differ(ravine):
    assert [c.label for c in ravine("short=alpha-0.9", "long=alpha-0.999")[3][0][0]] == ["short", "long"]
    assert [c.label for c in ravine("alpha-0.9", "bare")[3][-1][0]] == ["alpha-0.9", "bare"]
    code, _, err, _ = ravine("alpha-0.9", "alpha-0.9")
    assert code == 2
    assert "name them: first=alpha-0.9" in err


def test_options_are_those_of_the_picture(ravine):
    code, _, _, drawn = ravine("alpha-0.9", "--scale", "linear", "--x", "seconds", "--window", "5", "--title", "mine")
    assert code == 0
    assert drawn[-1][1] | {"path": None} == {
        "scale": "linear",
        "x": "seconds",
        "window": 5,
        "title": "mine",
        "path": None,
    }


def test_a_run_that_is_not_there_is_answered_with_the_one_that_was_meant(ravine, runs, monkeypatch):
    (runs / "ravine-out").mkdir(exist_ok=True)
    (runs / "ravine-out" / "train-digits").symlink_to(runs / "alpha-0.9")
    for wrong in ("digits", "train-digit", "ravine-out/train-digit"):
        code, _, err, _ = ravine(wrong)
        assert code == 2
        assert f"There is no run {wrong}. Did you mean ravine-out/train-digits?" in err
    assert "ravine-out has many runs. `ravine list` shows" in ravine("ravine-out")[2]
    assert ravine("train-digits", "other=train-digits", "--out", "named.png")[0] == 0


def test_what_is_no_run_is_named(ravine):
    code, _, err, _ = ravine("nothing-here")
    assert code == 2
    assert "nothing-here" in err
    assert ravine()[0] == 2


@pytest.mark.parametrize(
    ("configs", "labels"),
    [
        ([{"optimizer": "adam", "lr": 0.1}, {"optimizer": "adam", "lr": 0.2}], ["lr 0.1", "lr 0.2"]),
        ([{"optimizer": "sgd", "seed": 0}, {"optimizer": "adam", "seed": 1}], ["sgd", "adam"]),
        ([{"lr": 0.1, "seed": 0}, {"lr": 0.1, "seed": 1}], ["seed 0", "seed 1"]),
        ([{"optimizer": "adam"}, {"optimizer": "adam"}], ["a", "b"]),
        ([{}, {}], ["a", "b"]),
    ],
)
def test_labels(configs, labels):
    assert _plot._labels(["a", "b"], configs) == labels
