"""The report's page in a browser without a window: it draws, its controls work, and it says nothing on the console."""

from dataclasses import replace

import pytest
from chromium import HOSTILE, act
from studies import changed, study

from ravine.comparison._report.report_page import report_page
from ravine.optim.search import Range

FLOORS = {HOSTILE: 0.5, "rmsprop:alpha=0.9": 0.3, "adam": 0.31}
SPACE = {"lr": Range(1e-4, 1.0), HOSTILE: Range(0.8, 0.999, "complement")}
WAYS = """
const until = async (test) => { for (let tries = 0; tries < 200 && !test(); tries++) await new Promise((done) => setTimeout(done, 20)); };
const settled = () => until(() => document.documentElement.dataset.ready === "yes");
const drawn = async (id) => { await settled(); return by(id); };
const set = (id, value) => { by(id).value = value; by(id).dispatchEvent(new Event("change")); };
const rows = () => Array.from(by("table").tBodies[0].rows).filter((row) => !row.hidden);
const column = (place) => rows().map((row) => row.cells[place].textContent);
const heads = Array.from(document.querySelectorAll("#table .sort"));
const place = (name) => heads.findIndex((head) => head.textContent === name);
const data = JSON.parse(by("data").textContent);
const boxes = document.querySelectorAll("input.optimizer");
"""
ACT = """
seen.lazy = !by("watch").data;
const curves = await drawn("curves");
seen.ready = document.documentElement.dataset.ready;
const lines = () => curves.data.filter((trace) => trace.mode === "lines+markers");
seen.curves = [lines().length, curves.data.length, curves.layout.yaxis.type, lines()[0].x.slice(-1)[0]];
seen.target = curves.data.slice(-1)[0].text;
by("band").click();
seen.bandless = curves.data.length;
by("by-second").click();
seen.seconds = [lines()[0].x.slice(-1)[0], lines()[1].x.slice(-1)[0], curves.layout.xaxis.title.text];
by("log").click();
await settled();
seen.linear = curves.layout.yaxis.type;
by("log").click();
const small = await drawn("sensitivity-0");
seen.valley = small.data[0].marker.symbol;
seen.chosen = small.data[0].customdata.filter((each) => each[1].endsWith(", chosen")).length;
seen.first = small.layout.xaxis.title.text;
seen.note = small.parentElement.querySelector(".note").textContent;
set("hyperparameter", by("hyperparameter").options[1].value);
await settled();
seen.other = [small.layout.xaxis.title.text, small.data[0].x[0], by("hyperparameter").value];
seen.folded = Array.from(document.querySelectorAll("[data-hyperparameter]"), (box) => box.hidden);
const times = await drawn("times");
const runs = times.data.filter((trace) => trace.mode === "markers")[data.ranked.indexOf(0)];
seen.misses = runs.x.filter((x, i) => runs.marker.symbol[i] === "x");
seen.labels = times.layout.annotations.map((note) => note.text);
const differences = await drawn("differences");
seen.loss = [differences.layout.xaxis.type, differences.data[0].x[0], differences.layout.xaxis.title.text];
seen.margin = [differences.layout.shapes[0].x0, differences.layout.shapes[0].x1];
set("metric", "accuracy");
await settled();
seen.metric = [differences.layout.xaxis.type, differences.data[0].x[0], differences.layout.xaxis.title.text];
seen.shown = Array.from(document.querySelectorAll("[data-metric]")).filter((box) => !box.hidden).map((box) => box.dataset.metric);
const watch = await drawn("watch");
seen.watch = [watch.data.length, watch.layout.annotations.length];
boxes[0].click();
await settled();
seen.toggled = {
  curves: lines().map((trace) => trace.name), times: times.layout.annotations.length, watch: watch.data.length,
  count: by("count").textContent, optimizers: [...new Set(column(0))], small: small.parentElement.hidden,
  legend: Array.from(document.querySelector(".legend").children, (item) => item.textContent),
};
by("none").click();
seen.none = [rows().length, Array.from(boxes, (box) => box.checked)];
by("all").click();
seen.all = rows().length;
const loss = place("validation loss");
heads[loss].click();
seen.rising = column(loss);
seen.sorted = heads[loss].parentElement.getAttribute("aria-sort");
heads[loss].click();
seen.falling = column(loss);
heads[place("optimizer")].click();
seen.names = column(0);
seen.sorts = document.querySelectorAll("[aria-sort]").length;
const key = rows()[3].querySelector(".key");
key.click();
seen.command = [by("command").textContent, key.textContent, key.getAttribute("aria-pressed")];
by("copy").click();
await until(() => by("copied").textContent);
seen.selected = [getSelection().toString(), by("copied").textContent];
seen.keys = Array.from(document.querySelectorAll("button, input, select, summary")).every((element) => element.tabIndex === 0);
seen.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
seen.light = [getComputedStyle(document.body).backgroundColor, curves.layout.paper_bgcolor];
dispatchEvent(new Event("beforeprint"));
seen.printed = [by("budget").layout.width, by("budget").layout.paper_bgcolor, document.querySelectorAll("details[data-print]:not([open])").length];
dispatchEvent(new Event("afterprint"));
seen.after = [document.documentElement.className, document.querySelectorAll("details[data-print][open]").length];
seen.images = document.images.length;
seen.title = document.title;
seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
"""


