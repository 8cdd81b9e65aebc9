"""The functions that the text of a kernel may call, each with the LLVM instructions that compute it.

Beside those of the formula language: tensors by address, 16-bit floats, a shared counter, tests of a float by its bits, and
C functions by address. A function gets a :class:`LlvmLines` to write to and the values of its arguments.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FLOATS = ("float", "double")
_BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "float": 32, "double": 64}
_INFINITY = {32: 0x7F800000, 64: 0x7FF0000000000000}  # the bits of infinity; those of NaN are larger


@dataclass(frozen=True)
class Value:
    """A value of the kernel's text: its LLVM type (``i1``, ``i16``, ``i32``, ``i64``, ``float``, ``double``) and how LLVM's
    text names it."""

    type: str
    text: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"

    @property
    def is_float(self) -> bool:
        return self.type in FLOATS


@dataclass(frozen=True)
class Address:
    """An address at which values of a type lie."""

    of: str
    text: str


@dataclass(frozen=True)
class Array:
    """Values of a type at an address, in C order; what it knows of its shape are the sizes of its dimensions."""

    of: str
    text: str
    shape: tuple[Value, ...]


@dataclass
class LlvmLines:
    """The lines of a function in LLVM's language, and what they need outside it."""

    lines: list[str] = field(default_factory=list)
    declared: dict[str, str] = field(default_factory=dict)
    _count: int = 0

    def fresh(self, prefix: str = "v") -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"{prefix}.{self._count}"

    def add(self, type: str, instruction: str) -> Value:
        """An instruction whose result has that type."""
        name = f"%{self.fresh()}"
        self.lines.append(f"  {name} = {instruction}")
        return Value(type, name)

    def call(self, type: str, name: str, *arguments: Value) -> Value:
        """A function from outside, by its name."""
        kinds = ", ".join(a.type for a in arguments)
        self.declared[name] = f"declare {type} @{name}({kinds})"
        return self.add(type, f"call contract {type} @{name}({', '.join(map(str, arguments))})")

    def to(self, type: str, value: Value) -> Value:
        """A value as another type: a number keeps its value, or is rounded to the nearest that the type has."""
        if value.type == type:
            return value
        before, after = _BITS[value.type], _BITS[type]
        if type == "i1":
            zero = "0.0" if value.is_float else "0"
            return self.add("i1", f"{'fcmp une' if value.is_float else 'icmp ne'} {value}, {zero}")
        if type in FLOATS:
            if value.is_float:
                how = "fpext" if after > before else "fptrunc"
            else:
                how = "uitofp" if value.type == "i1" else "sitofp"
        elif value.is_float:
            raise TypeError(f"a kernel's text has {value.type} where {type} is meant")
        else:
            how = "trunc" if after < before else "zext" if value.type in ("i1", "i8", "i16") else "sext"
        return self.add(type, f"{how} {value} to {type}")

    def same(self, *values: Value) -> list[Value]:
        """Values as the one type that holds all of them: of floats the wider, a double where integers meet them."""
        types = {v.type for v in values}
        if len(types) == 1:
            return list(values)
        numbers = types - {"i1"}  # a truth value takes the type of what it meets
        if not numbers & set(FLOATS):
            common = "i64"
        elif len(numbers) == 1:
            (common,) = numbers
        else:
            common = "double"
        return [self.to(common, v) for v in values]

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition is true, else b."""
        a, b = self.same(a, b)
        return self.add(a.type, f"select {self.to('i1', condition)}, {a}, {b}")


def constant(type: str, value: float) -> Value:
    """A number as a value."""
    if type in FLOATS:
        if type == "float":
            value = ctypes.c_float(value).value
        return Value(type, f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}")
    return Value(type, str(int(value)))


Function = Callable[..., Any]  # a Value, or an Address
FUNCTIONS: dict[str, Function] = {}
"""By the name in the kernel's text: called with the block and the arguments."""


def function(function: Function) -> Function:
    """Make a function one that the text of a kernel may call."""
    FUNCTIONS[function.__name__] = function
    return function


