"""The live page in a browser without a window: it is painted at once, follows what is written, and is legible wherever it is opened."""

import shutil
import time

import pytest
from browser import Browser
from chromium import HOSTILE
from live_runs import Writer, falling, served, write_long

import ravine
from ravine._live.open_study import live_study
from ravine._live.serving import LiveServer
from ravine.comparison._study.location import JOURNAL, Location

pytestmark = pytest.mark.slow  # starts a browser for each test

READY = "document.documentElement.dataset.ready === 'yes'"
LOOKS = """(() => {
const lit = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
const luminance = (rgb) => { const [r, g, b] = rgb.map((p) => p / 255).map((p) => (p <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (let one = e; one; one = one.parentElement) { const made = lit(getComputedStyle(one).backgroundColor); if (made.a > 0) return made.rgb; } return [255, 255, 255]; };
const written = Array.from(document.querySelectorAll("header *, main *, footer *")).filter((e) => e.checkVisibility() && !e.closest(".unseen, .modebar, option") && Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim()));
const faint = written.map((e) => {
  const svg = e.namespaceURI.endsWith("svg"), ink = lit(getComputedStyle(e)[svg ? "fill" : "color"]).rgb;
  const [high, low] = [luminance(ink), luminance(behind(e))].sort((a, b) => b - a);
  return [(high + 0.05) / (low + 0.05), e.tagName, e.textContent.slice(0, 30)];
}).filter(([ratio]) => ratio < 4.5);
const nameless = Array.from(document.querySelectorAll("button, input, select, [tabindex], [role=img], progress")).filter((e) => !e.closest(".js-plotly-plot .plot-container") && !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim() || (e.labels && e.labels.length && e.labels[0].textContent.trim()))).map((e) => e.outerHTML.slice(0, 80));
const boxes = Array.from(document.querySelectorAll("#figures > *, .top > *, header > *, .xtick text, .ytick text, .annotation-text")).filter((e) => e.checkVisibility() && !e.classList.contains("unseen"));
const overlaps = boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => !a.contains(b) && !b.contains(a)).filter((b) => { const p = a.getBoundingClientRect(), q = b.getBoundingClientRect(); return p.width && q.width && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1; }).map((b) => [a.outerHTML.slice(0, 90), b.outerHTML.slice(0, 90)]));
const button = document.querySelector("#log");
button.focus({ focusVisible: true });
return { faint, nameless, overlaps, wider: document.documentElement.scrollWidth - document.documentElement.clientWidth, focus: getComputedStyle(button).outlineStyle };
})()"""
FORMS = [(1280, 800, False, False), (1280, 800, True, False), (390, 844, False, True), (390, 844, True, True)]


@pytest.fixture
def writer(tmp_path):
    """A run of a few layers in its second epoch, with a text that would break a page."""
    writer = Writer(tmp_path / "run")
    writer.write(falling(100))
    writer.end_epoch(train_loss=1.0, valid_loss=0.9, accuracy=0.7)
    writer.line(kind="note", step=100, text=HOSTILE)
    writer.write(falling(50, 1.0))
    return writer


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "small"
    labels = ["sgd", "rmsprop", "adam"]
    ravine.compare("breast-cancer", labels, points=2, seeds=3, steps=20, jobs=1, out=folder, quiet=True).write()
    return folder


def scrolled(browser):
    """Every chart was in sight once, and is drawn."""
    for place in range(0, browser.value("document.documentElement.scrollHeight"), 400):
        browser.value(f"window.scrollTo(0, {place})")
        time.sleep(0.1)
        browser.until(READY)


def test_a_button_says_what_came_of_it(tmp_path, writer):
    with served(tmp_path / "run", control=True) as address, Browser(tmp_path) as browser:
        browser.open(address)
        browser.until(READY)
        press = "document.querySelector('[data-act=stop]').click()"
        browser.value(f"(window.confirm = () => true, {press})")
        acted = "document.getElementById('acted').textContent"
        assert browser.until(acted) == "It stops after the step that runs."
        writer.end()
        browser.value(press)
        browser.until(f"{acted}.includes('has ended')")


