"""``ravine.diagnose.find_nonfinite``: runs a batch again and finds where its first value that is not finite came from.

The batch is run once to find the place, and once more from the same state to keep the inputs of that place. origins.py
observes the run, finding.py puts it in words, and reproduction.py writes the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine._compat import pytree
from ravine.diagnose._nonfinite.finding import Finding, NothingFound
from ravine.diagnose._nonfinite.isolation import device_of, isolated_run
from ravine.diagnose._nonfinite.origins import Frame, Origin, Recording, join
from ravine.diagnose._nonfinite.reproduction import Reproduction, Taken, write
from ravine.diagnose._nonfinite.value_range import finite, value_range
from ravine.errors import OptionError, RavineError, an, shown
from ravine.train._forward import call, row_count

Loss = Callable[[Any, Any], Any]


def find_nonfinite(
    model: nn.Module, batch: Any, loss: Loss | None = None, *, path: Path | str | None = None
) -> Finding | NothingFound:
    """Find where the first value that is not finite comes from.

    The model runs as it is, in training mode or not; its buffers, gradients and the random states are restored.
    Infinite values that are intended, such as an attention mask of -inf, are ignored unless a NaN comes of them.

    Args:
        model: any module.
        batch: with a loss, a pair (inputs, targets). Without, the inputs: a tuple of them becomes the model's
            arguments, a dict its named arguments; a pair that the model cannot take is (inputs, targets).
        loss: from outputs and targets to one number; with it, the backward pass is searched, too.
        path: also write what reproduces it with that module alone: to this file, if it ends in ``.safetensors``, else
            to a file ``nan-MODULE.safetensors`` in this folder. ``ravine.diagnose.reproduce`` reads it.

    Returns:
        A ``Finding``; printing it says where, by which numbers, and what to try. Where outputs, loss and gradients are
        finite, a ``NothingFound``, which is false.

    Raises:
        OptionError: the model is no module, the batch is not a pair, the loss is not one number, or the file cannot be written.
        StateError: the inputs of the module cannot be stored in a file.
    """
    if not isinstance(model, nn.Module):
        raise OptionError(
            f"The model is {shown(model)}; the module comes first, and then the batch: find_nonfinite(model, batch, loss)."
        )
    inputs, targets = _parts(model, batch, loss)
    device = device_of(model)
    inputs, targets = pytree.tree_map_only(Tensor, lambda t: t.to(device), (inputs, targets))
    try:
        reproduction = examine(model, inputs, targets, loss)
    except RavineError:
        raise
    except Exception as error:
        raise OptionError(
            f"The batch cannot be run while its operations are observed: {type(error).__name__}: {error}. If the model "
            "runs otherwise: torch.func.vmap and scripted or compiled modules cannot be observed."
        ) from error
    if reproduction is None:
        return NothingFound("the outputs" if loss is None else "outputs, loss and gradients")
    if path is None:
        return reproduction.finding
    return replace(reproduction.finding, path=write(reproduction, Path(path)))


def _parts(model: nn.Module, batch: Any, loss: Loss | None) -> tuple[Any, Any]:
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if loss is not None:
        if not pair:
            raise OptionError(f"The batch is {an(type(batch).__name__)}; with a loss it is a pair (inputs, targets).")
        return batch[0], batch[1]
    if pair:
        try:
            inspect.signature(model.forward).bind(*batch)
        except TypeError:
            return batch[0], None
    return batch, None


def examine(model: nn.Module, inputs: Any, targets: Any, loss: Loss | None) -> Reproduction | None:
    """What :func:`find_nonfinite` finds, and what is needed to reproduce it."""
    with torch.inference_mode(False):
        first = _copied(inputs, targets)
        with isolated_run(model, *first):
            recording = Recording(model)
            _register(recording, model, *first)
            with recording:
                outputs, value = _run(model, *first, loss, recording)
            origin = _fault(recording, outputs, value, [p.grad for p in model.parameters()])
        if origin is None:
            return None
        if origin.where in ("inputs", "targets"):
            return Reproduction(finding_of(origin), {origin.where: inputs if origin.where == "inputs" else targets})
        del outputs, value
        second = _copied(inputs, targets)
        with isolated_run(model, *second):
            taken = _take(origin.frame, model, *second, loss)
        return Reproduction(finding_of(origin, taken), taken.tree())


def _copied(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """The batch for one run: a model may change its inputs in place."""

    def copy(t: Tensor) -> Tensor:
        return t.detach().clone().requires_grad_(t.requires_grad) if t.layout is torch.strided else t

    copies: tuple[Any, Any] = pytree.tree_map_only(Tensor, copy, (inputs, targets))
    return copies


def _register(recording: Recording, model: nn.Module, inputs: Any, targets: Any) -> None:
    """Name the tensors that exist before the run."""
    register_batch(recording, "inputs", inputs)
    register_batch(recording, "targets", targets)
    register_state(recording, model)


def register_batch(recording: Recording, where: str, tree: Any) -> None:
    """Name the tensors of a batch's inputs or targets."""
    for place, leaf in pytree.tree_leaves_with_path(tree):
        if isinstance(leaf, Tensor):
            recording.known(leaf, where, where + pytree.keystr(place))


