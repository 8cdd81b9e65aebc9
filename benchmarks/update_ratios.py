"""How large updates are beside parameters in healthy runs: the band that pictures call usual.

Each task is trained by some optimizers at rates that work, one seed. Shown is the norm of an update over that of its weight:
the median over the weights in the first tenth of the run, over the whole run and in its last tenth.

Run: ``python benchmarks/update_ratios.py`` (half a minute).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ravine.diagnose import evidence_of
from ravine.diagnose._readings import ratios
from ravine.optim._spec import parse
from ravine.tasks import find

_NAMED = ("sgd", "momentum", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lion")
_OWN = ("momentum:lr=0.1", "rmsprop:lr=0.003", "adam:lr=0.002", "adam:lr=0.005")
RUNS = {
    "digits": (8, _NAMED),
    "breast-cancer": (20, _NAMED),
    "examples/digits_cnn.py": (8, _OWN),
    "examples/small_gpt.py": (1, _OWN),
}


def main() -> None:
    print(f"{'first':>8}{'median':>8}{'last':>8}   loss")
    for name, (epochs, optimizers) in RUNS.items():
        task = find(name)
        for label in optimizers:
            spec = parse(label, task.name)
            learn = task.learner(partial(spec.factory, **spec.options), quiet=True)
            learn.fit(epochs)
            found = ratios(evidence_of(learn))
            tenth = max(1, len(found) // 10)
            middles = [np.nanmedian(part) for part in (found[:tenth], found, found[-tenth:])]
            losses = learn.recorder.losses
            print(
                "".join(f"{x:8.1e}" for x in middles)
                + f"   {losses[0]:.2f} to {losses[-20:].mean():.3f}  {name}, {label}",
                flush=True,
            )


if __name__ == "__main__":
    main()
