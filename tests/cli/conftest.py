"""For tests of ``ravine compare``: comparisons without what takes longer than their few small trainings."""

import pytest


@pytest.fixture
def simply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings one by one, no seconds of a step, no figures for papers, where none of these is the subject."""
    monkeypatch.setattr("ravine.comparison._study.trial_runner.stacked_task", lambda task: None)
    monkeypatch.setattr("ravine.comparison._run_study.measure_seconds", lambda *_: {})
    monkeypatch.setattr("ravine.comparison._report.report_files.figure_pngs", lambda data: iter(()))
