"""Finds out before anything is trained whether batch normalization meets a last batch of one row."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from ravine import _randomness as randomness
from ravine.train import _batch_errors as batch_errors
from ravine.train import _parallel as parallel
from ravine.train._batches import Batches
from ravine.train._forward import ForwardPass, call, pair

_NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check(forward: ForwardPass, data: Any) -> None:
    """Try a batch of one row, if an epoch ends with one and the model normalizes over the batch; nothing is changed.

    Raises:
        TrainingError: the model cannot train on it.
    """
    normalizing = any(isinstance(module, _NORMALIZING) and module.training for module in forward.model.modules())
    if not normalizing or parallel.size() > 1 or not _is_left_over(data):
        return
    kept = {name: value.clone() for name, value in forward.model.named_buffers()}
    try:
        with randomness.isolated(), torch.no_grad(), forward.context():
            inputs, _ = pair(_one_row(data), forward.device)
            call(forward.model, inputs, 1)
    except Exception as error:  # whatever else a model raises is raised where it trains
        if batch_errors.ONE_ROW in str(error):
            raise batch_errors.one_row() from error
    finally:
        _restore(forward.model, kept)


def _restore(model: nn.Module, kept: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(kept[name])


def _is_left_over(data: Any) -> bool:
    if isinstance(data, Batches):
        return data.last_rows == 1 < data.batch_size
    if not isinstance(data, DataLoader) or type(data.batch_sampler) is not BatchSampler or not data.batch_size:
        return False
    sampler = data.sampler
    return isinstance(sampler, Sized) and not data.drop_last and len(sampler) % data.batch_size == 1 < data.batch_size


def _one_row(data: Any) -> Any:
    if isinstance(data, Batches):
        return next(iter(Batches(data.inputs, data.targets, 1, shuffle=False).in_order()))
    return data.collate_fn([data.dataset[0]])
