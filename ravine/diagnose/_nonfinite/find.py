"""``ravine.diagnose.trace``: runs a batch again and finds where its first value came from that is not finite.

The batch is run once to find the place, and once more from the same state to keep what the place was given. What is
seen of a run is origins.py's, the words are finding.py's, and the file is reproduction.py's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine.diagnose._nonfinite.finding import Finding
from ravine.diagnose._nonfinite.isolation import device_of, untouched
from ravine.diagnose._nonfinite.origins import Frame, Origin, Recording, join
from ravine.diagnose._nonfinite.reproduction import Case, Taken, write
from ravine.diagnose._nonfinite.value_range import finite, span
from ravine.errors import OptionError, RavineError
from ravine.train._forward import call

Loss = Callable[[Any, Any], Any]


def trace(model: nn.Module, batch: Any, loss: Loss | None = None, *, path: Path | str | None = None) -> Finding | None:
    """Find where the first value that is not finite comes from; None where outputs, loss and gradients are finite.

    The model runs as it is, in training or not, and is left as it was: its buffers, gradients and the random states.
    Infinite values that are meant, such as an attention mask of -inf, are no fault as long as nothing comes of them.

    Args:
        model: any module.
        batch: with a loss, a pair (inputs, targets). Without, the inputs: a tuple of them becomes the model's
            arguments, a dict its named arguments; a pair that the model does not take is (inputs, targets).
        loss: from outputs and targets to one number; with it, the backward pass is looked at, too.
        path: write what reproduces it with the module alone to this file (it ends in ``.safetensors``), or to a file
            ``nan-MODULE.safetensors`` in this folder; None writes nothing. ``ravine.diagnose.reproduce`` reads it.

    Raises:
        OptionError: the batch is no pair, the loss gives no number, or the file cannot be written.
        StateError: what the module was given cannot be kept in a file.
    """
    inputs, targets = _parts(model, batch, loss)
    device = device_of(model)
    inputs, targets = pytree.tree_map_only(Tensor, lambda t: t.to(device), (inputs, targets))
    try:
        case = examine(model, inputs, targets, loss)
    except RavineError:
        raise
    except Exception as error:
        raise OptionError(
            f"The batch cannot be run with its operations watched: {type(error).__name__}: {error}. Where the model runs "
            "without: torch.func.vmap and scripted or compiled modules cannot be watched."
        ) from error
    if case is None or path is None:
        return None if case is None else case.finding
    return replace(case.finding, path=write(case, Path(path)))


def _parts(model: nn.Module, batch: Any, loss: Loss | None) -> tuple[Any, Any]:
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if loss is not None:
        if not pair:
            raise OptionError(f"The batch is a {type(batch).__name__}; with a loss it is a pair (inputs, targets).")
        return batch[0], batch[1]
    if pair:
        try:
            inspect.signature(model.forward).bind(*batch)
        except TypeError:
            return batch[0], None
    return batch, None


def examine(model: nn.Module, inputs: Any, targets: Any, loss: Loss | None) -> Case | None:
    """What :func:`trace` finds, and what is needed to reproduce it."""
    with torch.inference_mode(False):
        first = _copied(inputs, targets)
        with untouched(model, *first):
            seen = Recording(model)
            _tell(seen, model, *first)
            with seen:
                outputs, value = _run(model, *first, loss, seen)
            origin = _fault(seen, outputs, value, [p.grad for p in model.parameters()])
        if origin is None:
            return None
        if origin.where in ("inputs", "targets"):
            return Case(finding_of(origin), {origin.where: inputs if origin.where == "inputs" else targets})
        del outputs, value
        second = _copied(inputs, targets)
        with untouched(model, *second):
            taken = _take(origin.frame, model, *second, loss)
        return Case(finding_of(origin, taken), taken.tree())


def _copied(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """The batch for one run: a model may change what it is given in place."""

    def copy(t: Tensor) -> Tensor:
        return t.detach().clone().requires_grad_(t.requires_grad) if t.layout is torch.strided else t

    found: tuple[Any, Any] = pytree.tree_map_only(Tensor, copy, (inputs, targets))
    return found


def _tell(seen: Recording, model: nn.Module, inputs: Any, targets: Any) -> None:
    """Name what is there before the run."""
    tell_batch(seen, "inputs", inputs)
    tell_batch(seen, "targets", targets)
    tell_state(seen, model)


def tell_batch(seen: Recording, where: str, tree: Any) -> None:
    """Name the tensors of a batch's inputs or targets."""
    for place, leaf in pytree.tree_leaves_with_path(tree):
        if isinstance(leaf, Tensor):
            seen.known(leaf, where, where + pytree.keystr(place))


