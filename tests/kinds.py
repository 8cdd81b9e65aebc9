"""Kinds of optimizers, seen from their programs: what is tested once for each kind, and with which dtypes.

A test of what every program goes through (options, the watch, layouts) runs over one optimizer of each kind; a test of
formulas runs over all. So a new optimizer adds cases where its formula counts, and elsewhere only if it is of a new kind.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cache
from typing import TypeVar

import torch

from ravine.formula import ParamCopy
from ravine.formula._symbols import postorder
from ravine.optim import _registry as registry

T = TypeVar("T")
NAMES = registry.names()


@cache
def kind(name: str) -> Hashable:
    """What sets a program apart: its passes, its states, its sums, and whether functions of whole tensors are in it.

    Not the operations on single elements: each is run by every backend in every dtype in ``tests/backends``
    (``test_operations_in_a_step.py``, ``test_special_values.py``, random formulas), and every optimizer in two.
    """
    named = registry.lookup(name)
    program = named.cls([torch.nn.Parameter(torch.ones(2, 2))], **{"lr": 0.01, **named.options}).program()
    symbols = [s for each in program.passes for s in postorder(each.results)]
    whole = frozenset(s.op for s in symbols if "sum" in s.op or s.op == "result")
    copies = any(isinstance(start, ParamCopy) for start in program.states.values())
    return len(program.passes), whole, bool(program.states), copies


def gives_eigenvectors(name: str) -> bool:
    """Whether a function of whole tensors turns them: of equal eigenvalues rounding decides which vectors there are."""
    named = registry.lookup(name)
    program = named.cls([torch.nn.Parameter(torch.ones(2, 2))], **{"lr": 0.01, **named.options}).program()
    functions = [call.of.function for each in program.passes for call in each.calls]
    return any("eigenvectors" in function.__code__.co_names for function in functions)


def one_of_each_kind(names: Iterable[str]) -> list[str]:
    """The first optimizer of each kind."""
    return list({kind(name): name for name in reversed(list(names))}.values())[::-1]


def each_with_another(names: Sequence[str], others: Sequence[T]) -> list[tuple[str, T]]:
    """Every optimizer with one of the others, in turn, and one of each kind with all of them."""
    turns = [(name, others[i % len(others)]) for i, name in enumerate(names)]
    return turns + [
        case for name in one_of_each_kind(names) for other in others if (case := (name, other)) not in turns
    ]


def dtype_cases() -> list[tuple[str, torch.dtype]]:
    """Every optimizer in single precision, and all but the dialects in one other dtype.

    How a dtype is read and written does not depend on the formula, and each is a kernel to compile, which takes half a
    second. Tests that go through these cases share the kernels.
    """
    others = each_with_another([n for n in NAMES if "-" not in n], [torch.float64, torch.bfloat16, torch.float16])
    return [(n, torch.float32) for n in NAMES] + others