@pytest.fixture(scope="module")
def shown():
    return study(FLOORS, failing={(HOSTILE, 5)}, space=SPACE)


@pytest.fixture(scope="module")
def seen(tmp_path_factory, shown):
    """What the script above saw on a phone, and the console."""
    return act(report_page(shown.report), WAYS + ACT, tmp_path_factory.mktemp("browser"), "--window-size=390,844")


def test_the_console_is_silent_and_no_name_became_an_element(seen):
    found, console = seen
    assert console == []
    assert found["ready"] == "yes"
    assert found["images"] == 0
    assert "broken" not in found["title"].replace(HOSTILE, "")
    assert not [name for name in found["requests"] if not name.startswith(("data:", "blob:"))]
    assert found["wider"] == 0
    assert found["keys"]


def test_charts_are_drawn_one_after_another(seen):
    found, _ = seen
    assert found["lazy"]
    assert found["curves"] == [3, 3 * 3 + 1, "log", 100]
    assert found["target"][1].startswith("target 0.")


def test_the_choices_of_the_curves_work(seen):
    found, _ = seen
    assert found["bandless"] == 4
    assert found["seconds"] == [pytest.approx(0.2), pytest.approx(0.3), "seconds of training on one thread"]
    assert found["linear"] == "linear"


def test_every_tuned_point_is_marked_and_another_hyperparameter_can_be_chosen(seen, shown):
    found, _ = seen
    trials = shown.record.runs[0].trials
    assert len(found["valley"]) == len(trials)
    assert found["valley"].count("x") == sum(t.diverged for t in trials) > 0
    assert found["chosen"] == 5, "of each tuning one"
    assert found["valley"].count("circle") == 5, "and these are filled"
    assert "chosen" in found["note"]
    assert found["first"] == "lr", "what the list shows is what is drawn"
    title, first, value = found["other"]
    assert value == HOSTILE
    assert title.startswith("1 − &lt;/script&gt;&lt;img")
    assert first == pytest.approx(1 - min(t.point[HOSTILE] for t in trials), rel=1e-6)
    assert found["folded"] == [True, False]


def test_no_run_is_dropped_and_differences_have_their_metric(seen, shown):
    found, _ = seen
    missed = shown.judgement.steps[HOSTILE].missed
    assert len(found["misses"]) == len(missed) > 0
    assert min(x or 0 for x in found["misses"]) > 100  # beside the steps that a run had
    assert found["labels"][-2].startswith("&lt;/script&gt;"), "the worst stands last"
    assert found["labels"][-1] == "missed"
    assert found["loss"][:2] == ["linear", 0]
    assert "right of 0 is worse" in found["loss"][2]
    margin = shown.judgement.losses.margin
    assert found["margin"] == pytest.approx([-margin, margin], rel=1e-5)
    assert found["metric"][:2] == ["linear", 0]
    assert "left of 0 is worse" in found["metric"][2]
    assert found["shown"] == ["accuracy"]


def test_the_checkboxes_rule_charts_legends_and_the_table(seen, shown):
    found, _ = seen
    toggled, rest = found["toggled"], list(FLOORS)[1:]
    assert toggled["curves"] == toggled["optimizers"] == toggled["legend"] == rest
    assert toggled["times"] == 3
    assert found["watch"] == [5, 4]  # two lines of what is usual, and a trace for each that is watched
    assert toggled["watch"] == 4
    assert toggled["small"]
    total = len(shown.trial_results)
    kept = sum(trial.label in rest for trial, _ in shown.record.trials)
    assert toggled["count"] == f"{kept} of {total}"
    assert found["none"] == [0, [False] * 3]
    assert found["all"] == total


