"""``ravine.diagnose.reproduce``: finds again what a file of ``ravine.diagnose.trace`` holds, with one module alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ravine import _randomness as randomness
from ravine._files import checkpoint
from ravine.diagnose._nonfinite.find import Loss, finding_of, lose, tell_batch, tell_state
from ravine.diagnose._nonfinite.finding import Finding
from ravine.diagnose._nonfinite.isolation import device_of, untouched
from ravine.diagnose._nonfinite.origins import Origin, Recording
from ravine.diagnose._nonfinite.value_range import Span, span, tensors
from ravine.errors import DataError, OptionError, nearest


def reproduce(path: Path | str, model: nn.Module, loss: Loss | None = None) -> Finding | None:
    """Run what a file holds again; None where all of it is finite now, say because the module was mended.

    Parameters, buffers and random states are the file's, and ``model`` only gives the code: it stays as it is.

    Args:
        path: a file that :func:`ravine.diagnose.trace` or ``learn.fit(..., trace_nan=True)`` wrote.
        model: the model, with a module of the name, class and shapes that the file tells.
        loss: the loss, where the file is about the loss.

    Raises:
        DataError: the file is missing, damaged or no such file, or ``model`` has no such module.
        OptionError: the file is about the loss, and none is given.
    """
    path = Path(path)
    tree = checkpoint.load(path)
    held = tree.get("nan") if isinstance(tree, dict) else None
    if not isinstance(held, dict):
        raise DataError(f"{path} is no file of ravine.diagnose.trace.")
    found = _again(path, held, model, loss)
    return None if found is None else replace(found, path=path)


def _again(path: Path, held: dict[str, Any], model: nn.Module, loss: Loss | None) -> Finding | None:
    where, device = held["where"], device_of(model)
    if where in ("inputs", "targets"):
        seen = Recording(model)
        tell_batch(seen, where, held[where])
        origin = seen.origin(held[where])
        return None if origin is None else finding_of(origin)
    if where == "loss":
        if loss is None:
            raise OptionError(f"{path} is about the loss {held['kind']}; give it: reproduce(path, model, loss).")
        return _lose(held, model, loss, device)
    return _run(held, _module(path, held, model), device)


def _module(path: Path, held: dict[str, Any], model: nn.Module) -> nn.Module:
    """The module that the file is about."""
    name, modules = held["module"], dict(model.named_modules())
    what = f"the module {name!r}" if name else "the model itself"
    if name not in modules:
        raise DataError(f"{path} is about {what}, which this model does not have. {nearest(name, modules)}")
    module = modules[name]
    if type(module).__name__ != held["kind"]:
        raise DataError(f"{path} is about {what}, there a {held['kind']}, and here a {type(module).__name__}.")
    for what_of, mine in (("parameters", module.named_parameters()), ("buffers", module.named_buffers())):
        here = {n: tuple(t.shape) for n, t in mine}
        there = {n: tuple(t.shape) for n, t in held[what_of].items()}
        for n in sorted(here.keys() | there.keys()):
            if here.get(n) != there.get(n):
                sides = f"{there.get(n, 'missing')} in the file, {here.get(n, 'missing')} in the model"
                raise DataError(f"{path} is about {what} of another model: {n} has shape {sides}.")
    return module


def _run(held: dict[str, Any], module: nn.Module, device: torch.device) -> Finding | None:
    """Run the module on what the file holds."""
    parameters, buffers, inputs, gradients = _moved(
        [held["parameters"], held["buffers"], held["inputs"], held["gradients"]], device
    )
    for name, parameter in parameters.items():
        parameter.requires_grad_(held["trained"][name])
    state = {**parameters, **buffers}
    seen = Recording(module, held["module"])
    tell_state(seen, module, state)
    if inputs is None:  # the module was never called: others use its parameters
        return _found(seen.origin(state), held, Span())
    _ask(inputs, held["needs"])
    lay, came = span(inputs), span(gradients)
    args, kwargs = _as_intermediate(inputs)
    with _state(held, module), seen:
        with _autocast(held):
            outputs = torch.func.functional_call(module, state, args, kwargs)
        pairs = zip(tensors(outputs), gradients, strict=False)
        backed = [(t, g) for t, g in pairs if t.requires_grad and g is not None]
        if backed:
            torch.autograd.backward([t for t, _ in backed], [g for _, g in backed])
    found = [outputs, [t.grad for t in (*parameters.values(), *tensors(inputs))]]
    return _found(seen.origin(found) or seen.first, held, lay, came)


def _lose(held: dict[str, Any], model: nn.Module, loss: Loss, device: torch.device) -> Finding | None:
    """Run the loss on what the file holds."""
    inputs = _moved(held["inputs"], device)
    _ask(inputs, held["needs"])
    (outputs, targets), _ = _as_intermediate(inputs)
    with _state(held, model), _autocast(held):
        seen = Recording(model)
        with seen:
            value = lose(loss, outputs, targets, seen)
    origin = seen.origin(value) or seen.origin([t.grad for t in tensors(inputs)]) or seen.first
    return _found(origin, held, span(inputs[0][0]))


def _found(origin: Origin | None, held: dict[str, Any], lay: Span, came: Span | None = None) -> Finding | None:
    """The finding, with what the module was given."""
    if origin is None:
        return None
    came = came if origin.where == "backward" else None
    return replace(finding_of(origin), call=held["call"], input=lay, gradient=came)


def _moved(tree: Any, device: torch.device) -> Any:
    return pytree.tree_map_only(Tensor, lambda t: t.to(device), tree)


def _ask(inputs: Any, needs: list[bool]) -> None:
    """Let those inputs have gradients that had them."""
    for tensor, need in zip(tensors(inputs), needs, strict=True):
        tensor.requires_grad_(need)


def _as_intermediate(inputs: Any) -> Any:
    """The inputs as results of operations, which a module may change in place."""
    with torch.enable_grad():
        return pytree.tree_map_only(Tensor, torch.clone, inputs)


@contextmanager
def _state(held: dict[str, Any], module: nn.Module) -> Iterator[None]:
    """Random states and training flags are the file's, and afterwards as they were."""
    training = held.get("training", {})
    flags = [(m, m.training) for m in module.modules()]
    with untouched(module):
        try:
            for name, one in module.named_modules():
                one.training = training.get(name, one.training)
            randomness.restore(held["random"])
            with torch.enable_grad():
                yield
        finally:
            for one, flag in flags:
                one.training = flag


def _autocast(held: dict[str, Any]) -> AbstractContextManager[Any]:
    if held["autocast"] is None:
        return nullcontext()
    device, dtype = held["autocast"]
    return torch.autocast(device, getattr(torch, dtype))