def _pointer_to(type: str) -> Function:
    def at(block: LlvmLines, address: Value) -> Address:
        return Address(type, block.add("ptr", f"inttoptr {address} to ptr").text)

    return at


def _cast(type: str) -> Function:
    return lambda block, value: block.to(type, value)


def _of_libm(name: str, intrinsic: bool = True) -> Function:
    """A function of one float: LLVM's own, which becomes an instruction or a call of libm, or one that only libm has."""

    def call(block: LlvmLines, x: Value) -> Value:
        narrow = x.type == "float"
        called = f"llvm.{name}.f{_BITS[x.type]}" if intrinsic else name + "f" * narrow
        return block.call(x.type, called, x)

    return call


def _compare_with_infinity(how: str) -> Function:
    """A test of a float by its bits, so that the compiler cannot decide it by the rules of real numbers."""

    def test(block: LlvmLines, x: Value) -> Value:
        size = magnitude(block, x)
        return block.add("i1", f"icmp {how} {size}, {_INFINITY[_BITS[x.type]]}")

    return test


isfinite, floor, absolute = _compare_with_infinity("slt"), _of_libm("floor"), _of_libm("fabs")
FUNCTIONS |= {
    **{f"at_{name}": _pointer_to(type) for name, type in
       {"float32": "float", "float64": "double", "uint8": "i8", "uint16": "i16", "int64": "i64"}.items()},
    "float32": _cast("float"),
    "float64": _cast("double"),
    **{name: _of_libm(name) for name in ("sqrt", "exp", "log", "floor")},
    "abs": absolute,
    "tanh": _of_libm("tanh", intrinsic=False),
    "isfinite": isfinite,
    "isnan": _compare_with_infinity("sgt"),
}  # fmt: skip


def power(block: LlvmLines, x: Value, y: Value) -> Value:
    """x to the power of y."""
    x, y = block.same(x, y)
    return block.call(x.type, f"llvm.pow.f{_BITS[x.type]}", x, y)


@function
def take_next(block: LlvmLines, address: Value) -> Value:
    """The number at an address, and one more is there afterwards: threads that share it get each number once."""
    pointer = block.add("ptr", f"inttoptr {address} to ptr")
    return block.add("i64", f"atomicrmw add ptr {pointer.text}, i64 1 monotonic")


@function
def from_bfloat16(block: LlvmLines, bits: Value) -> Value:
    """The float32 of a bfloat16's bits: its upper half."""
    wide = block.add("i32", f"shl {block.to('i32', bits)}, 16")
    return block.add("float", f"bitcast {wide} to float")


@function
def to_bfloat16(block: LlvmLines, x: Value) -> Value:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN. A double becomes a float first."""
    x = block.to("float", x)
    bits = block.add("i32", f"bitcast {x} to i32")
    odd = block.add("i32", f"and i32 {block.add('i32', f'lshr {bits}, 16').text}, 1")
    almost = block.add("i32", f"add {bits}, {0x7FFF}")
    rounded = block.add("i32", f"add {almost}, {odd.text}")
    is_nan = block.add("i1", f"fcmp uno {x}, {x.text}")
    kept = block.select(is_nan, Value("i32", str(0x7FC00000)), rounded)
    return block.to("i16", block.add("i32", f"lshr {kept}, 16"))


@function
def from_float16(block: LlvmLines, bits: Value) -> Value:
    """The float32 of a float16's bits."""
    half = block.add("half", f"bitcast {bits} to half")
    return block.add("float", f"fpext {half} to float")


@function
def to_float16(block: LlvmLines, x: Value) -> Value:
    """The bits of the nearest float16, ties to even. A double becomes a float first."""
    x = block.to("float", x)
    half = block.add("half", f"fptrunc {x} to half")
    return block.add("i16", f"bitcast {half} to i16")


