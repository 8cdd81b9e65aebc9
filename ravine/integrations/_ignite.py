"""Inside an engine of ignite."""

from __future__ import annotations

from typing import Any

import torch
from ignite.distributed import get_rank
from ignite.engine import Engine, Events

from ravine.errors import OptionError, an, kind_of
from ravine.integrations._follower import Follower, check_every


def attach(
    engine: Any, optimizer: Any, model: torch.nn.Module, *, every: int, parameters: bool, loss: Any, prefix: str
) -> Follower:
    """Handlers that note losses, put figures into the engine's metrics, and leave the diagnosis in its state."""
    if not isinstance(engine, Engine):
        raise OptionError(f"watch_engine takes an ignite.engine.Engine, not {type(engine).__name__}")
    check_every("watch_engine", every)
    follower = Follower(optimizer, model, parameters=parameters, main=get_rank() == 0, prefix=prefix)
    stepped = False

    def after_step(*_: object) -> None:
        nonlocal stepped
        stepped = True

    follower.optimizer.register_step_post_hook(after_step)

    @engine.on(Events.ITERATION_COMPLETED)
    def note(engine: Any) -> None:
        nonlocal stepped
        output = engine.state.output if loss is None else loss(engine.state.output)
        if output is not None:
            follower.part(_number(output))
        if stepped:  # else gradients of more batches are to come
            follower.loss()
            stepped = False
        if engine.state.iteration % every == 0:
            engine.state.metrics.update(follower.figures())

    @engine.on(Events.COMPLETED)
    def end(engine: Any) -> None:
        engine.state.diagnosis = follower.end()

    return follower


def _number(output: Any) -> torch.Tensor | float:
    """What the engine's update gives, if it is a loss."""
    if isinstance(output, int | float) or (isinstance(output, torch.Tensor) and output.numel() == 1):
        return output
    raise OptionError(
        f"watch_engine: the engine's output is no loss but {an(kind_of(output))}. Say where the loss is: "
        'loss=lambda output: output["loss"], or loss=lambda output: None if there is none'
    )
