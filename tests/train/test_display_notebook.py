"""The table in a notebook: one output updated in place, everything escaped, no bar at the end."""

import math
import re
import sys
import types

import pytest
import torch

from ravine._plotting.notebook_html import FIRST, SECOND
from ravine.train import Batches, Learner
from ravine.train._display import bar, display_for
from ravine.train._display.cells import number
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
    page = pages[-1]["text/html"]
    assert "<strong>Epoch 2 in 1.2 s: </strong>" in page
    assert page.count("<table") == 1
    assert page.endswith(
        "<thead><tr><th>epoch</th><th>&lt;script&gt;</th><th>time</th></tr></thead>"
        "<tbody><tr><td>1</td><td>0.25000</td><td>1.2 s</td></tr>"
        '<tr><td class="said" colspan="3"><div>a &lt; b</div></td></tr>'
        "<tr><td>2</td><td>&lt;b&gt;</td><td>1.2 s</td></tr></tbody></table></div></div></div></div>"
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
    assert pages[-1]["text/html"].count("<tr>") == 1001  # none is missing
    assert len(pages) == 5  # the header, the first of each event, the end


def test_short_epochs_are_drawn_five_times_a_second_in_all(kernel):
    now = [0.0]
    display = display_for(pace=Pace(clock=lambda: now[0]))
    display.begin(["epoch", "loss"], 1000)
    for epoch in range(1, 1001):
        display.epoch_begins(epoch, 1)
        display.validating()
        display.row([epoch, 0.5])
        now[0] += 0.01
    display.end()
    assert len(kernel.outputs[0]) <= 5 + 10 / 0.2


def test_a_bar_alone_leaves_nothing(kernel):
    with bar("trying", 4) as done:
        done()
        assert "trying  1/4" in kernel.outputs[0][-1]["text/plain"]
    assert kernel.outputs[0][-1] == {"text/plain": "", "text/html": ""}


def followed(losses, epochs=2, batches=4, done=0, first=1):
    """A display that follows these losses, having begun."""
    display = display_for(pace=Pace(every=0.0, patience=0.0))
    display.follow(lambda start: losses[start:], done)
    display.begin(["epoch", "train_loss", "valid_loss", "time"], epochs, first)
    display.epoch_begins(first, batches)
    return display


def path_of(page, colour):
    """The points of the line of a colour, x and y from 0 to 1000, and whether it goes on from the one before."""
    (found,) = re.findall(rf'd="([^"]+)" stroke="{colour}" stroke-width="2"', page)
    return [(kind, float(x), float(y)) for kind, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", found)]


def test_the_curve_grows_into_the_room_of_all_epochs_and_the_answer_is_the_first(kernel):
    losses = [4.0, 3.0]
    display = followed(losses)
    display.progress(2, 3.5, 1e-3)
    page = kernel.outputs[0][-1]["text/html"]
    places = path_of(page, FIRST)
    # steps 1 and 2 of 4 in the first of two epochs: an eighth and a quarter of the axis
    assert [(kind, x) for kind, x, _ in places] == [("M", 125.0), ("L", 250.0)]
    assert places[0][2] < places[1][2]  # the higher loss is higher up
    assert "Epoch 1 of 2: loss 3.5000" in page.partition("</strong>")[0]
    losses += [2.0, 1.0]
    display.row([1, 2.5, 1.5, 0.1])
    page = kernel.outputs[0][-1]["text/html"]
    assert "lowest valid_loss 1.50000 after epoch 1" in page.partition("</strong>")[0]
    assert len(path_of(page, FIRST)) == 4
    ((_, x, _),) = path_of(page, SECOND)
    assert x == 500.0
    display.answer("Interrupted <here>.")
    display.end()
    page = kernel.outputs[0][-1]["text/html"]
    assert "<strong>Interrupted &lt;here&gt;.</strong>" in page
    assert "<progress" not in page
    assert len(kernel.outputs) == 1
    ((_, x, _),) = path_of(page, SECOND)
    assert x == 1000.0  # what is not trained has no room in the end


def test_a_loss_that_is_not_finite_is_a_gap_and_is_counted(kernel):
    display = followed([3.0, 2.0, math.nan, math.inf, 1.0, 1.0], epochs=2)
    display.progress(3, math.nan, 1e-3)
    page = kernel.outputs[0][-1]["text/html"]
    assert [kind for kind, *_ in path_of(page, FIRST)] == ["M", "L", "M", "L"]
    assert "2 losses were NaN or infinite, and are not drawn." in page
    display = followed([math.nan] * 4)
    display.end()
    page = kernel.outputs[1][-1]["text/html"]
    assert "No loss was finite." in page
    assert "<svg" not in page  # axes without a line say nothing
    assert "Ended in epoch 1 of 2" in page
    display = followed([math.nan] * 4)
    display.row([1, math.nan, math.nan, 0.1])
    display.answer("2 epochs in 25 ms")
    assert "<strong>2 epochs in 25 ms; train_loss ended as nan</strong>" in kernel.outputs[2][-1]["text/html"]


def test_a_resumed_run_begins_where_it_was_and_a_stream_counts_steps(kernel):
    display = followed([2.0, 1.0], epochs=4, done=2, first=3)
    display.progress(4, 1.0, 1e-3)
    page = kernel.outputs[0][-1]["text/html"]
    assert [x for _, x, _ in path_of(page, FIRST)] == [375.0, 500.0]  # epochs 2 to 4, two of four batches done
    display = followed([2.0, 1.0], batches=None)
    display.progress(2, 1.0, 1e-3)
    assert ">step</span>" in kernel.outputs[1][-1]["text/html"]


def test_a_redraw_costs_the_same_in_the_last_epoch_as_in_the_first(kernel):
    losses = [1.0 + 1.0 / (step + 1) for step in range(20_000)]
    display = followed(losses, epochs=1000, batches=20)
    sizes = []
    for epoch in range(1, 1001):
        display.row([epoch, 1.0, 1.0 + 1 / epoch, 0.1])
        sizes.append(len(kernel.outputs[0][-1]["text/html"]))
    assert max(sizes) < 20_000
    display.end()
    assert kernel.outputs[0][-1]["text/html"].count("<tr>") == 1001
    assert len(kernel.outputs[0][-1]["text/html"]) < 200_000


def test_a_fit_of_a_learner_ends_with_its_summary_and_keeps_its_table(kernel):
    data = Batches(torch.randn(24, 4), torch.zeros(24, dtype=torch.long), 8)
    learn = Learner(torch.nn.Linear(4, 2), (data, data), torch.nn.functional.cross_entropy)
    learn.fit(2, lr=1e-3)
    learn.fit(1, lr=1e-3)
    first, second = kernel.outputs
    best = learn.recorder.column("valid_loss")[:2].min()
    assert f"lowest valid_loss {best:.5f} after epoch" in first[-1]["text/html"].partition("</strong>")[0]
    assert f"<td>{number(learn.recorder.epochs[1]['train_loss'])}</td>" in first[-1]["text/html"]
    assert "Epoch 1 in" in second[-1]["text/html"]
    assert len(path_of(second[-1]["text/html"], FIRST)) == 3  # the losses of this fit alone
    learn.quiet = True
    learn.fit(1, lr=1e-3)
    assert len(kernel.outputs) == 2


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
