"""What a Learner is in words, and in a notebook: what it trains, on what, and below that what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ravine._plotting.notebook_html import html_facts, output
from ravine.train._callback import argument_text
from ravine.train._recorder import Recorder, epochs_text


def learner_text(
    model: nn.Module, optimizer: torch.optim.Optimizer | None, opt_func: Callable[..., Any], recorder: Recorder
) -> str:
    """Its model, its optimizer or what makes it, and how long it has trained."""
    count = sum(p.numel() for p in model.parameters() if not isinstance(p, nn.UninitializedParameter))
    made = argument_text(opt_func) if optimizer is None else type(optimizer).__name__
    return f"{type(model).__name__} of {count:,} parameters, {made}, {epochs_text(len(recorder.epochs))} trained"


def learner_html(
    text: str, train: Any, valid: Any, loss: Any, metrics: Mapping[str, Any] | None, recorder: Recorder
) -> str:
    """The output: ``text`` is the answer; of ``metrics`` that are None it is not known yet which they are."""
    facts = [("trains on", data_text(train)), ("validates on", "nothing" if valid is None else data_text(valid))]
    facts += [("loss", argument_text(loss))]
    facts += [("metrics", ", ".join(metrics))] if metrics else []
    return output(text, html_facts(facts)) + (recorder._repr_html_() if len(recorder) else "")


def data_text(data: Any) -> str:
    """Its repr; where that is an address, its class, and how many batches it has."""
    text = repr(data)
    if " at 0x" not in text and len(text) <= 200:
        return text
    try:
        return f"{type(data).__name__} of {len(data):,} batches"
    except TypeError:  # a stream
        return type(data).__name__
