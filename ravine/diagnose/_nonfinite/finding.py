"""Where a value that is not finite came from, in words: the place, the evidence, and what to try."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ravine.diagnose._nonfinite.value_range import ValueRange

_FLOAT16_ENDS = (
    "float16 ends at 65504, and larger numbers become inf: use bfloat16, which has the range of float32, keep this "
    "module in float32, or make its numbers smaller."
)
_LOG = "The logarithm of 0 is -inf and that of a negative number NaN: clamp it, e.g. x.clamp_min(1e-12)."
_DIVIDE = "A division by 0 gives inf, and 0/0 NaN: add a small number to the divisor, or x / d.clamp_min(1e-8)."
_EXP = (
    "exp overflows above 88.7 in float32 and 11 in float16: subtract the maximum first, clamp its input, or use a "
    "stable function such as logsumexp, softmax or softplus."
)
_ROOT = "The square root of a negative number is NaN: clamp it, e.g. x.clamp_min(0)."
_POWER = "A power overflows for large numbers, and 0 to a negative power is inf: clamp its input."
_SOFTMAX = "The softmax of a fully masked row is NaN: leave at least one element of each row unmasked."
_PRODUCT = (
    "The numbers are too large, so their products overflow: lower the learning rate, clip gradients, or normalise "
    "the input of the module."
)
_NORMALISE = "The values are all equal, so their variance is 0: is eps above 0?"
_ARC = "acos, asin and atanh are defined between -1 and 1: clamp it, e.g. x.clamp(-1 + 1e-6, 1 - 1e-6)."
_FORWARD = {
    **dict.fromkeys(("log", "log2", "log10", "log1p", "logit", "xlogy"), _LOG),
    **dict.fromkeys(("div", "reciprocal", "remainder", "fmod"), _DIVIDE),
    **dict.fromkeys(("exp", "exp2", "expm1", "cosh", "sinh"), _EXP),
    "sqrt": _ROOT,
    "rsqrt": "1/sqrt(x) is inf at 0 and NaN below it: add a small number, e.g. (x + 1e-8).rsqrt().",
    "pow": _POWER,
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _SOFTMAX),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "convolution", "mul", "add", "sum", "sub", "square"), _PRODUCT),
    **dict.fromkeys(("native_layer_norm", "native_batch_norm", "native_group_norm"), _NORMALISE),
    **dict.fromkeys(("acos", "asin", "atanh", "acosh"), _ARC),
    "constant": "The code has a constant that is not finite.",
}
"""Advice by the name of torch's operation."""
_BACKWARD = {
    **dict.fromkeys(
        ("Sqrt", "Pow", "Rsqrt"),
        "The gradient of a root at 0 is infinite: add a small number inside, e.g. (x + 1e-12).sqrt().",
    ),
    **dict.fromkeys(
        ("LinalgVectorNorm", "Norm", "Cdist"),
        "The gradient of a norm at 0 is not defined: use (x.square().sum() + 1e-12).sqrt().",
    ),
    **dict.fromkeys(
        ("Log", "Log2", "Log10", "Log1P", "Logit", "Xlogy"), "The gradient of the logarithm is 1/x: " + _LOG
    ),
    **dict.fromkeys(("Div", "Reciprocal"), _DIVIDE),
    **dict.fromkeys(("Acos", "Asin", "Atanh", "Acosh"), "Its gradient is infinite at the ends. " + _ARC),
    **dict.fromkeys(("Mul", "Mm", "Bmm", "Addmm", "Convolution", "Exp"), _PRODUCT),
}
"""Advice by the name of the operation whose gradient is computed."""
_WHERE = " torch.where after it does not help, because 0 times infinity is NaN: use it on the input instead."


@dataclass(frozen=True, repr=False)
class NothingFound:
    """That all values were finite. It is false: ``if finding:`` asks whether there is one.

    Attributes:
        searched: what was looked at.
    """

    searched: str

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Nothing found: {self.searched} are finite."


