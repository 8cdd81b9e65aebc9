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

from ravine.formula._operations import ROUNDED_BITS as CUT
from ravine.formula._operations import ROUNDINGS
from ravine.formula._rounding import FIRST, GOLDEN

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


def _function(function: Function) -> Function:
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


_isfinite, _floor, _abs = _compare_with_infinity("slt"), _of_libm("floor"), _of_libm("fabs")
FUNCTIONS |= {
    **{f"at_{name}": _pointer_to(type) for name, type in
       {"float32": "float", "float64": "double", "uint8": "i8", "uint16": "i16", "int64": "i64"}.items()},
    "float32": _cast("float"),
    "float64": _cast("double"),
    **{name: _of_libm(name) for name in ("sqrt", "exp", "log", "floor")},
    "abs": _abs,
    "tanh": _of_libm("tanh", intrinsic=False),
    "isfinite": _isfinite,
    "isnan": _compare_with_infinity("sgt"),
}  # fmt: skip


def power(block: LlvmLines, x: Value, y: Value) -> Value:
    """x to the power of y."""
    x, y = block.same(x, y)
    return block.call(x.type, f"llvm.pow.f{_BITS[x.type]}", x, y)


@_function
def take_next(block: LlvmLines, address: Value) -> Value:
    """The number at an address, and one more is there afterwards: threads that share it get each number once."""
    pointer = block.add("ptr", f"inttoptr {address} to ptr")
    return block.add("i64", f"atomicrmw add ptr {pointer.text}, i64 1 monotonic")


@_function
def from_bfloat16(block: LlvmLines, bits: Value) -> Value:
    """The float32 of a bfloat16's bits: its upper half."""
    wide = block.add("i32", f"shl {block.to('i32', bits)}, 16")
    return block.add("float", f"bitcast {wide} to float")


@_function
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


@_function
def from_float16(block: LlvmLines, bits: Value) -> Value:
    """The float32 of a float16's bits."""
    half = block.add("half", f"bitcast {bits} to half")
    return block.add("float", f"fpext {half} to float")


@_function
def to_float16(block: LlvmLines, x: Value) -> Value:
    """The bits of the nearest float16, ties to even. A double becomes a float first."""
    x = block.to("float", x)
    half = block.add("half", f"fptrunc {x} to half")
    return block.add("i16", f"bitcast {half} to i16")


@_function
def magnitude(block: LlvmLines, x: Value) -> Value:
    """The bits of abs(x) as an integer of its size: in the order of the magnitudes, with NaN above infinity."""
    width = _BITS[x.type]
    bits = block.add(f"i{width}", f"bitcast {x} to i{width}")
    return block.add(bits.type, f"and {bits}, {(1 << (width - 1)) - 1}")


@_function
def from_magnitude(block: LlvmLines, bits: Value) -> Value:
    """The float64 of the bits that ``magnitude`` gave."""
    narrow = bits.type == "i32"
    return block.to(
        "double", block.add("float" if narrow else "double", f"bitcast {bits} to {'float' if narrow else 'double'}")
    )


@_function
def larger(block: LlvmLines, a: Value, b: Value) -> Value:
    """The larger of two integers of one size."""
    return block.select(block.add("i1", f"icmp sgt {a}, {b.text}"), a, b)


@_function
def add_square(block: LlvmLines, total: Value, x: Value) -> Value:
    """total + x * x; the compiler may reorder this sum, without which it would not become vector code.

    No other operation of a kernel may be reordered: ``(p + g) - p`` and infinity minus infinity would be folded.
    """
    x = block.to(total.type, x)
    square = block.add(x.type, f"fmul contract {x}, {x.text}")
    return block.add(total.type, f"fadd contract reassoc {total}, {square.text}")


@_function
def add_value(block: LlvmLines, total: Value, x: Value) -> Value:
    """total + x; the compiler may reorder this sum, as that of ``add_square``."""
    return block.add(total.type, f"fadd reassoc {total}, {block.to(total.type, x).text}")


@_function
def sign(block: LlvmLines, x: Value) -> Value:
    """-1, 0 or 1 if x is below, at or above 0; NaN of NaN."""
    zero, one, less = (constant(x.type, value) for value in (0.0, 1.0, -1.0))
    rest = block.select(block.add("i1", f"fcmp uno {x}, {x.text}"), x, zero)
    rest = block.select(block.add("i1", f"fcmp olt {x}, {zero.text}"), less, rest)
    return block.select(block.add("i1", f"fcmp ogt {x}, {zero.text}"), one, rest)


