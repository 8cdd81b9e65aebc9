"""The functions that the text of a kernel calls to round states, and to keep them in 8 bits.

They have the bits of ``formula/_rounding.py`` and ``backends/_eight_bits.py``, which are of tensors.
"""

from __future__ import annotations

from ravine.backends.cpu._llvm_functions import (
    FUNCTIONS,
    Function,
    LlvmLines,
    Value,
    absolute,
    constant,
    floor,
    function,
    isfinite,
    larger,
)
from ravine.formula._operations import ROUNDED_BITS as CUT
from ravine.formula._operations import ROUNDINGS
from ravine.formula._rounding import FIRST, GOLDEN


def _of_bits(block: LlvmLines, bits: Value) -> Value:
    return block.add("float", f"bitcast {bits} to float")


@function
def first_random(block: LlvmLines, place: Value) -> Value:
    """Where the random numbers of an element at a place begin; those of the next one at ``next_random`` of it, without a product."""
    return block.add("i32", f"mul {block.to('i32', place)}, {GOLDEN}")


@function
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
    made = block.add("float", f"bitcast {block.add('i32', f'and {total}, {-1 << lost}')} to float")
    return block.select(block.add("i1", f"fcmp uno {x}, {x.text}"), Value("float", "0x7FF8000000000000"), made)


def _float16(block: LlvmLines, x: Value, bits: Value) -> Value:
    random = _scaled(block, bits, CUT["float16"])
    made = _cut(block, x, random, CUT["float16"])
    # Below 2^-14 float16 has no more than multiples of 2^-24.
    small = block.add("float", f"fmul {x}, {constant('float', 2.0**24).text}")
    below = floor(block, small)
    share = block.add("float", f"fsub {small}, {below.text}")
    share = block.add("float", f"fmul {share}, {constant('float', 8192.0).text}")
    up = block.add("i1", f"fcmp olt {block.to('float', random)}, {share.text}")
    whole = block.add("float", f"fadd {below}, {block.to('float', up).text}")
    tiny = block.add("float", f"fmul {whole}, {constant('float', 2.0**-24).text}")
    is_small = block.add("i1", f"fcmp olt {absolute(block, x)}, {constant('float', 2.0**-14).text}")
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


@function
def upper_half(block: LlvmLines, x: Value) -> Value:
    """The bits of a bfloat16 of a float that has no more."""
    bits = block.add("i32", f"bitcast {block.to('float', x)} to i32")
    return block.to("i16", block.add("i32", f"lshr {bits}, 16"))


# A parameter with compensation, as formula/_compensation.py has it.


def _moved(block: LlvmLines, x: Value, by: Value) -> Value:
    """A float whose bits, as a whole number, are so many more; past 0 or infinity there are only NaN: then it stays."""
    made = _of_bits(block, block.add("i32", f"add {block.add('i32', f'bitcast {x} to i32')}, {by.text}"))
    return block.select(block.add("i1", f"fcmp uno {made}, {made.text}"), x, made)


@function
def with_rest(block: LlvmLines, high: Value, rest: Value) -> Value:
    """A float with its upper byte of compensation."""
    wide = block.add("i32", f"fptosi {block.to('float', rest)} to i32")
    return _moved(block, block.to("float", high), block.add("i32", f"shl {wide}, 8"))


@function
def with_low(block: LlvmLines, x: Value, low: Value) -> Value:
    """That with its lower byte."""
    wide = block.add("i32", f"fptosi {block.to('float', low)} to i32")
    return _moved(block, block.to("float", x), block.add("i32", f"and {wide}, 255"))


@function
def high_of(block: LlvmLines, x: Value, old: Value) -> Value:
    """What a model sees of a float, as a float."""
    return _cut(block, block.to("float", x), Value("i32", str(0x8000)), 16)


def _byte(place: int) -> Function:
    def call(block: LlvmLines, x: Value) -> Value:
        x = block.to("float", x)
        top = block.add("i32", f"shl {block.add('i32', f'bitcast {x} to i32')}, {24 - 8 * place}")
        made = block.to("float", block.add("i32", f"ashr {top}, 24"))
        return block.select(block.add("i1", f"fcmp uno {x}, {x.text}"), constant("float", 0.0), made)

    return call


FUNCTIONS |= {"rest_of": _byte(1), "low_of": _byte(0)}


@function
def to_int8(block: LlvmLines, x: Value) -> Value:
    """A whole number as a byte with a sign."""
    return block.add("i8", f"fptosi {block.to('float', x)} to i8")


# Codes of 8 bits, as backends/_eight_bits.py has them, of values that were rounded to what they hold; ``scale`` is a block's.


@function
def finite_or_zero(block: LlvmLines, x: Value) -> Value:
    """What is finite, else 0."""
    return block.select(isfinite(block, x), x, constant("float", 0.0))


@function
def scale_of(block: LlvmLines, top: Value) -> Value:
    """The power of two below the largest magnitude of a block."""
    return _of_bits(block, block.add("i32", f"and {top}, {0x7F800000}"))


@function
def inverse(block: LlvmLines, scale: Value) -> Value:
    """1 / scale, and 0 of 0."""
    some = block.add("i1", f"fcmp ogt {scale}, 0.0")
    made = block.add("float", f"fdiv {constant('float', 1.0)}, {scale.text}")
    return block.select(some, made, constant("float", 0.0))


@function
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


@function
def from_squares(block: LlvmLines, code: Value, scale: Value) -> Value:
    """The value of a code of squares: the square of its root."""
    wide = block.add("i32", f"zext {code} to i32")
    bits = block.add("i32", f"add i32 {block.add('i32', f'shl {wide}, 19').text}, {112 << 23}")
    none = block.add("i1", f"icmp eq {wide}, 0")
    value = _of_bits(block, block.select(none, Value("i32", "0"), bits))
    root = block.add("float", f"fmul {value}, {scale.text}")
    return block.add("float", f"fmul {root}, {root.text}")


@function
def to_signed(block: LlvmLines, x: Value, inverse_scale: Value) -> Value:
    """The code with a sign of a value."""
    ratio = block.add("float", f"fmul {x}, {inverse_scale.text}")
    bits = block.add("i32", f"bitcast {ratio} to i32")
    code = block.add("i32", f"sub i32 {block.add('i32', f'and {bits}, {0x7FFFFFFF}').text}, {112 << 23}")
    code = larger(block, block.add("i32", f"ashr {code}, 20"), Value("i32", "0"))
    sign_bit = block.add("i32", f"and i32 {block.add('i32', f'lshr {bits}, 24').text}, 128")
    return block.to("i8", block.add("i32", f"or {code}, {sign_bit.text}"))


@function
def to_squares(block: LlvmLines, root: Value, inverse_scale: Value) -> Value:
    """The code of a square, of its root."""
    ratio = block.add("float", f"fmul {root}, {inverse_scale.text}")
    code = block.add("i32", f"sub i32 {block.add('i32', f'bitcast {ratio} to i32').text}, {112 << 23}")
    code = larger(block, block.add("i32", f"ashr {code}, 19"), Value("i32", "1"))
    some = block.add("i1", f"fcmp ogt {ratio}, 0.0")
    return block.to("i8", block.select(some, code, Value("i32", "0")))
