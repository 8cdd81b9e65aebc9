"""The bench's logic against known truth: a clock that we set, byte counts, verdicts. Nothing here asks for speed."""

import itertools
import json
import math
import subprocess
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from forked import run_forked

from ravine._bench import candidates, endurance, first_step, tables, watching
from ravine._bench.cases import (
    CASES,
    MLP,
    Case,
    Configuration,
    configurations,
    find_cases,
    find_configurations,
    takes,
)
from ravine._bench.machine import facts, resident_bytes
from ravine._bench.measure import Timing, alternate
from ravine._bench.step_times import Row, time_steps
from ravine._bench.targets import TARGETS, SpeedTarget, evaluate
from ravine.errors import BackendError, OptionError
from ravine.optim import _registry as registry

SMALL = Case("small", "2 small tensors", ((30, 10), (10,)), rounds=2, streams=False)


class Clock:
    """Time passes only when a candidate steps."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def candidate(self, name, *seconds):
        """Steps that take these seconds, in turn and over again."""
        taken = itertools.cycle(seconds)

        def step():
            self.calls.append(name)
            self.now += next(taken)

        return step


def timing(median):
    return Timing(median, median, median, steps=1, rounds=1)


def row(case="20x1M", name="RMSprop", **times):
    moved, rate = times.pop("bytes_moved", 400_000_000), times.pop("stream_rate", 50e9)
    return Row(case, name.lower(), name, {k: timing(v) for k, v in times.items()}, moved, rate)


# --- measuring --------------------------------------------------------------------------------------------------


def test_candidates_alternate_in_every_round():
    clock = Clock()
    result = alternate({"a": clock.candidate("a", 1.0), "b": clock.candidate("b", 2.0)}, 3, clock=clock)
    one_round = ["a", "a", "b", "b"]  # a step that is not timed, and one that is
    rounds = [clock.calls[i : i + 4] for i in range(0, len(clock.calls), 4)]
    assert rounds[0] == one_round  # it finds out how many steps make a turn
    assert [sorted(r) for r in rounds[1:]] == [one_round] * 3
    assert {name: t.median for name, t in result.items()} == {"a": 1.0, "b": 2.0}


def test_no_candidate_comes_always_behind_the_same_one():
    clock = Clock()
    alternate({name: clock.candidate(name, 1.0) for name in "abc"}, 20, clock=clock)
    turns = clock.calls[6::2]
    pairs = set(itertools.pairwise(turns))
    assert pairs >= {(one, other) for one in "abc" for other in "abc" if one != other}


def test_a_turn_has_as_many_steps_as_fill_it():
    clock = Clock()
    result = alternate({"fast": clock.candidate("fast", 1e-4)}, 2, turn=2e-3, clock=clock)["fast"]
    assert result.steps == 32  # 16 doublings of 0.1 ms are 1.6 ms: too short
    assert result.rounds == 2
    assert result.median == pytest.approx(1e-4)


def test_median_and_quartiles_are_those_of_the_turns():
    t = Timing.of([5.0, 1.0, 3.0, 2.0, 4.0], steps=7)
    assert (t.low, t.median, t.high, t.steps, t.rounds) == (2.0, 3.0, 4.0, 7, 5)
    assert t.spread == pytest.approx(2 / 3)
    assert Timing.of([2.0], steps=1).spread == 0


def test_garbage_collection_is_as_it_was(monkeypatch):
    import gc

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        alternate({"a": lambda: 1 / 0}, 1)
    assert gc.isenabled()


# --- cases and optimizers ---------------------------------------------------------------------------------------


def test_the_cases_are_what_their_names_say():
    assert CASES["resnet18"].elements == 11_689_512
    assert len(CASES["resnet18"].shapes) == 62
    assert CASES["20x1M"].elements == 20_000_000
    assert CASES["62x100"].shapes == ((100,),) * 62
    assert MLP.elements == 159_010


def test_every_configuration_has_its_own_label_and_is_an_optimizer_of_ours():
    found = configurations()
    assert len({c.label for c in found}) == len(found)
    for c in found:
        params = candidates.parameters(SMALL, candidates.gradients(SMALL, torch.float32))
        assert type(candidates.ravine_optimizer(c, params)).__name__ == c.name


def test_names_choose_and_unknown_names_help():
    assert [c.label for c in find_configurations(["RMSprop", "adam-amsgrad"])] == ["adam-amsgrad", "rmsprop"]
    assert [c.name for c in find_cases(["MLP", "20x1m"])] == ["20x1M", "mlp"]
    [keras] = find_configurations(["rmsprop-keras"])  # not timed unless asked for, and torch has no such thing
    assert keras not in configurations()
    assert candidates.torch_ways(keras) == []
    assert find_cases([]) == [case for case in CASES.values() if not case.asked]
    assert find_cases([], every=True) == list(CASES.values())
    assert {c.name for c in find_configurations([], every=True)} == {cls.__name__ for cls in registry.classes()}
    assert all(c.label == "adam-amsgrad" or hasattr(torch.optim, c.name) for c in configurations())
    with pytest.raises(OptionError, match="Did you mean 'rmsprop'"):
        find_configurations(["rmsporp"])
    with pytest.raises(OptionError, match=r"'mpl'.*Did you mean 'mlp'.*20x1M"):
        find_cases(["mpl"])


def test_a_gradient_of_rows_and_who_can_step_it():
    case = Case("rows", "rows", ((50, 4),), 1, False, touched=6)
    (grad,) = candidates.gradients(case, torch.float32)
    assert grad.layout is torch.sparse_coo
    assert grad.coalesce().indices().unique().numel() == 6
    assert [takes(Configuration(n.lower(), n), case) for n in ("Adam", "Adagrad", "LAMB", "Muon", "Adafactor")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    row = time_steps(case, Configuration("adagrad", "Adagrad"), rounds=1)
    assert {*row.timings, *row.failures} == {"ravine", *candidates.TORCH}
    assert row.figures["share of the dense step"] > 0


def test_muon_is_timed_beside_torchs_two_optimizers_and_its_own_matrix_products():
    case = Case("gpt", "gpt", ((8, 4), (4, 4), (6, 4), (5,)), 1, False, others=frozenset((0,)))
    configuration = Configuration("muon", "Muon")
    params = candidates.parameters(case, candidates.gradients(case, torch.float32))
    twins = candidates.parameters(case, candidates.gradients(case, torch.float32))
    ours = candidates.ravine_optimizer(configuration, params, case)
    ours.step()
    candidates.torch_step(configuration, twins, "default", case)()
    assert ["momentum_buffer" in ours.state[p] for p in params] == [False, True, True, False]
    for p, q in zip(params[1:3], twins[1:3], strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-4)
    row = time_steps(case, configuration, rounds=1)
    products = row.beside["matrix products"].median
    assert products > 0
    assert row.figures["matrix products"] == pytest.approx(products / row.timings["ravine"].median)


def test_torch_steps_in_the_ways_it_has():
    assert candidates.torch_ways(Configuration("adam", "Adam")) == ["default", "foreach", "fused"]
    assert candidates.torch_ways(Configuration("rmsprop", "RMSprop")) == ["default", "foreach"]
    assert candidates.torch_ways(Configuration("none", "NotInTorch")) == []


def test_candidates_start_alike_and_share_only_gradients():
    grads = candidates.gradients(SMALL, torch.bfloat16)
    first, second = (candidates.parameters(SMALL, grads) for _ in range(2))
    for p, q, shape in zip(first, second, SMALL.shapes, strict=True):
        assert p.shape == shape
        assert p.dtype == p.grad.dtype == torch.bfloat16
        assert torch.equal(p, q)
        assert p.data_ptr() != q.data_ptr()
        assert p.grad is q.grad


def test_the_stream_reads_and_writes_its_buffer():
    step, moved = candidates.stream(SMALL, itemsize=4)
    x = step()
    assert x.numel() == 3 * SMALL.elements
    assert moved == 2 * 4 * x.numel()
    assert torch.equal(x, torch.ones_like(x))


# --- rows -------------------------------------------------------------------------------------------------------


def test_ratios_are_of_medians():
    # 400 MB at 50 GB/s take 8 ms
    figures = row(ravine=0.010, default=0.050, foreach=0.030, fused=0.040, compile=0.011).figures
    assert figures["best of torch"] == pytest.approx(3.0)  # torch.compile is shown, not counted
    assert figures["torch fused"] == pytest.approx(4.0)
    assert figures["stream limit"] == pytest.approx(1.25)


def test_a_row_without_torch_or_stream_has_no_such_figures():
    assert set(row(ravine=0.010, stream_rate=None).figures.values()) == {None}


def test_a_small_real_run():
    measured = time_steps(SMALL, Configuration("rmsprop", "RMSprop"))
    assert set(measured.timings) == {"ravine", "default", "foreach"}
    assert all(t.median > 0 and t.rounds == 2 for t in measured.timings.values())
    assert measured.bytes_moved == 20 * SMALL.elements  # param, square_avg read and written, grad read
    assert measured.stream_rate is None
    assert measured.failures == {}


@pytest.mark.parametrize(
    ("label", "per_element"), [("sgd", 12), ("momentum", 20), ("adadelta", 28), ("rmsprop-centered", 36)]
)
def test_bytes_moved(label, per_element):
    [configuration] = find_configurations([label])
    assert time_steps(SMALL, configuration, rounds=1).bytes_moved == per_element * SMALL.elements


def test_memory_that_streams_gives_a_rate():
    case = Case("streams", "a tensor that streams", ((1000,),), rounds=1, streams=True)
    measured = time_steps(case, Configuration("sgd", "SGD"), dtype=torch.float64)
    assert measured.stream_rate > 0
    assert "stream" not in measured.timings
    assert measured.figures["stream limit"] > 0


def test_a_candidate_that_fails_is_said_in_the_row(monkeypatch):
    def no_compiler(optimizer):
        raise RuntimeError("no C++ compiler\nat all")

    monkeypatch.setattr(candidates, "compiled_step", no_compiler)
    measured = time_steps(SMALL, Configuration("sgd", "SGD"), rounds=1, with_compile=True)
    assert measured.failures == {"compile": "RuntimeError: no C++ compiler"}
    assert set(measured.timings) == {"ravine", "default", "foreach", "fused"}


# --- first step and endurance -----------------------------------------------------------------------------------


def test_the_first_step_gets_an_empty_folder_and_then_the_same_one(monkeypatch):
    seen = []

    def run(command, *, env, **options):
        seen.append((env["RAVINE_CACHE_DIR"], json.loads(command[-1])[1]))
        return SimpleNamespace(returncode=0, stdout=json.dumps({"seconds": float(len(seen))}), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    result = first_step.time_first_step(Configuration("adam", "Adam"), rounds=3)
    folders = [folder for folder, _ in seen]
    assert folders[0::2] == folders[1::2]
    assert len(set(folders)) == 3
    assert {name for _, name in seen} == {"Adam"}
    assert (result.empty, result.warm) == (3.0, 4.0)  # medians of 1, 3, 5 and of 2, 4, 6


def test_a_process_that_fails_is_an_error(monkeypatch):
    failed = SimpleNamespace(returncode=1, stdout="", stderr="Traceback\nImportError: no such thing\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(BackendError, match=r"failed for adam .*ImportError: no such thing"):
        first_step.time_first_step(Configuration("adam", "Adam"))


@pytest.mark.slow  # two fresh processes, one of which compiles
def test_a_real_first_step(monkeypatch):
    run, ran = subprocess.run, []

    def second_forked(command, *, env, **options):
        """Both take the same way to the end; the second need not import torch again."""
        ran.append(command)
        return run(command, env=env, **options) if len(ran) == 1 else run_forked(command[1:], env=env)

    monkeypatch.setattr(subprocess, "run", second_forked)
    result = first_step.time_first_step(Configuration("sgd", "SGD", {"lr": 0.1}))
    assert result.empty > 0
    assert result.warm > 0
    assert len(ran) == 2


def test_endurance_counts_kernels_and_memory():
    result = endurance.measure(Configuration("rmsprop", "RMSprop"), steps=200)
    assert result["kernels"] == 0
    assert result["blocks"] < 200  # an object left behind at each step would be as many
    assert result["seconds"] > 0


def test_endurance_runs_in_a_fresh_process(monkeypatch):
    counts = {"seconds": 1.0, "kernels": 1, "resident_before": 5, "resident_after": 6, "blocks": 7}
    asked = []

    def run(command, **options):
        asked.extend(json.loads(command[-1]))
        return SimpleNamespace(returncode=0, stdout=json.dumps(counts), stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    result = endurance.endure(Configuration("nag", "SGD", {"nesterov": True}), steps=30)
    assert asked == [endurance.__name__, "SGD", {"nesterov": True}, torch.get_num_threads(), {"steps": 30}]
    assert result == endurance.Endurance("nag", "SGD", 30, 1.0, 1, 5, 6, 7)


def test_memory_growth_is_in_mebibytes():
    result = endurance.Endurance("a", "A", 10, 1.0, 2, 2**20, 4 * 2**20, 5)
    assert result.figures == {"kernels compiled": 2, "memory growth, MiB": 3.0, "Python blocks per step": 0.5}
    unknown = endurance.Endurance("a", "A", 10, 1.0, 0, None, None, 0)
    assert unknown.figures["memory growth, MiB"] is None


def test_the_machine_is_described():
    described = facts()
    assert described["threads"] == torch.get_num_threads()
    assert described["cpu"]
    resident = resident_bytes()
    assert resident is None or resident > 2**20


# --- targets ----------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    case: str
    optimizer: str
    name: str
    figures: dict = field(default_factory=dict)


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (SpeedTarget("c", "f", 1.15, at_most=True), 1.15, True),
        (SpeedTarget("c", "f", 1.15, at_most=True), 1.16, False),
        (SpeedTarget("c", "f", 2.5), 2.5, True),
        (SpeedTarget("c", "f", 2.5), 2.49, False),
        (SpeedTarget("c", "f", 1.0, tie=0.03), 0.98, True),
        (SpeedTarget("c", "f", 1.0, tie=0.03), 0.96, False),
        (SpeedTarget("c", "f", 0.0, at_most=True), -3.0, True),
        (SpeedTarget("c", "f", 0.0, at_most=True), 1.0, False),
        (SpeedTarget("c", "f", 2.5), math.nan, False),
    ],
)
def test_met_and_missed(target, value, met):
    [verdict] = evaluate([Measured("c", "o", "O", {"f": value})], [target])
    assert verdict.met is met


def test_a_target_holds_for_each_configuration_of_its_classes():
    results = [Measured("c", label, name, {"f": 1.0}) for label, name in [("a", "A"), ("a2", "A"), ("b", "B")]]
    assert [v.optimizer for v in evaluate(results, [SpeedTarget("c", "f", 1.0, ("A",))])] == ["a", "a2"]
    assert [v.optimizer for v in evaluate(results, [SpeedTarget("c", "f", 1.0)])] == ["a", "a2", "b"]


def test_what_was_not_measured_is_neither_met_nor_missed():
    [elsewhere] = evaluate([Measured("c", "a", "A", {"f": 1.0})], [SpeedTarget("d", "f", 1.0)])
    [failed] = evaluate([Measured("c", "a", "A", {"f": None})], [SpeedTarget("c", "f", 1.0)])
    assert elsewhere.met is failed.met is None
    assert (elsewhere.optimizer, failed.optimizer) == (None, "a")


def test_every_target_speaks_of_a_figure_that_is_measured():
    long = endurance.Endurance("a", "A", 10, 1.0, 0, 0, 0, 0)
    known = {*row(ravine=1.0).figures, *first_step.FirstStep("a", "A", 1.0, 1.0).figures, *long.figures}
    known |= set(watching.Watching("mlp", "a", "A", {}).figures)
    known -= {"matrix products", "share of the dense step"}  # of cases that must be asked for
    assert {t.figure for t in TARGETS} == known
    assert {t.case for t in TARGETS} <= {*CASES, "fit"}
    assert {name for t in TARGETS for name in t.names} <= {c.name for c in configurations()}


# --- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0182, "18.2 ms"),
        (42.1e-6, "42.1 µs"),
        (1.5, "1.50 s"),
        (0.00099996, "1.00 ms"),
        (159e-6, "159 µs"),
        (None, "-"),
    ],
)
def test_durations_have_three_digits(seconds, text):
    assert tables.duration(seconds) == text


def render(table, width=100):
    from rich.console import Console

    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_table_fits_100_columns():
    label = max((c.label for c in configurations()), key=len)
    times = {way: timing(0.1234) for way in ("ravine", "default", "foreach", "fused", "compile")}
    shown = render(tables.step_table([Row("20x1M", label, "RMSprop", times, 400_000_000, 54.3e9)]))
    line = next(line for line in shown.splitlines() if label in line)
    assert line.split() == [label, "123", "ms", "0%", *["123", "ms"] * 4, "1.00", "1.00", "16.8"]
    assert "54.3 GB/s" in shown


def test_a_busy_machine_and_a_failure_are_said():
    times = {"ravine": Timing(1.0, 0.9, 1.2, 1, 5), "default": timing(1.0)}
    shown = render(tables.step_table([Row("mlp", "sgd", "SGD", times, 1, None, {"fused": "TypeError: no [x]"})]))
    assert "failed" in shown
    assert "sgd, fused: TypeError: no [x]" in shown
    assert "the machine was busy" in shown


def test_a_target_that_holds_is_one_line_and_every_miss_has_its_own():
    targets = [
        SpeedTarget("c", "f", 1.15, at_most=True),
        SpeedTarget("c", "g", 2.0),
        SpeedTarget("c", "h", 1.0, tie=0.03),
    ]
    figures = [{"f": 1.1, "g": 1.9, "h": 0.98}, {"f": 0.9, "g": 1.8, "h": 1.2}, {"f": 1.0, "g": 2.5, "h": None}]
    results = [Measured("c", label, label, f) for label, f in zip(["one", "two", "three"], figures, strict=True)]
    shown = render(tables.target_table(evaluate(results, [*targets, SpeedTarget("d", "f", 1.0)])))
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.startswith((" c", " d", "c", "d"))]
    assert lines == [
        "case figure target optimizer measured",
        "c f at most 1.15 one 1.1 all 3 met",
        "c g at least 2 two 1.8 MISSED",
        "c g at least 2 one 1.9 MISSED",
        "c h at least 1 one 0.98 met (a tie)",
        "d f at least 1 every one - not run",
    ]