@_function
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


@_function
def logical_not(block: LlvmLines, x: Value) -> Value:
    """Whether x is false."""
    return block.add("i1", f"xor {block.to('i1', x)}, true")


@_function
def first_random(block: LlvmLines, place: Value) -> Value:
    """Where the random numbers of an element at a place begin; those of the next one at ``next_random`` of it, without a product."""
    return block.add("i32", f"mul {block.to('i32', place)}, {GOLDEN}")


@_function
def next_random(block: LlvmLines, x: Value) -> Value:
    """Where the random numbers of the next element begin."""
    return block.add("i32", f"add {x}, {GOLDEN}")


def _random_bits(block: LlvmLines, key: Value, place: Value, lane: int) -> Value:
    """The 16 bits for rounding at random of an element at a place: those of ``formula/_rounding.py``."""
    seed = block.to("i32", block.add("i64", f"fptosi {key} to i64"))
    x = place if place.type == "i32" else first_random(block, place)
    x = block.add("i32", f"add {x}, {seed.text}")
    x = block.add("i32", f"xor {x}, {block.add('i32', f'lshr {x}, 16').text}")
    x = block.add("i32", f"mul {x}, {FIRST}")
    x = block.add("i32", f"xor {x}, {block.add('i32', f'lshr {x}, 15').text}")
    return block.add("i32", f"lshr {x}, 16" if lane else f"and {x}, {0xFFFF}")


def _scaled(block: LlvmLines, bits: Value, lost: int) -> Value:
    """16 random bits as so many."""
    return block.add("i32", f"shl {bits}, {lost - 16}" if lost >= 16 else f"lshr {bits}, {16 - lost}")


def _cut(block: LlvmLines, x: Value, added: Value, lost: int) -> Value:
    """A float without its last bits, after so much was added to them; infinity and NaN stay what they are."""
    bits = block.add("i32", f"bitcast {x} to i32")
    total = block.add("i32", f"add {bits}, {added.text}")
    return block.add("float", f"bitcast {block.add('i32', f'and {total}, {-1 << lost}')} to float")


def _float16(block: LlvmLines, x: Value, bits: Value) -> Value:
    random = _scaled(block, bits, CUT["float16"])
    made = _cut(block, x, random, CUT["float16"])
    # Below 2^-14 float16 has no more than multiples of 2^-24.
    small = block.add("float", f"fmul {x}, {constant('float', 2.0**24).text}")
    below = _floor(block, small)
    share = block.add("float", f"fsub {small}, {below.text}")
    share = block.add("float", f"fmul {share}, {constant('float', 8192.0).text}")
    up = block.add("i1", f"fcmp olt {block.to('float', random)}, {share.text}")
    whole = block.add("float", f"fadd {below}, {block.to('float', up).text}")
    tiny = block.add("float", f"fmul {whole}, {constant('float', 2.0**-24).text}")
    is_small = block.add("i1", f"fcmp olt {_abs(block, x)}, {constant('float', 2.0**-14).text}")
    some = block.add("i1", f"fcmp une {x}, 0.0")
    return block.select(some, block.select(is_small, tiny, made), x)


def _root(block: LlvmLines, x: Value, added: Value) -> Value:
    return _cut(block, FUNCTIONS["sqrt"](block, x), added, CUT["squares"])


def _square(block: LlvmLines, x: Value, added: Value) -> Value:
    root = _root(block, x, added)
    above = block.add("i1", f"fcmp ogt {x}, 0.0")
    return block.select(above, block.add("float", f"fmul {root}, {root.text}"), x)


def _rounding(name: str) -> Function:
    """An operation of ``formula/_rounding.py``; ``root_of_squares`` gives the root that a code keeps, instead of its square."""
    kind, _, how = name.removeprefix("root_of_").partition("_")

    def call(block: LlvmLines, x: Value, key: Value, place: Value) -> Value:
        x, lost = block.to("float", x), CUT[kind]
        bits = None if how == "to_nearest" else _random_bits(block, key, place, int(how[-1]))
        if kind == "float16":
            assert bits is not None
            return _float16(block, x, bits)
        added = Value("i32", str(1 << (lost - 1))) if bits is None else _scaled(block, bits, lost)
        if name.startswith("root_of_"):
            return _root(block, x, added)
        return _square(block, x, added) if kind == "squares" else _cut(block, x, added, lost)

    return call


