"""Which modules of a model train, and which stay in evaluation mode because somebody has frozen them."""

from __future__ import annotations

from torch import nn


class TrainingMode:
    """Puts a model into training mode, but for what was frozen when this was made.

    Frozen is what is in evaluation mode while the model as a whole trains, if it has running statistics, as batch
    normalization has, or if none of its parameters requires a gradient; with all that is in it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._frozen = _frozen(model) if model.training else []

    def set(self) -> None:
        """Training mode, from now on."""
        self._model.train()
        for module in self._frozen:
            module.training = False


def _frozen(model: nn.Module) -> list[nn.Module]:
    frozen: dict[nn.Module, None] = {}
    for module in model.modules():
        if not module.training and (
            getattr(module, "running_mean", None) is not None or _has_only_frozen_parameters(module)
        ):
            frozen |= dict.fromkeys(inner for inner in module.modules() if not inner.training)
    return list(frozen)


def _has_only_frozen_parameters(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)
