"""``ravine.diagnose.reproduce``: runs a file of ``ravine.diagnose.find_nonfinite`` again, with one module alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine import _randomness as randomness
from ravine._compat import pytree
from ravine._files import checkpoint
from ravine.diagnose._nonfinite.find import Loss, finding_of, register_batch, register_state, run_loss
from ravine.diagnose._nonfinite.finding import Finding
from ravine.diagnose._nonfinite.isolation import device_of, isolated_run
from ravine.diagnose._nonfinite.origins import Origin, Recording
from ravine.diagnose._nonfinite.value_range import ValueRange, tensors, value_range
from ravine.errors import DataError, OptionError, an, nearest


def reproduce(path: Path | str, model: nn.Module, loss: Loss | None = None) -> Finding | None:
    """Run what a file holds again; None if everything is finite now, because the module was fixed.

    Parameters, buffers and random states are the file's; ``model`` only provides the code and is not changed.

    Args:
        path: a file that :func:`ravine.diagnose.find_nonfinite` or ``learn.fit(..., find_nonfinite=True)`` wrote.
        model: the model, with a module of the name, class and shapes that are in the file.
        loss: the loss, where the file is about the loss.

    Raises:
        DataError: the file is missing, damaged or of another kind, or ``model`` has no such module.
        OptionError: the file is about the loss, and none is given.
    """
    path = Path(path)
    tree = checkpoint.load(path)
    saved = tree.get("nan") if isinstance(tree, dict) else None
    if not isinstance(saved, dict):
        raise DataError(f"{path} was not written by ravine.diagnose.find_nonfinite.")
    finding = _run_again(path, saved, model, loss)
    return None if finding is None else replace(finding, path=path)


def _run_again(path: Path, saved: dict[str, Any], model: nn.Module, loss: Loss | None) -> Finding | None:
    where, device = saved["where"], device_of(model)
    if where in ("inputs", "targets"):
        recording = Recording(model)
        register_batch(recording, where, saved[where])
        origin = recording.origin(saved[where])
        return None if origin is None else finding_of(origin)
    if where == "loss":
        if loss is None:
            raise OptionError(f"{path} is about the loss {saved['kind']}; give it: reproduce(path, model, loss).")
        return _run_loss(saved, model, loss, device)
    return _run_module(saved, _module(path, saved, model), device)


def _module(path: Path, saved: dict[str, Any], model: nn.Module) -> nn.Module:
    """The module that the file is about."""
    name, modules = saved["module"], dict(model.named_modules())
    what = f"the module {name!r}" if name else "the model itself"
    if name not in modules:
        raise DataError(f"{path} is about {what}, which this model does not have. {nearest(name, modules)}")
    module = modules[name]
    if type(module).__name__ != saved["kind"]:
        raise DataError(f"{path} is about {what}, there {an(saved['kind'])}, and here {an(type(module).__name__)}.")
    for what_of, mine in (("parameters", module.named_parameters()), ("buffers", module.named_buffers())):
        here = {n: tuple(t.shape) for n, t in mine}
        there = {n: tuple(t.shape) for n, t in saved[what_of].items()}
        for n in sorted(here.keys() | there.keys()):
            if here.get(n) != there.get(n):
                sides = f"{there.get(n, 'missing')} in the file, {here.get(n, 'missing')} in the model"
                raise DataError(f"{path} is about {what} of another model: {n} has shape {sides}.")
    return module


def _run_module(saved: dict[str, Any], module: nn.Module, device: torch.device) -> Finding | None:
    """Run the module on what the file holds."""
    parameters, buffers, inputs, gradients = _moved(
        [saved["parameters"], saved["buffers"], saved["inputs"], saved["gradients"]], device
    )
    for name, parameter in parameters.items():
        parameter.requires_grad_(saved["trained"][name])
    state = {**parameters, **buffers}
    recording = Recording(module, saved["module"])
    register_state(recording, module, state)
    if inputs is None:  # the module was never called: others use its parameters
        return _finding(recording.origin(state), saved, ValueRange())
    _require_gradients(inputs, saved["needs"])
    input_range, gradient_range = value_range(inputs), value_range(gradients)
    args, kwargs = _as_intermediate(inputs)
    with _state(saved, module), recording:
        with _autocast(saved):
            outputs = torch.func.functional_call(module, state, args, kwargs)
        pairs = zip(tensors(outputs), gradients, strict=False)
        backed = [(t, g) for t, g in pairs if t.requires_grad and g is not None]
        if backed:
            torch.autograd.backward([t for t, _ in backed], [g for _, g in backed])
    results = [outputs, [t.grad for t in (*parameters.values(), *tensors(inputs))]]
    return _finding(recording.origin(results) or recording.first, saved, input_range, gradient_range)


def _run_loss(saved: dict[str, Any], model: nn.Module, loss: Loss, device: torch.device) -> Finding | None:
    """Run the loss on what the file holds."""
    inputs = _moved(saved["inputs"], device)
    _require_gradients(inputs, saved["needs"])
    (outputs, targets), _ = _as_intermediate(inputs)
    with _state(saved, model), _autocast(saved):
        recording = Recording(model)
        with recording:
            value = run_loss(loss, outputs, targets, recording)
    origin = recording.origin(value) or recording.origin([t.grad for t in tensors(inputs)]) or recording.first
    return _finding(origin, saved, value_range(inputs[0][0]))


def _finding(
    origin: Origin | None, saved: dict[str, Any], input_range: ValueRange, gradient_range: ValueRange | None = None
) -> Finding | None:
    """The finding, with the ranges of the module's input and gradient."""
    if origin is None:
        return None
    gradient = gradient_range if origin.where == "backward" else None
    return replace(finding_of(origin), call=saved["call"], input=input_range, gradient=gradient)


def _moved(tree: Any, device: torch.device) -> Any:
    return pytree.tree_map_only(Tensor, lambda t: t.to(device), tree)


def _require_gradients(inputs: Any, needs: list[bool]) -> None:
    """Let those inputs require gradients that did so then."""
    for tensor, need in zip(tensors(inputs), needs, strict=True):
        tensor.requires_grad_(need)


def _as_intermediate(inputs: Any) -> Any:
    """The inputs as results of operations, which a module may change in place."""
    with torch.enable_grad():
        return pytree.tree_map_only(Tensor, torch.clone, inputs)


@contextmanager
def _state(saved: dict[str, Any], module: nn.Module) -> Iterator[None]:
    """Inside, random states and training flags are the file's; afterwards they are what they were."""
    training = saved.get("training", {})
    flags = [(m, m.training) for m in module.modules()]
    with isolated_run(module):
        try:
            for name, one in module.named_modules():
                one.training = training.get(name, one.training)
            randomness.restore(saved["random"])
            with torch.enable_grad():
                yield
        finally:
            for one, flag in flags:
                one.training = flag


def _autocast(saved: dict[str, Any]) -> AbstractContextManager[Any]:
    if saved["autocast"] is None:
        return nullcontext()
    device, dtype = saved["autocast"]
    return torch.autocast(device, getattr(torch, dtype))
