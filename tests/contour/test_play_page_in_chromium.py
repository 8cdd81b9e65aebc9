"""The playground in a browser without a window: it computes, its controls work, by keyboard too, and nothing is said on the console."""

import pytest
from chromium import HOSTILE, act

from ravine.contour import play

HELPERS = """
const set = (id, value, type = "input") => { by(id).value = value; by(id).dispatchEvent(new Event(type)); };
const cards = () => Array.from(document.querySelectorAll(".card"));
const value = (i) => cards()[i].querySelector("header output").textContent;
const rest = () => new Promise((done) => setTimeout(done, 400));
const message = () => by("message").textContent;
const sliders = (i) => Array.from(cards()[i].querySelectorAll(".hypers input"));
const slide = (slider, place) => { slider.value = place; slider.dispatchEvent(new Event("input")); };
const key = (name, more = {}) => by("handle").dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true, ...more }));
const inked = (id) => { const c = by(id), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; return new Set(Array.from({ length: d.length / 4 }, (_, i) => d[4 * i] * 65536 + d[4 * i + 1] * 256 + d[4 * i + 2])).size; };
seen.ready = document.documentElement.dataset.ready;
"""
STEPS = """
seen.first = [message(), cards().map((c) => c.querySelector("h3").textContent), by("step-text").textContent];
seen.inked = [inked("map"), inked("losses")];
by("reset").click();
seen.reset = [message(), by("step-text").textContent];
by("forth").click(); by("forth").click(); by("back").click();
seen.one = [message(), by("step-text").textContent];
set("step", 40);
seen.forty = [message(), by("step-text").textContent, value(0)];
by("play").click();
seen.playing = by("play").textContent;
for (let i = 0; i < 100 && by("step-text").textContent === "40"; i++) await new Promise((done) => setTimeout(done, 50));
by("play").click();
seen.paused = [by("play").textContent, Number(by("step-text").textContent)];
await rest();
seen.still = Number(by("step-text").textContent);
set("steps", "1000", "change");
await rest();
seen.thousand = [by("step").max, by("step-text").textContent];
seen.spoken = by("spoken").textContent;
location.hash = "#steps=100&step=40&start=-3,2";
await rest();
seen.link = [by("steps").value, by("step-text").textContent, by("start-x").value, by("start-y").value];
location.hash = "#steps=7&step=x&start=1;2";
await rest();
seen.wrong_link = [by("steps").value, by("step-text").textContent, by("start-x").value, by("start-y").value];
"""
START = """
const at = () => [Number(by("start-x").value), Number(by("start-y").value)];
seen.start = at();
key("ArrowRight"); key("ArrowUp");
seen.keys = at();
key("ArrowLeft", { shiftKey: true });
seen.small = at();
seen.handle = by("handle").getAttribute("aria-label");
const box = by("map").getBoundingClientRect(), before = value(0);
by("map").dispatchEvent(new MouseEvent("click", { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }));
seen.clicked = [at(), value(0) !== before];
const grip = by("handle").getBoundingClientRect(), pointer = (type, dx, dy) => by("handle").dispatchEvent(new PointerEvent(type, { pointerId: 1, isPrimary: true, clientX: grip.left + grip.width / 2 + dx, clientY: grip.top + grip.height / 2 + dy, bubbles: true }));
pointer("pointerdown", 0, 0); pointer("pointermove", -60, 30); pointer("pointerup", -60, 30);
seen.dragged = at();
pointer("pointermove", 90, 0);
seen.let_go = at();
set("start-x", "-3"); set("start-y", "2");
seen.typed = [by("handle").getAttribute("aria-label"), value(1)];
by("farther").click(); by("closer").click(); by("closer").click(); by("window").click();
"""
SETTINGS = """
seen.sliders = sliders(1).map((s) => s.getAttribute("aria-valuetext"));
const tuned = () => cards()[1].querySelector(".tune button"), lr = sliders(1)[0].getAttribute("aria-valuetext"), was = value(1);
slide(sliders(1)[0], 100);
seen.by_hand = [tuned().getAttribute("aria-pressed"), sliders(1)[0].getAttribute("aria-valuetext") !== lr, value(1) !== was];
await rest();
seen.stays = sliders(1)[0].value;
tuned().click();
seen.tuned = [tuned().getAttribute("aria-pressed"), sliders(1)[0].getAttribute("aria-valuetext") === lr, value(1) === was];
slide(sliders(1)[1], 400);
await rest();
seen.alpha = [sliders(1)[1].getAttribute("aria-valuetext"), tuned().getAttribute("aria-pressed")];
set("noise", "30");
const noisy = value(0);
set("seed", "5");
seen.noise = [by("noise-text").textContent, value(0) !== noisy];
set("seed", "0"); set("noise", "30");
seen.again = value(0) === noisy;
set("noise", "0");
await rest();
set("add", Array.from(by("add").options).find((o) => o.text === "prodigy").value, "change");
seen.added = [cards().length, cards()[3].querySelectorAll(".states canvas").length, sliders(3).map((s) => s.disabled), Array.from(by("add").options).some((o) => o.text === "prodigy")];
cards()[0].querySelector("h3 input").click();
seen.hidden = [cards()[0].classList.contains("hidden"), value(0), by("heat").children.length];
cards()[0].querySelector(".remove").click();
seen.removed = [cards().map((c) => c.querySelector("h3").textContent), document.activeElement.id];
const cell = document.querySelectorAll("#heat svg")[0].querySelectorAll("rect.cell")[2 * 5 + 3];
cell.dispatchEvent(new MouseEvent("click"));
seen.cell = [sliders(0)[0].getAttribute("aria-valuetext"), at_start(), document.querySelectorAll("#heat svg")[0].querySelectorAll("rect:not(.cell)").length];
function at_start() { return [Number(by("start-x").value), Number(by("start-y").value)]; }
seen.table = by("finals").rows.length;
seen.formulas = document.querySelectorAll(".formula math").length;
seen.images = document.images.length;
"""
TYPED = """
const help = () => by("function-help").textContent;
const kept = message();
set("function", "x**2 + 20y");
seen.wrong = [help(), by("function").getAttribute("aria-invalid"), message() === kept, by("surface").value];
set("function", "x**2 + 20*y**2");
seen.right = [help().includes("sin"), by("function").getAttribute("aria-invalid"), by("surface").value, message() !== kept];
set("function", "log(x - 1000)");
seen.nowhere = [help(), message()];
set("function", "sin(x)*cos(y)");
await rest();
seen.below = [message(), by("losses-text").textContent];
set("function", "log(x) + y**2");
await rest();
seen.half = [Number(by("start-x").value) > 0, by("function").getAttribute("aria-invalid")];
set("surface", "beale", "change");
seen.beale = [by("function").value, Number(by("start-x").value), Number(by("start-y").value)];
set("surface", "", "change");
seen.own = document.activeElement.id;
"""
LOW = """
set("steps", "1000", "change");
await rest();
const c = by("losses"), scale = c.width / c.clientWidth;
const band = c.getContext("2d").getImageData(0, c.height - 24 * scale, c.width, 8 * scale).data;
const inside = (from, to) => band.filter((_, i) => { const place = ((i >> 2) % c.width) / c.width; return place >= from && place < to; });
seen.low = [value(0), by("losses-text").textContent, inside(0.5, 0.9).every((part) => part === 0), inside(0.3, 0.4).some((part) => part)];
"""
LOOKS = """
const lit = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
const luminance = (rgb) => { const [r, g, b] = rgb.map((p) => p / 255).map((p) => (p <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (let one = e; one; one = one.parentElement) { const made = lit(getComputedStyle(one).backgroundColor); if (made.a > 0) return made.rgb; } return [255, 255, 255]; };
seen.faint = Array.from(document.querySelectorAll("main *, header *, #message")).filter((e) => e.checkVisibility() && !e.closest(".unseen") && Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
  const svg = e.namespaceURI.endsWith("svg"), ink = lit(getComputedStyle(e)[svg ? "fill" : "color"]).rgb;
  const [high, low] = [luminance(ink), luminance(behind(e))].sort((a, b) => b - a);
  return [(high + 0.05) / (low + 0.05), e.tagName, e.textContent.slice(0, 30)];
}).filter(([ratio]) => ratio < 4.5);
seen.nameless = Array.from(document.querySelectorAll("button, input, select, canvas, [tabindex]")).filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels.length && e.labels[0].textContent.trim()) || e.getAttribute("aria-hidden")));
seen.nameless = seen.nameless.map((e) => e.outerHTML.slice(0, 80));
seen.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const boxes = Array.from(document.querySelectorAll("#player > *, #buttons > *, #setting fieldset > *, #surface-form > *, .hypers > *, .card header > *")).filter((e) => e.id !== "buttons" && e.checkVisibility());
seen.overlaps = boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => { const p = a.getBoundingClientRect(), q = b.getBoundingClientRect(); return p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1; }).map((b) => [a.outerHTML.slice(0, 60), b.outerHTML.slice(0, 60)]));
by("play").focus();
seen.focus = getComputedStyle(by("play")).outlineStyle;
"""


