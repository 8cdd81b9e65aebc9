"""report.md: everything that a reader needs, in an order that begins with the verdict, and rounded numbers."""

import math
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from studies import changed, study

from ravine.comparison._judge.number_text import number
from ravine.comparison._report import report_files, terminal_report
from ravine.comparison._report.explanations import EXPLAINED
from ravine.comparison._report.figure_data import summary
from ravine.comparison._report.markdown_report import markdown_report
from ravine.comparison._report.note_sentences import warnings
from ravine.comparison._report.protocol_text import protocol_text
from ravine.comparison._report.report_tables import differences as differences_table
from ravine.comparison._report.report_tables import target as target_table
from ravine.comparison._report.result_table import AGAINST, mean_and_spread, result_table
from ravine.comparison._study.declare import PRESETS
from ravine.comparison._study.study_progress import SettledEarly
from ravine.comparison._study.study_record import StudyOrigin
from ravine.optim.search import Range

HOSTILE = ["a|b", "`tick`", "<script>alert(1)</script>", "![x](http://e.org/x.png)", "two\nlines"]


@pytest.fixture(scope="module")
def found():
    result = study({"sgd": 0.3, "rmsprop": 0.33}, failing=[("sgd", 3)])
    return result, result.judgement, markdown_report(result.report)


def parsed(source):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(source)


def test_the_verdict_comes_first_and_everything_is_there(found):
    result, judgement, report = found
    order = [
        "# Comparison of optimizers on `digits`",
        judgement.sentence.replace("sgd", "`sgd`").replace("rmsprop", "`rmsprop`"),
        "- Note: ",
        "A tuning tries 8 points",
        "The target is a validation loss of",
        "## Results",
        "Sorted by the difference to the best of the others in validation loss, which the verdict is about",
        "## Each against the best of the others",
        "## Steps to the target",
        "## Figures",
        "## Search spaces",
        "## Failures",
        "- `sgd`: 2 trainings raised `ValueError: <b>made up</b>`",
        "## Formulas",
        "θₜ = θₜ₋₁ − lr · g",
        result.spec.hash,
        "torch 2.13.0",
        "a made-up processor",
        "ravine compare digits -o sgd -o rmsprop -o adam",
        "ravine worker --study compare-digits",
    ]
    places = [report.index(part) for part in order]
    assert places == sorted(places)


def test_every_interval_and_every_warning_is_said(found):
    result, judgement, report = found
    plain = report.replace("`", "").replace("\\", "")
    for name, one in result.report.differences.items():
        assert len(one.rows) == 2
        assert f"{name[:1].upper() + name[1:]}**, minus the best of the others'" in plain
        for row in one.rows:
            ends = f"{number(row.low)} to {number(row.high)}"
            assert re.search(rf"\| {row.label} +\| +{number(row.middle, 3)} \| +{ends} \| {row.verdict} +\|", plain)
    assert len(judgement.warnings) == 3
    for warning in judgement.warnings:
        assert warning.sentence in plain


def test_the_steps_to_the_target_are_the_table_of_the_page(found):
    result, _, report = found
    section = report.split("## Steps to the target")[1].split("##")[0]
    for row in target_table(result.report).rows:
        assert [
            cell.strip(" `")
            for cell in next(line for line in section.splitlines() if f"`{row[0]}`" in line).split("|")[1:-1]
        ] == row
    alone = replace(result.report, judgement=replace(result.judgement, steps={}, target=None))
    assert "## Steps to the target" not in markdown_report(alone)


def test_how_surely_intervals_hold_depends_on_whether_runs_diverged(found):
    less = "or less, since runs diverged"
    assert less in found[2]
    assert less in differences_table(found[0].report, "validation loss").caption
    whole = study({"sgd": 0.3, "rmsprop": 0.33}).report
    assert "All intervals hold jointly with 95% confidence." in markdown_report(whole)
    assert less not in markdown_report(whole)


