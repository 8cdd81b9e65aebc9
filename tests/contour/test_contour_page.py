"""The page of search paths: complete in itself, safe whatever things are called, and true to the numbers."""

import base64
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from plots import RATES, entry, plotted

from ravine.contour import _contour_page as contour_page

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}<!--'\""


class Reader(HTMLParser):
    """Elements, their attributes, and their texts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("id") or tag

    def handle_data(self, data):
        self.texts.setdefault(self.inside, []).append(data)


@pytest.fixture
def read():
    def make(*entries, budget=contour_page._BUDGET, **more):
        text = contour_page.page(plotted(*entries, **more), budget).decode()
        reader = Reader(text)
        return text, reader, json.loads(reader.texts["data"][0])

    return make


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, 2)


def test_the_page_loads_nothing(read):
    text, reader, _ = read(entry("one"))
    for tag, attributes in reader.elements:
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "data:,") == "data:,", tag
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = [a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert len(text) < 6_000_000


def test_hostile_names_are_text(read):
    text, reader, data = read(
        entry(HOSTILE, family=HOSTILE, value=HOSTILE), name=HOSTILE, swept=HOSTILE, values=[HOSTILE]
    )
    assert "<img" not in text.replace(text[text.index("plotly.js v") : text.rindex('"use strict"')], "")
    assert data["entries"][0]["label"] == data["values"][0] == HOSTILE
    assert [tag for tag, _ in reader.elements].count("script") == 3
    assert f"Search paths on {HOSTILE}" in "".join(reader.texts["h1"])
    assert "49" not in "".join(reader.texts["summary"])


def test_every_control_has_a_name(read):
    _, reader, _ = read(entry("a", family="r", value="1"), swept="alpha", values=["1"])
    controls = [a for tag, a in reader.elements if tag in {"input", "select", "button"}]
    assert {a["id"] for a in controls} == {
        *("each", "same", "rate", "value", "start", "whole", "back", "play", "forth", "step")
    }
    for attributes in controls:
        assert attributes.get("aria-label") or attributes["id"] in {"each", "same", "whole", "play"}
    assert [a["aria-label"] for _, a in reader.elements if a.get("role") == "img"]


def test_the_numbers_are_those_of_the_trajectories(read):
    one = entry("one", best=2)
    _, reader, data = read(one)
    (shown,) = data["entries"]
    assert shown["finals"] == [[None if np.isinf(v) else v for v in row] for row in one.finals]
    assert (shown["best"], shown["end"]) == (2, "the highest tried")
    for rate in range(len(RATES)):
        for packed, trajectory in zip(shown["trajectories"][rate], one.trajectories[rate], strict=True):
            steps = np.frombuffer(base64.b64decode(packed["s"]), "<u2")
            assert packed["n"] == len(trajectory.points) - 1
            assert floats(packed["p"]) == pytest.approx(trajectory.points[steps], rel=1e-6)
            codes = np.frombuffer(base64.b64decode(packed["l"]), "<u2")
            low, high = data["scale"]
            logs = np.log10(np.maximum(trajectory.values, 1e-30))
            assert low + codes / 65534 * (high - low) == pytest.approx(logs, abs=1e-3)
    wild = shown["trajectories"][2][0]
    assert (wild["d"], wild["o"]) == (8, 6)
    assert [exit[0] for exit in wild["e"]] == [2]
    cells = [text for text in reader.texts["td"] if text.strip()]
    assert cells.count("diverged") == 1
    assert f"{one.finals[0, 0]:.3g}" in cells


def test_thinning_hides_nothing_that_could_be_seen():
    window = (-1.0, 1.0, -1.0, 1.0)
    angle = np.linspace(0, 20, 5000)
    spiral = np.stack([np.cos(angle), np.sin(angle)], 1) * np.linspace(1.2, 0, 5000)[:, None]
    kept = contour_page.thinned(spiral, window, 0.01)
    assert kept[0] == 0
    assert kept[-1] == 4999
    assert len(kept) < 1000
    before = kept[np.searchsorted(kept, np.arange(5000), side="right") - 1]
    assert np.abs(spiral - spiral[before]).max() < 0.01 * 2
    out = np.abs(spiral).max(axis=1) > 1
    assert np.array_equal(out[before], out)


def test_where_there_is_too_much_the_best_rate_stays_fine_and_the_page_says_so(read):
    text, _, data = read(entry("one", scale=0.05), budget=1)
    counts = [len(floats(rows[0]["p"])) for rows in data["entries"][0]["trajectories"]]
    assert counts[1] == 21
    assert counts[0] < 21
    assert data["moves"] < 150
    assert f"shorter than 1/{data['moves']}" in text


def test_an_envelope_keeps_peaks_and_ends():
    values = np.random.default_rng(0).lognormal(size=10_000)
    kept = contour_page.envelope(values, 200)
    assert len(kept) <= 202
    assert {0, 9999, values.argmin(), values.argmax()} <= set(kept.tolist())
    assert contour_page.envelope(values[:200], 200).tolist() == list(range(200))


def test_values_of_a_swept_hyperparameter_share_a_look_and_references_take_none(read):
    _, _, data = read(
        entry("a:k=1", family="a", value="1"),
        entry("a:k=2", family="a", value="2"),
        entry("torch-a", reference=True),
        entry("b"),
        swept="k",
        values=["1", "2"],
    )
    colours = [m["colour"] for m in data["entries"]]
    assert colours[0] == colours[1]
    assert len(set(colours)) == 3
    assert [m["dash"] for m in data["entries"]] == ["solid", "solid", "dot", "dash"]
