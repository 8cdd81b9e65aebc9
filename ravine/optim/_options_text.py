"""Options as text and back: ``alpha=0.9,betas=(0.9, 0.99)``. Values are Python literals; nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from ravine.errors import OptionError, for_both

#: Words need no quotes, which shells take away, where an option is one of a few: ``state_dtype=8bit``.
_WORD = re.compile(r"(?<![\w'\"])(state_dtype|rounding|param_bits|nonfinite)=(\d+bit|[a-z][a-z0-9]*)\b")
#: Two numbers or more behind a name: ``betas=0.9,0.99``.
_SEVERAL = re.compile(r"(\w+)=([-+.\w]+(?:,\s*[-+.\w]+)+)(?=\s*(?:,\s*\w+=|$))")


def parse_options(text: str, where: str) -> dict[str, Any]:
    """``alpha=0.9,betas=(0.9, 0.99)`` as a dictionary.

    Python's own parser reads it, as the arguments of a call: it knows which commas separate.
    :func:`ast.literal_eval` accepts values only.

    Args:
        text: the options.
        where: what they belong to, for errors.

    Raises:
        OptionError: the text is not of this form, or has a name twice.
    """
    try:
        quoted = _WORD.sub(r"\1='\2'", text)
        call = ast.parse(f"_({quoted})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if right := _bracketed(text):
            wrong = f"{where}: several numbers of one option stand in ( ):"
            whole = where.replace(text, right)
            raise for_both(OptionError(f"{wrong} {whole!r}."), f'{wrong} -o "{whole}".') from error
        detail = f" ({error.msg})" if isinstance(error, SyntaxError) else ""
        raise OptionError(f"{where}: {text!r} is not key=value,key=value{detail}.") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise OptionError(f"{where}: {text!r} is not key=value,key=value.")
    options: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise OptionError(f"{where}: {text!r} is not key=value,key=value.")
        if keyword.arg in options:
            raise OptionError(f"{where}: {keyword.arg} is given twice.")
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            value = ast.unparse(keyword.value)
            raise OptionError(
                f"{where}: the value {value} of {keyword.arg} is not a number, True, False, None, "
                "a tuple or a quoted text."
            ) from error
    return options


def _bracketed(text: str) -> str:
    """The options with brackets around several numbers, where these were forgotten; empty where that is not what is wrong."""
    right = _SEVERAL.sub(r"\1=(\2)", text)
    try:
        ast.parse(f"_({right})", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return right if right != text else ""


def options_text(options: Mapping[str, Any]) -> str | None:
    """The text that :func:`parse_options` reads as these options; None if a value is no Python literal."""
    text = ",".join(f"{name}={value!r}" for name, value in options.items())
    try:
        read = parse_options(text, "")
    except OptionError:
        return None
    same = read == options and all(type(read[name]) is type(value) for name, value in options.items())
    return text if same else None
