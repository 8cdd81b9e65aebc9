"""Step times: one optimizer on one case against torch and the memory stream, all in the same run."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

import torch

from ravine._bench import candidates
from ravine._bench.cases import Case, Configuration
from ravine._bench.measure import Step, Timing, alternate

#: Steps before anything is timed: kernels are compiled, states made, memory touched.
WARM_UP = 5
PRODUCTS, DENSE = "matrix products", "dense step"


@dataclass(frozen=True)
class Row:
    """What one optimizer took on one case.

    Attributes:
        case, optimizer, name: the case's name, the configuration's label and its class.
        timings: seconds per step of ``ravine``, of torch's ``default``, ``foreach``, ``fused``, and of
            ``compile``.
        failures: why a candidate has no time, where it has none.
        beside: seconds of what is no candidate: ``PRODUCTS``, the matrix products in a step, ``DENSE``, the same step on a
            whole gradient.
        bytes_moved: bytes that one step of ours reads and writes.
        stream_rate: bytes per second that ``mul_`` moved in the same run; None where memory is no limit.
    """

    case: str
    optimizer: str
    name: str
    timings: dict[str, Timing]
    bytes_moved: int
    stream_rate: float | None
    failures: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Timing] = field(default_factory=dict)

    @property
    def steady(self) -> bool:
        """Whether the machine was quiet: no candidate's interquartile range is over 20 % of its median."""
        return all(timing.spread <= 0.20 for timing in self.timings.values())

    def _torch_over_ours(self, *ways: str) -> float | None:
        times = [self.timings[way].median for way in ways if way in self.timings]
        return min(times) / self.timings["ravine"].median if times else None

    def _share(self, name: str, of_it: bool) -> float | None:
        """The share of something in our time, or of our time in it."""
        if name not in self.beside:
            return None
        ours, other = self.timings["ravine"].median, self.beside[name].median
        return other / ours if of_it else ours / other

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures that targets speak of: two ratios of torch's time to ours, and ours to the limit's."""
        limit = self.bytes_moved / self.stream_rate if self.stream_rate else None
        return {
            "best of torch": self._torch_over_ours(*candidates.TORCH),
            "torch fused": self._torch_over_ours("fused"),
            "stream limit": self.timings["ravine"].median / limit if limit else None,
            "matrix products": self._share(PRODUCTS, of_it=True),
            "share of the dense step": self._share(DENSE, of_it=False),
        }


def _warm(step: Step) -> None:
    for _ in range(WARM_UP):
        step()


def time_steps(
    case: Case,
    configuration: Configuration,
    *,
    dtype: torch.dtype = torch.float32,
    rounds: int | None = None,
    with_compile: bool = False,
) -> Row:
    """Time one optimizer on one case, on torch's number of threads.

    Args:
        case: the parameters; each candidate has its own.
        configuration: the optimizer, ours and torch's.
        dtype: of parameters and gradients.
        rounds: how many rounds the candidates alternate for; the case's own number if None.
        with_compile: let torch.compile take part.
    """
    gc.collect()  # tensors of the one before that cycles keep alive
    grads = candidates.gradients(case, dtype)
    mine = candidates.parameters(case, grads)
    ours = candidates.ravine_optimizer(configuration, mine, case)
    steps: dict[str, Step] = {"ravine": ours.step}
    _warm(ours.step)
    candidates.as_in_a_long_run(ours)
    failures: dict[str, str] = {}

    ways = candidates.torch_ways(configuration)
    for way in [*ways, candidates.COMPILE] if with_compile and ways else ways:
        compiling = way == candidates.COMPILE
        try:
            theirs = candidates.parameters(case, grads)
            step = candidates.torch_step(configuration, theirs, "default" if compiling else way, case)
            step = candidates.compiled_step(step) if compiling else step
            _warm(step)
        except Exception as error:  # no C++ compiler, a dtype torch has no kernel for: said in the row
            failures[way] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        else:
            steps[way] = step

    if any(p.ndim == 2 for p in mine) and candidates.orthogonalizes(configuration):
        steps[PRODUCTS] = candidates.matrix_products(case, mine)
    if case.touched:  # the same step on a whole gradient
        whole = [torch.zeros(shape, dtype=dtype) for shape in case.shapes]
        steps[DENSE] = candidates.ravine_optimizer(configuration, candidates.parameters(case, whole), case).step
        _warm(steps[DENSE])
    stream_bytes = 0
    if case.streams:
        steps["stream"], stream_bytes = candidates.stream(case, dtype.itemsize)
        _warm(steps["stream"])

    rounds, least = candidates.turns(case, rounds)
    timings = alternate(steps, rounds, least=least)
    beside = {name: timings.pop(name) for name in (PRODUCTS, DENSE) if name in timings}
    stream = timings.pop("stream", None)
    return Row(
        case=case.name,
        optimizer=configuration.label,
        name=configuration.name,
        timings=timings,
        bytes_moved=ours.bytes_moved(),  # type: ignore[attr-defined]
        stream_rate=stream_bytes / stream.median if stream else None,
        failures=failures,
        beside=beside,
    )
