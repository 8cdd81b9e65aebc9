"""The learning rates used where the user gives none: one place, one row for each task.

Each is from a coarse grid (1, 2, 5 times a power of ten): one of the two or three with the least training
loss, and there the smaller, steadier one. So a first look is not decided by a rate that suits one optimizer
only. The networks that take minutes to train were not tried: they take fashion-mnist's rates. It is no tuning:
``--lr`` or ``lr=`` try others, and ``ravine lr-find`` looks for one. An optimizer or task without an entry keeps the
optimizer's own default.
"""

_ORDER = ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
_RATES: dict[str, tuple[float, ...]] = {
    "digits": (0.5, 0.05, 0.05, 0.05, 2.0, 0.002, 0.005, 0.005),
    "fashion-mnist": (0.1, 0.01, 0.02, 0.02, 0.5, 0.0005, 0.001, 0.001),
    "breast-cancer": (2.0, 0.2, 0.2, 0.5, 20.0, 0.05, 0.1, 0.1),
    "rosenbrock": (0.001, 0.001, 0.001, 0.5, 0.5, 0.01, 0.05, 0.05),
    "beale": (0.01, 0.002, 0.002, 0.5, 1.0, 0.01, 0.1, 0.1),
    "ravine": (0.1, 0.02, 0.02, 1.0, 10.0, 0.1, 0.2, 0.2),
}
"""Rates by task, in the order above; ``torch-NAME`` and ``NAME-dialect`` share NAME's."""

_LIKE_FASHION_MNIST = ("mnist", "fashion-mnist-", "imagenette-", "text-gpt")


def default_rate(task: str, name: str) -> float | None:
    """The learning rate for this task and optimizer, or None: then the optimizer's own default."""
    row = "fashion-mnist" if task.startswith(_LIKE_FASHION_MNIST) else task
    if row not in _RATES:
        return None
    rates = dict(zip(_ORDER, _RATES[row], strict=True))
    family = name.removeprefix("torch-")
    return rates.get(family, rates.get(family.split("-")[0]))
