"""What is no matrix, of optimizers that step matrices: AdamW steps it, with options of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ravine.errors import OptionError, ParameterError, nearest
from ravine.formula import rename, sqrt, squares
from ravine.optim._hyperparameters import Hyper
from ravine.optim._optimizer import Optimizer
from ravine.optim.pieces import Value

#: The options of AdamW, each with its default; None: that of the matrices.
OTHERS: Mapping[str, Any] = {"lr": None, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": None}


def others_adamw(
    param: Value,
    exp_avg: Value = 0.0,
    exp_avg_sq: Value = squares(0.0),
    *,
    update: Value,
    lr: Value,
    others_lr_ratio: Value,
    others_betas: Value,
    others_eps: Value,
    others_weight_decay: Value,
    step: Value,
) -> tuple[Value, Value, Value]:
    """A step of AdamW with options of its own; its rate keeps its ratio to ``lr``, whatever schedules do."""
    beta1, beta2 = others_betas
    rate = lr * others_lr_ratio
    exp_avg = beta1 * exp_avg + (1 - beta1) * update
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * update**2
    denominator = sqrt(exp_avg_sq) / sqrt(1 - beta2**step) + others_eps
    moved = param * (1 - rate * others_weight_decay) - rate / (1 - beta1**step) * exp_avg / denominator
    return moved, exp_avg, exp_avg_sq


def others_of(weight_decay: float | None) -> Any:
    """The piece of what is no matrix; without a decay of its own it has that of the matrices."""
    return others_adamw if weight_decay is not None else rename(others_adamw, others_weight_decay="weight_decay")


def flat_others(others: Mapping[str, Any] | bool, lr: Any) -> dict[str, Any]:
    """The options of AdamW for what is no matrix, as a group has them.

    Raises:
        OptionError: an option that AdamW does not have here.
    """
    if not isinstance(others, Mapping | bool):
        raise OptionError(f"others={others!r}: it is a dict of AdamW's options, such as {{'lr': 3e-4}}, True or False")
    given = dict(others) if isinstance(others, Mapping) else {}
    for name in given:
        if name not in OTHERS:
            raise OptionError(f"others has no option {name!r}. {nearest(name, OTHERS)}")
    made = {**OTHERS, **given}
    rate = lr if made["lr"] is None else made["lr"]
    return {
        "others": others is not False,
        "others_lr_ratio": float(rate) / float(lr) if float(lr) else 1.0,
        "others_betas": made["betas"],
        "others_eps": made["eps"],
        "others_weight_decay": made["weight_decay"],
    }


class StepsMatrices(Optimizer):
    """What optimizers of matrices have in common: in its groups the options of AdamW stand flat, beside their own."""

    hypers: ClassVar = {
        "others_lr_ratio": Hyper(low=0, default=1.0),
        "others_betas": Hyper(low=0, high=1, below=True, length=2, default=OTHERS["betas"]),
        "others_eps": Hyper(low=0, default=OTHERS["eps"]),
        "others_weight_decay": Hyper(low=0, optional=True),
    }

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as every optimizer; with ``others=False`` its parameters have two dimensions."""
        if isinstance(param_group, dict) and isinstance(param_group.get("others"), Mapping):
            known = {**self.defaults, **param_group}
            param_group = {**param_group, **flat_others(known["others"], known["lr"])}
        super().add_param_group(param_group)
        self._refuse_others()

    def _refuse_others(self) -> None:
        """Take the last group away again if it has parameters that are no matrices, and none may be.

        Raises:
            ParameterError: it has.
        """
        group = self.param_groups[-1]
        wrong = next((p for p in group["params"] if p.ndim != 2), None)
        if wrong is not None and not group.get("others", True):  # as everywhere, a group without it has the usual value
            name = self._describe(wrong)
            self.param_groups.pop()
            raise ParameterError(
                f"{name} has {wrong.ndim} dimension{'s' * (wrong.ndim != 1)}, and {type(self).__name__} steps matrices: leave out "
                "others=False, and AdamW steps it, or give it to another optimizer"
            )
