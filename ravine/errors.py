"""The errors that Ravine raises on purpose, as one tree.

RavineError
├── FormulaError      a piece or a list of pieces is not a formula          (also a ValueError)
├── OptionError       a hyperparameter, option, group key or name is wrong  (also a ValueError)
├── ParameterError    a parameter, gradient or state cannot be stepped      (also a ValueError)
├── StateError        a state does not fit where it goes, or cannot be kept (also a ValueError)
├── TrainingError     the loss, a metric or the model cannot be trained with (also a RuntimeError)
├── ComparisonError   measurements cannot be judged as they are             (also a ValueError)
├── BackendError      the kernel was insisted on and cannot be had          (also a RuntimeError)
├── PackageError      an optional package is not installed                  (also an ImportError)
└── DataError         a file of data or of a run is missing or damaged      (also a RuntimeError)

Each is also the built-in error that torch raises in the same place, so code that catches that goes on working.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

__all__ = [
    "BackendError",
    "ComparisonError",
    "DataError",
    "FormulaError",
    "NonFiniteError",
    "OptionError",
    "PackageError",
    "ParameterError",
    "RavineError",
    "StateError",
    "TrainingError",
]


def __dir__() -> list[str]:
    return __all__


Error = TypeVar("Error", bound="RavineError")


class RavineError(Exception):
    """Base of every error that this library raises on purpose.

    Attributes:
        on_command_line: what the command ``ravine`` prints instead, where it has other words for what to write; else empty.
    """

    on_command_line: str = ""


class FormulaError(RavineError, ValueError):
    """A piece, or the way pieces are put together, is not a formula."""


class OptionError(RavineError, ValueError):
    """A hyperparameter, option, group key or name has no meaning or an impossible value."""


class ParameterError(RavineError, ValueError):
    """A parameter, its gradient or its state cannot be stepped; nothing was written."""


class NonFiniteError(ParameterError, ArithmeticError):
    """A gradient has elements that are NaN or infinite; nothing was written."""


class StateError(RavineError, ValueError):
    """A state does not fit where it is loaded, or cannot be kept; nothing was loaded or written."""


class TrainingError(RavineError, RuntimeError):
    """A loss, metric or model cannot be trained with; what was trained until then is in the model."""


class ComparisonError(RavineError, ValueError):
    """Measurements do not fit together, or tell nothing: they cannot be judged as they are."""


class BackendError(RavineError, RuntimeError):
    """The fused kernel was asked for with ``fused=True`` and cannot be had."""


class PackageError(RavineError, ImportError):
    """An optional package is needed and not installed; the text says what to install."""


class DataError(RavineError, RuntimeError):
    """A data set, a checkpoint or a journal is missing, incomplete or damaged."""


def for_both(error: Error, on_command_line: str) -> Error:
    """The error, whose text is for Python, with the words of the command line for the same."""
    error.on_command_line = on_command_line
    return error


def advised(kind: type[Error], problem: str, advice: str) -> Error:
    """An error that ends with advice, in which options of the command line (``--out``) are arguments (``out=``) from Python."""
    in_python = re.sub("--([a-z]+)", r"\1=", advice)
    return for_both(kind(f"{problem} {in_python}"), f"{problem} {advice}")


#: Words of other libraries for what is called something else here.
_OTHER_WORDS = {
    "learning_rate": "lr", "eta": "lr", "step_size": "lr", "epsilon": "eps", "wd": "weight_decay", "l2": "weight_decay",
    "mom": "momentum", "sqr_mom": "alpha", "rho": "alpha", "decay": "alpha", "beta_1": "betas", "beta_2": "betas",
    "beta1": "betas", "beta2": "betas", "b1": "betas", "b2": "betas", "clipnorm": "clip_norm",
    "global_clipnorm": "clip_norm", "grad_clip": "clip_norm", "max_grad_norm": "clip_norm",
    "clip_norms": "clip_norm", "clip_grad_norm": "clip_norm", "gradient_clip_val": "clip_norm", "c": "clip_norm",
    "g": "grad", "gradient": "grad", "dw": "grad", "p": "param", "w": "param", "theta": "param",
}  # fmt: skip
_LONGEST = 200  # characters of a value in an error
_MANY = 12  # names that nobody reads to the end


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that helps with a name that is not known: the nearest one, or all there are."""
    known = sorted(known)
    close = [k for k in known if k.lower() == str(name).lower()]
    close = close or difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if word := same_in_other_words(name, known):
        close = [word]
    guess = f"Did you mean {close[0]!r}? " if close else ""
    if not known:
        return "There are none."
    return guess.rstrip() if guess and len(known) > _MANY else f"{guess}Known: {', '.join(known)}."


def same_in_other_words(name: str, known: Iterable[str]) -> str:
    """Which of the known names is another library's word for this one, or the other way round; empty if none is."""
    word = _OTHER_WORDS.get(str(name))
    return next((k for k in known if k == word or _OTHER_WORDS.get(k) == str(name)), "")


def shown(value: object) -> str:
    """A value in an error: as Python shows it, but a tensor by its shape, and nothing that fills a screen."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and math.prod(shape) != 1:
        return f"{an(type(value).__name__)} of shape {tuple(shape)}"
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of many thousand digits
        text = f"{an(type(value).__name__)}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({kind_of(value)})"


def kind_of(value: object) -> str:
    """What a value is, for an error: its class, and of a collection its length: ``"tuple of 3"``."""
    if isinstance(value, Mapping | tuple | list):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


#: Letters whose names begin with a vowel: an SGD, a GPU.
_SPELLED_WITH_AN = "AEFHILMNORSX"
#: Capitals that are read as a word, and small letters that are spelled.
_READ, _SPELLED = (
    ("LAMB", "LARS", "MADGRAD", "MARS", "SOAP", "SAM"),
    ("lr", "ndarray", "nn", "mlp", "rnn", "lstm", "sgd", "html"),
)


def an(name: str) -> str:
    """A name after its article, as it is read: ``"an Adam"``, ``"a list of 2"``, ``"an SGD"``, ``"a UserDict"``."""
    word = (re.match(r"[^A-Za-z0-9]*([A-Za-z0-9]*)", name) or [name, name])[1]
    lower = word.lower()
    spelled = (len(word) > 1 and word[0].isupper() and not word[1].islower() and not word.startswith(_READ)) or any(
        re.fullmatch(f"{one}s?", lower) for one in _SPELLED
    )
    if spelled:
        vowel = word[:1].upper() in _SPELLED_WITH_AN
    else:
        vowel = lower[:1] in tuple("aeiou") and not lower.startswith(
            ("eu", "one", "ubi", "uint", "unet", "uni", "use", "uti")
        )
    return f"{'an' if vowel or lower[:1] == '8' else 'a'} {name}"
