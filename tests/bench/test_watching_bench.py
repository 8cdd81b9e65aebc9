"""``ravine bench --watch``: what is timed is what it says."""

import json

import pytest
import torch
from click.testing import CliRunner

from ravine._bench import candidates, watching
from ravine._bench.cases import Case, find_configurations
from ravine._bench.measure import Timing
from ravine.cli import _bench as bench
from ravine.watch._record import APART

TINY = Case("tiny", "2 tensors of 5", ((5,), (5,)), 2, False)


def timing(seconds):
    return Timing(seconds, seconds, seconds, 1, 1)


def test_figures_are_ratios_of_the_medians():
    found = watching.Watching(
        "mlp", "a", "A", {"on": timing(3.0), "off": timing(2.0), "clip": timing(4.0), "torch": timing(20.0)}
    )
    assert found.figures == {"watch on / off": 1.5, "torch's clipping / ours": 5.0}
    assert (
        watching.Watching("fit", "a", "A", {"on": timing(3.0), "off": timing(2.0)}).figures["torch's clipping / ours"]
        is None
    )


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_a_real_run(name):
    [configuration] = find_configurations([name])
    found = watching.time_watching(TINY, configuration)
    assert set(found.timings) == {"on", "off", "clip", "torch"}
    assert all(t.median > 0 for t in found.timings.values())


def test_an_optimizer_that_torch_steps_only_on_rows_has_no_time_for_torch():
    [configuration] = find_configurations(["sparseadam"])
    assert set(watching.time_watching(TINY, configuration).timings) == {"on", "off", "clip"}


def test_what_an_optimizer_of_matrices_leaves_to_adamw_is_watched_and_clipped_too():
    mixed = Case("mixed", "an embedding and a matrix", ((7, 4), (3, 4)), 2, False, frozenset({0}))
    [configuration] = find_configurations(["muon"])
    assert set(watching.time_watching(mixed, configuration).timings) == {"on", "off", "clip", "torch"}


def test_candidates_are_what_their_names_say(monkeypatch):
    made = {}

    def take(candidates, rounds, *, least):
        assert (rounds, least) == (TINY.rounds, 1), "of small tensors all steps are alike"
        made.update(candidates)
        return {name: timing(1.0) for name in candidates}

    monkeypatch.setattr(watching, "alternate", take)
    [configuration] = find_configurations(["rmsprop"])
    watching.time_watching(TINY, configuration)
    ours = {name: made[name].__self__ for name in ("on", "off", "clip")}
    assert [ours[n].watch.on for n in ("on", "off", "clip")] == [True, False, True]
    assert ours["clip"].param_groups[0]["clip_norm"] == 1.0
    assert ours["on"].watch.steps > 2000, "as in a long run"
    assert {n for n in made if n.startswith("torch ")} == {"torch default", "torch foreach"}


def test_turns_of_large_tensors_have_a_step_that_is_looked_at_in_full():
    large = Case("large", "one tensor", ((1 << 22,),), 15, True)
    assert candidates.turns(large, None) == (7, APART)
    assert candidates.turns(large, 3) == (3, APART)


def test_a_fit_is_timed_by_the_batch():
    found = watching.time_fit(rounds=1, batches=4)
    assert (found.case, set(found.timings)) == ("fit", {"on", "off"})
    assert 0 < found.timings["on"].median < 1


def test_the_command(tmp_path):
    file = tmp_path / "watch.json"
    arguments = ["--watch", "--case", "62x100", "-o", "sgd", "--rounds", "2", "--threads", "1", "--json", str(file)]
    threads = torch.get_num_threads()
    result = CliRunner().invoke(bench.command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert torch.get_num_threads() == threads
    assert "Watching and clipping" in result.output
    assert [r["case"] for r in json.loads(file.read_text())["watching"]] == ["62x100", "fit"]