def register_state(recording: Recording, model: nn.Module, replaced: Mapping[str, Tensor] | None = None) -> None:
    """Name its parameters and buffers, or those that replace them in the run."""
    for name, module in model.named_modules():
        frame = Frame(join(recording.root.name, name), type(module).__name__)
        parameters = module.named_parameters(recurse=False, remove_duplicate=False)
        buffers = module.named_buffers(recurse=False, remove_duplicate=False)
        for where, state in (("parameter", parameters), ("buffer", buffers)):
            for own, tensor in state:
                tensor = tensor if replaced is None else replaced.get(join(name, own), tensor)
                recording.known(tensor, where, own, frame)


def _run(
    model: nn.Module, inputs: Any, targets: Any, loss: Loss | None, recording: Recording
) -> tuple[Any, Tensor | None]:
    """Forward, loss and, if that is finite, backward."""
    with torch.set_grad_enabled(loss is not None or torch.is_grad_enabled()):
        outputs = call(model, inputs, None if loss is None else row_count(targets))
        if loss is None:
            return outputs, None
        return outputs, run_loss(loss, outputs, targets, recording)


def run_loss(loss: Loss, outputs: Any, targets: Any, recording: Recording) -> Tensor:
    """The loss and, if it is finite, its backward pass."""
    with recording.loss(name_of(loss), (outputs, targets)):
        value = loss(outputs, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
        raise OptionError(f"The loss returned something of {what}; it must return a tensor of one number.")
    if value.requires_grad and finite(value):
        with torch.autocast(value.device.type, enabled=False):
            value.sum().backward()
    return value


def _fault(recording: Recording, outputs: Any, value: Tensor | None, gradients: Any) -> Origin | None:
    """Where the values came from that should be finite and are not."""
    if value is not None:
        return recording.origin(value) or recording.origin(gradients)
    origin = recording.origin(outputs)
    return None if origin is None or (origin.intended and not value_range(outputs).nan) else origin


def _take(frame: Frame, model: nn.Module, inputs: Any, targets: Any, loss: Loss | None) -> Taken:
    """Run again, and keep the inputs of the frame's module or loss."""
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
    frame, tensor = origin.frame, origin.where in ("inputs", "targets", "parameter")
    return Finding(
        where=origin.where,
        module=frame.name,
        kind="" if origin.where in ("inputs", "targets") else frame.kind,
        call=frame.call if call is None else call,
        operation="" if tensor else origin.operation,
        output=origin.result,
        tensor=origin.operation if tensor else "",
        first=origin.first,
        rows=origin.rows,
        input=value_range(None if taken is None else taken.given()),
        operands=origin.operands,
        gradient=value_range(taken.gradients) if taken is not None and origin.backward and not frame.loss else None,
        backward=origin.backward,
    )


def name_of(loss: Loss) -> str:
    """The function's name, or the module's class."""
    inner = getattr(loss, "func", loss)  # of a functools.partial
    name: str = getattr(inner, "__name__", type(inner).__name__)
    return name
