"""Optimizers from a user's file: what is taken, held against torch's own, and how mistakes are told."""

import pickle
import sys

import pytest
import torch

from ravine.errors import DataError, FormulaError, OptionError
from ravine.optim import Optimizer
from ravine.optim import _optimizer_file as own
from ravine.optim._spec import parse

HEAD = """\
import torch
from ravine.optim import Optimizer
from ravine.formula import rename

"""
HEAD_LINES = HEAD.count("\n")
CLASS = """
class Heavy(Optimizer):
    def __init__(self, params, lr=0.1, momentum=0.9, **shared):
        super().__init__(params, lr=lr, momentum=momentum, **shared)
    @staticmethod
    def formula():
        return [ball, descend]
"""
PIECES = """
def ball(update, buffer=0.0, *, momentum):
    buffer = momentum * buffer + update
    return buffer, buffer
def descend(param, *, update, lr):
    return param - lr * update
"""
SINGLE = """
def heavy(param, buffer=0.0, *, grad, lr, momentum):
    buffer = momentum * buffer + grad
    return param - lr * buffer, buffer
"""
OF_TORCH = """
class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                p.sub_(group["lr"] * buffer)
"""


@pytest.fixture
def load(tmp_path):
    def from_text(text, name="", file="my_rule.py", head=HEAD):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(head + text, encoding="utf-8")
        return own.load(str(tmp_path / file), name)

    return from_text


def losses(make):
    """Twenty steps on a quadratic that is no sphere."""
    p = torch.nn.Parameter(torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64))
    optimizer = make([p])
    found = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (torch.tensor([1.0, 0.3, 2.0], dtype=torch.float64) * p**2).sum()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CLASS + PIECES, "Heavy"),
        (CLASS + PIECES, ""),
        (PIECES + "rule = [ball, descend]", "rule"),
        (PIECES + "rule = (rename(ball, buffer='other'), descend)", ""),
        (SINGLE, "heavy"),
        (SINGLE, ""),
        (SINGLE.replace("momentum", "m") + "heavy = rename(heavy, m='momentum')\n", ""),
        (OF_TORCH, ""),
    ],
)
def test_every_form_takes_the_steps_of_torch(load, text, name):
    cls = load(text, name)
    expected = losses(lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.8))
    assert losses(lambda params: cls(params, lr=0.05, momentum=0.8)) == pytest.approx(expected, rel=1e-12)


def test_what_is_written():
    def parts(text):
        found = own.split(text)
        return found and (found.file, found.name, found.options, found.whole)

    assert parts("a.py") == ("a.py", "", "", "a.py")
    assert parts(" a.py:B ") == ("a.py", "B", "", "a.py:B")
    assert parts("a.py:B:lr=1,c=(1, 2)") == ("a.py", "B", "lr=1,c=(1, 2)", "a.py:B")
    assert parts("a.py:lr=1,name='x:y'") == ("a.py", "", "lr=1,name='x:y'", "a.py")
    assert parts(r"C:\my rules\a.py:B:lr=1") == (r"C:\my rules\a.py", "B", "lr=1", r"C:\my rules\a.py:B")
    assert parts("odd:folder/a.pyx.py:B")[:2] == ("odd:folder/a.pyx.py", "B")
    assert parts("a.py:") == ("a.py", "", "", "a.py")
    assert parts("rmsprop") is parts("a.pyc:B") is parts("") is parts(".py") is None