@pytest.fixture(scope="module")
def page():
    return play("ravine", {HOSTILE: "sgd", "rmsprop": "rmsprop:alpha=0.95", "adam": "adam"}).page


def acted(page, script, folder, *options):
    found, console = act(page, HELPERS + script, folder, *options)
    assert console == []
    assert found["ready"] == "yes"
    return found


def test_steps_are_played_paused_and_gone_to(page, tmp_path):
    found = acted(page, STEPS, tmp_path)
    assert found["first"][0].startswith("After 300 steps adam is lowest: ")
    assert found["first"][1:] == [[HOSTILE, "rmsprop", "adam"], "300"]
    assert min(found["inked"]) > 20  # many colours: something is drawn
    assert found["reset"] == ["All begin at 14.4 above the minimum", "0"]
    assert found["one"][1] == "1"
    assert found["one"][0].startswith("After 1 step ")
    assert found["forty"][1] == "40"
    assert found["playing"] == "Pause"
    assert found["paused"][0] == "Play"
    assert found["paused"][1] > 40
    assert found["still"] == found["paused"][1]
    assert found["thousand"] == ["1000", "1000"]
    assert found["spoken"].startswith("After 1000 steps ")
    assert found["link"] == found["wrong_link"] == ["100", "40", "-3", "2"]


