"""Hyperparameters: what an optimizer declares of each of its own, and the checks of what a user passes."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ravine._whole_numbers import whole
from ravine.errors import OptionError, nearest, shown
from ravine.formula._pieces import is_plain_number
from ravine.optim._declared_kinds import refuse_no_switch, refuse_no_texts
from ravine.optim._number_forms import form_of, meant_by
from ravine.optim.search import Range

#: Raises OptionError if an option cannot have this value; the last argument says in which group it stands.
Check = Callable[[str, Any, str], None]

#: What schedulers and users keep in a group beside hyperparameters.
GROUP_NOTES = (
    "params",
    "param_names",
    "name",
    "initial_lr",
    "max_lr",
    "min_lr",
    "base_momentum",
    "max_momentum",
    "swa_lr",
)
#: How torch is to run its own code: in its groups and state dicts, and without a meaning here.
TORCH_ONLY = ("foreach", "capturable", "differentiable")
#: Options of the whole optimizer. Where a trainer writes one into a group, the next step takes it from there.
WHOLE = frozenset(("nonfinite", "watch"))


@dataclass(frozen=True)
class Hyper:
    """What a hyperparameter may be, and where a comparison searches it. Declared beside the optimizer::

        class RMSprop(Optimizer):
            hypers = {"lr": Hyper(low=0, search=log(1e-5, 0.1)), "eps": Hyper(low=0)}

    Attributes:
        low: its least value.
        high: its largest value.
        below: ``high`` itself is not allowed.
        length: how many numbers it is: 2 for ``betas``.
        optional: None leaves out the piece that reads it; of several numbers, each may be None.
        zero: 0 is allowed.
        infinite: so is infinity.
        default: what it is, of one that the constructor takes under another name.
        choices: it is one of these texts, and not a number.
        search: the range of a comparison; of several numbers, one for each, or None.

    Raises:
        OptionError: one of these is of another kind, or no number is allowed.
    """

    low: float = -math.inf
    high: float = math.inf
    below: bool = False
    length: int = 0
    optional: bool = False
    zero: bool = True
    infinite: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None
    search: Range | tuple[Range | None, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if not is_plain_number(value := getattr(self, name)):
                raise OptionError(f"Hyper({name}={shown(value)}): it is a number, such as {name}=1")
        for name in ("below", "optional", "zero", "infinite"):
            refuse_no_switch("Hyper", name, getattr(self, name))
        if not (self.low < self.high or (self.low == self.high and not self.below)):
            raise OptionError(
                f"Hyper(low={self.low!r}, high={self.high!r}): no number lies between, so low must be below high"
            )
        if whole(self.length) is None or self.length < 0:
            raise OptionError(
                f"Hyper(length={shown(self.length)}): it is how many numbers, such as 2 for betas; 0: one number"
            )
        refuse_no_texts("Hyper", "choices", self.choices)
        ranges = self.search if isinstance(self.search, tuple) else (self.search,)
        if not all(one is None or isinstance(one, Range) for one in ranges):
            raise OptionError(
                f"Hyper(search={shown(self.search)}): it is a range, such as log(1e-5, 0.1) of ravine.optim.search, or of several "
                "numbers a tuple of one or None for each"
            )
        if isinstance(self.search, tuple) and self.length and len(ranges) != self.length:
            raise OptionError(
                f"Hyper(length={self.length}, search={shown(self.search)}): {self.length} numbers need {self.length} ranges, "
                f"not {len(ranges)}; None where one is not searched"
            )

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        words = "a number" if self.infinite else "a finite number"
        if self.low > -math.inf:
            words += f" of at least {self.low:g}" if self.zero or self.low != 0 else " above 0"
        if self.high < math.inf:
            words += f" and {'below' if self.below else 'at most'} {self.high:g}"
        return words

    def allows(self, value: object) -> bool:
        """Whether it may have this value, which is one number."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        if self.infinite and value == math.inf:
            return True
        if (isinstance(value, int) and abs(value) > sys.float_info.max) or not math.isfinite(value):
            return False  # Python's whole numbers go beyond what a double holds
        inside = self.low <= value < self.high if self.below else self.low <= value <= self.high
        return inside and (self.zero or value != 0)


#: What is said of an option that nobody declares.
_ANY = Hyper()


def hypers_of(cls: type) -> dict[str, Hyper]:
    """What a class and those it derives from declare of their hyperparameters.

    One that is declared without bounds keeps those of the class it derives from.

    Raises:
        OptionError: it does not say it with ``Hyper``.
    """
    declared: dict[str, Hyper] = {}
    for base in reversed(cls.__mro__):
        own = vars(base).get("hypers", {})
        if not isinstance(own, Mapping) or not all(isinstance(hyper, Hyper) for hyper in own.values()):
            raise OptionError(
                f"hypers of {base.__name__} is {own!r}; write {{'lr': Hyper(low=0, search=log(1e-4, 1.0))}}, with Hyper "
                "of ravine.optim and log of ravine.optim.search"
            )
        for name, hyper in own.items():
            unbounded = hyper.low == -math.inf and hyper.high == math.inf
            known = declared.get(name)
            declared[name] = replace(known, search=hyper.search) if known and unbounded else hyper
    return declared


def search_of(hypers: Mapping[str, Hyper]) -> dict[str, Range]:
    """The ranges of a comparison by name; ``beta1`` and ``beta2`` are the numbers of ``betas``."""
    ranges: dict[str, Range] = {}
    for name, hyper in hypers.items():
        if isinstance(hyper.search, tuple):
            parts = {f"{name.removesuffix('s')}{i}": r for i, r in enumerate(hyper.search, start=1)}
            ranges.update({part: r for part, r in parts.items() if r is not None})
        elif hyper.search is not None:
            ranges[name] = hyper.search
    return ranges