def test_what_was_saved_or_is_left_open_is_one_quiet_line_everywhere(found):
    data = found[0].report
    saved = replace(data, settled_early=SettledEarly(8, 20, 0.6))
    said = "Settled after 8 of 20 seeds, which saved about 60% of the trainings."
    losses = replace(data.judgement.losses, more=7, settled=False)
    compared = {
        **data.judgement.compared,
        "validation loss": replace(data.judgement.compared["validation loss"], with_best=losses),
    }
    opened = replace(data, judgement=replace(data.judgement, compared=compared))
    again = (
        "Seeds added to a study that was judged make a wrong verdict more likely; a new one with --until settled --at-most 12 "
        "--study-seed 1 keeps the 5%."
    )
    for one, wanted, other in ((saved, said, again), (opened, again, said)):
        for text in (terminal_report.text(one), protocol_text(one), markdown_report(one).replace("\\", "")):
            assert text.count(wanted) == 1
            assert not text.startswith(wanted)
            assert other not in text


def test_points_that_diverged_in_tuning_only_are_one_note(found):
    calm = study({"sgd": 0.3, "rmsprop": 0.33, "adam": 0.35}, failing=[("sgd", 3)])
    lost = [warning.optimizer for warning in calm.judgement.warnings if warning.kind == "diverged"]
    assert lost == ["sgd", "rmsprop", "adam"]
    said = [warning.sentence for warning in warnings(calm.report)]
    assert said[-1] == "Tuning points that diverged: rmsprop 15% and adam 12%."
    assert said[:-1] == [w.sentence for w in calm.judgement.warnings if w.optimizer == "sgd"]
    assert warnings(found[0].report) == found[1].warnings, "of a single optimizer it says itself"


def test_every_picture_stands_with_its_sentence(found):
    result, _, report = found
    for name in result.report.figures:
        place = report.index(f"({name}.png)")
        assert report[place:].split("\n\n")[1] == EXPLAINED[name]
    assert report.count("](") == 5


def test_the_table_has_the_numbers(found):
    result, judgement, _ = found
    heads, lines = result_table(result.report)
    rows = {line[0]: dict(zip(heads, line, strict=True)) for line in lines}
    rmsprop = next(each for each in result.record.runs if each.name == "rmsprop")
    assert list(rows) == result.report.ranked
    name, value = rows["rmsprop"]["typical point"].split()
    chosen = sorted(run.point["lr"] for run in rmsprop.runs)
    assert (name, float(value)) == ("lr", pytest.approx(chosen[2], rel=0.01)), "of five runs the one in the middle"
    against = judgement.losses.standing("rmsprop")
    assert rows["rmsprop"][AGAINST] == f"{number(against.low)} to {number(against.high)}"
    assert list(rows) == list(judgement.ranked)
    assert rows["rmsprop"]["validation loss"] == mean_and_spread(summary([run.score for run in rmsprop.runs]))
    assert rows["rmsprop"]["ms per step"] == "3"
    assert rows["sgd"]["validation loss"].endswith(" (4 of 5 runs)")
    assert "runs" not in rows["sgd"]["accuracy"], "the same runs"
    missed = len(judgement.steps["sgd"].missed)
    assert rows["sgd"]["reached target"] == f"{5 - missed} of 5"
    assert rows["sgd"]["diverged in tuning"] == "12%"
    assert heads[-4:] == ["accuracy", "test loss", "ms per step", "diverged in tuning"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.31, 0.32, 0.33], "0.320 ± 0.010"),
        ([1234.0, 1250.0], "1,242 ± 11"),
        ([0.5], "0.5"),
        ([0.25, 0.25], "0.25"),
        ([], "–"),
        ([0.0, 0.0], "0"),
        ([1e-12, 3e-12], "2e-12 ± 1.4e-12"),
        ([1e30, 1e30], "1e+30"),
        ([math.inf, 1.0], "–"),
    ],
)
def test_means_are_rounded_to_what_is_known(values, expected):
    assert mean_and_spread(summary(values)) == expected


