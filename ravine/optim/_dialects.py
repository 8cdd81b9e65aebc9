"""RMSProp's dialects: how libraries and books differ, as options of ``RMSprop``. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dialect:
    """Where a form of RMSProp comes from, and the options of ``RMSprop`` that give its numbers and defaults."""

    source: str
    options: Mapping[str, Any]


THEANO_BOOK = "the book Deep Learning with Theano (Bourez, 2017)"
"""Where the variants ``...-theano-book`` come from: its six rules."""

DIALECTS: Mapping[str, Dialect] = {
    "torch": Dialect("PyTorch, torch.optim.RMSprop", {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8}),
    "tensorflow": Dialect(
        "TensorFlow 1, tf.train.RMSPropOptimizer",
        {
            "alpha": 0.9,
            "eps": 1e-10,
            "eps_inside_root": True,
            "square_avg_start": 1.0,
            "lr_in_momentum": True,
        },
    ),
    "keras": Dialect(
        "Keras 3, keras.optimizers.RMSprop",
        {
            "lr": 1e-3,
            "alpha": 0.9,
            "eps": 1e-7,
            "eps_inside_root": True,
            "lr_in_momentum": True,
            "decoupled_weight_decay": True,
        },
    ),
    "optax": Dialect("optax.rmsprop", {"alpha": 0.9, "eps": 1e-8, "eps_inside_root": True, "lr_in_momentum": True}),
    "fastai": Dialect(
        "fastai, RMSProp",
        {"alpha": 0.99, "eps": 1e-8, "momentum_first": True, "decoupled_weight_decay": True},
    ),
    "lasagne": Dialect("Lasagne, updates.rmsprop", {"lr": 1.0, "alpha": 0.9, "eps": 1e-6, "eps_inside_root": True}),
    "theano-book": Dialect("the book Deep Learning with Theano", {"alpha": 0.9, "eps": 1e-6, "eps_inside_root": True}),
    "fastai-book": Dialect("the fastai book, chapter 16, by hand", {"alpha": 0.99, "eps": 1e-7, "undamped": True}),
    "pytorch-tutorial": Dialect(
        "the PyTorch tutorial in Chinese", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-10, "eps_inside_root": True}
    ),
    "timm": Dialect(
        "timm, RMSpropTF",
        {
            "lr": 1e-2,
            "alpha": 0.9,
            "eps": 1e-10,
            "eps_inside_root": True,
            "square_avg_start": 1.0,
            "lr_in_momentum": True,
        },
    ),
}