@function
def magnitude(block: LlvmLines, x: Value) -> Value:
    """The bits of abs(x) as an integer of its size: in the order of the magnitudes, with NaN above infinity."""
    width = _BITS[x.type]
    bits = block.add(f"i{width}", f"bitcast {x} to i{width}")
    return block.add(bits.type, f"and {bits}, {(1 << (width - 1)) - 1}")


@function
def from_magnitude(block: LlvmLines, bits: Value) -> Value:
    """The float64 of the bits that ``magnitude`` gave."""
    narrow = bits.type == "i32"
    return block.to(
        "double", block.add("float" if narrow else "double", f"bitcast {bits} to {'float' if narrow else 'double'}")
    )


@function
def quotient_or_zero(block: LlvmLines, a: Value, b: Value) -> Value:
    """a / b, and 0 where b is 0."""
    made = block.add(a.type, f"fdiv {a}, {b.text}")
    return block.select(block.add("i1", f"fcmp oeq {b}, 0.0"), constant(a.type, 0.0), made)


@function
def larger(block: LlvmLines, a: Value, b: Value) -> Value:
    """The larger of two integers of one size."""
    return block.select(block.add("i1", f"icmp sgt {a}, {b.text}"), a, b)


@function
def add_square(block: LlvmLines, total: Value, x: Value) -> Value:
    """total + x * x; the compiler may reorder this sum, without which it would not become vector code.

    No other operation of a kernel may be reordered: ``(p + g) - p`` and infinity minus infinity would be folded.
    """
    x = block.to(total.type, x)
    square = block.add(x.type, f"fmul contract {x}, {x.text}")
    return block.add(total.type, f"fadd contract reassoc {total}, {square.text}")


@function
def add_value(block: LlvmLines, total: Value, x: Value) -> Value:
    """total + x; the compiler may reorder this sum, as that of ``add_square``."""
    return block.add(total.type, f"fadd reassoc {total}, {block.to(total.type, x).text}")


@function
def sign(block: LlvmLines, x: Value) -> Value:
    """-1, 0 or 1 if x is below, at or above 0; NaN of NaN."""
    zero, one, less = (constant(x.type, value) for value in (0.0, 1.0, -1.0))
    rest = block.select(block.add("i1", f"fcmp uno {x}, {x.text}"), x, zero)
    rest = block.select(block.add("i1", f"fcmp olt {x}, {zero.text}"), less, rest)
    return block.select(block.add("i1", f"fcmp ogt {x}, {zero.text}"), one, rest)


@function
def where(block: LlvmLines, condition: Value, a: Value, b: Value) -> Value:
    """a where the condition is true, else b."""
    return block.select(condition, a, b)


def _extremum(how: str) -> Function:
    """The smaller or larger of two numbers, NaN where one of them is."""

    def chosen(block: LlvmLines, a: Value, b: Value) -> Value:
        a, b = block.same(a, b)
        if not a.is_float:
            return block.select(block.add("i1", f"icmp s{how} {a}, {b.text}"), a, b)
        beyond = block.add("i1", f"fcmp o{how} {a}, {b.text}")
        is_nan = block.add("i1", f"fcmp uno {a}, {a.text}")
        return block.select(block.add("i1", f"or {beyond}, {is_nan.text}"), a, b)

    return chosen


FUNCTIONS |= {"minimum": _extremum("lt"), "maximum": _extremum("gt"), "min": _extremum("lt")}


@function
def logical_not(block: LlvmLines, x: Value) -> Value:
    """Whether x is false."""
    return block.add("i1", f"xor {block.to('i1', x)}, true")


def _call_by_address(returned: str) -> Function:
    def call(block: LlvmLines, function: Value, *arguments: Value) -> Value:
        pointer = block.add("ptr", f"inttoptr {function} to ptr").text
        called = f"call {returned} {pointer}({', '.join(map(str, arguments))})"
        if returned != "void":
            return block.add(returned, called)
        block.lines.append(f"  {called}")
        return Value("i64", "0")

    return call


FUNCTIONS |= {
    "call_void": _call_by_address("void"),
    "call_int": _call_by_address("i32"),
    "call_object": _call_by_address("i64"),
}
