"""A state dict laid out for an optimizer whose parameters are others, by their names: what is found goes over, the rest is reported."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ravine._line_of_user import level_of_user
from ravine.errors import OptionError, StateError
from ravine.optim._engine.state import Receiver, check_form, formulas_of


def arranged(
    receiver: Receiver, given: Callable[[torch.Tensor], str | None], state_dict: dict[str, Any], match: str
) -> dict[str, Any]:
    """The state dict as it is, or with ``match="name"`` laid out for the optimizer.

    ``given`` names a parameter that was given its name after it was passed.

    Raises:
        OptionError: ``match`` is another word.
        StateError: parameters have no names.
    """
    if match not in ("order", "name"):
        raise OptionError(f"match={match!r}: it is 'order', as torch, or 'name'")
    if match == "order":
        return state_dict
    return by_name(receiver, names_of(receiver.groups, given), state_dict)


def by_name(receiver: Receiver, names: list[list[str]], state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict as one that this optimizer would have saved.

    A parameter gets the state that was saved under its name; one without begins anew. A group gets the options of the saved
    group that most of its parameters were in. What was left out or begins anew is said in one warning.

    Args:
        receiver: the optimizer that loads.
        names: of the parameters of each of its groups; empty where one has no name.
        state_dict: what was saved.

    Raises:
        StateError: here or in the state dict parameters have no names, or two have the same.
    """
    check_form(state_dict)
    saved = state_dict["param_groups"]
    there: dict[str, tuple[Any, int]] = {}
    for i, group in enumerate(saved):
        if "param_names" not in group:
            raise StateError(
                f"the state dict has no names of parameters in group {i}, so match='name' finds none: save it from an optimizer "
                "that was made from model.named_parameters()"
            )
        there |= {name: (key, i) for name, key in zip(group["param_names"], group["params"], strict=True)}
    _check_unique([name for group in saved for name in group["param_names"]], "in the state dict")
    here = [name for group in names for name in group]
    if "" in here:
        raise StateError(
            "this optimizer does not know the names of its parameters, so match='name' finds none: make it from "
            "model.named_parameters(), or call optimizer.name_parameters(model)"
        )
    _check_unique(here, "here")
    about = state_dict.get("ravine")
    made: dict[str, Any] = {**state_dict, "state": {}, "param_groups": []}
    formulas, index = [], 0
    for group, own in zip(receiver.groups, names, strict=True):
        partners = [there[name] for name in own if name in there]
        source = Counter(i for _, i in partners).most_common(1)[0][0] if partners else None
        options = group if source is None else saved[source]
        keys = list(range(index, index + len(own)))
        kept = {k: v for k, v in options.items() if k not in ("params", "param_names")}
        made["param_groups"].append({**kept, "params": keys, "param_names": list(own)})
        formulas.append(_formula(receiver, group, own, there, about))
        for key, name in zip(keys, own, strict=True):
            if name in there and there[name][0] in state_dict["state"]:
                made["state"][key] = state_dict["state"][there[name][0]]
        index += len(own)
    if about is not None:
        made["ravine"] = {**about, "formulas": formulas}
    if "param_names" not in (receiver.groups[0] if receiver.groups else {}):
        for group in made["param_groups"]:
            del group["param_names"]
    _tell([name for name in here if name not in there], [name for name in there if name not in here])
    return made


def _formula(
    receiver: Receiver,
    group: dict[str, Any],
    own: Sequence[str],
    there: Mapping[str, tuple[Any, int]],
    about: Mapping[str, Any] | None,
) -> dict[str, str]:
    """What is said of a group's formula: of the saved groups that its parameters were in, and of what begins anew."""
    pairs = list(zip(own, group["params"], strict=True))
    programs = receiver.programs_of(group)
    loaded = {None, *(p.ndim for name, p in pairs if name in there)} if any(name in there for name in own) else set()
    formulas = formulas_of([{ndim: program for ndim, program in programs.items() if ndim not in loaded}])
    if about is not None:
        formulas += [about["formulas"][i] for i in dict.fromkeys(there[name][1] for name in own if name in there)]
    return {what: mark.join(s[what] for s in formulas if s[what]) for what, mark in (("hash", "+"), ("text", " | "))}


def _check_unique(names: list[str], where: str) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise StateError(
            f"{len(twice)} names stand for several parameters {where} ({twice[0]!r}): match='name' needs one for each"
        )


def _tell(new: list[str], gone: list[str]) -> None:
    """Say what found no partner, as a table."""
    if not (new or gone):
        return
    rows = [
        *((name, "begins anew: not in the state dict") for name in new),
        *((name, "left out: not here") for name in gone),
    ]
    width = max(len(name) for name, _ in rows)
    table = "\n".join(f"  {name:<{width}}  {what}" for name, what in rows)
    warnings.warn(
        f"load_state_dict(match='name'): {len(rows)} parameters have no partner\n{table}", stacklevel=level_of_user()
    )


def names_of(groups: Sequence[Mapping[str, Any]], given: Callable[[torch.Tensor], str | None]) -> list[list[str]]:
    """The names of the parameters of each group: those they were passed with, or were given since."""

    def name(group: Mapping[str, Any], i: int, p: torch.Tensor) -> str:
        return given(p) or (group["param_names"][i] if "param_names" in group else "")

    return [[name(group, i, p) for i, p in enumerate(group["params"])] for group in groups]