def test_the_table_sorts_by_numbers_and_what_has_none_stands_last(seen, shown):
    found, _ = seen
    rising, falling = found["rising"], found["falling"]
    none = rising.count("–")
    assert none == sum(result.diverged for _, result in shown.record.trials) > 0
    assert set(rising[-none:]) == set(falling[-none:]) == {"–"}
    numbers = [float(text) for text in rising[:-none]]
    assert numbers == sorted(numbers)
    assert [float(text) for text in falling[:-none]] == sorted(numbers, reverse=True)
    assert found["sorted"] == "ascending"
    assert found["names"] == sorted(found["names"], key=list(FLOORS)[::-1].index) or found["names"][0] == HOSTILE
    assert found["sorts"] == 1


def test_a_key_gives_its_command(seen, shown):
    found, _ = seen
    command, key, pressed = found["command"]
    assert command == shown.origin.rerun(key)
    assert pressed == "true"
    assert found["selected"][0].strip() == command
    assert found["selected"][1]


def test_paper_gets_every_chart_in_light_colours_and_open_tables(seen):
    found, _ = seen
    assert found["light"] == ["rgb(255, 255, 255)", "#ffffff"]
    width, ground, closed = found["printed"]
    assert 300 < width <= 680
    assert ground == "#ffffff"
    assert closed == 0
    assert found["after"] == ["", 0]


def test_a_dark_screen_gets_a_dark_page_and_paper_stays_light(tmp_path, shown):
    script = """
    const curves = await drawn("curves");
    seen.dark = [getComputedStyle(document.body).backgroundColor, curves.layout.paper_bgcolor, curves.data.filter((t) => t.name)[0].line.color];
    dispatchEvent(new Event("beforeprint"));
    seen.printed = [getComputedStyle(document.body).backgroundColor, curves.layout.paper_bgcolor, curves.data.filter((t) => t.name)[0].line.color];
    """
    dark = "--blink-settings=preferredColorScheme=0"
    found, console = act(report_page(shown.report), WAYS + script, tmp_path, "--window-size=1280,900", dark)
    assert console == []
    assert found["dark"][:2] == ["rgb(20, 22, 26)", "#14161a"]
    assert found["printed"][:2] == ["rgb(255, 255, 255)", "#ffffff"]
    assert found["dark"][2] != found["printed"][2]


def test_nothing_is_wider_than_a_phone(tmp_path, shown):
    script = """
    await settled();
    Object.assign(document.body.style, { width: "390px", margin: "0" });  // a window cannot be so narrow
    dispatchEvent(new Event("resize"));
    await until(() => document.body.scrollWidth <= 390);
    for (const box of document.querySelectorAll("details")) box.open = true;
    await settled();
    seen.wider = document.body.scrollWidth - document.body.clientWidth;
    const scrolls = (box) => box.closest(".scroll, pre, .plot");
    seen.beyond = Array.from(document.querySelectorAll("body *")).filter((box) => box.getBoundingClientRect().right > 390 && !scrolls(box)).map((box) => box.outerHTML);
    seen.charts = Math.max(...Array.from(document.querySelectorAll(".plot"), (box) => box.getBoundingClientRect().right));
    """
    found, console = act(report_page(shown.report), WAYS + script, tmp_path, "--window-size=390,844")
    assert console == []
    assert found["wider"] == 0
    assert found["beyond"] == []
    assert found["charts"] <= 390


def test_losses_below_zero_and_seconds_that_are_missing_close_what_needs_them(tmp_path):
    result = changed(study({"sgd": -0.5, "adam": -0.6}), seconds={})
    script = """
    const curves = await drawn("curves");
    seen.log = [by("log").disabled, curves.layout.yaxis.type];
    seen.seconds = [by("by-second").disabled, by("unmeasured").textContent];
    """
    found, console = act(report_page(result.report), WAYS + script, tmp_path)
    assert console == []
    assert found["log"] == [True, "linear"]
    assert found["seconds"] == [True, "Time per step was not measured."]


