"""The report's page: everything is in it, it loads nothing, and whatever things are called is text."""

import dataclasses
import json
import math
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from javascript_steps import run
from studies import ORIGIN, changed, study

import ravine
from ravine._plotting.html import strong
from ravine.comparison._judge import judge, rank_tests
from ravine.comparison._report import report_data as data_of
from ravine.comparison._report import report_tables as tables
from ravine.comparison._report.chart_data import chart_data, numbers
from ravine.comparison._report.explanations import EXPLAINED
from ravine.comparison._report.note_sentences import warnings
from ravine.comparison._report.optimizer_formulas import Formula
from ravine.comparison._report.report_page import report_page
from ravine.comparison._study.study_record import StudyOrigin
from ravine.optim.search import Range

HOSTILE = "</script><img src=x onerror=alert(1)>{{ 7*7 }}<!--'\""
FLOORS = {"sgd": 0.5, "rmsprop:alpha=0.9": 0.3, "adam": 0.31}


class Reader(HTMLParser):
    """Elements with their attributes, and the texts below each ``id`` and each kind of element."""

    ALONE = ("meta", "link", "input", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.ALONE:
            self.open.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for name in {n for pair in self.open for n in pair if n}:
            self.texts[name] = self.texts.get(name, "") + data


def read(result, judgement=None):
    report = result.report if judgement is None else data_of.report_data(result.record, judgement)
    text = report_page(report).decode()
    reader = Reader(text)
    return text, reader, json.loads(reader.texts["data"])


@pytest.fixture(scope="module")
def whole():
    """A study in which one run failed and some points diverged."""
    result = study(FLOORS, failing={("sgd", 5)})
    return result, result.judgement, *read(result)


def test_the_page_loads_nothing_and_has_no_place_for_a_script_in_an_attribute(whole):
    text, reader = whole[2:4]
    for tag, attributes in reader.elements:
        assert tag not in {"iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:,")), tag
        assert not [name for name in attributes if name.startswith("on")]
    (policy,) = [a["content"] for _, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert len(text.encode()) < 6_000_000


def test_the_verdict_comes_first_and_every_warning_has_a_mark(whole):
    judgement, text, reader = whole[1:4]
    assert reader.texts["verdict"] == judgement.sentence
    assert "3 optimizers" in reader.texts["h1"]
    assert judgement.warnings
    shown = warnings(whole[0].report)
    for warning in shown:
        assert f"{warning.kind} {warning.sentence}" in reader.texts["warnings"]
    assert reader.texts["warnings"].count("⚠") == len(shown) == 3
    assert reader.texts["target"] == judgement.target.sentence
    for part in ("8 points", "5 seeds", "A fresh run then", "the margin", "100 steps", "constant learning rate"):
        assert part in reader.texts["protocol"]
    places = [
        text.index(f'id="{name}"')
        for name in ("verdict", "warnings", "protocol", "target", "controls", "results", "differences", "curves")
    ]
    assert places == sorted(places)


def test_every_figure_is_explained_and_every_sentence_of_the_judgement_is_there(whole):
    _, judgement, _, reader, _ = whole
    for sentence in EXPLAINED.values():
        assert sentence in reader.texts["main"]
    said = [curve.sentence for curve in judgement.budget.values()]
    said += [bias.sentence for bias in judgement.selection_bias.values() if bias.shown]
    said.append(judgement.target.sentence)
    assert list(judgement.compared) == ["validation loss", "accuracy", "test loss"]
    for sentence in said:
        assert sentence in reader.texts["main"]


def test_every_picture_and_control_has_a_name_and_every_link_a_place(whole):
    reader = whole[3]
    pictures = [a for _, a in reader.elements if a.get("role") == "img"]
    assert len(pictures) == 5 + len(FLOORS)
    assert all("the numbers" in a["aria-label"] for a in pictures)
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in reader.elements if tag == "a"} <= set(ids)
    levels = [int(tag[1]) for tag, _ in reader.elements if tag in ("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_script_gets_the_numbers_of_the_figures(whole):
    result, judgement, _, _, data = whole
    assert [o["label"] for o in data["optimizers"]] == list(FLOORS)
    band = result.report.curves["adam"]
    assert data["curves"][2]["median"] == pytest.approx(band.median.tolist(), rel=1e-5)
    assert data["curves"][0]["high"] == [None] * len(band.steps)  # the run that failed counts as infinite
    assert data["target"] == judgement.target.loss
    assert data["seconds"] == [0.002, 0.003, 0.004]
    runs = data["times"]["runs"][0]
    assert [5, None, True] in runs
    assert [r[:2] for r in runs if r[1] is not None] == [
        [seed, steps] for seed, steps in judgement.steps["sgd"].steps.items() if not math.isnan(steps)
    ]
    marks = data["sensitivity"]["lr"]["marks"][0]
    assert sum(m[1] is None for m in marks) == sum(t.diverged for t in result.record.runs[0].trials)
    sgd = result.record.runs[0]
    assert sorted(m[0] for m in marks if m[3]) == sorted(run.point["lr"] for run in sgd.runs)
    assert data["sensitivity"]["lr"]["notes"][0].endswith("12% diverged")
    assert [list(FLOORS)[place] for place in data["ranked"]] == [s.name for s in judgement.losses.standings]
    loss, accuracy = data["differences"]["validation loss"], data["differences"]["accuracy"]
    for shown, metric, sign in ((loss, "validation loss", 1), (accuracy, "accuracy", -1)):
        for row, s in zip(shown["rows"], judgement.compared[metric].with_best.standings, strict=True):
            assert list(FLOORS)[row["optimizer"]] == s.name
            ends = sorted((sign * s.low, sign * s.high))
            assert row["ends"] == pytest.approx([sign * s.difference, *ends], rel=1e-5)
            assert row["verdict"].startswith(s.verdict)
    assert loss["margin"] == pytest.approx([-judgement.losses.margin, judgement.losses.margin], rel=1e-5)
    assert not loss["ratio"]
    assert (loss["higher"], accuracy["higher"]) == (False, True)
    assert data["watch"]["names"] == list(result.report.update_ratios["adam"])
    assert data["budget"][1]["expected"] == pytest.approx(judgement.budget["rmsprop:alpha=0.9"].expected, rel=1e-5)


def test_the_tables_have_the_numbers_too(whole):
    result, judgement, _, reader, _ = whole
    adjusted = rank_tests(judgement.steps, result.report.ranked[0])
    for row, label in zip(tables.target(result.report).rows, result.report.ranked, strict=True):
        found = judgement.steps[label]
        low, high = found.share_interval
        assert row[:2] == [label, f"{5 - len(found.missed)} of 5 ({low:.0%} to {high:.0%})"]
        assert row[2] == tables.short(found.restricted_mean)
        assert row[-1] == ("–" if label == result.report.ranked[0] else tables.short(adjusted[label], 2))
    assert tables.runs(judgement).rows[0][3] == "diverged"
    assert tables.curves(result.report).rows[0][3:] == ["infinite", "1 of 5"]
    assert tables.seconds(result.report).rows[1] == ["rmsprop:alpha=0.9", "3", "0.3", "10%"]
    for name, compared in judgement.compared.items():
        standings = compared.with_best.standings
        for row, standing in zip(tables.differences(result.report, name).rows, standings, strict=True):
            assert row[:2] == [standing.name, standing.verdict]
    assert [row[0] for row in tables.selection_bias(judgement).rows] == list(judgement.selection_bias)
    for bias in judgement.selection_bias.values():
        assert tables.short(bias.tuning) in reader.texts["luck"]


def test_the_table_of_trials_has_every_training_with_its_key_once_and_the_command_once(whole):
    result, _, text, reader, data = whole
    rows = [a for tag, a in reader.elements if tag == "tr" and "data-row" in a]
    assert len(rows) == len(result.trial_results)
    for trial, _ in result.record.trials:
        assert trial.key(result.spec) in reader.texts["table"]
    assert reader.texts["command"] == result.origin.rerun("KEY")
    assert data["command"] + "abc" == result.origin.rerun("abc")
    assert text.count("--rerun") == 2  # where it is read, and where the script has it
    values = sorted(float(a["data-value"]) for tag, a in reader.elements if tag == "td" and "data-value" in a)
    assert values[-1] == 9, "the last fresh run's seed"
    for state in ("finished", "diverged", "failed"):
        assert state in reader.texts["table"]


def test_below_the_curves_it_is_said_how_many_runs_diverged(whole):
    assert "sgd diverged in 1 of 5 runs. A run that diverged counts as infinite" in whole[3].texts["losses"]
    assert "counts as infinite, so" not in read(study({"sgd": 0.3, "adam": 0.31}))[1].texts["losses"]


def test_failures_are_shown_once_with_all_trainings_that_had_them():
    result = study(FLOORS, failing={("sgd", 5), ("sgd", 7), ("adam", 3)})
    reader = read(result)[1]
    keys = [trial.key(result.spec) for trial, found in result.record.trials if found.error]
    assert f"ValueError: <b>made up</b> ({len(keys)} trainings of sgd and adam)" in reader.texts["failures"]
    assert reader.texts["failures"].count("Traceback (most recent call last)") == 1
    assert all(key in reader.texts["failures"] for key in keys)
    assert "b" not in [tag for tag, _ in reader.elements]
    assert "No training raised" in read(study(FLOORS))[1].texts["failures"]


def test_hostile_names_are_text(monkeypatch):
    about = StudyOrigin(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    result = study({HOSTILE: 0.3, "adam": 0.5}, origin=about)
    done = dict(result.trial_results)
    for key, found in done.items():
        metrics = {HOSTILE: 1.0, **found.metrics} if found.metrics else {}
        done[key] = dataclasses.replace(found, watch={HOSTILE: 1e-3}, metrics=metrics)
    result = changed(result, results=done)
    written = Formula((HOSTILE,), "", HOSTILE)
    monkeypatch.setattr(data_of, "formulas", lambda _: dict.fromkeys([HOSTILE, "adam"], written))
    text, reader, data = read(result)
    script = text[text.index("plotly.js v") : text.rindex('"use strict"')]
    assert "<img" not in text.replace(script, "")
    assert data["optimizers"][0]["label"] == data["watch"]["names"][0] == HOSTILE
    assert [tag for tag, _ in reader.elements].count("script") == 3
    for place in ("verdict", "formulas", "trials", "declaration", "luck"):
        assert HOSTILE in reader.texts[place], place
    assert not [a for _, a in reader.elements if "onerror" in a]


def test_mathematics_is_markup_where_there_is_some_and_lines_where_there_is_none(monkeypatch):
    found = {
        "sgd": Formula(("θ = 1",), "<math><mi>θ</mi></math>", "a paper"),
        "adam": Formula(("θ = 2",), "", "a book"),
        "torch-adam": Formula((), "", ""),
    }
    monkeypatch.setattr(data_of, "formulas", lambda _: found)
    _, reader, _ = read(study(dict.fromkeys(found, 0.3)))
    assert [tag for tag, _ in reader.elements].count("math") == 1
    assert "θ = 1" not in reader.texts["formulas"]
    assert "θ = 2" in reader.texts["formulas"]
    assert "Source: a paper" in reader.texts["formulas"]
    assert reader.texts["formulas"].count("not written as a formula") == 1


def test_spaces_given_options_and_edges_stand_beside_the_formula():
    result = study({f"{name}:eps=1e-6": 0.3 for name in ("adam", "rmsprop", "adamw")}, space={"lr": Range(1e-7, 1e-4)})
    assert len(result.record.stage.edges) == 3  # the best rate is 0.02, and widening goes to 0.01 at most
    reader = read(result)[1]
    assert reader.texts["formulas"].count("chosen from") == reader.texts["formulas"].count(", expanded to") == 3
    assert reader.texts["formulas"].count("to 0.01 (log scale)") == 3
    assert reader.texts["formulas"].count("the high end of lr") == 3
    assert reader.texts["formulas"].count("1e-06, fixed") == 3
    assert "tries 10 points" in reader.texts["protocol"]
    assert ", expanded to" not in read(study(FLOORS))[0]


def test_what_was_not_measured_is_said():
    result = study({"sgd": 0.3}, origin=dataclasses.replace(ORIGIN, study=""))
    unwatched = {key: dataclasses.replace(o, watch={}) for key, o in result.trial_results.items()}
    result = changed(result, seconds={}, results=unwatched)
    text, reader, data = read(result)
    assert "The time per step was not measured." in reader.texts["time"]
    assert "do not record this" in reader.texts["updates"]
    assert data["seconds"] == [None]
    assert "Only sgd took part" in reader.texts["verdict"]
    assert 'id="re-evaluate"' not in text
    assert "There is nothing to compare" in reader.texts["pairs"]


def test_without_a_target_the_page_says_so_and_judges_losses():
    result = study(FLOORS, failing={(name, i) for name in ("sgd", "adam") for i in range(0, 10, 2)})
    _, reader, data = read(result, judge(result.record.runs))
    assert data["times"] is None
    assert data["target"] is None
    assert "There is no target" in reader.texts["times-to-target"]
    assert "There is no target loss" in reader.texts["target"]
    assert "2 of 3 optimizers diverged in at least half of their tunings" in reader.texts["warnings"]
    assert "There are no steps to a target" in reader.texts["warnings"]


def test_scores_far_above_all_others_do_not_press_them_together():
    result = study(FLOORS)
    done = dict(result.trial_results)
    (tuning, first), *_ = [
        (t, o) for t, o in result.record.trials if t.kind == "tune" and not o.diverged and o.score > 0.6
    ]
    done[tuning.key(result.spec)] = dataclasses.replace(first, score=1e12)
    found = chart_data(data_of.report_data(changed(result, results=done).record, result.judgement))
    scores = [m[1] for marks in found["sensitivity"]["lr"]["marks"] for m in marks if m[1] is not None]
    assert max(scores) == 1e12
    assert found["sensitivity"]["lr"]["top"] < 10


def test_a_thousand_trials_stay_small():
    result = study({f"optimizer {i}": 0.3 + 0.01 * i for i in range(8)}, points=13, seeds=8)
    assert len(result.trial_results) >= 1000
    assert len(report_page(result.report)) < 6_000_000


def test_what_is_not_finite_is_null_and_colours_are_strong_enough():
    assert numbers([1.0, math.inf, math.nan]) == [1.0, None, None]
    assert strong("#66CCEE") != "#66ccee"
    assert strong("#332288") == "#332288"
    for colour in ("#66CCEE", "#CCBB44", "#999999", "#ffffff"):
        parts = [int(strong(colour)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        assert 1.05 / (sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05) >= 3


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.1175, 0.1178), (0.21, 0.24), (0.3, 0.5), (0.02, 1.7), (1e-4, 3e3), (1e-300, 1e300), (5e-324, 1.7e308)],
)
def test_logarithmic_axes_have_a_few_numbers_of_any_size(low, high):
    text = (Path(ravine.__file__).parent / "comparison/_report/templates/report_losses.js").read_text(encoding="utf-8")
    function = text[text.index("function logTicks") : text.index("function prepareLosses")]
    ticks = run(f"{function}\nprocess.stdout.write(JSON.stringify(logTicks(...given)));", [low, high])
    inside = [value for value in ticks["tickvals"] if low <= value <= high]
    assert 2 <= len(inside) <= 8
    assert [float(t) for t in ticks["ticktext"]] == ticks["tickvals"]
