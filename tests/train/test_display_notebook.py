"""The table in a notebook: one output updated in place, everything escaped, no bar at the end."""

import sys
import types

import pytest

from ravine.train._display import bar, display_for
from ravine.train._display.lines import Lines
from ravine.train._display.notebook import Notebook
from ravine.train._display.redrawn import Pace


class ZMQInteractiveShell:
    """Stands for the class of this name in ipykernel, by which a kernel is known."""


class TerminalInteractiveShell:
    """IPython in a terminal."""


class Kernel(types.ModuleType):
    """As much of IPython as the display uses; ``pages`` has every bundle shown, each new output a list."""

    def __init__(self, shell):
        super().__init__("IPython")
        self.outputs = []
        self.get_ipython = shell
        self.display = types.ModuleType("IPython.display")
        self.display.display = self._display

    def _display(self, bundle, raw, display_id):
        assert raw
        assert display_id is True
        output = [bundle]
        self.outputs.append(output)
        return types.SimpleNamespace(update=lambda bundle, raw: output.append(bundle))


@pytest.fixture
def kernel(monkeypatch):
    module = Kernel(ZMQInteractiveShell)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return module


def test_one_output_with_a_bar_while_it_runs(kernel):
    display = display_for()
    assert isinstance(display, Notebook)
    display.begin(["epoch", "<script>", "time"], 2)
    display.epoch_begins(1, 8)
    assert display.wants()
    display.progress(2, 0.5, 1e-3)
    (pages,) = kernel.outputs
    assert '<progress max="1" value="0.2500">' in pages[-1]["text/html"]
    assert "epoch 1/2  2/8  loss 0.50000   lr 1.00e-03" in pages[-1]["text/plain"]
    display.row([1, 0.25, 1.25])
    display.say("a < b")
    display.epoch_begins(2, None)
    display.row([2, "<b>", 1.25])
    display.end()
    (pages,) = kernel.outputs
    assert pages[-1]["text/html"] == (
        "<table><tr><th>epoch</th><th>&lt;script&gt;</th><th>time</th></tr>"
        "<tr><td>1</td><td>0.25000</td><td>1.2 s</td></tr>"
        '<tr><td colspan="3" style="text-align: left; font-style: italic">a &lt; b</td></tr>'
        "<tr><td>2</td><td>&lt;b&gt;</td><td>1.2 s</td></tr></table>"
    )
    assert pages[-1]["text/plain"].splitlines() == [
        "epoch    <script>     time",
        "    1    0.25000     1.2 s",
        "a < b",
        "    2         <b>    1.2 s",
    ]


def test_a_thousand_short_epochs_are_no_flood_and_none_is_missing(kernel):
    display = display_for(pace=Pace(every=1e9, longest=1e9))
    display.begin(["epoch", "loss"], 1000)
    for epoch in range(1, 1001):
        display.epoch_begins(epoch, 1)
        display.validating()
        display.row([epoch, 0.5])
    display.end()
    (pages,) = kernel.outputs
    assert pages[-1]["text/html"].count("<tr>") == 1001
    assert len(pages) == 5  # the header, the first of each event, the end


def test_a_bar_alone_leaves_nothing(kernel):
    with bar("trying", 4) as done:
        done()
        assert "trying  1/4" in kernel.outputs[0][-1]["text/plain"]
    assert kernel.outputs[0][-1] == {"text/plain": "", "text/html": ""}


@pytest.mark.parametrize("shell", [TerminalInteractiveShell, lambda: None])
def test_ipython_elsewhere_is_no_notebook(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Kernel(shell))
    assert isinstance(display_for(), Lines)


def test_a_file_is_written_in_a_notebook_too(kernel, tmp_path):
    with (tmp_path / "log").open("w") as file:
        assert isinstance(display_for(file=file), Lines)


def test_the_real_ipython_is_given_what_it_understands():
    pytest.importorskip("IPython")
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    publisher, shell.display_pub = shell.display_pub, CapturingDisplayPublisher(parent=shell)
    try:
        display = Notebook()
        display.begin(["epoch", "loss"], 1)
        display.row([1, 0.5])
        display.end()
        outputs = shell.display_pub.outputs
    finally:
        shell.display_pub = publisher
        InteractiveShell.clear_instance()
    assert len({output["transient"]["display_id"] for output in outputs}) == 1
    assert [output["update"] for output in outputs] == [False] + [True] * (len(outputs) - 1)
    assert "<td>0.50000</td>" in outputs[-1]["data"]["text/html"]
