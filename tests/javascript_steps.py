"""Runs printed JavaScript in node: steps of programs, and any other script, with doubles handed over exactly."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from ravine.formula import ParamCopy, Program
from ravine.formula._javascript import HELPERS, formula_javascript

NODE = shutil.which("node") or shutil.which("nodejs")
_READ = """\
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const doubles = (text) => { const bytes = Buffer.from(text, "base64"); return new Float64Array(new Uint8Array(bytes).buffer); };
const coded = (array) => Buffer.from(new Float64Array(array).buffer).toString("base64");
"""
_STEPS = """\
const found = given.map((one, which) => {
  const params = doubles(one.param), states = one.states.map(doubles), kept = doubles(one.kept), hypers = doubles(one.hypers);
  return one.grads.map((grad, i) => {
    if (one.filled) { params.set(doubles(one.filled[i][0])); states.forEach((s, j) => s.set(doubles(one.filled[i][1 + j]))); }
    const done = programs[which](params, doubles(grad), states, [...hypers], kept, one.first + i);
    return { done, param: coded(params), states: states.map(coded), kept: coded(kept) };
  });
});
process.stdout.write(JSON.stringify(found));
"""


def run(script: str, given: object) -> Any:
    """What a script writes as JSON; it has what it was given as ``given``, and ``doubles`` and ``coded`` for arrays."""
    if NODE is None:
        pytest.skip("no node found: install it (apt-get install nodejs) to run the printed JavaScript")
    done = subprocess.run(
        [NODE, "-e", '"use strict";\n' + _READ + script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def coded(values: Any) -> str:
    """Doubles as text that ``doubles`` reads."""
    return base64.b64encode(np.asarray(values, dtype="<f8").tobytes()).decode()


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").copy()


@dataclass
class Case:
    """Steps of one program.

    Attributes:
        program: what is printed.
        param: where it starts.
        hypers: its hyperparameters by name.
        grads: a gradient for each step.
        filled: for each step what parameter and states are filled with before it; empty: they stay what they became.
        first: the number of the first step.
    """

    program: Program
    param: np.ndarray
    hypers: Mapping[str, float]
    grads: Sequence[np.ndarray]
    filled: Sequence[Sequence[np.ndarray]] = field(default=())
    first: int = 1

    @property
    def given(self) -> dict[str, Any]:
        starts = self.program.states.values()
        return {
            "param": coded(self.param),
            "states": [coded(self.param if isinstance(s, ParamCopy) else np.full_like(self.param, s)) for s in starts],
            "kept": coded([s.initial for s in self.program.kept.values()]),
            "hypers": coded([self.hypers[name] for name in self.program.hypers]),
            "grads": list(map(coded, self.grads)),
            "filled": [list(map(coded, each)) for each in self.filled] or None,
            "first": self.first,
        }


@dataclass
class Stepped:
    """What a step left, and whether it was made."""

    done: bool
    param: np.ndarray
    states: dict[str, np.ndarray]
    kept: dict[str, float]


def stepped(cases: Sequence[Case]) -> list[list[Stepped]]:
    """The steps of all cases, in one process."""
    texts = ",\n".join(formula_javascript(case.program) for case in cases)
    found = run(f"{HELPERS}const programs = [{texts}];\n{_STEPS}", [case.given for case in cases])
    return [
        [
            Stepped(
                one["done"],
                decoded(one["param"]),
                dict(zip(case.program.states, map(decoded, one["states"]), strict=True)),
                dict(zip(case.program.kept, decoded(one["kept"]).tolist(), strict=True)),
            )
            for one in steps
        ]
        for case, steps in zip(cases, found, strict=True)
    ]


def values_of(group: Mapping[str, Any], program: Program) -> dict[str, float]:
    """The hyperparameters of a program, by their names in it, from a parameter group."""
    values = {}
    for name in program.hypers:
        base, bracket, index = name.partition("[")
        values[name] = float(group[base][int(index[:-1])] if bracket else group[base])
    return values


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy().copy()
