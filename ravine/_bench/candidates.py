"""Who is timed: our optimizer, torch's ways of stepping the same, torch.compile, the bare memory stream."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ravine._bench.cases import Case, Configuration
from ravine._bench.measure import Step
from ravine.backends._brief import LARGE
from ravine.optim import _registry as registry
from ravine.optim._muon import COEFFICIENTS, orthogonalize
from ravine.watch._record import APART, ROWS
from ravine.watch._watch import Watch

#: torch's own ways. Its default on a CPU is the for-loop, which is therefore not timed again.
TORCH: dict[str, dict[str, Any]] = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
COMPILE = "compile"

#: Buffers that the stream goes through, in sizes of the parameters: parameter, gradient and one state.
STREAM_BUFFERS = 3
#: Rounds of turns that are long.
_LONG_ROUNDS = 7


def gradients(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """Gradients that stay the same at every step; all candidates read the same ones."""
    generator = torch.Generator().manual_seed(1)
    if case.touched:
        return [_rows(shape, case.touched, dtype, generator) for shape in case.shapes]
    return [torch.randn(shape, generator=generator).mul_(0.01).to(dtype) for shape in case.shapes]


def _rows(shape: tuple[int, ...], touched: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """A gradient of some rows, as an embedding has it."""
    rows = torch.randperm(shape[0], generator=generator)[:touched].sort().values
    values = torch.randn(touched, *shape[1:], generator=generator).mul_(0.01).to(dtype)
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


def parameters(case: Case, grads: Sequence[Tensor]) -> list[torch.nn.Parameter]:
    """Parameters of one candidate's own, with these gradients."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape, grad in zip(case.shapes, grads, strict=True):
        param = torch.nn.Parameter(torch.randn(shape, generator=generator).to(grad.dtype))
        param.grad = grad
        params.append(param)
    return params


def ravine_optimizer(
    configuration: Configuration, params: Sequence[Tensor], case: Case | None = None, **options: Any
) -> torch.optim.Optimizer:
    """Our optimizer as a user gets it, with further ``options``: nothing said about kernels."""
    cls = registry.lookup(configuration.name).cls
    given: Any = params
    if case is not None and case.others and "orthogonalize" in inspect.signature(cls).parameters:
        matrices, others = _apart(params, case)
        given = [{"params": matrices}, {"params": others, "orthogonalize": False}]
    return cls(given, **configuration.options, **options)


def as_in_a_long_run(optimizer: torch.optim.Optimizer) -> Step:
    """The step of one of ours that has made one, as it is after thousands: large tensors are then looked at in full now and then."""
    watch: Watch = optimizer.watch  # type: ignore[attr-defined]
    if watch.on:
        rows = {"steps": ROWS * APART, "every": APART}
        watch.load_state_dict(watch.state_dict() | rows)
    return optimizer.step


def turns(case: Case, rounds: int | None) -> tuple[int, int]:
    """How many rounds there are, and how many steps a turn has at least: where some steps are looked at in full, so many that
    these have their share, and fewer rounds."""
    least = APART if case.elements >= LARGE else 1
    return rounds or (case.rounds if least == 1 else _LONG_ROUNDS), least


def _apart(params: Sequence[Tensor], case: Case | None) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices, and what an optimizer of matrices leaves to AdamW."""
    of_case = case.others if case is not None else frozenset()
    other = [i in of_case or p.ndim != 2 for i, p in enumerate(params)]
    return [p for p, o in zip(params, other, strict=True) if not o], [
        p for p, o in zip(params, other, strict=True) if o
    ]


def torch_ways(configuration: Configuration) -> list[str]:
    """Which of ``TORCH`` this optimizer has; none, if torch has no such optimizer or option."""
    cls = getattr(torch.optim, configuration.name, None)
    known = inspect.signature(cls).parameters if cls else {}
    if not cls or not all(option in known for option in configuration.options):
        return []
    return [way for way, options in TORCH.items() if all(option in known for option in options)]


def _takes_matrices_only(configuration: Configuration, cls: type[torch.optim.Optimizer]) -> bool:
    try:
        cls([torch.zeros(1, requires_grad=True)], **configuration.options)
    except ValueError:
        return True
    return False


def orthogonalizes(configuration: Configuration) -> bool:
    """Whether what our optimizer does with matrices is Newton and Schulz's iteration, which is then timed alone, too."""
    cls = registry.lookup(configuration.name).cls
    program = cls([torch.zeros(2, 2, requires_grad=True)], **configuration.options).program(ndim=2)
    return any(call.of.function is orthogonalize.function for each in program.passes for call in each.calls)


def torch_step(configuration: Configuration, params: Sequence[Tensor], way: str, case: Case | None = None) -> Step:
    """The step of torch's optimizer, in one of the ``TORCH`` ways; of two, where it takes matrices only."""
    cls: type[torch.optim.Optimizer] = getattr(torch.optim, configuration.name)
    if _takes_matrices_only(configuration, cls):
        matrices, others = _apart(params, case)
        made = [cls(matrices, **configuration.options, **TORCH[way])] if matrices else []
        made += [torch.optim.AdamW(others, lr=1e-3)] if others else []
        return lambda: [optimizer.step() for optimizer in made]
    return cls(params, **configuration.options, **TORCH[way]).step


def matrix_products(case: Case, params: Sequence[Tensor]) -> Step:
    """What orthogonalizing the matrices alone takes: Newton and Schulz's iteration on stacks of one shape."""
    matrices, _ = _apart(params, case)
    shapes = dict.fromkeys(tuple(p.shape) for p in matrices)
    stacks = [torch.stack([p.detach() for p in matrices if p.shape == shape]) for shape in shapes]

    def step() -> None:
        for stack in stacks:
            orthogonalize(stack, coefficients=COEFFICIENTS, steps=5, eps=1e-7)

    return step


def compiled_step(plain: Step) -> Step:
    """torch's step as torch.compile runs it; it compiles at the first calls."""
    # Compiled code is kept per function, and after a few versions of one torch quietly stops compiling it.
    torch.compiler.reset()

    def step() -> None:
        plain()

    return torch.compile(step)


def stream(case: Case, itemsize: int) -> tuple[Step, int]:
    """The memory stream: ``x.mul_(c)`` in place, and the bytes that one call reads and writes.

    It goes through as much memory as a step with one state does. It is always float32, whose
    multiplication costs nothing beside memory; 1 keeps the values from fading into slow subnormal ones.
    """
    x = torch.ones(STREAM_BUFFERS * case.elements * itemsize // 4, dtype=torch.float32)
    return lambda: x.mul_(1.0), 2 * x.nbytes
