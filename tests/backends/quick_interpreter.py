"""Triton's interpreter with less of what it does again and again: the same operations on the same values.

To it a block is a Python object whose type is made, named and compared at each operation: nearly half of the time of a
kernel. Import it where TRITON_INTERPRET is on; ``conftest.py`` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import triton.language as tl
from triton.language import semantic
from triton.runtime import interpreter as of_triton
from triton.runtime.interpreter import FunctionRewriter, InterpreterBuilder, TensorHandle

_SPLAT, _PATCH, _TENSOR = InterpreterBuilder.create_splat, of_triton._patch_lang, tl.core.tensor.__init__
_ELEMENTS = tl.core.block_type.with_element_ty
#: Which modules of the language are patched now, and what gives back what was there.
_patched: list[tuple[set[int], Any]] = []
_attributes: dict[str, dict[str, Any]] = {}
_types: dict[tuple[str, str], Any] = {}


def _splat(builder: Any, *given: Any) -> Any:
    """Triton's own makes a block of floats of a truth value that compares floats, and such blocks know no ``|``."""
    result = _SPLAT(builder, *given)
    if any(isinstance(x, TensorHandle) and x.data.dtype == bool for x in given):
        result.data = result.data.astype(bool)
    return result


@functools.cache
def _modules(function: Any) -> frozenset[int]:
    return frozenset(id(value) for value in function.__globals__.values() if value is tl or value is tl.core)


def _patch_lang(function: Any) -> Any:
    """Triton patches the modules of its language where a kernel begins, and again at each function that it calls.

    Here each is patched once, and stays so for all kernels of a context.
    """
    missing = _modules(function).difference(*(modules for modules, _ in _patched))
    if missing:
        _patched.append((set(missing), _PATCH(function)))
    return SimpleNamespace(restore=lambda: None)


def _restore(before: int) -> None:
    while len(_patched) > before:
        _, scope = _patched.pop()
        if scope is not None:  # as of Triton 3.4
            scope.restore()


def _tensor(self: Any, handle: Any, type: Any) -> None:
    """A tensor's attributes follow from its type, but for the handle."""
    if (known := _attributes.get(type.name)) is None:
        _TENSOR(self, handle, type)
        _attributes[type.name] = {name: value for name, value in vars(self).items() if name != "handle"}
        return
    vars(self).update(known)
    self.handle = handle


def _with_element_ty(self: Any, scalar_ty: Any) -> Any:
    key = self.name, scalar_ty.name
    if (known := _types.get(key)) is None:
        known = _types[key] = _ELEMENTS(self, scalar_ty)
    return known


def _get_block_ty(self: Any, dtype: Any, shape: Any) -> Any:
    key = dtype.name, str(list(shape))
    if (known := _types.get(key)) is None:
        known = _types[key] = tl.block_type(dtype, shape)
    return known


def _by_name(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of a type, called once for each name."""
    known: dict[str, Any] = {}

    def of(kind: Any) -> Any:
        if (found := known.get(kind.name)) is None:
            found = known[kind.name] = function(kind)
        return found

    return of


def _broadcast(broadcast: Callable[..., Any]) -> Callable[..., Any]:
    """Of two blocks of one shape nothing is to be done."""

    def values(self: Any, lhs: Any, rhs: Any) -> Any:
        a, b = lhs.type, rhs.type
        if a is b or (a.is_block() and b.is_block() and list(a.shape) == list(b.shape)):
            return lhs, rhs
        return broadcast(self, lhs, rhs)

    return values


def _place(self: Any) -> tuple[str, int]:
    """The file and line of a function, for which Triton would make a kernel of it."""
    code = self.fn.__code__
    return code.co_filename, code.co_firstlineno + 1  # after the decorator


def _patches() -> list[tuple[Any, str, Any]]:
    builder = of_triton.interpreter_builder
    found = [
        (InterpreterBuilder, "create_splat", _splat),
        (of_triton, "_patch_lang", _patch_lang),
        (of_triton, "_get_np_dtype", _by_name(of_triton._get_np_dtype)),
        (tl.core.tensor, "__init__", _tensor),
        (tl.core.block_type, "with_element_ty", _with_element_ty),
        (InterpreterBuilder, "get_block_ty", _get_block_ty),
        (FunctionRewriter, "_get_jit_fn_file_line", _place),
        # Else sums of whole numbers are made twice, to look for an overflow of which only the debug mode says something.
        (builder, "options", dataclasses.replace(builder.options, sanitize_overflow=False)),
    ]
    if of_class := getattr(semantic, "TritonSemantic", None):
        found.append((of_class, "broadcast_impl_value", _broadcast(of_class.broadcast_impl_value)))
    # Other versions of Triton have not all of them.
    return [(owner, name, value) for owner, name, value in found if hasattr(owner, name)]


_PATCHES = _patches()


@contextlib.contextmanager
def quick() -> Iterator[None]:
    before = len(_patched)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, value in _PATCHES:
            patch.setattr(owner, name, value)
        try:
            yield
        finally:
            _restore(before)
