"""``ravine train`` from the outside: what it prints, writes, refuses, and how it goes on."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import PIPE, TRAINS, TRAINS_TOGETHER, Forked, run_forked

from ravine._files import checkpoint
from ravine.cli import main
from ravine.tasks import find
from ravine.train import Learner, Recorder
from ravine.train._interrupt import StoppedTogether

FILES = {"best.safetensors", "watch.safetensors", "metrics.jsonl", "config.json", "checkpoint.safetensors", "loss.png"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def ravine(tmp_path, monkeypatch, capsys):
    """Run ``ravine train`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ravine", "train", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    yield call
    torch.set_num_threads(threads)


def same_runs(a, b):
    """Whether two folders hold the same training, bit for bit, apart from its times."""
    one, other = Recorder.load(a), Recorder.load(b)
    assert np.array_equal(one.losses, other.losses)
    assert [{**row, "time": 0} for row in one.epochs] == [{**row, "time": 0} for row in other.epochs]
    for name in one.hyper_names:
        assert np.array_equal(one.hyper(name), other.hyper(name))
    mine, theirs = (checkpoint.load(folder / "checkpoint.safetensors")["model"] for folder in (a, b))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_run_shows_its_epochs_and_writes_a_folder(ravine, tmp_path):
    code, out, err = ravine("digits", "-o", "rmsprop:alpha=0.9", "--lr", "2e-3", "--epochs", "3")
    assert (code, err) == (0, "")
    *setup, head, row, second, third, summary, tested, wrote, last = out.splitlines()
    rows = [row, second, third]
    assert head.split() == ["epoch", "train_loss", "valid_loss", "accuracy", "time"]
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3]
    accuracies = [float(row.split()[3]) for row in rows]
    assert accuracies[-1] > 0.93
    assert "\x1b" not in out
    assert summary.startswith("3 epochs in ")
    assert summary.endswith("after epoch 3, kept in ravine-out/train-digits/best.safetensors")
    folder = tmp_path / "ravine-out" / "train-digits"
    assert {path.name for path in folder.iterdir()} == FILES
    assert wrote.startswith("Wrote ")
    assert wrote.endswith(" to ravine-out/train-digits")
    assert all(name in wrote for name in FILES)
    assert last == "Open ravine-out/train-digits/loss.png"
    assert setup == [
        "Task       digits: 1,150 rows to train on, 287 held out, 360 to test on",
        "Model      Sequential, 7,510 parameters",
        "Optimizer  rmsprop:alpha=0.9: lr 0.002, alpha 0.9, eps 1e-08",
        "Training   3 epochs of 18 steps, batch 64, seed 0",
        "Device     cpu, 1 thread",
        "Folder     ravine-out/train-digits",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert (config["task"], config["optimizer"], config["lr"], config["epochs"]) == (
        "digits",
        "rmsprop:alpha=0.9",
        2e-3,
        3,
    )
    recorder = Recorder.load(folder)
    assert recorder.column("accuracy") == pytest.approx(accuracies, abs=1e-5)
    assert (recorder.hyper("lr") == 2e-3).all()
    assert (recorder.hyper("alpha") == 0.9).all()
    assert recorder.notes == [(54, tested)]
    assert (folder / "loss.png").read_bytes().startswith(PNG)


def test_the_configuration_has_the_values_that_were_used(ravine, tmp_path):
    assert ravine("digits", "--epochs", "1", "--schedule", "cosine")[0] == 0
    config = json.loads((tmp_path / "ravine-out" / "train-digits" / "config.json").read_text())
    assert None not in config.values()
    assert {
        "task": "digits",
        "optimizer": "rmsprop",
        "lr": 0.002,
        "epochs": 1,
        "schedule": "cosine",
        "checkpoint_every": "epoch",
        "seed": 0,
        "threads": 1,
        "batch_size": 64,
        "steps_per_epoch": 18,
        "model": "Sequential",
        "parameters": 64 * 100 + 100 + 100 * 10 + 10,
        "device": "cpu",
    }.items() <= config.items()
    assert config["hyperparameters"] | {"lr": 0.002, "alpha": 0.99, "eps": 1e-8} == config["hyperparameters"]


def test_what_is_only_written_otherwise_may_be_named_when_it_goes_on(ravine):
    assert ravine("digits", "--epochs", "1", "-o", "adam:betas=(0.9, 0.99)", "--schedule", "step:20,0.5")[0] == 0
    same = ["-o", "adam:eps=1e-8,betas=[.9,.990]", "--schedule", "step:20, 0.50"]
    code, out, err = ravine("digits", "--resume", *same)
    assert (code, err) == (0, "")
    assert "is complete: all epochs are done" in out
    code, _, err = ravine("digits", "--resume", "-o", "adam:betas=(0.9, 0.98)")
    assert code == 2
    assert "has -o adam:betas=(0.9, 0.99), not adam:betas=(0.9, 0.98)" in err


@pytest.mark.parametrize("rate", [(), ("--schedule", "constant"), ("--one-cycle",)])
def test_what_stood_for_an_option_may_be_named_when_it_goes_on(ravine, tmp_path, rate):
    assert ravine("digits", "--epochs", "1", *rate)[0] == 0
    file = tmp_path / "ravine-out" / "train-digits" / "config.json"
    kept = json.loads(file.read_text())
    same = ["--lr", "0.002", "--threads", "1", "--seed", "0", "--epochs", "1", *rate]
    code, out, err = ravine("digits", "--resume", *same)
    assert (code, err) == (0, "")
    assert "Resumes    ravine-out/train-digits\n" in out
    assert "is complete: all epochs are done" in out
    assert json.loads(file.read_text()) == kept
    code, _, err = ravine("digits", "--resume", "--lr", "0.02")
    assert (code, err) == (
        2,
        "ravine: The run in ravine-out/train-digits has --lr 0.002, not 0.02. Leave it out to resume that run.\n",
    )
    code, _, err = ravine("ravine", "--resume", "--out", "ravine-out/train-digits")
    assert code == 2
    assert err.endswith("has the task digits, not ravine. Write ravine train digits --resume to resume that run.\n")


def test_a_run_of_an_earlier_version_goes_on(ravine, tmp_path):
    assert ravine("digits", "--epochs", "2")[0] == 0
    file = tmp_path / "ravine-out" / "train-digits" / "config.json"
    new = json.loads(file.read_text())
    old = {"lr": None, "schedule": None, "checkpoint_every": None, "threads": None, "data": None, "one_cycle": False}
    file.write_text(json.dumps({name: new[name] for name in ("task", "optimizer", "seed", "epochs")} | old))
    assert ravine("digits", "--resume", "--epochs", "3")[0] == 0
    assert json.loads(file.read_text()) == new | {"epochs": 3}


def test_ctrl_c_says_the_command_that_goes_on(ravine, monkeypatch):
    steps, backward = [], torch.Tensor.backward

    def interrupted(*arguments, **options):
        steps.append(1)
        if len(steps) == 25:
            signal.raise_signal(signal.SIGINT)
        return backward(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", interrupted)
        code, out, err = ravine("digits", "--epochs", "3")
    assert code == 130
    assert "Interrupted in epoch 2" in out
    command = "ravine train digits --resume --out ravine-out/train-digits"
    assert err == f"ravine: Interrupted.\nResume: {command}\n"
    code, out, err = ravine(*command.split()[2:])
    assert (code, err) == (0, "")
    assert "3 epochs in " in out


@pytest.mark.parametrize("when", ["while the picture of the stopped run is drawn", "after the last epoch"])
def test_ctrl_c_after_the_training_says_how_to_go_on_too(ravine, monkeypatch, when):
    if "stopped" in when:
        monkeypatch.setattr(Learner, "fit", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with monkeypatch.context() as patch:
        patch.setattr("ravine.cli._train._show", lambda *_: signal.raise_signal(signal.SIGINT))
        code, _, err = ravine("digits", "--epochs", "1")
    assert code == 130
    assert err == "ravine: Interrupted.\nResume: ravine train digits --resume --out ravine-out/train-digits\n"


def test_the_test_set_is_read_once_at_the_end_and_decides_nothing(ravine, tmp_path, monkeypatch):
    """Validation has a fifth of the training rows; the last line's numbers are those of the test set by hand."""
    seen = []
    real = Learner.validate

    def validate(self, data=None):
        seen.append(data)
        return real(self, data)

    monkeypatch.setattr(Learner, "validate", validate)
    # the dry run validates, too, on a copy that is not trained
    monkeypatch.setattr("ravine.cli._train.dry_run", lambda *_: 0)
    code, out, _ = ravine("digits", "--epochs", "2", "--seed", "3", "--out", "run", "--schedule", "plateau:0,0.5")
    assert code == 0
    assert len(seen) == 1
    digits = find("digits")
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(3))
    held_out = order[: round(len(order) / 5)]
    model = digits.start(3)
    model.load_state_dict(checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")["model"])
    model.eval()
    with torch.no_grad():
        outputs = model(digits.train.inputs[held_out])
        valid = torch.nn.functional.cross_entropy(outputs, digits.train.targets[held_out]).item()
        outputs = model(digits.test.inputs)
        loss = torch.nn.functional.cross_entropy(outputs, digits.test.targets).item()
        right = int((outputs.argmax(1) == digits.test.targets).sum())
    assert Recorder.load("run").column("valid_loss")[-1] == pytest.approx(valid, rel=1e-5)
    share = f"{100 * right / 360:.0f}"
    assert out.splitlines()[-3] == f"Test set after epoch 2: Average loss: {loss:.4f}, Accuracy: {right}/360 ({share}%)"


def test_a_complete_run_goes_on_for_more_epochs(ravine):
    options = ["digits", "-o", "rmsprop:alpha=0.9", "--threads", "1"]
    assert ravine(*options, "--epochs", "2", "--out", "longer")[0] == 0
    code, out, err = ravine("digits", "--resume", "--epochs", "4", "--out", "longer")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[7:9]] == ["3", "4"]
    assert ravine(*options, "--epochs", "4", "--out", "whole")[0] == 0
    assert np.array_equal(Recorder.load("longer").losses, Recorder.load("whole").losses)
    assert json.loads(Path("longer/config.json").read_text())["epochs"] == 4
    assert "is complete" in ravine("digits", "--resume", "--out", "longer")[1]
    code, _, err = ravine("digits", "--resume", "--epochs", "3", "--out", "longer")
    assert code == 2
    assert "has --epochs 4, not 3" in err


def test_the_books_six_rules_have_names(ravine):
    for name in ("momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam"):
        code, out, err = ravine("digits", "-o", f"{name}-theano-book", "--epochs", "1", "--out", name)
        assert (code, err) == (0, "")
        assert float(out.splitlines()[7].split()[3]) > 0.5, f"{name} learned something"


def test_two_runs_get_two_folders_and_are_the_same(ravine, tmp_path):
    for _ in range(2):
        assert ravine("digits", "--epochs", "1")[0] == 0
    same_runs(tmp_path / "ravine-out" / "train-digits", tmp_path / "ravine-out" / "train-digits-2")
    assert ravine("digits", "--epochs", "1", "--seed", "1", "--out", "third")[0] == 0
    assert not np.array_equal(Recorder.load("third").losses, Recorder.load("ravine-out/train-digits").losses)


def test_schedules_change_the_rate_that_was_used(ravine, tmp_path):
    assert ravine("digits", "--epochs", "2", "--lr", "1e-3", "--schedule", "step:20,0.5", "--out", "a")[0] == 0
    assert Recorder.load("a").hyper("lr").tolist() == [1e-3 * 0.5 ** (step // 20) for step in range(36)]
    assert (tmp_path / "a" / "schedule.png").read_bytes().startswith(PNG)
    assert ravine("digits", "-o", "adam", "--epochs", "2", "--lr", "4e-3", "--one-cycle", "--out", "b")[0] == 0
    rates, betas = Recorder.load("b").hyper("lr"), Recorder.load("b").hyper("betas")
    assert rates.max() == pytest.approx(4e-3, rel=1e-2)
    assert rates[0] == pytest.approx(4e-3 / 25)
    assert rates[-1] < 1e-4
    assert betas[0].tolist() == [0.95, 0.999]
    assert betas[:, 0].min() == pytest.approx(0.85, abs=1e-3)
    # a rate so low that no epoch improves the loss by the ten-thousandth that counts: every epoch is a plateau
    low = ["-o", "sgd", "--lr", "1e-6"]
    assert ravine("digits", "--epochs", "4", *low, "--schedule", "plateau:0,0.5", "--out", "c")[0] == 0
    recorder = Recorder.load("c")
    assert recorder.hyper("lr").tolist() == np.repeat([1e-6, 1e-6, 5e-7, 2.5e-7], 18).tolist()
    assert [text for _, text in recorder.notes[:-1]] == [
        f"epoch {epoch}: valid_loss has not improved for 1 epoch: lr {before:.4g} -> {before / 2:.4g}"
        for epoch, before in ((2, 1e-6), (3, 5e-7), (4, 2.5e-7))
    ]


SENDS_ITSELF_A_SIGNAL = """
import os, signal, torch
from ravine.tasks import Data, Task
class Model(torch.nn.Sequential):
    passes = 0
    def forward(self, x):
        Model.passes += self.training
        if Model.passes == int(os.environ.get("SIGNAL_IN_PASS", -1)):
            os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
        return super().forward(x)
def task():
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    y = x.prod(1, keepdim=True)
    model = lambda: Model(torch.nn.Linear(4, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 1))
    return Task(model=model, train=Data(x[:150], y[:150]), test=Data(x[150:], y[150:]),
                loss=torch.nn.functional.mse_loss, batch_size=10)
"""
STOPPED = ["itself.py", "--epochs", "8", "--checkpoint-every", "7", "--schedule", "step:30,0.9", "--threads", "1"]
STEPS = 8 * 12  # a fifth of the training rows is held out


# slow: a process of its own has to start and to be ended by a signal, once for each
@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(ravine, tmp_path, how):
    (tmp_path / "itself.py").write_text(SENDS_ITSELF_A_SIGNAL)
    assert ravine(*STOPPED, "--out", "whole")[0] == 0
    assert len(Recorder.load("whole")) == STEPS
    ended = run_forked(
        ["-m", "ravine", "train", *STOPPED, "--out", "stopped"], after=TRAINS,
        env={**os.environ, "SIGNAL": how, "SIGNAL_IN_PASS": str(STEPS // 2)}, timeout=60,
    )  # fmt: skip
    assert ended.returncode == (-signal.SIGKILL if how == "SIGKILL" else 130), ended.stderr
    if how == "SIGINT":
        assert "Interrupted in epoch" in ended.stdout
        assert Path("stopped/loss.png").exists()
    assert 0.3 * STEPS < len(Recorder.load("stopped")) < 0.6 * STEPS
    assert ravine("itself.py", "--resume", "--out", "stopped")[::2] == (0, "")
    same_runs(tmp_path / "whole", tmp_path / "stopped")


def test_going_on_knows_what_the_run_was_told(ravine):
    assert ravine("digits", "--epochs", "2", "--lr", "1e-3")[0] == 0
    code, out, _ = ravine("digits", "--resume")
    assert code == 0
    assert "is complete" in out
    code, _, err = ravine("digits", "--resume", "--lr", "2e-3", "--epochs", "2")
    assert code == 2
    assert "--lr 0.001, not 0.002" in err
    code, _, err = ravine("digits", "--resume", "--schedule", "cosine")
    assert code == 2
    assert "has --schedule constant, not cosine" in err
    code, _, err = ravine("breast-cancer", "--resume", "--out", "ravine-out/train-digits")
    assert code == 2
    assert "the task digits, not breast-cancer" in err
    code, _, err = ravine("ravine", "--resume")
    assert code == 2
    assert "no run to resume" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digitz"], "Did you mean 'digits'?"),
        (["digits", "-o", "rmsprob"], "Did you mean 'rmsprop'?"),
        (["digits", "-o", "rmsprop:alfa=1"], "'alpha'"),
        (["digits", "-o", "rmsprop:lr=-1"], "lr"),
        (["digits", "-o", "rmsprop", "-o", "adam"], "`ravine compare` trains with several"),
        (["digits", "--threads", "100000"], "'100000' is not a whole number from 1 to"),
        (["digits", "--schedule", "plateau:5,7"], "factor is 7; it must be below 1"),
        (["digits", "-o", "rmsprop:lr=0.5", "--lr", "0.1"], "both set the learning rate"),
        (["digits", "-o", "torch-sparseadam"], "A first step of torch-sparseadam on digits fails"),
        (["digits", "--lr", "0"], "--lr 0: a learning rate is a finite number above 0"),
        (["digits", "--lr", "nan"], "--lr nan"),
        (["digits", "--epochs", "0"], "'0' is not a whole number from 1"),
        (["digits", "--schedule", "stp:3"], "Did you mean 'step'?"),
        (["digits", "--schedule", "step:x"], "not a whole number"),
        (["digits", "--schedule", "step:5", "--one-cycle"], "give one"),
        (["digits", "--checkpoint-every", "0"], "'0' is not a whole number from 1"),
        (["digits", "--data", "somewhere"], "reads no files"),
        (["no_such_task.py"], "no_such_task.py"),
    ],
)
def test_what_is_wrong_is_said_before_a_folder_is_made(ravine, tmp_path, arguments, said):
    code, _, err = ravine(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "ravine-out").exists()


# slow: what happens where standard output cannot be written is seen from a process of its own only
@pytest.mark.slow  # a command in a process of its own
def test_what_cannot_be_shown_or_written_is_said_in_a_line(ravine, tmp_path):
    code, _, err = ravine("digits", "--out", "x" * 300)
    assert code == 2
    assert "cannot be written: File name too long" in err
    assert len(err.splitlines()) == 1
    with open("/dev/full", "w") as full:
        ended = run_forked(["-m", "ravine", "train", "digits", "--epochs", "1"], after=TRAINS, stdout=full, timeout=120)
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "ravine-out" / "train-digits" / "loss.png").exists()


def test_a_folder_that_has_something_is_refused(ravine, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("text")
    code, _, err = ravine("digits", "--out", "mine", "--epochs", "1")
    assert code == 2
    assert "not empty" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_task_of_ones_own_is_trained_from_its_file(ravine, tmp_path):
    (tmp_path / "my_task.py").write_text(
        "import torch\n"
        "from ravine.tasks import Data, Task\n"
        "def task():\n"
        "    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))\n"
        "    y = x @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])\n"
        "    return Task(model=lambda: torch.nn.Linear(4, 1), train=Data(x[:150], y[:150]), test=Data(x[150:], y[150:]),\n"
        "                loss=torch.nn.functional.mse_loss, batch_size=10)\n"
    )
    code, _, err = ravine("my_task.py", "-o", "adam", "--lr", "0.1", "--epochs", "20")
    assert (code, err) == (0, "")
    recorder = Recorder.load(tmp_path / "ravine-out" / "train-my_task")
    assert recorder.column("valid_loss")[-1] < 1e-2
    code, _, err = ravine("my_task.py", "--resume")
    assert (code, err) == (0, "")


OWN = """
import torch
from ravine.tasks import Data, Task
x = torch.ones(20, 4)
def task():
    return Task(model=lambda: MODEL, train=Data(x, x[:, :1]), test=Data(x, x[:, :1]),
                loss=torch.nn.functional.mse_loss, batch_size=10)
"""


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            "torch.nn.Linear(5, 1)",
            "The inputs of a batch are float32 of shape (10, 4), and the model, Linear, takes rows of 5 numbers",
        ),
        ("5", "int"),
        ("torch.nn.ReLU()", "no parameters"),
    ],
)
def test_a_task_that_cannot_be_trained_is_explained_in_a_line(ravine, tmp_path, model, said):
    (tmp_path / "mine.py").write_text(OWN.replace("MODEL", model))
    code, _, err = ravine("mine.py")
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "ravine-out").exists()


def test_it_ends_with_the_first_finding_of_the_diagnosis(ravine, tmp_path):
    code, out, _ = ravine("digits", "-o", "momentum:lr=5", "--epochs", "2", "--out", "far off")
    assert code == 0
    first, last = out.splitlines()[-2:]
    assert first.startswith("Learning rate too high (1 more): The loss rose from")
    assert last == "What to try: ravine diagnose 'far off'"
    healthy = ravine("digits", "--epochs", "2")[1].splitlines()
    assert healthy[-1] == "Open ravine-out/train-digits/loss.png"


def test_a_loss_that_breaks_ends_the_run_and_is_no_success(ravine, tmp_path):
    (tmp_path / "mine.py").write_text(OWN.replace("MODEL", "torch.nn.Linear(4, 1)"))
    code, out, err = ravine("mine.py", "-o", "sgd", "--lr", "1e30", "--epochs", "50")
    assert (code, err) == (1, "")
    assert ": stopped" in out
    assert len(Recorder.load(tmp_path / "ravine-out" / "train-mine")) < 100


@pytest.mark.slow  # two processes, which wait for each other at every step
def test_two_processes_train_as_one_with_the_joined_batch(ravine, tmp_path):
    assert ravine("digits", "--epochs", "2", "--out", "one", "--threads", "1")[0] == 0
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # As torchrun starts them; it would import torch itself, and they again.
    alike = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    alike = {**os.environ, **alike, "OMP_NUM_THREADS": "1"}
    both = [
        Forked(
            ["-m", "ravine", "train", "digits", "--epochs", "2", "--out", "two"],
            after=TRAINS_TOGETHER, env=alike | {"RANK": rank, "LOCAL_RANK": rank}, stdout=PIPE, stderr=PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [len(out.splitlines()) for out, _ in said] == [13, 0]  # one process speaks
    one, two = Recorder.load("one"), Recorder.load("two")
    assert len(one) == len(two) == 36
    assert np.allclose(one.losses, two.losses, rtol=1e-4)
    for name in ("valid_loss", "accuracy"):
        assert np.allclose(one.column(name), two.column(name), rtol=1e-4)
    models = [checkpoint.load(tmp_path / name / "checkpoint.safetensors")["model"] for name in ("one", "two")]
    for name, value in models[0].items():
        assert torch.allclose(value, models[1][name], rtol=1e-3, atol=1e-4)


def test_of_several_processes_the_first_says_what_is_wrong(ravine, monkeypatch):
    for rank, count in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        code, _, err = ravine("digitz")
        assert code != 0
        assert err.count("Did you mean 'digits'?") == count


def test_processes_that_stop_together_are_no_failure_to_torchrun_and_one_says_how_to_go_on(ravine, monkeypatch):
    def stopped(*_):
        raise StoppedTogether

    monkeypatch.setattr("ravine.cli._train._train", stopped)
    for first in (True, False):
        monkeypatch.setattr("ravine.train._parallel.is_main", lambda first=first: first)
        code, out, err = ravine("digits")
        assert code == 0
        assert bool(out + err) == first