@dataclass(frozen=True, repr=False)
class Finding:
    """Where values that are not finite came from; printing it says so in words.

    Attributes:
        where: "inputs" or "targets" (they are in the batch), "parameter" (they are in a parameter), "forward" (a module
            produced them), "loss" (the loss or its gradient did), or "backward" (a module's gradient did).
        module: its qualified name; "" for the model itself, and where it is not a module.
        kind: the class of the module, or the loss by its name.
        call: which call of the module it was, from 1; 0 where that is not known.
        operation: the torch operation in it; in the backward pass, the one whose gradient is computed.
        tensor: which tensor of the batch, or which parameter.
        first, rows: the place of that tensor's first such element, and the first rows that have one.
        input: the range of the module's input; for a loss, of the model's outputs.
        operands: the range of each of the operation's tensors.
        output: the range of the operation's result, or of the tensor.
        gradient: the range of the gradient that reached the module, in the backward pass.
        path: the file that reproduces it.
    """

    where: str
    module: str
    kind: str
    call: int
    operation: str
    output: ValueRange
    tensor: str = ""
    first: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    input: ValueRange = ValueRange()  # noqa: RUF009 - it is frozen
    operands: tuple[ValueRange, ...] = ()
    gradient: ValueRange | None = None
    backward: bool = False
    path: Path | None = field(default=None, compare=False)

    def __str__(self) -> str:
        text = f"{self._sentence()} {self._advice()}"
        return f"{text} {self.path} reproduces it." if self.path else text

    def __repr__(self) -> str:
        path = f", path={str(self.path)!r}" if self.path else ""
        return f"Finding({self.subject}, where={self.where!r}, operation={self.operation!r}{path})"

    @property
    def subject(self) -> str:
        """What is at fault, in a few words."""
        if self.where in ("inputs", "targets"):
            return f"{self.tensor} of the batch"
        if self.where == "loss":
            return f"the loss ({self.kind})"
        name = f"module {self.module!r} ({self.kind})" if self.module else f"the model ({self.kind})"
        return f"parameter {self.tensor!r} of {name}" if self.where == "parameter" else name

    def _sentence(self) -> str:
        out, count = self.output, f"{self.output.what} in {self.output.bad} of {self.output.total}"
        elements = f"{count} {'element' if out.total == 1 else 'elements'}"
        if self.where in ("inputs", "targets", "parameter"):
            first = f", first at {list(self.first)}" if self.first else ""
            return f"{self.subject}: {elements}{first}{self._rows()}."
        call = f" in its call {self.call}" if self.call > 1 else ""
        what = "the model's outputs were" if self.where == "loss" else "its input was"
        given = f"; {what} {self.input}" if self.input.total else ""
        if self.backward:
            came = f", the gradient that reached it {self.gradient}" if self.gradient and self.gradient.total else ""
            of = f" in the gradient of {self.operation}" if self.operation else ""
            return f"{self.subject}: its gradient is not finite{call}: {elements}{of}{given}{came}."
        took = " and ".join(map(str, self.operands))
        of = f" by {self.operation.strip('_')}" if self.operation else ""
        if self.operands and self.operands != (self.input,):
            of += f" of numbers {took}"
        return f"{self.subject} gave {elements}{call}{of}{given}."

    def _rows(self) -> str:
        if len(self.rows) < 2 or len(self.first) < 2:
            return ""
        return f" (rows {', '.join(map(str, self.rows))}{', ...' * (len(self.rows) > 4)})"

    def _advice(self) -> str:
        if self.where in ("inputs", "targets"):
            return "Check the data: drop such rows, or replace missing values, e.g. with torch.nan_to_num."
        if self.where == "parameter":
            return (
                "An earlier step wrote it, or it was loaded like this: go back to a checkpoint, lower the learning "
                "rate or clip the gradients."
            )
        if "float16" in self.output.dtypes and not self.output.nan:
            return _FLOAT16_ENDS
        if self.backward:
            hint = _BACKWARD.get(self.operation, "Check where its derivative is not finite.")
            return hint + _WHERE if hint is not _PRODUCT else hint
        return _FORWARD.get(self.operation.rstrip("_"), "Check what it does at the ends of that range.")
