"""Inside an engine of ignite."""

from __future__ import annotations

from typing import Any

import torch
from ignite.distributed import get_rank
from ignite.engine import Engine, Events

from ravine.errors import OptionError
from ravine.integrations._follower import Follower, check_every


def attach(engine: Any, optimizer: Any, model: torch.nn.Module, *, every: int, parameters: bool, loss: Any) -> Follower:
    """Handlers that note losses, put figures into the engine's metrics, and leave the diagnosis in its state."""
    if not isinstance(engine, Engine):
        raise OptionError(f"watch_engine takes an ignite.engine.Engine, not {type(engine).__name__}")
    check_every("watch_engine", every)
    follower = Follower(optimizer, model, parameters=parameters, main=get_rank() == 0)

    @engine.on(Events.ITERATION_COMPLETED)
    def note(engine: Any) -> None:
        follower.loss(engine.state.output if loss is None else loss(engine.state.output))
        if engine.state.iteration % every == 0:
            engine.state.metrics.update(follower.figures())

    @engine.on(Events.COMPLETED)
    def end(engine: Any) -> None:
        engine.state.diagnosis = follower.end()

    return follower
