"""The report as one page of HTML: the verdict first, then everything that it rests on, down to each training."""

from __future__ import annotations

from ravine._plotting.html import rendered
from ravine.comparison._judge.number_text import count
from ravine.comparison._report import report_tables as tables
from ravine.comparison._report.chart_data import chart_data
from ravine.comparison._report.declaration import declaration, declaration_json, searched_rows
from ravine.comparison._report.explanations import EXPLAINED
from ravine.comparison._report.note_sentences import warnings
from ravine.comparison._report.protocol_text import protocol_text
from ravine.comparison._report.report_data import ReportData
from ravine.comparison._report.trial_table import failures, trial_table


def report_page(data: ReportData) -> bytes:
    """The page in UTF-8; it loads nothing."""
    labels, judgement = data.labels, data.judgement
    return rendered(
        "report.html",
        "comparison/_report/templates",
        title=f"{data.spec.task}: {count(len(labels), 'optimizer')} compared",
        sentence=judgement.sentence,
        labels=labels,
        data=chart_data(data),
        explained=EXPLAINED,
        judgement=judgement,
        warnings=warnings(data),
        protocol=protocol_text(data),
        results=tables.results(data),
        curves=tables.curves(data),
        lost=[f"{row.label} {row.diverged_text}" for row in data.results if row.diverged],
        sensitivity={name: tables.sensitivity(data, name) for name in data.sensitivity},
        budget=tables.budget(data),
        target=tables.target(data),
        runs=tables.runs(judgement),
        differences={name: tables.differences(data, name) for name in data.differences},
        watch=tables.watch(data),
        unwatched=[label for label in labels if label not in data.update_ratios],
        seconds=tables.seconds(data),
        optimizers=[(entry, searched_rows(entry)) for entry in data.optimizers],
        selection_bias=tables.selection_bias(judgement),
        failures=failures(data),
        trials=trial_table(data),
        declaration=declaration(data),
        spec=declaration_json(data),
        origin=data.origin,
    )