FUNCTIONS |= {name: _rounding(name) for name in ROUNDINGS}
FUNCTIONS |= {name: _rounding(name) for name in (f"root_of_{n}" for n in ROUNDINGS if n.startswith("squares"))}


@_function
def upper_half(block: LlvmLines, x: Value) -> Value:
    """The bits of a bfloat16 of a float that has no more."""
    bits = block.add("i32", f"bitcast {block.to('float', x)} to i32")
    return block.to("i16", block.add("i32", f"lshr {bits}, 16"))


# Codes of 8 bits, as backends/_eight_bits.py has them, of values that were rounded to what they hold; ``scale`` is a block's.


@_function
def finite_or_zero(block: LlvmLines, x: Value) -> Value:
    """What is finite, else 0."""
    return block.select(_isfinite(block, x), x, constant("float", 0.0))


def _of_bits(block: LlvmLines, bits: Value) -> Value:
    return block.add("float", f"bitcast {bits} to float")


@_function
def scale_of(block: LlvmLines, top: Value) -> Value:
    """The power of two below the largest magnitude of a block."""
    return _of_bits(block, block.add("i32", f"and {top}, {0x7F800000}"))


@_function
def inverse(block: LlvmLines, scale: Value) -> Value:
    """1 / scale, and 0 of 0."""
    some = block.add("i1", f"fcmp ogt {scale}, 0.0")
    made = block.add("float", f"fdiv {constant('float', 1.0)}, {scale.text}")
    return block.select(some, made, constant("float", 0.0))


@_function
def from_signed(block: LlvmLines, code: Value, scale: Value) -> Value:
    """The value of a code with a sign."""
    wide = block.add("i32", f"zext {code} to i32")
    size = block.add("i32", f"and {wide}, 127")
    bits = block.add("i32", f"add i32 {block.add('i32', f'shl {size}, 20').text}, {112 << 23}")
    none = block.add("i1", f"icmp eq {size}, 0")
    bits = block.select(none, Value("i32", "0"), bits)
    sign_bit = block.add("i32", f"shl i32 {block.add('i32', f'and {wide}, 128').text}, 24")
    value = _of_bits(block, block.add("i32", f"or {bits}, {sign_bit.text}"))
    return block.add("float", f"fmul {value}, {scale.text}")


@_function
def from_squares(block: LlvmLines, code: Value, scale: Value) -> Value:
    """The value of a code of squares: the square of its root."""
    wide = block.add("i32", f"zext {code} to i32")
    bits = block.add("i32", f"add i32 {block.add('i32', f'shl {wide}, 19').text}, {112 << 23}")
    none = block.add("i1", f"icmp eq {wide}, 0")
    value = _of_bits(block, block.select(none, Value("i32", "0"), bits))
    root = block.add("float", f"fmul {value}, {scale.text}")
    return block.add("float", f"fmul {root}, {root.text}")


@_function
def to_signed(block: LlvmLines, x: Value, inverse_scale: Value) -> Value:
    """The code with a sign of a value."""
    ratio = block.add("float", f"fmul {x}, {inverse_scale.text}")
    bits = block.add("i32", f"bitcast {ratio} to i32")
    code = block.add("i32", f"sub i32 {block.add('i32', f'and {bits}, {0x7FFFFFFF}').text}, {112 << 23}")
    code = larger(block, block.add("i32", f"ashr {code}, 20"), Value("i32", "0"))
    sign_bit = block.add("i32", f"and i32 {block.add('i32', f'lshr {bits}, 24').text}, 128")
    return block.to("i8", block.add("i32", f"or {code}, {sign_bit.text}"))


@_function
def to_squares(block: LlvmLines, root: Value, inverse_scale: Value) -> Value:
    """The code of a square, of its root."""
    ratio = block.add("float", f"fmul {root}, {inverse_scale.text}")
    code = block.add("i32", f"sub i32 {block.add('i32', f'bitcast {ratio} to i32').text}, {112 << 23}")
    code = larger(block, block.add("i32", f"ashr {code}, 19"), Value("i32", "1"))
    some = block.add("i1", f"fcmp ogt {ratio}, 0.0")
    return block.to("i8", block.select(some, code, Value("i32", "0")))


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