def test_the_shared_options_belong_to_pieces_too(load):
    cls = load(SINGLE)
    optimizer = cls([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.5, clip_norm=1.0)
    assert isinstance(optimizer, Optimizer)
    assert optimizer.param_groups[0]["clip_norm"] == 1.0
    with pytest.raises(OptionError, match="no piece reads the hyperparameter 'momentun'. Did you mean 'momentum'"):
        cls([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentun=0.5)


def test_a_file_is_run_once_for_each_content(load, tmp_path):
    log = tmp_path / "log"
    text = SINGLE + f"with open({str(log)!r}, 'a') as log:\n    log.write('run ')\n"
    first = load(text)
    assert load(text) is first
    assert log.read_text() == "run "
    assert load(text.replace("buffer + grad", "buffer - grad")) is not first
    assert log.read_text() == "run run "
    assert load(text) is first, "what was run before is still known"


def test_a_version_that_was_run_is_kept_and_another_is_refused(load, tmp_path):
    first = load(SINGLE)
    file = str(tmp_path / "my_rule.py")
    version = own.version_of(file)
    load(SINGLE + "x = 1\n")
    assert own.load(file, "", version) is first
    with pytest.raises(DataError, match=r"another content .*sha256:[0-9a-f]{16}, not sha256:0"):
        own.load(file, "", "sha256:0")


def test_files_of_one_name_and_modules_beside_them(load, tmp_path):
    (tmp_path / "helper_of_a_rule.py").write_text("rate = 0.25\n")
    before = list(sys.path)
    one = load("import helper_of_a_rule\n" + CLASS.replace("lr=0.1", "lr=helper_of_a_rule.rate") + PIECES)
    two = load(CLASS + PIECES, file="other/my_rule.py")
    assert sys.path == before
    p = torch.nn.Parameter(torch.ones(1))
    assert (one([p]).defaults["lr"], two([p]).defaults["lr"]) == (0.25, 0.1)
    assert one.__module__ != two.__module__
    assert vars(sys.modules[one.__module__])["Heavy"] is one


def test_a_class_lies_under_its_own_name_for_pickle(load):
    optimizer = load(CLASS + PIECES)([torch.nn.Parameter(torch.ones(1))])
    assert type(pickle.loads(pickle.dumps(optimizer))) is type(optimizer)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (CLASS + PIECES, "Heavi", r"has no optimizer 'Heavi'\. Did you mean 'Heavy'\? Known: Heavy, descend\."),
        ("x = 1\n", "Heavy", r"has no optimizer 'Heavy'\. There are none"),
        ("", "", r"has no optimizer\. Write one: a class derived"),
        ("from torch.optim import SGD\ndef task(): pass\n", "", r"has no optimizer\. Write one"),
        (CLASS + CLASS.replace("Heavy", "Second"), "", r"several optimizers: Heavy, Second\. Name one: .*my_rule.py:Heavy$"),
        (SINGLE + SINGLE.replace("heavy", "b"), "", r"several optimizers: heavy, b"),
        ("beta = 0.9\n", "beta", r"beta in .* is a float; it must be a class derived"),
        ("class Net(torch.nn.Module): pass\n", "Net", r"Net in .* is a class that is not derived from an optimizer"),
        ("import json\n", "json", r"json in .* is a module; it must be"),
        ("rule = []\n", "rule", r"rule in .* is an empty list; it must be"),
        (SINGLE + "rule = [heavy, 3]\n", "rule", r"rule in .* has an int in it; a formula is a list of pieces"),
        (PIECES, "ball", r"ball in .* changes no `param`, so it does nothing by itself.*\[ball, descend\]"),
        (PIECES + "rule = [ball]\n", "rule", r"rule in .* changes no `param`"),
    ],
)  # fmt: skip
def test_a_file_without_such_an_optimizer_is_told_so(load, text, name, message):
    with pytest.raises(OptionError, match=message) as caught:
        load(text, name)
    assert "\n" not in str(caught.value)


def test_pieces_that_contradict_each_other(load):
    other = PIECES.replace("*, update, lr", "*, update, lr=1").replace("ball(", "b(")
    text = other + "def ascend(param, *, update, lr=2):\n    return param + lr * update\nrule = [ascend, descend]\n"
    with pytest.raises(FormulaError, match="lr is 2 by default"):
        load(text, "rule")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nx.y\n", 2, "AttributeError: 'int' object has no attribute 'y'"),
        ("def rule(:\n", 1, "SyntaxError: invalid syntax$"),
        ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
    ],
)
def test_what_the_file_raises_is_told_with_its_line(load, text, line, message):
    with pytest.raises(DataError, match=rf"my_rule\.py, line {HEAD_LINES + line}: {message}"):
        load(text)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"The file absent\.py does not exist \(looked in "):
        own.load("absent.py", "Rule")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(DataError, match=r"folder\.py is a folder; name a Python file with an optimizer"):
        own.load(str(tmp_path / "folder.py"))


@pytest.mark.parametrize(("text", "said"), [("my_rule:Mine", "my_rule.py:Mine"), ("my_rule", "my_rule.py:MyRule")])
def test_a_file_without_its_ending_is_told_so(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rule.py").write_text("")
    with pytest.raises(OptionError, match=f"no optimizer 'my_rule', but a file my_rule.py: .* '{said}'.$"):
        parse(text)