def checker(
    hypers: Mapping[str, Hyper], defaults: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> Check:
    """The check of one optimizer's options; one that is not declared may be any finite number.

    Args:
        hypers: what its class declares.
        defaults: its options.
        parameters: those of its class, whose defaults show what to write.
    """

    def check(name: str, value: Any, where: str) -> None:
        try:
            look(name, value, where)
        except OptionError as error:
            written = _written(name, value)
            raise (OptionError(f"{error}. {written}") if written else error) from None

    def _written(name: str, value: Any) -> str:
        """What to write for a value that would do in another form; empty if there is none."""
        hyper, usual = hypers.get(name, _ANY), parameters[name].default if name in parameters else None
        usual = None if usual is inspect.Parameter.empty else usual
        length = 0 if hyper.choices else hyper.length or length_of(usual)
        meant, form = meant_by(value), form_of(value)
        if length and meant is not None and isinstance(meant[0], int | float) and length_of(usual) == length:
            form, meant = "Write", meant_by((meant[0], *(several(usual) or ())[1:]))
        elif value is None:
            form, meant = "Write", meant_by(usual)
        if not length and isinstance(value, tuple | list) and len(value) > 1:
            return f"A value for each group stands in the group: [{{'params': ..., {name!r}: {value[0]!r}}}, ...]"
        if callable(value):
            return "What changes from step to step is set by a scheduler, such as torch.optim.lr_scheduler.LambdaLR"
        if meant is None:
            return ""
        try:
            look(name, meant[0], "")
        except OptionError:
            return ""
        return f"{form}: {name}={meant[1]}"

    def look(name: str, value: Any, where: str) -> None:
        hyper, default = hypers.get(name, _ANY), defaults.get(name)
        if name == "fused":
            if value not in (None, True, False):
                raise OptionError(f"fused={value!r}{where}: it is None (the kernel where it can), True or False")
        elif name == "cautious":
            if not isinstance(value, bool | np.bool_):
                raise OptionError(f"cautious={value!r}{where}: it is True or False")
        elif name == "lookahead":
            _check_lookahead(value, where)
        elif value is None and hyper.optional:
            pass
        elif hyper.choices:
            if value not in hyper.choices:
                known = ", ".join(map(repr, hyper.choices))
                none = " or None" if hyper.optional else ""
                raise OptionError(f"{name}={value!r}{where}: it is {known}{none}. {nearest(str(value), hyper.choices)}")
        elif name not in hypers and isinstance(default, bool):
            if not isinstance(value, bool | np.bool_) and not (type(value) is int and value in (0, 1)):
                raise OptionError(f"{name}={value!r}{where}: it is a switch, True or False")
        elif length := hyper.length or (0 if name in hypers else length_of(default)):
            numbers = several(value)
            if numbers is None or len(numbers) != length:
                raise OptionError(f"{name}={value!r}{where}: it is a tuple of {length} numbers")
            for i, v in enumerate(numbers):
                if v is not None or not hyper.optional:
                    _check_number(hyper, f"{name}[{i}]", v, where)
        else:
            _check_number(hyper, name, value, where)

    return check


def _check_lookahead(value: object, where: str) -> None:
    if value is None:
        return
    numbers = several(value)
    whole = numbers is not None and len(numbers) == 2 and Hyper(low=1).allows(numbers[0]) and numbers[0] % 1 == 0
    if not whole or numbers is None or not Hyper(low=0, high=1, zero=False).allows(numbers[1]):
        raise OptionError(
            f"lookahead={value!r}{where}: it is (k, alpha), such as (5, 0.5): a whole number of steps, and the share of the "
            "way that the slow parameters go, above 0 and at most 1; or None"
        )


def several(value: object) -> tuple[Any, ...] | None:
    """The numbers of an option that is several, such as betas, from whatever holds them; None if it is none of these."""
    if isinstance(value, np.ndarray | Tensor):
        return None if math.prod(value.shape) == 1 else tuple(value.reshape(-1).tolist())
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None


def length_of(value: object) -> int:
    """How many numbers an option is, if it is several; else 0."""
    return len(several(value) or ())


def as_python(value: Any) -> Any:
    """A flag of NumPy's as Python's, and several numbers as a tuple, as torch keeps them."""
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, tuple | Tensor):
        return value
    return value if (numbers := several(value)) is None else numbers


def _check_number(hyper: Hyper, shown: str, value: Any, where: str) -> None:
    if isinstance(value, Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        value = value.item()
    if not hyper.allows(value):
        none = ", or None" if hyper.optional else ""
        raise OptionError(f"{shown}={_text(value)}{where}: it must be {hyper.wanted}{none}")


def _text(value: object) -> str:
    """A value for an error: Python writes no whole number of many thousand digits, and nobody reads one."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return f"(a whole number above {sys.float_info.max:.1e}, the largest double)"
    return repr(value)


def check_group(group: Mapping[str, Any], defaults: Mapping[str, Any], check: Check, where: str) -> None:
    """Check the options of a parameter group. Other keys are the user's own."""
    for name in defaults:
        check(name, group[name], where)


def refuse_differentiable(options: Mapping[str, Any]) -> None:
    """Raise OptionError for the one of torch's switches that is more than a way to compute the same numbers."""
    if options.get("differentiable"):
        raise OptionError(
            f"differentiable={options['differentiable']!r} has no meaning in Ravine: a step is not recorded by autograd. "
            "Leave it out, or use torch.optim where a step is differentiated"
        )
