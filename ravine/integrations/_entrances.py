"""The functions that a user calls, one for each trainer. Its library is imported when its function is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from ravine.errors import PackageError


def _file(name: str, package: str, install: str) -> Any:
    """The file of a trainer, which imports its library.

    Raises:
        PackageError: the library is not installed.
    """
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise PackageError(f"{package} is not installed: pip install {install}", name=package) from error
    return import_module(f"ravine.integrations.{name}")


def lightning_callback(*, parameters: bool = False) -> Any:
    """A callback for ``lightning.pytorch.Trainer(callbacks=[...])``: figures to all its loggers, findings in words.

    Figures are logged with the module's own, every ``log_every_n_steps`` steps. ``diagnosis.txt`` is written beside the logs at the
    end, and as a text to TensorBoard. The history is part of the checkpoints. See ``docs/trainers/lightning.md``.

    Args:
        parameters: log figures of each parameter, too.

    Raises:
        PackageError: Lightning is not installed.
        OptionError: when training begins: an optimizer is not one of ``ravine.optim``; or it clips or averages, and the trainer does.
    """
    return _file("_lightning", "lightning", "lightning").LightningWatch(parameters=parameters)


def watch_trainer(trainer: Any, *, parameters: bool = False) -> Any:
    """Let a ``transformers.Trainer`` log figures and findings; returns the callback that is put before those of its loggers.

    Figures are logged with the trainer's loss, every ``logging_steps`` steps, to all of ``report_to`` and ``state.log_history``.
    ``diagnosis.txt`` is written into ``output_dir`` at the end. The history is in the checkpoints' folders. See
    ``docs/trainers/huggingface.md``.

    Args:
        trainer: a ``transformers.Trainer`` or a subclass, before ``train()``.
        parameters: log figures of each parameter, too.

    Raises:
        PackageError: transformers is not installed.
        OptionError: it is no such trainer; or, when training begins: its optimizer is not one of ``ravine.optim``, or both clip.
    """
    return _file("_huggingface", "transformers", "transformers accelerate").put_before_loggers(trainer, parameters)


def watch_accelerator(
    accelerator: Any,
    optimizer: Any,
    model: torch.nn.Module,
    *,
    every: int = 10,
    parameters: bool = False,
    prefix: str = "watch/",
) -> Any:
    """Log figures and findings to the trackers of an ``accelerate.Accelerator``.

    Returns an object with two methods: ``step(loss)`` after each ``optimizer.step()``, and ``end(folder)`` at the end, which gives
    the diagnosis. It can be registered for checkpointing. See ``docs/trainers/accelerate.md``.

    Args:
        accelerator: whose trackers are used.
        optimizer: one of ``ravine.optim``, as ``accelerator.prepare`` gives it.
        model: whose names the parameters get, also as ``prepare`` gives it.
        every: steps between two points of a curve.
        parameters: log figures of each parameter, too.
        prefix: what the figures' names begin with; another one for each of several optimizers.

    Raises:
        PackageError: Accelerate is not installed.
        OptionError: it is no accelerator; the optimizer is not one of ``ravine.optim``; or, when ``accelerator.clip_grad_norm_`` is called: it clips itself.
    """
    watch = _file("_accelerate", "accelerate", "accelerate").AcceleratorWatch
    return watch(accelerator, optimizer, model, every=every, parameters=parameters, prefix=prefix)


def skorch_callback(*, parameters: bool = False) -> Any:
    """A callback for skorch's nets: figures in ``net.history`` after each epoch, where its loggers find them, findings in words.

    Put it before callbacks that log. ``net.diagnosis_`` has the diagnosis after ``fit``. See ``docs/trainers/skorch.md``.

    Args:
        parameters: log figures of each parameter, too.

    Raises:
        PackageError: skorch is not installed.
        OptionError: when training begins: the optimizer is not one of ``ravine.optim``, or both clip.
    """
    return _file("_skorch", "skorch", "skorch").SkorchWatch(parameters=parameters)


def fastai_callback() -> Any:
    """A callback for fastai's Learner: figures as columns of its table, where ``CSVLogger`` and others find them, findings in words.

    ``learn.diagnosis`` has the diagnosis after a fit. See ``docs/trainers/fastai.md``.

    Raises:
        PackageError: fastai is not installed.
        OptionError: when training begins: the optimizer is not one of ``ravine.optim``, or both clip.
    """
    return _file("_fastai", "fastai", "fastai").FastaiWatch()


def watch_engine(
    engine: Any,
    optimizer: Any,
    model: torch.nn.Module,
    *,
    every: int = 10,
    parameters: bool = False,
    loss: Any = None,
    prefix: str = "watch/",
) -> Any:
    """Put figures into ``engine.state.metrics`` of an ignite Engine, where its loggers find them, and say findings in words.

    Call it before loggers are attached. Returns a :class:`Follower`, for ``ignite.handlers.Checkpoint``; ``engine.state.diagnosis`` is
    there when the run is complete. See ``docs/trainers/ignite.md``.

    Args:
        engine: the trainer.
        optimizer: one of ``ravine.optim``.
        model: whose names the parameters get.
        every: steps between two points of a curve.
        parameters: log figures of each parameter, too.
        loss: a function from the engine's output to the loss; None: the output is the loss.
        prefix: what the figures' names begin with; another one for each of several optimizers.

    Raises:
        PackageError: ignite is not installed.
        OptionError: it is no engine; the optimizer is not one of ``ravine.optim``; or, when it runs: the output is no loss.
    """
    attach = _file("_ignite", "ignite", "pytorch-ignite").attach
    return attach(engine, optimizer, model, every=every, parameters=parameters, loss=loss, prefix=prefix)
