"""What is given as an optimizer's parameters, where it is something else: what to write."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec

import torch
from torch import Tensor

from ravine._line_of_user import level_of_user
from ravine.errors import OptionError, an, kind_of, shown
from ravine.optim._engine.prepare import check_params

_Given = ParamSpec("_Given")
_LISTED = "model.parameters() or, with their names, model.named_parameters()"
_OTHER_KEYS = ("param", "parameters", "parameter", "weights", "variables", "tensors", "p")


def named_once(init: Callable[_Given, None]) -> Callable[_Given, None]:
    """``Optimizer.__init__``, which says so where a hyperparameter has the name of one of its arguments."""

    @functools.wraps(init)
    def checked(*args: _Given.args, **options: _Given.kwargs) -> None:
        for name in ("params", "pieces")[: len(args) - 1]:  # after self
            if name in options:
                raise OptionError(
                    f"{name} is given twice, by its place and as {name}={shown(options[name])}: it is an argument of every optimizer. A "
                    "hyperparameter of a piece needs another name."
                )
        init(*args, **options)

    return checked


def listed(params: Any, optimizer: str) -> Any:
    """The parameters or groups as a list, if they came from a generator; what is none of these is refused.

    Args:
        params: what was given.
        optimizer: the name of its class, for what to write.

    Raises:
        TypeError: it holds something else than parameters.
        ValueError: it is a generator that gives nothing.
        OptionError: a group has no ``params``.
    """
    if isinstance(params, Tensor) and not params.is_leaf:
        example = f"{optimizer}(model.parameters(), lr=0.01), then loss.backward() and step() for each batch"
        raise TypeError(f"params is a tensor that was computed, such as a loss: the parameters come first, {example}")
    check_params(params)
    if isinstance(params, Tensor):
        return params  # torch says it
    if isinstance(params, Mapping):
        raise TypeError(f"params is {_of_mapping(params)}")
    if isinstance(params, torch.optim.Optimizer):
        raise TypeError("params is an optimizer: pass its param_groups to take over its groups")
    if params is None or isinstance(params, int | float | str):
        example = f"{optimizer}(model.parameters(), lr={params if isinstance(params, float) else 0.001})"
        raise TypeError(f"params is {shown(params)}: the parameters come first, {example}")
    if isinstance(params, Iterator):
        given = list(params)
        if not given:
            raise ValueError(
                f"params is {an(kind_of(params))} that gives nothing: it has been used up before, or no parameter passes its filter. "
                "Make it again where it is needed, model.parameters(), or keep a list of it"
            )
        params = given
    if isinstance(params, list | tuple):
        _look_into(params)
    return params


def check_group(group: dict[str, Any], where: str) -> None:
    """Look at what stands as the parameters of a new group, and make a list of a generator.

    A generator that gives nothing is warned of.

    Raises:
        OptionError: it has no ``params``.
        ParameterError, TypeError: they are something else.
    """
    if "params" not in group:
        other = next((k for k in group if str(k).lower() in ("params", *_OTHER_KEYS)), None)
        keys = ", ".join(map(repr, group)) or "nothing"
        instead = f"{other!r}; write 'params'" if other is not None else keys
        raise OptionError(
            f"a parameter group has no 'params'{where}, but {instead}: {{'params': parameters, 'lr': 0.01}}"
        )
    given = group["params"]
    check_params(given, where)
    if isinstance(given, Mapping):
        raise TypeError(f"params{where} is {_of_mapping(given)}")
    if isinstance(given, Iterator):
        group["params"] = list(given)
        if not group["params"]:
            warnings.warn(
                f"the params{where} are {an(kind_of(given))} that gives nothing, so the group is empty: it has been used up before, or "
                "no parameter passes its filter",
                stacklevel=level_of_user(),
            )
    if isinstance(group["params"], list | tuple):
        _look_into(group["params"], where)


def _of_mapping(given: Mapping[Any, Any]) -> str:
    if "state" in given and "param_groups" in given:
        return "the state dict of an optimizer: pass the parameters, and then call optimizer.load_state_dict(...)"
    if any(str(key).lower() in ("params", *_OTHER_KEYS) for key in given):
        return f"one parameter group: groups come in a list, [{{{', '.join(f'{key!r}: ...' for key in given)}}}]"
    detached = any(isinstance(value, Tensor) and not value.requires_grad for value in given.values())
    hint = ". The tensors of a state_dict have no gradients" if detached else ""
    return f"a dict, with names as keys: pass {_LISTED}{hint}"


def _look_into(given: Iterable[Any], where: str = "") -> None:
    """Refuse modules, lists and other things among parameters."""
    for i, item in enumerate(given):
        if isinstance(item, Tensor | Mapping):
            continue
        if isinstance(item, torch.nn.Module):
            raise TypeError(f"params[{i}]{where} is a module ({type(item).__name__}): pass its parameters, {_LISTED}")
        pair = isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
        if not pair and isinstance(item, list | tuple | Iterator):
            raise TypeError(
                f"params[{i}]{where} is {an(kind_of(item))}: give one list, [*first, *second], or groups, "
                "[{'params': first}, {'params': second, 'lr': 0.01}]"
            )
