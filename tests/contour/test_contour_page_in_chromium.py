"""The page in a browser without a window: it draws, its controls work, and it says nothing on the console."""

import pytest
from chromium import HOSTILE, act
from plots import entry, plotted

from ravine.contour import _contour_page as contour_page

ACT = """
const rows = () => Array.from(by("now").tBodies[0].rows, (row) => Array.from(row.cells, (cell) => cell.textContent));
const set = (id, value, type) => { by(id).value = value; by(id).dispatchEvent(new Event(type)); };
const ends = () => by("map").data.map((trace) => trace.x[trace.x.length - 1]);
const length = () => by("map").data.map((trace) => trace.x.length);
seen.ready = document.documentElement.dataset.ready;
seen.first = rows();
set("rate", 2, "input");
seen.same = [by("same").checked, by("rate-text").textContent, rows()];
seen.exits = by("map").data[5].marker.symbol;
set("step", 0, "input");
seen.start = [by("step-text").textContent, rows(), length()];
by("forth").click();
seen.one = [by("step-text").textContent, ends()];
by("whole").click();
seen.whole = by("map").layout.xaxis.range;
set("start", "all", "change");
seen.all = rows();
set("value", 1, "input");
seen.value = [by("value-text").textContent, rows().map((row) => row[0])];
by("now").querySelector("input").click();
seen.hidden = length();
by("play").click();
seen.playing = by("play").textContent;
seen.heat = by("heat").children[0].lastChild.data[0].text;
seen.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
seen.images = document.images.length;
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the script above saw, and the console."""
    entries = [entry(f"{HOSTILE}:k={k}", family=HOSTILE, value=str(k), scale=k / 2) for k in (1, 2)]
    shown = plotted(*entries, entry("b", best=2), name=HOSTILE, swept="k", values=["1", "2"])
    return act(contour_page.page(shown), ACT, tmp_path_factory.mktemp("browser"), "--window-size=390,844")


def test_the_console_is_silent_and_no_name_became_an_element(seen):
    found, console = seen
    assert console == []
    assert found["ready"] == "yes"
    assert found["images"] == 0
    assert found["first"][0][0] == f"{HOSTILE}:k=1"


def test_the_controls_do_what_they_say(seen):
    found, _ = seen
    assert found["first"][1][1:] == ["1 (best)", "diverged", "diverged", "6 of 7", "step 8"]
    assert found["first"][0][1] == "0.1 (best)"
    assert found["same"][:2] == [True, "1"]
    assert found["same"][2][0][1] == "1"
    assert found["exits"] == ["triangle-left"]  # from (3, -1), the corner, to (-6, 2)
    assert found["start"][0] == "0 of 20"
    assert found["start"][1][0][2] == "4.5"
    assert found["start"][2][4] == 1
    assert found["one"][0] == "1 of 20"
    assert found["one"][1][4] == 3.0
    assert found["whole"][0] < -90
    assert found["all"][0][4] == "6 of 27"
    assert found["value"] == ["2", [f"{HOSTILE}:k=2", "b"]]
    assert found["hidden"][4] == 0
    assert found["wider"] == 0
    assert found["playing"] == "Pause"
    assert found["heat"] == [["", "", "×"], ["", "", ""]]
