"""Inside skorch's nets: a callback."""

from __future__ import annotations

from typing import Any

import torch
from skorch.callbacks import Callback as SkorchCallback
from skorch.callbacks import GradientNormClipping

from ravine.integrations._follower import Follower
from ravine.integrations._twice import refuse_clipping


class SkorchWatch(SkorchCallback):  # type: ignore[misc, unused-ignore]
    """Puts figures into the net's history after each epoch, and says what is found."""

    def __init__(self, parameters: bool = False) -> None:
        self.parameters = parameters

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """The optimizer exists now. To scikit-learn's ``clone``, what does not end in ``_`` would be a parameter."""
        self.follower_ = Follower(net, parameters=self.parameters)
        self.follower_.optimizer.name_parameters(_named(net))
        for _, callback in net.callbacks_:
            if isinstance(callback, GradientNormClipping) and callback.gradient_clip_value is not None:
                trainers = f"GradientNormClipping({callback.gradient_clip_value:g})"
                refuse_clipping(self.follower_.optimizer, trainers, "leave that callback out")

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """The loss of the step that was made."""
        if training:
            self.follower_.loss(kwargs["loss"])

    def on_epoch_end(self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any) -> None:
        """Where PrintLog, TensorBoard and the other loggers of skorch look."""
        for figure, value in self.follower_.figures().items():
            net.history.record(figure, value)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Leave the diagnosis with the net."""
        net.diagnosis_ = self.follower_.end()

    def __getstate__(self) -> dict[str, Any]:
        """Of a pickled net, the optimizer is pickled by the net itself."""
        return {k: v for k, v in self.__dict__.items() if k != "follower_"}


def _named(net: Any) -> list[tuple[str, torch.Tensor]]:
    """Parameters as skorch gives them to the optimizer."""
    return list(net.get_all_learnable_params())
