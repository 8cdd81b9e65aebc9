"""States and parameters that rounding holds back: runs that have it, and twins that have not."""

from functools import cache

import numpy as np
import pytest
import torch
from tiny_runs import mlp
from torch.nn.functional import cross_entropy

from ravine.diagnose import Evidence, diagnose
from ravine.diagnose._optimizer_evidence import evidence_of_optimizer
from ravine.diagnose._rules import RULES
from ravine.optim import SGD, AdamW
from ravine.tasks import find

BY_NAME = {rule.name: rule for rule in RULES}
NAMES = ("state_rounding", "param_rounding")


@cache
def run(steps, dtype=torch.float32, cls=AdamW, **options):
    """The evidence of a plain loop on the digits, whose forward passes are in float32."""
    task = find("digits").train
    inputs, targets = task.inputs.flatten(1), task.targets
    torch.manual_seed(0)
    computed = mlp(64, 32, 10)
    held = [torch.nn.Parameter(p.detach().to(dtype)) for p in computed.parameters()]
    names = [name for name, _ in computed.named_parameters()]
    optimizer = cls(list(zip(names, held, strict=True)), **options)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (32,))
        with torch.no_grad():
            for p, h in zip(computed.parameters(), held, strict=True):
                p.copy_(h)
        loss = cross_entropy(computed(inputs[rows]), targets[rows])
        gradients = torch.autograd.grad(loss, list(computed.parameters()))
        for h, g in zip(held, gradients, strict=True):
            h.grad = g.to(dtype)
        optimizer.watch.loss(loss)
        optimizer.step()
    return evidence_of_optimizer(optimizer)


def found(evidence):
    return [name for name in NAMES if BY_NAME[name].check(evidence)]


SLOW = {"lr": 1e-3, "betas": (0.9, 0.999)}


def test_an_average_of_squares_in_bfloat16_stands_still():
    evidence = run(2000, state_dtype="bfloat16", **SLOW)
    assert found(evidence) == ["state_rounding"]
    text = BY_NAME["state_rounding"].check(evidence)
    assert "one of the states exp_avg and exp_avg_sq (bfloat16, rounded to nearest) of 0.weight and 2.weight" in text
    # The truth: this one does not follow its gradients, as the same in float32 does.
    assert np.median(evidence.history.state_rounding[-100:, 0]) > 0.7


def test_the_one_that_stands_still_is_named_where_it_is_alone():
    evidence = run(2000, state_dtype=_by_name("exp_avg_sq"), **SLOW)
    assert "the state exp_avg_sq (bfloat16" in BY_NAME["state_rounding"].check(evidence)
    assert found(run(2000, state_dtype=_by_name("exp_avg"), **SLOW)) == []


def _by_name(name):
    class Named(dict):
        __hash__ = object.__hash__

    return Named({name: "bfloat16"})


@pytest.mark.parametrize(
    "options",
    [
        SLOW,
        {**SLOW, "state_dtype": "bfloat16", "rounding": "stochastic"},
        {**SLOW, "state_dtype": "8bit"},
        {"lr": 1e-3, "betas": (0.9, 0.95), "state_dtype": "bfloat16"},
        {"lr": 1e-3, "betas": (0.9, 0.99), "state_dtype": "bfloat16"},
    ],
    ids=["float32", "stochastic", "8bit", "beta 0.95", "beta 0.99"],
)
def test_a_state_that_moves_is_not_reported(options):
    """Rounded at random its noise is larger than its change, which is no fault."""
    evidence = run(2000, **options)
    assert found(evidence) == []
    if options.get("rounding") == "stochastic":
        assert np.median(evidence.history.state_rounding[-100:, 0]) > 1


def test_parameters_in_bfloat16_lose_what_is_added():
    evidence = run(400, torch.bfloat16, lr=1e-4, betas=(0.9, 0.95), state_dtype="float32")
    assert found(evidence) == ["param_rounding"]
    text = BY_NAME["param_rounding"].check(evidence)
    assert text.startswith("In 0.weight and 2.weight (bfloat16) ")
    assert "param_bits='stochastic'" in BY_NAME["param_rounding"].advice
    control = run(400, lr=1e-4, betas=(0.9, 0.95), state_dtype="float32")
    assert found(control) == []
    # The truth: float32 learns, and this hardly does.
    fell, should = (e.losses[:20].mean() - e.losses[-20:].mean() for e in (evidence, control))
    assert fell < 0.2 * should


@pytest.mark.parametrize("bits", ["stochastic", 24, 32])
def test_parameters_that_learn_are_not_reported(bits):
    """With 24 bits next to nothing is lost, with 32 nothing; by chance the noise is above what is added."""
    evidence = run(400, torch.bfloat16, lr=1e-4, betas=(0.9, 0.95), param_bits=bits)
    assert found(evidence) == []
    figure = np.median(evidence.history.param_rounding[-100:, 0])
    assert {"stochastic": figure > 1, 24: 0 < figure < 0.2, 32: figure == 0}[bits]


def test_parameters_that_move_by_enough_are_not_reported():
    evidence = run(150, torch.bfloat16, lr=1e-2, betas=(0.9, 0.95), state_dtype="float32")
    assert found(evidence) == []
    assert evidence.history.param_rounding[-50:].max() > 0


def test_a_standstill_explains_that_nothing_changes():
    evidence = run(100, torch.bfloat16, SGD, lr=1e-8)
    assert BY_NAME["no_update"].check(evidence)
    assert [symptom.rule for symptom in diagnose(evidence)] == ["param_rounding"]


def test_the_evidence_in_a_file_knows_how_things_are_kept(tmp_path):
    evidence = run(100, torch.bfloat16, SGD, lr=1e-8)
    evidence.save(tmp_path)
    loaded = Evidence.load(tmp_path)
    assert loaded.narrow == evidence.narrow == {n: [["param", "bfloat16", "nearest"]] for n in evidence.history.names}
    assert found(loaded) == ["param_rounding"]


def test_what_is_rounded_and_how():
    weight = torch.nn.Parameter(torch.zeros(80, 80, dtype=torch.bfloat16))
    weight.grad = torch.ones_like(weight)

    def known(**options):
        optimizer = AdamW([("w", weight)], **options)
        optimizer.step()
        return evidence_of_optimizer(optimizer).narrow.get("w", [])

    param = ["param", "bfloat16", "nearest"]
    # What was not asked for is as narrow as the parameter, and rounded by the tensor that it is written to.
    alike = [["exp_avg", "bfloat16", "nearest"], ["exp_avg_sq", "bfloat16", "nearest"]]
    assert known() == [param, *alike]
    assert known(param_bits="stochastic") == [[*each[:2], "stochastic"] for each in (param, *alike)]
    assert known(param_bits=24, rounding="nearest") == [["param", "24 bits", "nearest"]]
    assert known(param_bits=24) == [["param", "24 bits", "stochastic"]]
    assert known(param_bits=32) == []
    assert known(state_dtype="float32") == [param]
    chosen = {"state_dtype": {"exp_avg": "bfloat16", "exp_avg_sq": "float32"}, "rounding": "stochastic"}
    assert known(**chosen) == [param, ["exp_avg", "bfloat16", "stochastic"]]
    eight = [["exp_avg", "8 bits", "stochastic"], ["exp_avg_sq", "8 bits", "stochastic"]]
    assert known(state_dtype="8bit") == [param, *eight]