def test_it_is_painted_before_it_draws_and_follows_the_file(tmp_path, writer):
    with served(tmp_path / "run") as address, Browser(tmp_path) as browser:
        browser.open(address)
        browser.until(READY)
        assert browser.value("document.getElementById('message').textContent").startswith("Training: epoch 2 of 10")
        paint, plotly = browser.value(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, "
            "performance.getEntriesByType('resource').find((r) => r.name.endsWith('plotly.js')).responseEnd]"
        )
        assert paint < plotly
        browser.until("document.getElementById('connection').textContent === 'live'")
        writer.write([8.25])
        browser.until("Math.max(...document.getElementById('loss').data[1].y) === 8.25")
        writer.end()
        browser.until("document.getElementById('badge').textContent === 'done'")
        assert browser.value("document.title").startswith("done: ")
        assert browser.console == []
        assert browser.foreign == []
        assert {url.removeprefix(address) for url in browser.requests if url.startswith("http")} == {
            "",
            "events",
            "plotly.js",
        }


def test_the_words_of_the_diagnosis_are_above_the_fold(tmp_path, writer):
    writer.write([float("nan")])
    with served(tmp_path / "run") as address, Browser(tmp_path) as browser:
        browser.open(address)
        browser.until(READY)
        assert "not finite" in browser.value("document.getElementById('finding-title').textContent")
        assert browser.value("document.getElementById('finding').getBoundingClientRect().bottom") < 800
        assert browser.value("document.querySelectorAll('#symptoms li').length") >= 1
        assert browser.console == []


@pytest.mark.parametrize(("width", "height", "dark", "mobile"), FORMS)
def test_a_training_is_legible_everywhere(width, height, dark, mobile, tmp_path, writer):
    with served(tmp_path / "run", control=True) as address, Browser(tmp_path, width, height, dark, mobile) as browser:
        browser.open(address)
        browser.until(READY)
        scrolled(browser)
        assert browser.value(LOOKS) == {"faint": [], "nameless": [], "overlaps": [], "wider": 0, "focus": "solid"}
        assert browser.console == []


@pytest.mark.parametrize(("width", "height", "dark", "mobile"), FORMS)
def test_a_study_is_legible_everywhere(width, height, dark, mobile, tmp_path, study):
    page = live_study(Location("", str(study / JOURNAL), study))
    with LiveServer(page).running() as address, Browser(tmp_path, width, height, dark, mobile) as browser:
        browser.open(address)
        browser.until("document.getElementById('badge').textContent === 'done'")
        browser.until(READY)
        scrolled(browser)
        seen = browser.value(LOOKS)
        # names of rows stand over the lines of the chart, as in the report
        assert seen == {"faint": [], "nameless": [], "overlaps": [], "wider": 0, "focus": "solid"}
        for chart in ("trials", "differences", "curves"):
            assert browser.value(f"document.getElementById('{chart}').data.length") > 0
        assert browser.console == []
        assert browser.foreign == []


def test_two_browsers_a_folder_that_goes_and_a_run_that_begins_anew(tmp_path, writer):
    with served(tmp_path / "run") as address, Browser(tmp_path / "one") as one, Browser(tmp_path / "two") as two:
        for browser in (one, two):
            browser.open(address)
            browser.until(READY)
        shutil.rmtree(tmp_path / "run")
        for browser in (one, two):
            browser.until("document.getElementById('badge').textContent === 'gone'")
        Writer(tmp_path / "run").write([5.5, 5.25])
        for browser in (one, two):
            browser.until("document.getElementById('loss').data[1].y.length === 2")
            assert browser.console == []


def test_when_the_server_ends_the_page_stays(tmp_path, writer):
    with Browser(tmp_path) as browser:
        with served(tmp_path / "run") as address:
            browser.open(address)
            browser.until("document.getElementById('connection').textContent === 'live'")
        browser.until("document.getElementById('connection').textContent === 'ended'")
        assert browser.value("document.getElementById('message').textContent").startswith("Training: epoch 2")
        assert "stays as it is" in browser.value("document.getElementById('lost').textContent")


def test_a_hundred_thousand_steps_are_drawn_without_a_long_wait(tmp_path):
    write_long(tmp_path / "run")
    with served(tmp_path / "run") as address, Browser(tmp_path) as browser:
        browser.open(address)
        browser.until(READY)
        assert browser.value("document.getElementById('loss').data[1].x.length") <= 600
        assert browser.console == []
