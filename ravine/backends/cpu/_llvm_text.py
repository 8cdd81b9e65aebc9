"""Translates the text of a kernel to LLVM's language.

The text is Python of a small kind: assignments, ``for`` over a range, ``while``, ``if``, numbers, and arrays at an address
(``carray(at_float32(address), n)``) or of the thread alone (``scratch(n)``). A variable has the type of what is assigned to it first. A product and the sum that it goes
into may be rounded once, as one instruction; everything else is exact.

The innermost loops are made to become vector code: what one pass of such a loop writes, no other pass of it reads. That is true
of all texts that are printed here as long as tensors that share memory share it element by element, and no gradient is its own
parameter shifted.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from math import inf, nan

from ravine.backends.cpu import _llvm_rounding  # noqa: F401 - adds functions
from ravine.backends.cpu._llvm_functions import FUNCTIONS, Address, Array, LlvmLines, Value, constant, power

_INTEGER = {
    ast.Add: "add nsw",
    ast.Sub: "sub nsw",
    ast.Mult: "mul nsw",
    ast.RShift: "ashr",
    ast.LShift: "shl nsw",
    ast.FloorDiv: "sdiv",
}
_FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_COMPARED = {
    ast.Lt: ("slt", "olt"), ast.LtE: ("sle", "ole"), ast.Gt: ("sgt", "ogt"), ast.GtE: ("sge", "oge"),
    ast.Eq: ("eq", "oeq"), ast.NotEq: ("ne", "une"),
}  # fmt: skip
_CONSTANTS = {"inf": inf, "nan": nan}
#: Words of kernels that spend more instructions on an element than memory takes: for them the widest vectors pay. Others are
#: quicker with LLVM's choice where tensors are small, since fewer elements are left over.
_BOUND_BY_INSTRUCTIONS = ("_at_random", "scratch(", "from_bfloat16", "from_float16")


def llvm_text(source: str, entry: str) -> str:
    """The LLVM text of a kernel's text: one function ``entry`` of an address.

    Raises:
        TypeError: the text is not of the kind that is translated here.
    """
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    wide = any(word in source for word in _BOUND_BY_INSTRUCTIONS)
    return _Translator(function).text(entry, '"prefer-vector-width"="512" ' if wide else "")


class _Translator:
    def __init__(self, function: ast.FunctionDef) -> None:
        self._function = function
        self._block = LlvmLines()
        self._variables: dict[str, Value] = {}  # their types, and where they are
        self._arrays: dict[str, Array] = {}
        self._scratch: list[int] = []  # floats of each array that is the thread's own
        self._loops: list[tuple[str, str]] = []  # where continue and break of the loops around go
        self._groups: list[str] = []  # of the memory accesses in an innermost loop: one of metadata
        self._in_group = False

    def text(self, entry: str, attributes: str) -> str:
        (argument,) = (a.arg for a in self._function.args.args)
        self._assign(argument, Value("i64", "%task"))
        self._statements(self._function.body)
        self._jump("end")
        block = self._block
        variables = [f"  {v.text} = alloca {v.type}" for v in self._variables.values()]
        variables += [f"  %scratch.{i} = alloca [{n} x float], align 64" for i, n in enumerate(self._scratch, start=1)]
        lines = [
            f"define void @{entry}(i64 %task) {attributes}{{", "entry:", *variables, *block.lines, "end:", "  ret void", "}",
            *block.declared.values(), *self._metadata(),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _metadata(self) -> list[str]:
        """Names two nodes for each innermost loop: its accesses, and that they depend on each other in no other way."""
        lines = []
        for i, _ in enumerate(self._groups):
            group, loop, parallel = (3 * i + k for k in range(3))
            lines += [
                f"!{group} = distinct !{{}}",
                f"!{loop} = distinct !{{!{loop}, !{parallel}}}",
                f'!{parallel} = !{{!"llvm.loop.parallel_accesses", !{group}}}',
            ]
        return lines

    # Control flow

    def _label(self, name: str) -> None:
        self._block.lines.append(f"{name}:")

    def _jump(self, to: str, loop: str = "") -> None:
        """Go on elsewhere; ends a block."""
        self._block.lines.append(f"  br label %{to}{loop}")

    def _branch(self, condition: Value, yes: str, no: str) -> None:
        self._block.lines.append(f"  br {self._block.to('i1', condition)}, label %{yes}, label %{no}")

    def _statements(self, statements: Sequence[ast.stmt]) -> bool:
        """Translate statements in order; whether what stands behind them is reached."""
        return all(self._statement(statement) for statement in statements)

    def _statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Assign(targets=[target], value=value):
                self._store(target, value)
            case ast.AugAssign(target=target, op=op, value=value):
                read = ast.parse(ast.unparse(target), mode="eval").body
                self._store(target, ast.BinOp(read, op, value))
            case ast.Expr(value=value):
                self._value(value)
            case ast.If(test=test, body=body, orelse=orelse):
                return self._if(test, body, orelse)
            case ast.While(test=ast.Constant(value=True), body=body, orelse=[]):
                self._while(body)
            case ast.For(
                target=ast.Name(id=name),
                iter=ast.Call(func=ast.Name(id="range"), args=[_] | [_, _] as bounds, keywords=[]),
                body=body,
                orelse=[],
            ):
                self._for(name, bounds, body)
            case ast.Continue() | ast.Break():
                self._jump(self._loops[-1][isinstance(node, ast.Break)])
                return False
            case ast.Return(value=None):
                self._jump("end")
                return False
            case _:
                raise TypeError(f"a kernel's text may not have {ast.unparse(node)!r}")
        return True

    def _if(self, test: ast.expr, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]) -> bool:
        yes, no, after = (self._block.fresh(name) for name in ("then", "else", "after"))
        self._branch(self._number(test), yes, no)
        reached = False
        for label, statements in ((yes, body), (no, orelse)):
            self._label(label)
            if self._statements(statements):
                self._jump(after)
                reached = True
        if reached:
            self._label(after)
        return reached

    def _while(self, body: Sequence[ast.stmt]) -> None:
        again, after = self._block.fresh("while"), self._block.fresh("after")
        self._jump(again)
        self._label(again)
        self._loops.append((again, after))
        if self._statements(body):
            self._jump(again)
        self._loops.pop()
        self._label(after)

    def _for(self, name: str, bounds: Sequence[ast.expr], body: Sequence[ast.stmt]) -> None:
        block = self._block
        first, last = [Value("i64", "0"), *map(self._number, bounds)][-2:]
        test, inside, following, after = (block.fresh(n) for n in ("for", "body", "next", "after"))
        counter = f"%{block.fresh('i')}"
        before = block.fresh("before")
        self._jump(before)
        self._label(before)
        self._jump(test)
        self._label(test)
        block.lines.append(f"  {counter} = phi i64 [{first.text}, %{before}], [{counter}.next, %{following}]")
        self._branch(block.add("i1", f"icmp slt i64 {counter}, {last.text}"), inside, after)
        self._label(inside)
        innermost = not any(isinstance(n, ast.For | ast.While) for s in body for n in ast.walk(s))
        self._in_group = innermost
        if innermost:
            self._groups.append(name)
        self._assign(name, Value("i64", counter))
        self._loops.append((following, after))
        if self._statements(body):
            self._jump(following)
        self._loops.pop()
        self._in_group = False
        self._label(following)
        block.lines.append(f"  {counter}.next = add nuw nsw i64 {counter}, 1")
        self._jump(test, f", !llvm.loop !{3 * len(self._groups) - 2}" if innermost else "")
        self._label(after)

    # Variables and arrays

    def _store(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            assert isinstance(value, ast.Tuple)
            for one, its in zip(target.elts, value.elts, strict=True):
                self._store(one, its)
        elif isinstance(target, ast.Subscript):
            array, place = self._place(target)
            stored = self._block.to(array.of, self._number(value))
            self._block.lines.append(f"  store {stored}, ptr {place}{self._access()}")
        elif isinstance(target, ast.Name):
            made = self._value(value)
            if isinstance(made, Array):
                self._arrays[target.id] = made
            elif isinstance(made, Value):
                self._assign(target.id, made)
            else:
                raise TypeError(f"a kernel's text may not keep an address: {ast.unparse(target)}")
        else:
            raise TypeError(f"a kernel's text may not assign to {ast.unparse(target)!r}")

    def _assign(self, name: str, value: Value) -> None:
        variable = self._variables.setdefault(name, Value(value.type, f'%"{name}.at"'))
        if variable.type != value.type:
            raise TypeError(f"{name} of a kernel's text was {variable.type} and becomes {value.type}")
        self._block.lines.append(f"  store {value}, ptr {variable.text}")

    def _access(self) -> str:
        return f", !llvm.access.group !{3 * len(self._groups) - 3}" if self._in_group else ""

    def _place(self, node: ast.Subscript) -> tuple[Array, str]:
        """The array of ``array[i]`` or ``array[i, j]``, and the address of that element."""
        array = self._value(node.value)
        if not isinstance(array, Array):
            raise TypeError(f"{ast.unparse(node.value)} of a kernel's text is no array")
        index = list(map(self._number, node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]))
        place = index[0]
        for size, more in zip(array.shape[1:], index[1:], strict=True):
            row = self._block.add("i64", f"mul nsw {place}, {size.text}")
            place = self._block.add("i64", f"add nsw {row}, {more.text}")
        return array, self._block.add("ptr", f"getelementptr {array.of}, ptr {array.text}, {place}").text

    # Expressions

    def _number(self, node: ast.expr) -> Value:
        value = self._value(node)
        if not isinstance(value, Value):
            raise TypeError(f"{ast.unparse(node)} of a kernel's text is no number")
        return value

    def _value(self, node: ast.expr) -> Value | Address | Array:
        block = self._block
        match node:
            case ast.Constant(value=bool(value)):
                return Value("i1", str(value).lower())
            case ast.Constant(value=int(value)):
                return Value("i64", str(value))
            case ast.Constant(value=float(value)):
                return constant("double", value)
            case ast.Name(id=name):
                return self._named(name)
            case ast.Subscript():
                array, place = self._place(node)
                return block.add(array.of, f"load {array.of}, ptr {place}{self._access()}")
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self._number(left), self._number(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                a, b = block.same(self._number(left), self._number(right))
                integer, real = _COMPARED[type(op)]
                return block.add("i1", f"{f'fcmp {real}' if a.is_float else f'icmp {integer}'} {a}, {b.text}")
            case ast.BoolOp(op=op, values=values):
                return self._both_or_either(isinstance(op, ast.And), values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return FUNCTIONS["logical_not"](block, self._number(operand))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                x = self._number(operand)
                return block.add(x.type, f"fneg contract {x}" if x.is_float else f"sub i64 0, {x.text}")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return block.select(self._number(test), self._number(body), self._number(orelse))
            case ast.Call(func=ast.Name(id="carray"), args=[address, shape]):
                return self._array(address, shape)
            case ast.Call(func=ast.Name(id="scratch"), args=[ast.Constant(value=int(count))]):
                self._scratch.append(count)
                return Array("float", f"%scratch.{len(self._scratch)}", (Value("i64", str(count)),))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                return FUNCTIONS[name](block, *map(self._number, args))
        raise TypeError(f"a kernel's text may not have {ast.unparse(node)!r}")

    def _named(self, name: str) -> Value | Array:
        if name in self._arrays:
            return self._arrays[name]
        if name in self._variables:
            variable = self._variables[name]
            return self._block.add(variable.type, f"load {variable.type}, ptr {variable.text}")
        if name in _CONSTANTS:
            return constant("double", _CONSTANTS[name])
        raise TypeError(f"a kernel's text has no {name}")

    def _array(self, address: ast.expr, shape: ast.expr) -> Array:
        at = self._value(address)
        assert isinstance(at, Address)
        sizes = shape.elts if isinstance(shape, ast.Tuple) else [shape]
        return Array(at.of, at.text, tuple(map(self._number, sizes)))

    def _binary(self, op: ast.operator, a: Value, b: Value) -> Value:
        block = self._block
        if isinstance(op, ast.BitAnd | ast.BitOr):
            a, b = block.to("i1", a), block.to("i1", b)
            return block.add("i1", f"{'and' if isinstance(op, ast.BitAnd) else 'or'} {a}, {b.text}")
        a, b = block.same(a, b)
        if a.is_float:
            if isinstance(op, ast.Pow):
                return power(block, a, b)
            return block.add(a.type, f"{_FLOAT[type(op)]} contract {a}, {b.text}")
        a, b = block.to("i64", a), block.to("i64", b)
        if type(op) not in _INTEGER:
            raise TypeError("a kernel's text has only sums, differences, products, quotients and shifts of integers")
        return block.add("i64", f"{_INTEGER[type(op)]} {a}, {b.text}")

    def _both_or_either(self, both: bool, values: Sequence[ast.expr]) -> Value:
        """``and`` or ``or``, of which the second is looked at only if the first does not decide."""
        block = self._block
        name = f"%{block.fresh('truth')}.at"
        kept = self._variables[name[1:-3]] = Value("i1", name)
        after = block.fresh("decided")
        for i, node in enumerate(values):
            truth = block.to("i1", self._number(node))
            block.lines.append(f"  store {truth}, ptr {kept.text}")
            if i == len(values) - 1:
                self._jump(after)
            else:
                more = block.fresh("more")
                self._branch(truth, *((more, after) if both else (after, more)))
                self._label(more)
        self._label(after)
        return block.add("i1", f"load i1, ptr {kept.text}")
