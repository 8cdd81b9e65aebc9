"""Names and options of other libraries' optimizers, and what is written here in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ravine.optim._common import parameters_of
from ravine.optim._dialects import DIALECTS
from ravine.optim._engine import formula

# --- names ---------------------------------------------------------------------------------------------------------

#: How other libraries say that a class computes the same in another way: fused, paged, on the host, with small states.
_WAYS = r"fused|paged|deepspeed|cpu|onebit|zeroone|(8|32|4)bit|hf|torch|apex|bnb|npu|xla|foreach|optimizer|tf|keras|legacy|anyprecision"
_INSTEAD = {
    "momentum": "SGD(params, lr=0.01, momentum=0.9)",
    "momentumsgd": "SGD(params, lr=0.01, momentum=0.9)",
    "nesterov": "SGD(params, lr=0.01, momentum=0.9, nesterov=True)",
    "nag": "SGD(params, lr=0.01, momentum=0.9, nesterov=True)",
    "lookahead": "lookahead=(k, alpha), an option of every optimizer",
    "ranger": "RAdam(params, lr=0.001, lookahead=(6, 0.5))",
    "ema": "ema_decay=0.999, an option of every optimizer",
    "lossscale": "torch.amp.GradScaler, with any optimizer",
    "amsgrad": "Adam(params, lr=0.001, amsgrad=True)",
    "adamamsgrad": "Adam(params, lr=0.001, amsgrad=True)",
}


def name_here(name: str, known: Iterable[str]) -> str:
    """The sentence that helps with the name of an optimizer that there is not; empty where none can be named."""
    by_key = {_key(n): n for n in known}
    key, plain = _key(name), re.sub(_WAYS, "", _key(name))
    if key in by_key:
        return f"Did you mean {by_key[key]!r}?"
    if plain in by_key and plain != key:
        return f"Did you mean {by_key[plain]!r}? Its step is one kernel already, and its options and state dicts are torch's."
    if plain in _INSTEAD:
        return f"Write {_INSTEAD[plain]}."
    close = get_close_matches(key, by_key, n=1, cutoff=0.75)
    return f"Did you mean {by_key[close[0]]!r}?" if close else ""


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# --- options -------------------------------------------------------------------------------------------------------

_FIRST, _SECOND = ("beta_1", "beta1", "b1", "mom", "momentum"), ("beta_2", "beta2", "b2", "sqr_mom")
#: Other words for an option, the nearest first.
_SAME: dict[str, tuple[str, ...]] = {
    "learning_rate": ("lr",), "eta": ("lr",), "step_size": ("lr",), "epsilon": ("eps",), "wd": ("weight_decay",),
    "l2": ("weight_decay",), "weight_decay_rate": ("weight_decay",), "rho": ("alpha",), "sqr_mom": ("alpha",), "decay_rate": ("alpha",),
    "mom": ("momentum",), "beta": ("betas", "momentum"), "global_clipnorm": ("clip_norm",), "max_grad_norm": ("clip_norm",), "max_norm": ("clip_norm",),
    "grad_clip": ("clip_norm",), "adam_w_mode": ("decoupled_weight_decay",), "weight_decouple": ("decoupled_weight_decay",),
    "ema_momentum": ("ema_decay",),
}  # fmt: skip
#: What says only how a library computes, or what is so here anyway.
_LEFT_OUT = {
    "name", "jit_compile", "set_grad_none", "no_deprecation_warning", "optim_bits", "is_paged", "block_wise", "min_8bit_size",
    "percentile_clipping", "use_ema", "ema_overwrite_frequency", "gradient_accumulation_steps", "loss_scale_factor", "fp32_optimizer_states",
}  # fmt: skip
#: What is left out where it has this value.
_SO_ANYWAY = {
    "bias_correction": True,
    "correct_bias": True,
    "adam_w_mode": False,
    "weight_decouple": False,
    "fixed_decay": False,
}
_NOT_HAD = {
    "clipnorm": "Keras clips each tensor by its own norm; clip_norm=... clips by the norm of all gradients together, as global_clipnorm does.",
    **dict.fromkeys(
        ("clipvalue", "max_value"), "Clip values before the step: torch.nn.utils.clip_grad_value_(parameters, ...)."
    ),
    "clip_factor": "It is a hyperparameter of the piece adaptive_clip of ravine.optim.pieces: Optimizer(params, [adaptive_clip, ...]).",
}

#: Options of RMSprop by which a call has another library's form than Keras's.
_OF_DIALECTS = ("eps_inside_root", "momentum_first", "undamped")


def line_here(optimizer: str, known: Iterable[str], defaults: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """The call to write in place of one with options of another library; empty where one of them is not known.

    Args:
        optimizer: the name of its class.
        known: the options that it has.
        defaults: those with a default.
        given: what was given.
    """
    known, translated = set(known), {"lr"}
    options: dict[str, Any] = {}
    remarks = [_NOT_HAD[name] for name in given if name in _NOT_HAD]
    numbers = list(defaults.get("betas", ())) if "betas" in known else []
    for name, value in given.items():
        meant = next((word for word in _SAME.get(name, ()) if word in known), None)
        if name in known:
            options[name] = value
        elif name in _LEFT_OUT or name in _NOT_HAD or (name in _SO_ANYWAY and value == _SO_ANYWAY[name]):
            continue
        elif numbers and name in (*_FIRST, *_SECOND):
            numbers[name in _SECOND] = value
            options["betas"] = tuple(numbers)
            translated.add("betas")
        elif meant is not None and not (
            meant in ("betas", "decoupled_weight_decay") and isinstance(value, int | float) != (meant != "betas")
        ):
            options[meant] = value
            translated.add(meant)
        else:
            return " ".join(remarks)
    if optimizer == "RMSprop" and "rho" in given and not any(given.get(name) for name in _OF_DIALECTS):
        same = {
            n: v
            for n, v in DIALECTS["keras"].options.items()
            if isinstance(v, bool) and v and n != "decoupled_weight_decay"
        }
        options |= same
        remarks.append("With the last two it steps as Keras's does.")
    # Of others nothing says whether they were given: a constructor hands on its defaults, too.
    options = {n: v for n, v in options.items() if n in translated or n not in defaults or v != defaults[n]}
    written = ", ".join(["params", *(f"{name}={value!r}" for name, value in options.items())])
    return " ".join([f"Write {optimizer}({written}).", *remarks])


def check_options(cls: type, given: Mapping[str, Any], base: type) -> None:
    """As the check of the engine; where all options are known words of other libraries, the error has the line to write."""
    try:
        formula.check_options(cls, given, base)
    except TypeError as error:
        parameters = parameters_of(cls)
        defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        settled = formula.settled_by(cls, base) - {*parameters}
        given = {name: value for name, value in given.items() if name not in settled}
        line = line_here(cls.__name__, [name for name in parameters if name != "params"], defaults, given)
        if not line:
            raise
        raise TypeError(f"{error} {line}") from None