def test_beyond_the_scale_too_only_the_best_of_a_tuning_are_filled(tmp_path):
    result = study({"sgd": 0.3, "adam": 0.31})
    tried = sorted(
        (found.score, trial.key(result.spec))
        for trial, found in result.record.trials
        if trial.kind == "tune" and trial.label == "sgd" and not found.diverged
    )
    done = dict(result.trial_results)  # the best of all stays the best, and is filled at the bottom
    for (_, key), score in ((tried[0], 1e-9), (tried[-1], 1e9)):
        done[key] = replace(done[key], score=score)
    script = """
    const { marker, customdata } = (await drawn("sensitivity-0")).data[0];
    seen.marks = marker.symbol.map((symbol, i) => [symbol, customdata[i][1].endsWith(", chosen")]);
    """
    found, console = act(report_page(changed(result, results=done).report), WAYS + script, tmp_path)
    assert console == []
    assert {symbol for symbol, _ in found["marks"]} == {
        "x",
        "circle",
        "circle-open",
        "triangle-up-open",
        "triangle-down",
    }
    assert all(symbol.endswith("-open") != best for symbol, best in found["marks"] if symbol != "x")


@pytest.mark.parametrize("ratio", [False, True])
def test_a_margin_wider_than_all_intervals_leaves_white_on_both_sides(tmp_path, ratio):
    script = """
    const { xaxis, shapes } = (await drawn("differences")).layout;
    const ends = [shapes[0].x0, shapes[0].x1];
    seen.places = [...ends.map((end) => (xaxis.type === "log" ? Math.log10(end) : end)), ...xaxis.range];
    """
    result = study({"sgd": 0.3, "adam": 0.31}, ratio=ratio, margin="3")
    found, console = act(report_page(result.report), WAYS + script, tmp_path)
    assert console == []
    margin_low, margin_high, low, high = found["places"]
    assert low < margin_low < margin_high < high


THREE = {"lr": Range(1e-4, 1.0), "beta1": Range(0.8, 0.999, "complement"), "weight_decay": Range(1e-4, 0.1)}


@pytest.fixture(scope="module")
def wide():
    """Long names, three hyperparameters, and many runs that miss the target."""
    return study({"momentum:momentum=0.9,nesterov=False": 0.5, "adam": 0.31}, space=THREE, points=3, seeds=12)


def test_at_1280_pixels_the_table_of_results_is_seen_whole(tmp_path, wide):
    script = """
    const table = document.querySelector("#results .scroll");
    seen.cut = table.scrollWidth - table.clientWidth;
    seen.numbers = Array.from(document.querySelectorAll("#results .whole"), (part) => part.getClientRects().length);
    """
    found, _ = act(report_page(wide.report), WAYS + script, tmp_path, "--window-size=1280,900")
    assert found["cut"] <= 0
    assert set(found["numbers"]) == {1}, "no number is broken"


def test_on_a_phone_no_label_covers_a_mark_and_the_verdict_is_seen(tmp_path, wide):
    script = """
    await settled();
    Object.assign(document.body.style, { width: "390px", margin: "0" });  // a window cannot be so narrow
    dispatchEvent(new Event("resize"));
    await until(() => by("times").clientWidth <= 390 && by("times").querySelector(".main-svg").clientWidth <= 390);
    by("all").click();  // drawn anew
    await settled();
    const between = (id, what) => Array.from(by(id).querySelectorAll(what), (each) => { const box = each.getBoundingClientRect(); return [box.top, box.bottom]; });
    const texts = data.ranked.map((place) => data.optimizers[place].label);
    for (const id of ["times", "watch"]) seen[id] = [between(id, ".annotation .bg").slice(0, id === "times" ? texts.length : undefined), between(id, ".points path, .point")];
    const labels = Array.from(by("differences").querySelectorAll(".annotation"));
    seen.labels = labels.map((label) => [label.textContent, label.getBoundingClientRect().right]);
    seen.verdicts = Array.from(document.querySelectorAll("#pairs [data-metric]:not([hidden]) tbody td:nth-child(2)"), (cell) => [cell.textContent.trim(), cell.getBoundingClientRect().right]);
    """
    found, console = act(report_page(wide.report), WAYS + script, tmp_path, "--window-size=390,844")
    assert console == []
    for labels, marks in (found["times"], found["watch"]):
        assert labels
        assert len(marks) >= 8
        for top, bottom in labels:
            assert not [mark for mark in marks if mark[0] < bottom - 0.5 and mark[1] > top + 0.5]
    standings = wide.judgement.losses.standings
    assert [text for text, _ in found["verdicts"]] == [s.verdict for s in standings]
    assert [text.split(": ")[-1] for text, _ in found["labels"]] == [s.verdict for s in standings]
    assert max(right for _, right in [*found["labels"], *found["verdicts"]]) <= 390
