"""The report of several tasks, on made-up studies: terminal, Markdown, page, figures and files for programs."""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from chromium import act
from cut_marks import cut_marks
from rich.console import Console
from studies import study

from ravine.comparison import TasksResult
from ravine.comparison._result import Result
from ravine.comparison._tasks_report import tasks_data as tables
from ravine.comparison._tasks_report.tasks_figures import TASKS_DRAWERS, tasks_pngs
from ravine.comparison._tasks_report.tasks_markdown import tasks_markdown
from ravine.comparison._tasks_report.tasks_page import tasks_page
from ravine.comparison._tasks_report.tasks_terminal import show_tasks, tasks_text
from ravine.errors import OptionError

HOSTILE = "</script><img src=x onerror=alert(1)>[bold]|"
FLOORS = {"sgd": 0.5, HOSTILE: 0.3, "adam": 0.31, "lion": 0.31}


@pytest.fixture(scope="module")
def result():
    easy, hard = study(FLOORS), study({**FLOORS, "adam": 0.2}, noise=0.02)
    return TasksResult({"easy": easy, "hard": hard}, "mine", None, "ravine compare easy hard")


def at_width(result, width):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    show_tasks(result.report, console)
    return console.file.getvalue()


def test_the_first_line_is_the_answer(result):
    text = str(result)
    assert text.splitlines()[0] == result.aggregate.sentence
    assert text.startswith("Over 2 tasks: ")
    assert text == tasks_text(result.report)
    assert "</style><p><strong>Over 2 tasks: " in result._repr_html_()
    assert "<img" not in result._repr_html_()
    assert "left of the line is worse" in result._repr_html_()  # of a score, more is better


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_narrow_terminal_no_line_is_too_long(result, width):
    text = at_width(result, width)
    assert max(map(len, text.splitlines())) <= width
    assert "[bold]" in text, "names are text"
    assert all(f"{task}: {judged.judgement.sentence[:15]}" in text for task, judged in result.tasks.items())


def test_tables_have_all_optimizers_best_first(result):
    ranked = result.aggregate.ranked
    assert ranked[0] == "adam"
    assert ranked[-1] == "sgd"
    for table in (tables.results, tables.by_task, tables.improvement, tables.profiles, tables.few_points):
        shown = table(result.report)
        assert [row[0] for row in shown.rows] == ranked, shown.caption
        assert {len(row) for row in shown.rows} == {len(shown.columns)}
    assert tables.results(result.report).rows[0][1] == result.aggregate.with_best.standing("adam").verdict


@pytest.mark.parametrize("name", ["few-points", "over-tasks"])
def test_no_mark_is_cut_off_at_the_end_of_an_axis(result, name):
    assert cut_marks(TASKS_DRAWERS[name](result.report)) == []


