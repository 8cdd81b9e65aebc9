"""Sees to it that a Task's model begins with new weights each time, and not with those that a training has left."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import nn

from ravine.errors import OptionError

_MOST_NAMES = 3

#: By the function that makes a model: the weights that it made last, as long as somebody has them.
_made: weakref.WeakKeyDictionary[Callable[[], Any], list[weakref.ref[nn.Parameter]]] = weakref.WeakKeyDictionary()


def check_new(make: Callable[[], Any], model: Any) -> None:
    """Refuse trainable weights that ``make`` has given before; what is frozen may be shared.

    Raises:
        OptionError: it gives the same model, or one with some of the same weights.
    """
    if not isinstance(model, nn.Module):
        return  # what is wrong with it is said where it is trained
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    try:
        known = {id(p) for one in _made.get(make, ()) if (p := one()) is not None}
        _made[make] = [weakref.ref(p) for p in trainable.values()]
    except TypeError:  # a callable that has no hash, or that nothing may refer to weakly
        return
    same = [name for name, p in trainable.items() if id(p) in known]
    if not same:
        return
    advice = "Make it inside the function, model=lambda: Net(), or copy it there, model=lambda: copy.deepcopy(net)."
    if len(same) == len(trainable):
        raise OptionError(
            "The Task's model gives the same weights each time it is called, so a second training would begin with what the "
            f"first has learned. {advice}"
        )
    more = f" and {len(same) - _MOST_NAMES} more" if len(same) > _MOST_NAMES else ""
    raise OptionError(
        f"The models that the Task's model gives share {', '.join(same[:_MOST_NAMES])}{more}, so a second training would begin "
        f"with what the first has learned there. {advice} What is not to be trained: requires_grad_(False)."
    )