def tell_state(seen: Recording, model: nn.Module, held: Mapping[str, Tensor] | None = None) -> None:
    """Name its parameters and buffers, or those that it is run with."""
    for name, module in model.named_modules():
        frame = Frame(join(seen.root.name, name), type(module).__name__)
        for where, state in (("parameter", module._parameters), ("buffer", module._buffers)):
            for own, tensor in state.items():
                tensor = tensor if held is None else held.get(join(name, own), tensor)
                if tensor is not None:
                    seen.known(tensor, where, own, frame)


def _run(model: nn.Module, inputs: Any, targets: Any, loss: Loss | None, seen: Recording) -> tuple[Any, Tensor | None]:
    """Forward, loss and, if that is finite, backward."""
    with torch.set_grad_enabled(loss is not None or torch.is_grad_enabled()):
        outputs = call(model, inputs)
        if loss is None:
            return outputs, None
        return outputs, lose(loss, outputs, targets, seen)


def lose(loss: Loss, outputs: Any, targets: Any, seen: Recording) -> Tensor:
    """The loss and, if it is finite, its backward pass."""
    with seen.loss(name_of(loss), (outputs, targets)):
        value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
        raise OptionError(f"The loss gave something of {what}; it must give a tensor of one number.")
    if value.requires_grad and finite(value):
        with torch.autocast(value.device.type, enabled=False):
            value.sum().backward()
    return value


def _fault(seen: Recording, outputs: Any, value: Tensor | None, gradients: Any) -> Origin | None:
    """Where what should be finite and is not came from."""
    if value is not None:
        return seen.origin(value) or seen.origin(gradients)
    origin = seen.origin(outputs)
    return None if origin is None or (origin.meant and not span(outputs).nan) else origin


def _take(frame: Frame, model: nn.Module, inputs: Any, targets: Any, loss: Loss | None) -> Taken:
    """Run again, and keep what the frame's module or loss was given."""
    if frame.loss:
        taken = Taken(None, 1)
        assert loss is not None

        def keeping(outputs: Any, targets: Any) -> Any:
            taken.begins((outputs, targets), {})
            return loss(outputs, targets)

        _run(model, inputs, targets, keeping, Recording(model))
        return taken
    taken = Taken(model.get_submodule(frame.name), frame.call)
    with taken:
        _run(model, inputs, targets, loss, Recording(model))
    return taken


def finding_of(origin: Origin, taken: Taken | None = None, call: int | None = None) -> Finding:
    """The origin in plain values."""
    frame, there = origin.frame, origin.where in ("inputs", "targets", "parameter")
    return Finding(
        where=origin.where,
        module=frame.name,
        kind="" if origin.where in ("inputs", "targets") else frame.kind,
        call=frame.call if call is None else call,
        operation="" if there else origin.operation,
        output=origin.gave,
        tensor=origin.operation if there else "",
        first=origin.first,
        rows=origin.rows,
        input=span(None if taken is None else taken.given()),
        operands=origin.given,
        gradient=span(taken.gradients) if taken is not None and origin.backward and not frame.loss else None,
        backward=origin.backward,
    )


def name_of(loss: Loss) -> str:
    """The function's name, or the module's class."""
    inner = getattr(loss, "func", loss)  # of a functools.partial
    found: str = getattr(inner, "__name__", type(inner).__name__)
    return found