def test_the_start_moves_by_keys_by_a_click_and_by_dragging(page, tmp_path):
    found = acted(page, START, tmp_path, "--window-size=1280,800")
    assert found["start"] == [-8, 1.5]
    assert found["keys"] == pytest.approx([-7.72, 1.6])
    assert found["small"] == pytest.approx([-7.748, 1.6])
    assert found["handle"].startswith("Start at x −7.75, y 1.6.")
    (x, y), changed = found["clicked"]
    assert -4 < x < -2
    assert -0.5 < y < 0.5
    assert changed
    assert found["dragged"][0] < x - 0.5
    assert found["dragged"][1] < y - 0.1
    assert found["let_go"] == found["dragged"]
    assert found["typed"][0].startswith("Start at x −3, y 2.")


def test_every_slider_changes_what_it_says(page, tmp_path):
    found = acted(page, SETTINGS, tmp_path)
    assert found["sliders"][1:] == ["0.95", "1e−8"]
    assert found["by_hand"] == ["false", True, True]
    assert found["stays"] == "100"
    assert found["tuned"] == ["true", True, True]
    assert found["alpha"] == ["0.999", "true"]
    assert found["noise"] == ["30 %", True]
    assert found["again"]
    assert found["added"][:2] == [4, 8]
    assert found["added"][2].count(True) == 1  # growth_rate is infinite
    assert found["added"][3] is False
    assert found["hidden"] == [True, "", 3]
    assert found["removed"] == [["rmsprop", "adam", "prodigy"], "add"]
    assert found["cell"][0] == "0.000464"
    assert found["cell"][1] != [-8, 1.5]
    assert found["cell"][2] == 4  # the frame of the best rate, and the dashed one
    assert found["table"] == 1 + 3 * 5
    assert found["formulas"] == 3
    assert found["images"] == 0


def test_a_function_is_typed_and_a_mistake_keeps_the_last_one(page, tmp_path):
    found = acted(page, TYPED, tmp_path)
    assert found["wrong"] == ["Write the sign between “20” and “y” (character 10): 20*y.", "true", True, "ravine"]
    assert found["right"] == [True, "false", "", True]
    assert found["nowhere"][0] == "It has no finite value and gradient in this part of the plane."
    assert found["nowhere"][1].startswith("After 300 steps ")
    assert "above the lowest value" in found["below"][0]
    assert "above the lowest value" in found["below"][1]
    assert found["half"] == [True, "false"]
    assert found["beale"][0].startswith("(1.5 - x + x*y)**2")
    assert found["beale"][1:] == [1, 1.5]
    assert found["own"] == "function"


def test_a_curve_that_falls_far_leaves_the_chart_and_no_plateau_is_drawn(tmp_path):
    """On its axis, at the bottom: there went momentum, whose value at the end is 1.6e-45."""
    found = acted(play("ravine", ["momentum", "sgd"]).page, LOW, tmp_path)
    shown, text, empty, crossed = found["low"]
    assert float(shown.replace("−", "-")) < 1e-30
    assert text.endswith("; values below 2.7e−15 are not drawn")
    assert empty
    assert crossed


@pytest.mark.parametrize(
    "options", [["--window-size=390,844"], ["--window-size=1280,800", "--blink-settings=preferredColorScheme=0"]]
)
def test_it_can_be_read_on_a_phone_and_in_the_dark_and_is_named_for_all(tmp_path, options):
    found = acted(play("ravine", ["sgd", "rmsprop:alpha=0.9", "adam"]).page, LOOKS, tmp_path, *options)
    assert found["faint"] == []
    assert found["nameless"] == []
    assert found["wider"] == 0
    assert found["overlaps"] == []
    assert found["focus"] == "solid"
