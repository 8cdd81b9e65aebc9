"""Tasks from a user's Python file: which function is taken, what it gets, and how mistakes are told."""

import pickle
import sys
from pathlib import Path

import pytest

from ravine import tasks
from ravine.errors import DataError, OptionError

HEAD = """\
import torch
from torch import nn
from torch.nn import functional
from ravine.tasks import Data, Task

class Net(nn.Linear):
    pass

def _made(**more):
    data = Data(torch.ones(20, 3), torch.zeros(20, 1))
    return Task(model=lambda: Net(3, 1), train=data, test=data, loss=functional.mse_loss, batch_size=5, **more)

"""
HEAD_LINES = HEAD.count("\n")


@pytest.fixture
def found(tmp_path):
    """Writes the file below the head and finds its task."""

    def find(text, data=None, name="my_task.py", head=HEAD):
        path = tmp_path / name
        path.write_text(head + text, encoding="utf-8")
        return tasks.find(str(path), data)

    return find


def test_the_function_named_task_is_taken_and_the_rest_has_defaults(found):
    task = found("def other(): return 1\ndef task(): return _made()\n")
    assert (task.name, task.batch_size, task.epochs, task.quick_epochs) == ("my_task", 5, 5, 1)
    assert (task.metrics, task.surface, task.steps_per_epoch) == ({}, None, 4)
    model = task.start(0)
    task.loss(model(task.train.inputs), task.train.targets).backward()
    assert pickle.loads(pickle.dumps(model)).weight.equal(model.weight)


def test_the_only_function_without_arguments_is_taken(found):
    text = "import functools\ndef helper(x): return x\n@functools.lru_cache\ndef build(): return _made(name='a-1.b')\n"
    assert found(text).name == "a-1.b"
    assert found("def build(*rest, size=3, **more): return _made()\n").name == "my_task"


@pytest.mark.parametrize("parameter", ["data", "data=None", "*, data", "size=3, *, data=None"])
def test_a_function_that_takes_data_gets_it(found, parameter):
    text = f"def task({parameter}): return _made(name='none' if data is None else type(data).__name__ + data.name)\n"
    assert found(text, Path("there")).name.endswith("there")
    assert found(text).name == "none"


def test_data_for_a_function_that_takes_none_is_refused(found):
    for signature in ("", "**more", "size=3", "data=None, /"):
        with pytest.raises(OptionError, match=r"task\(\) in .*my_task\.py takes no data"):
            found(f"def task({signature}): return _made()\n", Path("there"))


def test_modules_beside_the_file_are_found_while_it_is_loaded(found, tmp_path):
    (tmp_path / "early_helper_of_own.py").write_text("size = 7\n")
    (tmp_path / "late_helper_of_own.py").write_text("epochs = 9\n")
    before = list(sys.path)
    task = found(
        "import early_helper_of_own\n"
        "def task():\n"
        "    import late_helper_of_own\n"
        "    return _made(quick_epochs=early_helper_of_own.size, epochs=late_helper_of_own.epochs)\n"
    )
    assert (task.quick_epochs, task.epochs) == (7, 9)
    assert sys.path == before
    with pytest.raises(DataError):
        found("import no_such_module\n")
    assert sys.path == before


def test_the_file_is_run_as_it_stands_and_nothing_is_written_beside_it(found, tmp_path):
    assert found("def task(): return _made(epochs=3)\n").epochs == 3
    assert found("def task(): return _made(epochs=4)\n").epochs == 4
    assert [path.name for path in tmp_path.iterdir()] == ["my_task.py"]


def test_what_stands_under_main_is_not_run(found):
    assert found("def task(): return _made()\nif __name__ == '__main__': raise SystemExit\n")


def test_no_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.py does not exist"):
        tasks.find(str(tmp_path / "absent.py"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(DataError, match=r"folder\.py is a folder"):
        tasks.find(str(tmp_path / "folder.py"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no function that could make a Task \(it has _made\)"),
        ("def build(x): pass\n", r"has no function .*\(it has _made, build\)"),
        (
            "a = lambda: 1\ndef b(data): pass\n",
            r"several functions that might make a Task: a, b\. Name one of them `task`",
        ),
        ("task = _made()\n", r"`task` in .* is a Task; it must be a function"),
        ("def task(size, data): pass\n", r"task\(size, data\) in .* needs arguments; it may take only `data`"),
        ("def task(): _made()\n", r"task\(\) in .* must return .*Task; it returned nothing: is `return` missing"),
        ("def task(): return {}\n", r"it returned a dict"),
    ],
)
def test_a_file_without_a_task_is_told_so(found, text, message):
    with pytest.raises(OptionError, match=message):
        found(text)


def test_names_that_are_only_imported_are_no_functions_of_the_file(found):
    with pytest.raises(OptionError, match=r"has no function that could make a Task\. Write one"):
        found("from ravine.tasks import names, describe\nfrom torch import ops\n", head="")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nx.y\n", 2, r"AttributeError: 'int' object has no attribute 'y'"),
        ("def task(:\n", 1, r"SyntaxError: invalid syntax$"),
        ("def task():\n    return 1 / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("def _inner():\n    return 1 / 0\ndef task():\n    return _inner()\n", 2, "ZeroDivisionError"),
        ("import json\ndef task():\n    return json.loads('{')\n", 3, "JSONDecodeError: Expecting"),
        ("def task():\n    raise KeyError\n", 2, "KeyError$"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("def task():\n    return Task(batch_size=3)\n", 2, "OptionError: A Task also needs model, train, test, loss"),
    ],
)
def test_what_the_file_raises_is_told_with_its_line(found, text, line, message):
    with pytest.raises(DataError, match=rf"my_task\.py, line {HEAD_LINES + line}: {message}"):
        found(text)


def test_a_file_name_that_no_task_can_have_is_refused_unless_the_task_has_its_own(found):
    with pytest.raises(OptionError, match=r"gives its Task no name,.*'my task'.*64 letters"):
        found("def task(): return _made()\n", name="my task.py")
    assert found("def task(): return _made(name='mine')\n", name="my task.py").name == "mine"


def test_ctrl_c_in_the_file_is_no_error_of_the_file(found):
    with pytest.raises(KeyboardInterrupt):
        found("raise KeyboardInterrupt\n")


def test_files_that_are_no_task_are_told_what_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("a,b\n")
    with pytest.raises(OptionError, match="'my.csv'. It is a file, but no Python: .* returns a ravine.tasks.Task"):
        tasks.find("my.csv")
    with pytest.raises(OptionError, match="'my_task.py:other': a task is named by its file alone, my_task.py"):
        tasks.find("my_task.py:other")