def test_hostile_labels_are_only_names():
    result = study(dict(zip(HOSTILE, (0.3, 0.31, 0.32, 0.33, 0.34), strict=True)), points=3, seeds=3)
    about = StudyOrigin("a`b", "x|y", "ravine compare `x`\n```\n<b>", "<i>machine</i>")
    report = markdown_report(changed(result, origin=about).report)
    tokens = [child for token in parsed(report) for child in (token, *(token.children or []))]
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "link_open"}
    assert sum(token.type == "image" for token in tokens) == 5
    rows = [token.type for token in tokens if token.type in ("tr_open", "td_open", "th_open")]
    assert rows.count("tr_open") == 6 * 6  # results, three metrics, steps to the target, and search spaces
    cells = [token.children[0].content for token in tokens if token.type == "inline" and token.level == 4]
    shown = ["a|b", "`tick`", *HOSTILE[2:4], r"two\nlines"]
    assert [cell for cell in cells if cell in shown][-5:] == shown  # the search spaces, in the order of the spec


def test_an_optimizer_of_which_all_runs_diverged_has_no_numbers():
    result = study({"sgd": 0.3, "adam": 0.31}, points=3, seeds=3, failing=[("adam", 2 * i + 1) for i in range(3)])
    heads, lines = result_table(result.report)
    row = dict(zip(heads, next(line for line in lines if line[0] == "adam"), strict=True))
    assert (row["validation loss"], row["median steps"], row["accuracy"]) == ("diverged", "not reached", "–")
    raised = sum(bool(found.error) for _, found in result.record.trials)
    assert raised >= 3
    assert f"{raised} trainings raised" in markdown_report(result.report)


def test_a_widened_space_says_what_was_declared(found):
    assert "declared" not in found[2]
    other = study({"sgd": 0.3, "rmsprop": 0.33}, space={"lr": Range(1e-4, 1e-2)})  # the best rate is 0.02
    assert "| 1 (declared 0.01) |" in markdown_report(other.report)
    assert "A tuning tries 10 points" in protocol_text(other.report)
    assert "8 points were planned" in protocol_text(other.report)
    assert "8 points and 2 more at the edge" in str(other)


def test_what_is_fixed_has_nothing_to_tune(found):
    data = found[0].report
    fixed = [replace(entry, searched=()) for entry in data.optimizers]
    assert "rmsprop has nothing to tune: in place of a tuning there is one training" in protocol_text(
        replace(data, optimizers=[data.optimizers[0], fixed[1]])
    )
    assert protocol_text(replace(data, optimizers=fixed)).startswith("Nothing was tuned")


def test_a_study_with_several_looks_says_its_plan(found):
    data = found[0].report
    said = protocol_text(replace(data, spec=replace(data.spec, looks=(5, 10, 20), margin="1%")))
    assert "judge after 5, 10 and 20 seeds" in said
    assert "(declared as 1%)" in said
    many = protocol_text(replace(data, spec=replace(data.spec, looks=PRESETS["settle"].looks)))
    assert "to judge after 8, 11, 14, 17, 20, 27, 36, 48, 64, 85 and 100 seeds" in many
    added = protocol_text(replace(data, spec=replace(data.spec, looks=(3, 5), extended=1)))
    assert "plan was" not in added
    assert (
        "Seeds were added 1 time after a verdict, which was not planned: the study was judged after 3 and 5 seeds"
        in added
    )
    assert "the spread of the loss from one tuning to the next" in protocol_text(data)


def test_an_empty_origin_is_left_out():
    result = study({"sgd": 0.3}, points=2, seeds=2, origin=StudyOrigin())
    report = markdown_report(result.report)
    assert "Storage" not in report
    assert "```sh" not in report
    assert "## Each against" not in report


def test_everything_is_written_the_text_first(found, tmp_path, monkeypatch):
    result, _, report = found
    monkeypatch.setattr(report_files, "report_page", lambda data: b"<!doctype html>")
    paths = result.write(tmp_path)
    drawn = ["report.md", "report.html", *(f"{n}.png" for n in result.report.figures)]
    assert [p.name for p in paths] == ["results.csv", "results.json", *drawn]
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == report
    assert (tmp_path / "report.html").read_bytes() == b"<!doctype html>"
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in paths}

    def fails(data):
        raise RuntimeError("no page")

    monkeypatch.setattr(report_files, "report_page", fails)
    (tmp_path / "report.md").unlink()
    with pytest.raises(RuntimeError, match="no page"):
        result.write(tmp_path)
    assert (tmp_path / "report.md").exists()