class Texts(HTMLParser):
    """Tags, and everything that is read."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_the_page_says_the_same_and_loads_nothing(result):
    page = tasks_page(result.report, dict(tasks_pngs(result.report))).decode()
    read = Texts()
    read.feed(page)
    assert result.aggregate.sentence in read.text
    assert result.aggregate.unseen in read.text
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(images) == 3
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert {a["href"] for tag, a in read.tags if tag == "a"} >= {"easy/report.html", "hard/report.html"}
    assert not re.search(r"(src|href)=.?(http|//)", page)


def test_the_page_in_a_browser(result, tmp_path):
    page = tasks_page(result.report, dict(tasks_pngs(result.report)))
    script = "seen.loaded = [...document.images].map((i) => i.naturalWidth > 0); seen.wide = document.body.scrollWidth;"
    seen, errors = act(page, script, tmp_path)
    assert seen["loaded"] == [True] * 3
    assert errors == []


def test_on_a_phone_pictures_can_be_read_and_the_verdict_is_seen(result, tmp_path):
    page = tasks_page(result.report, dict(tasks_pngs(result.report)))
    script = """
    Object.assign(document.body.style, { width: "390px", margin: "0" });  // a window cannot be so narrow
    seen.wider = document.body.scrollWidth - document.body.clientWidth;
    // of a picture's 9.5 inches, whose smallest texts but the signature have 8.5 of 72 points an inch
    seen.texts = Array.from(document.images, (image) => image.getBoundingClientRect().width / 9.5 / 72 * 8.5);
    seen.scrolls = Array.from(document.images, (image) => image.closest(".scroll").clientWidth <= 390);
    seen.verdict = document.querySelector("#results tbody td").textContent.trim();
    seen.right = Math.max(...Array.from(document.querySelectorAll("#results tbody td:nth-child(2)"), (cell) => cell.getBoundingClientRect().right));
    """
    seen, errors = act(page, script, tmp_path, "--window-size=390,844")
    assert errors == []
    assert seen["wider"] == 0
    assert min(seen["texts"]) > 9
    assert all(seen["scrolls"])
    assert seen["verdict"] == result.aggregate.with_best.standings[0].verdict
    assert seen["right"] <= 390


def test_the_markdown_names_everything_as_code(result):
    text = tasks_markdown(result.report)
    assert text.startswith("# 4 optimizers compared on 2 tasks\n\n**Over 2 tasks: ")
    assert "(easy/report.md)" in text
    assert "ravine compare easy hard" in text
    assert "<img" not in re.sub(r"`[^`]*`", "", text)


def test_files_for_programs(result, tmp_path):
    written = {path.name for path in result.write(tmp_path)}
    assert written == {
        "results.csv", "results.json", "report.md", "report.html", "over-tasks.png", "profiles.png", "few-points.png",
    }  # fmt: skip
    assert (tmp_path / "easy" / "report.html").is_file()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert len(rows) == sum(len(one.record.trials) for one in result.tasks.values())
    tree = json.loads((tmp_path / "results.json").read_text())
    assert [task["results"] for task in tree["tasks"]] == ["easy/results.json", "hard/results.json"]
    together = tree["aggregate"]
    assert together["sentence"] == result.aggregate.sentence
    assert together["ranked"] == result.aggregate.ranked
    assert {row["optimizer"] for row in together["interquartile_mean"]} == set(FLOORS)
    assert len(together["improvement"]) == 12
    assert [few["points"] for few in together["few_points"]] == [1, 2, 4, 8]


def test_tables_for_pandas(result):
    assert set(result.scores().columns) == {"task", "optimizer", "run", "score"}
    assert len(result.scores()) == 2 * 4 * 5
    assert set(result.trials().task) == {"easy", "hard"}
    assert list(result.standings().name) == result.aggregate.ranked
    assert len(result.improvement()) == 12


def test_a_task_without_a_verdict_is_left_out(result, tmp_path):
    record = result.tasks["hard"].record
    keys = [trial.key(record.spec) for trial, _ in record.trials]
    begun = Result(replace(record, results={key: record.results[key] for key in keys[:50]}))
    some = TasksResult({"easy": result.tasks["easy"], "hard": begun}, "mine")
    assert some.aggregate.sentence.startswith("Over 1 task: ")
    assert some.aggregate.unseen == "One task says nothing about others."
    assert some.aggregate.notes[0].startswith("hard has no verdict yet and is left out. 50 of about ")
    none = TasksResult({"hard": begun}, "mine")
    assert str(none) == f"{none!r}\nNothing can be judged yet: no task has come to its first look."
    with pytest.raises(OptionError, match="no task has come to its first look. hard: 50 of about"):
        none.judge()
    assert {path.name for path in none.write(tmp_path)} == {"results.csv", "results.json"}
    assert json.loads((tmp_path / "results.json").read_text())["aggregate"] is None


def test_runs_far_out_count_as_they_are_and_a_note_says_which(result):
    assert result.aggregate.notes == []
    record = result.tasks["hard"].record
    trials = result.tasks["hard"].trials()
    key = trials[trials.judged & (trials.optimizer == "lion")].key.iloc[0]
    far = replace(record.results[key], score=3.0)
    results = {**record.results, key: far}
    some = TasksResult({**result.tasks, "hard": Result(replace(record, results=results))}, "mine")
    note = "On hard, runs are far out, and count here as they are: 1 of 5 runs of lion."
    assert some.aggregate.notes == [note]
    assert f"Note: {note}" in " ".join(str(some).split())


def test_where_nobody_learns_on_any_task_the_reason_is_given(result, tmp_path):
    record = result.tasks["hard"].record
    risen = {key: replace(one, losses=(0.0, *one.losses[1:])) for key, one in record.results.items()}
    none = TasksResult({"hard": Result(replace(record, results=risen))}, "mine")
    assert not none.judgeable
    reason = "Nothing can be put together: On hard no optimizer ends below the loss that it begins with"
    assert str(none).splitlines()[1].startswith(reason)
    with pytest.raises(OptionError, match=reason):
        none.judge()
    assert {path.name for path in none.write(tmp_path)} == {"results.csv", "results.json"}
    assert json.loads((tmp_path / "results.json").read_text())["aggregate"] is None
    assert (tmp_path / "hard" / "report.html").is_file()


def test_what_cannot_be_computed_leaves_no_half_report(result, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise ArithmeticError

    monkeypatch.setattr("ravine.comparison._tasks_result.aggregate", fails)
    with pytest.raises(ArithmeticError):
        TasksResult(dict(result.tasks), "mine").write(tmp_path)
    assert not list(tmp_path.iterdir())
