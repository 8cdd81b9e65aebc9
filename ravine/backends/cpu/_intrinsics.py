"""What a kernel needs and numba does not have: tensors by address, 16-bit floats, a shared counter, exact tests.

Every name here is a global of the generated kernels. The text of this file is part of the key of the kernel cache.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _pointer_to(element: Any) -> Any:
    """A function of the kernel language that takes an address as an integer and gives a pointer."""

    @intrinsic
    def at(context: Any, address: Any) -> Any:
        signature = types.CPointer(element)(types.int64)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return signature, generate

    return at


at_float32 = _pointer_to(types.float32)
at_float64 = _pointer_to(types.float64)
at_uint16 = _pointer_to(types.uint16)
at_int64 = _pointer_to(types.int64)


@intrinsic
def take_next(context: Any, address: Any) -> Any:
    """Add 1 to the int64 at an address, atomically, and give what it was: the next chunk that is free."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        counter = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def from_bfloat16(context: Any, bits: Any) -> Any:
    """The float32 of a bfloat16's bits: its upper half."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = builder.shl(builder.zext(args[0], _I32), ir.Constant(_I32, 16))
        return builder.bitcast(wide, ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def to_bfloat16(context: Any, value: Any) -> Any:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(_I32, 0x7FFF)), odd)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        bits = builder.select(nan, ir.Constant(_I32, 0x7FC00000), rounded)
        return builder.trunc(builder.lshr(bits, ir.Constant(_I32, 16)), _I16)

    return types.uint16(types.float32), generate


@intrinsic
def from_float16(context: Any, bits: Any) -> Any:
    """The float32 of a float16's bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def to_float16(context: Any, value: Any) -> Any:
    """The bits of the nearest float16, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), _I16)

    return types.uint16(types.float32), generate


_INTEGER = {types.float32: (types.int32, _I32), types.float64: (types.int64, _I64)}


@intrinsic
def magnitude(context: Any, value: Any) -> Any:
    """The bits of |value| as an integer of its size: in the order of the magnitudes, with NaN above infinity."""
    result: Any
    result, kind = _INTEGER[value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(builder.bitcast(args[0], kind), ir.Constant(kind, (1 << (kind.width - 1)) - 1))

    return result(value), generate


@intrinsic
def larger(context: Any, a: Any, b: Any) -> Any:
    """The larger of two integers, of their own size: Python's max would widen them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed(">", args[0], args[1]), args[0], args[1])

    signature: Any = a
    return signature(a, b), generate


@intrinsic
def from_magnitude(context: Any, bits: Any) -> Any:
    """The float64 of the bits that ``magnitude`` gave."""
    narrow = bits == types.int32

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.bitcast(args[0], ir.FloatType() if narrow else ir.DoubleType())
        return builder.fpext(value, ir.DoubleType()) if narrow else value

    return types.float64(bits), generate


@intrinsic
def add_square(context: Any, total: Any, value: Any) -> Any:
    """total + value * value; the compiler may reorder this sum, without which it would not become vector code.

    No other operation of a kernel may be reordered: ``(p + g) - p`` and infinity minus infinity would be folded.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        square = builder.fmul(args[1], args[1], flags=("contract",))
        return builder.fadd(args[0], square, flags=("contract", "reassoc"))

    return total(total, total), generate


@intrinsic
def add_value(context: Any, total: Any, value: Any) -> Any:
    """total + value; the compiler may reorder this sum, as that of ``add_square``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(args[0], args[1], flags=("reassoc",))

    return total(total, total), generate


def _compare_with_infinity(how: str) -> Any:
    """A test of a float by its bits, so that the compiler cannot decide it by the rules of real numbers."""

    @intrinsic
    def test(context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = _INTEGER[value][1]
            size = builder.and_(builder.bitcast(args[0], kind), ir.Constant(kind, (1 << (kind.width - 1)) - 1))
            return builder.icmp_signed(how, size, ir.Constant(kind, _INFINITY[kind.width]))

        return types.boolean(value), generate

    return test


_INFINITY = {32: 0x7F800000, 64: 0x7FF0000000000000}  # the bits of infinity; those of NaN are larger
isfinite = _compare_with_infinity("<")
isnan = _compare_with_infinity(">")


@intrinsic
def sign(context: Any, x: Any) -> Any:
    """-1, 0 or 1 if x is below, at or above 0; NaN of NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        zero, one, less = (ir.Constant(kind, value) for value in (0.0, 1.0, -1.0))
        rest = builder.select(builder.fcmp_unordered("uno", args[0], args[0]), args[0], zero)
        rest = builder.select(builder.fcmp_ordered("<", args[0], zero), less, rest)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), one, rest)

    return x(x), generate


@intrinsic
def floor(context: Any, x: Any) -> Any:
    """The largest whole number that is not above x, as a float: math's gives an integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.floor", [args[0].type]), args)

    return x(x), generate


# Functions of the formula language that neither math nor Python has in this form.


@numba.njit(error_model="numpy")
def where(condition, a, b):  # type: ignore[no-untyped-def]
    return a if condition else b


@numba.njit(error_model="numpy")
def minimum(a, b):  # type: ignore[no-untyped-def]
    return a if (a < b or a != a) else b


@numba.njit(error_model="numpy")
def maximum(a, b):  # type: ignore[no-untyped-def]
    return a if (a > b or a != a) else b


@numba.njit(error_model="numpy")
def logical_not(a):  # type: ignore[no-untyped-def]
    return not a


def _call(result: Any, *arguments: Any) -> Any:
    """A function of the kernel language that calls a C function by its address."""

    def called(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = [context.get_value_type(a) for a in arguments]
        returned = ir.VoidType() if result is types.none else context.get_value_type(result)
        function = builder.inttoptr(args[0], ir.FunctionType(returned, kinds).as_pointer())
        value = builder.call(function, args[1:])
        return context.get_dummy_value() if result is types.none else value

    signature = result(types.int64, *arguments)
    if len(arguments) == 1:

        @intrinsic
        def call_one(context: Any, function: Any, a: Any) -> Any:
            return signature, called

        return call_one

    @intrinsic
    def call_two(context: Any, function: Any, a: Any, b: Any) -> Any:
        return signature, called

    return call_two


call_void = _call(types.none, types.int64)
call_int = _call(types.int32, types.int64, types.int64)
call_object = _call(types.int64, types.int64, types.int64)
