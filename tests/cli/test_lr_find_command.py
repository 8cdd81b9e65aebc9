"""``ravine lr-find`` from the outside: what it prints, writes and refuses."""

import json
import sys

import pytest

from ravine.cli import main


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys, one_thread):
    """Run ``ravine lr-find`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "lr-find", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def test_a_rate_is_found_shown_and_written(ravine, tmp_path):
    code, out, err = ravine("digits", "-o", "rmsprop:alpha=0.9")
    assert (code, err) == (0, "")
    folder = tmp_path / "ravine-out" / "lr-find-digits"
    assert {path.name for path in folder.iterdir()} == {"lr_find.png", "lr_find.json", "config.json"}
    assert (folder / "lr_find.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    found = json.loads((folder / "lr_find.json").read_text())
    assert len(found["rates"]) == len(found["losses"][0]) == 100
    assert len(found["losses"]) == 3
    valley = found["suggestions"]["valley"]
    assert 2e-4 < valley["lr"] < 2e-2  # 2e-3 trains digits best
    assert valley["low"] <= valley["lr"] <= valley["high"]
    assert "valley" in out
    assert out.splitlines()[-1] == "Open ravine-out/lr-find-digits/lr_find.png"


def test_where_there_is_no_answer_it_is_said_and_the_picture_is_there(ravine, tmp_path):
    code, out, err = ravine("digits", "--start", "1e-12", "--end", "1e-10", "--steps", "20", "--orders", "2")
    assert (code, err) == (0, "")
    assert "There is no learning rate to suggest" in out
    found = json.loads((tmp_path / "ravine-out" / "lr-find-digits" / "lr_find.json").read_text())
    assert all(s["lr"] is None and s["reason"] for s in found["suggestions"].values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digitz"], "Did you mean 'digits'?"),
        (["digits", "-o", "rmsprop", "-o", "adam"], "`ravine compare` trains with several"),
        (["digits", "-o", "torch-lbfgs"], "evaluates a batch many times"),
        (["digits", "--start", "0"], "0"),
        (["digits", "--start", "1", "--end", "0.1"], "0.1"),
        (["digits", "--steps", "1"], "1"),
        (["digits", "-o", "torch-lbfgsx"], "torch-lbfgs"),
    ],
)
def test_what_is_wrong_is_said_before_a_folder_is_made(ravine, tmp_path, arguments, said):
    code, _, err = ravine(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "ravine-out").exists()
