"""``ravine.watch.diagnose``: the door to the diagnosis, which stands on a floor above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ravine import _extensions as extensions

if TYPE_CHECKING:
    from collections.abc import Sequence


def diagnose(run: Any) -> Sequence[Any]:
    """What is wrong with a run, the most serious first; print it. See :func:`ravine.diagnose.diagnose`, which this is.

    In a loop of your own, give the optimizer; with its losses the diagnosis knows more::

        loss.backward()
        optimizer.watch.loss(loss)
        optimizer.step()
        ...
        print(ravine.watch.diagnose(optimizer))

    Args:
        run: an optimizer of ``ravine.optim``, also in a trainer's wrapper, a Learner, or the folder of a run.

    Returns:
        A :class:`ravine.diagnose.Diagnosis`, a sequence of symptoms.

    Raises:
        OptionError: ``run`` is something else, or the optimizer was made with ``watch=False``.
        DataError: the folder has no evidence of a run, or it is damaged.
    """
    diagnosis: Sequence[Any] = extensions.function("diagnose")(run)
    return diagnosis
