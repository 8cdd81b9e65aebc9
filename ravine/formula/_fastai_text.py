"""What to write for a stat or a stepper of fastai's kind, as the text of a piece."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

#: Those of fastai's library that take the value of a number, which a formula does not know while it is read.
_KNOWN = {
    "radam_step": """def radam_step(param, *, lr, mom, sqr_mom, step, grad_avg, sqr_avg, eps):
    r_inf = 2 / (1 - sqr_mom) - 1
    r = r_inf - 2 * step * sqr_mom**step / (1 - sqr_mom**step)
    v = sqrt((r - 4) * (r - 2) * r_inf / ((r_inf - 4) * (r_inf - 2) * r))
    denom = sqrt(sqr_avg / (1 - sqr_mom**step)) + eps
    return param - lr * where(r > 5, v * grad_avg / denom, grad_avg) / (1 - mom**step)""",
}


def named_arguments(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments after the first, without ``**kwargs``."""
    parameters = list(inspect.signature(function).parameters.values())
    return [p for p in parameters[1:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def is_of_fastai(function: Callable[..., Any]) -> bool:
    """Whether it looks like a stat or a stepper: ``def step(p, lr, **kwargs)``."""
    parameters = list(inspect.signature(function).parameters.values())
    return len(parameters) > 1 and parameters[0].name == "p" and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD


def title_of(function: Callable[..., Any]) -> str:
    """Its name; of a ``functools.partial`` that of what it calls."""
    return getattr(getattr(function, "func", function), "__name__", repr(function))


def written_out(function: Callable[..., Any], kept: Collection[str] = ()) -> str:
    """The piece to write for it; ``kept`` are the states of earlier ones."""
    name = title_of(function)
    if name in _KNOWN:
        return _KNOWN[name]
    arguments = named_arguments(function)
    states = [a.name for a in arguments if a.default is None and a.name not in kept]
    reads = ["grad", *(a.name for a in arguments if a.name not in states)]
    if states:
        changes, result = ", ".join(f"{state}=0.0" for state in states), f"...  # the new {', '.join(states)}"
    else:
        changes, result = "param", "param - ...  # the new param"
    return f"def {name}({changes}, *, {', '.join(reads)}):\n    return {result}"
