"""The contract of callbacks: what happens around the training loop (_loop.py), by a few hooks with plain names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from inspect import isfunction, signature
from typing import Any, ClassVar

from torch import nn

from ravine.errors import OptionError, nearest
from ravine.train._fit import Fit
from ravine.train._forward import Context
from ravine.train._names_of_others import OF_HOOKS

HOOKS = (
    "before_fit",
    "before_epoch",
    "before_batch",
    "after_loss",
    "before_step",
    "after_step",
    "after_batch",
    "after_epoch",
    "after_fit",
)


class Callback:
    """Acts around a training. A subclass has the hooks that it needs; each is given the running ``Fit``.

    ======================  ============================================================================
    ``before_fit``          the optimizer is there; nothing is trained yet
    ``before_epoch``        ``fit.state.epoch`` has its number, from 1
    ``before_batch``        ``fit.inputs`` and ``fit.targets`` may be replaced
    ``after_loss``          ``fit.loss`` is this batch's; ``fit.backward_loss``, which is differentiated, may
                            be replaced (an optimizer like LBFGS has this more than once a batch)
    ``before_step``         the gradients are there; False skips the step, and gradients keep accumulating;
                            at the last batch of an epoch ``fit.epoch_ends`` is True (where the data has no
                            length, this hook is called once more for a step that was skipped)
    ``after_step``          the optimizer has stepped; not called where the step was skipped or left out
    ``after_batch``         gradients are still there; ``fit.step_skipped`` says whether the step was skipped
    ``after_epoch``         ``fit.row`` has the epoch's row of the table
    ``after_fit``           always called, also when an error ends the training
    ======================  ============================================================================

    A callback whose own numbers decide what it does next returns them in ``state_dict``, as plain values and tensors,
    so that a resumed run continues as if it had not been stopped.
    """

    def __init_subclass__(cls) -> None:
        """Refuse a hook that does not exist: it would never be called; and one that cannot be given the Fit.

        Raises:
            OptionError: a method has the name of a hook that does not exist, or takes nothing but ``self``.
        """
        super().__init_subclass__()
        for name in HOOKS:
            if isfunction(hook := vars(cls).get(name)) and list(signature(hook).parameters) == ["self"]:
                raise OptionError(
                    f"{cls.__name__}.{name} takes only self; a hook is given the fit: def {name}(self, fit). What fastai has as "
                    "self.learn or self.model is fit.model, fit.optimizer, fit.loss, ..."
                )
        for name in vars(cls):
            known = name in vars(Callback) or name.startswith("_")
            if not known and name in OF_HOOKS and isfunction(vars(cls)[name]):
                raise OptionError(
                    f"{cls.__name__} has the method {name!r}, which another library calls and Ravine does not. Write "
                    f"def {OF_HOOKS[name]}(self, fit), the hook that is nearest; help(ravine.train.Callback) has them all."
                )
            if not known and (name.startswith(("before_", "after_")) or get_close_matches(name, HOOKS, 1, 0.85)):
                raise OptionError(
                    f"{cls.__name__} has the method {name!r}, which is not a hook. {nearest(name, HOOKS)}"
                )

    #: Callbacks are called in this order, and among equals as they are given; ``after_fit`` in the reverse.
    order: ClassVar[int] = 0
    #: Whether it changes nothing of the training: a run may be resumed with it or without.
    passive: ClassVar[bool] = False
    #: Whether it depends on how long the fit is, so that a fit that ended cannot go on for more epochs.
    over_the_run: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # without an address: a run that is resumed compares it

    def forward_context(self, model: nn.Module) -> AbstractContextManager[Any] | None:
        """What the forward pass and the loss run in, in training and validation; None for nothing special."""
        return None

    def stepper(self, fit: Fit) -> Any:
        """A function without arguments that replaces ``fit.optimizer.step``; None to keep it.

        It returns False if it did not make the step.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to continue."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave; called after ``before_fit``."""

    def before_fit(self, fit: Fit) -> None: ...
    def before_epoch(self, fit: Fit) -> None: ...
    def before_batch(self, fit: Fit) -> None: ...
    def after_loss(self, fit: Fit) -> None: ...
    def before_step(self, fit: Fit) -> bool | None: ...
    def after_step(self, fit: Fit) -> None: ...
    def after_batch(self, fit: Fit) -> None: ...
    def after_epoch(self, fit: Fit) -> None: ...
    def after_fit(self, fit: Fit) -> None: ...


class Hooks:
    """The hooks that a list of callbacks has, ready to be called: a hook that is not there costs nothing."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        ordered = sorted(callbacks, key=lambda callback: callback.order)
        for name in HOOKS:
            present = [c for c in ordered if getattr(type(c), name) is not getattr(Callback, name)]
            setattr(self, name, [getattr(c, name) for c in present])

    before_fit: list[Any]
    before_epoch: list[Any]
    before_batch: list[Any]
    after_loss: list[Any]
    before_step: list[Any]
    after_step: list[Any]
    after_batch: list[Any]
    after_epoch: list[Any]
    after_fit: list[Any]


def forward_contexts(callbacks: Sequence[Callback]) -> list[Context]:
    """What callbacks ask a forward pass to run in."""
    return [c.forward_context for c in callbacks if type(c).forward_context is not Callback.forward_context]


def check_column(callback: Callback, fit: Fit, name: str) -> None:
    """Check before anything is trained that the table will have such a column.

    Raises:
        OptionError: it will not.
    """
    if name not in fit.columns:
        hint = " There is no validation data." if fit.valid is None else ""
        raise OptionError(
            f"{type(callback).__name__} watches {name!r}, which is not a column.{hint} {nearest(name, fit.columns)}"
        )


def argument_text(value: Any) -> str:
    """An argument as text; functions by their names, which are the same in every process."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(argument_text, value))}]"
    return getattr(value, "__name__", type(value).__name__) if callable(value) else repr(value)
