"""Schedule-Free SGD and AdamW: the paper's lines in NumPy, the two places of the parameters, checkpoints, the Learner."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from ravine.errors import ParameterError
from ravine.optim import AdamWScheduleFree, SGDScheduleFree
from ravine.train import Callback, Learner

PATHS = pytest.mark.parametrize("fused", [None, False], ids=["kernel", "eager"])
SGD = {"lr": 0.5, "momentum": 0.8, "weight_decay": 0.01, "warmup_steps": 5, "r": 0.5}
ADAMW = {"lr": 0.02, "betas": (0.85, 0.99), "weight_decay": 0.05, "warmup_steps": 7, "weight_lr_power": 1.0}
EACH = pytest.mark.parametrize(("cls", "options"), [(SGDScheduleFree, SGD), (AdamWScheduleFree, ADAMW)])


class Paper:
    """x is the average, z what the steps move, y = (1 - beta) z + beta x where gradients are taken."""

    def __init__(self, start, lr, warmup_steps, weight_decay, beta, beta2=None, eps=1e-8, r=0.0, power=2.0):
        self.x, self.z, self.y = start.copy(), start.copy(), start.copy()
        self.lr, self.warmup, self.decay, self.beta, self.beta2, self.eps = (
            lr,
            warmup_steps,
            weight_decay,
            beta,
            beta2,
            eps,
        )
        self.r, self.power, self.v = r, power, np.zeros_like(start)
        self.t, self.sum, self.largest = 0, 0.0, 0.0

    def step(self, gradient):
        self.t += 1
        rate = self.lr * min(1.0, self.t / self.warmup)
        direction = gradient
        if self.beta2 is not None:
            self.v = self.beta2 * self.v + (1 - self.beta2) * gradient**2
            direction = gradient / (np.sqrt(self.v / (1 - self.beta2**self.t)) + self.eps)
        self.largest = max(self.largest, rate)
        weight = self.t**self.r * self.largest**self.power
        self.sum += weight
        self.z = self.z - rate * (direction + self.decay * self.y)
        self.x = self.x + weight / self.sum * (self.z - self.x)
        self.y = (1 - self.beta) * self.z + self.beta * self.x


def paper(cls, start):
    if cls is SGDScheduleFree:
        return Paper(start, 0.5, 5, 0.01, 0.8, r=0.5)
    return Paper(start, 0.02, 7, 0.05, 0.85, 0.99, power=1.0)


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in ((5, 3), (4,))]


def give(params, k):
    generator = torch.Generator().manual_seed(k)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)


@EACH
@PATHS
def test_the_papers_lines(cls, options, fused):
    params = [Parameter(x.clone()) for x in problem()]
    wanted = [paper(cls, p.detach().numpy()) for p in params]
    optimizer = cls(params, fused=fused, **options)
    for k in range(60):
        give(params, k)
        optimizer.step()
        for p, one in zip(params, wanted, strict=True):
            one.step(p.grad.numpy())
            np.testing.assert_allclose(p.detach().numpy(), one.y, rtol=1e-11, atol=1e-12)
    with optimizer.averaged():
        for p, one in zip(params, wanted, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), one.x, rtol=1e-10, atol=1e-12)
    assert optimizer.param_groups[0]["k"] == 60
    assert optimizer.param_groups[0]["weight_sum"] == pytest.approx(wanted[0].sum)


@EACH
def test_eval_is_the_average_and_train_undoes_it(cls, options):
    params = [Parameter(x.clone()) for x in problem()]
    optimizer = cls(params, **options)
    for k in range(5):
        give(params, k)
        optimizer.step()
    before = [p.detach().clone() for p in params]
    with optimizer.averaged():
        averages = [p.detach().clone() for p in params]
        with pytest.raises(ParameterError, match="averaged"):
            optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    optimizer.eval()
    optimizer.eval()
    for p, average, b in zip(params, averages, before, strict=True):
        torch.testing.assert_close(p.detach(), average, rtol=0, atol=0)
        assert not torch.equal(p, b)
    with pytest.raises(ParameterError, match=r"call optimizer.train\(\) before the forward pass"):
        optimizer.step()
    with optimizer.averaged():  # they are there already
        assert torch.equal(params[0], averages[0])
    optimizer.train()
    for p, b in zip(params, before, strict=True):
        torch.testing.assert_close(p.detach(), b, rtol=1e-14, atol=1e-14)


@EACH
def test_a_checkpoint_knows_which_weights_it_goes_with(cls, options):
    params = [Parameter(x.clone()) for x in problem()]
    optimizer = cls(params, **options)
    for k in range(5):
        give(params, k)
        optimizer.step()
    optimizer.eval()
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in params], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = [Parameter(p.clone()) for p in saved["params"]]
    fresh = cls(resumed, **options)
    fresh.load_state_dict(saved["optimizer"])
    give(resumed, 5)
    with pytest.raises(ParameterError, match="saved after optimizer.eval"):
        fresh.step()
    for one, mine in ((optimizer, params), (fresh, resumed)):
        one.train()
        give(mine, 5)
        one.step()
    assert all(torch.equal(p, q) for p, q in zip(params, resumed, strict=True))
    copied = copy.deepcopy(fresh)
    assert copied.param_groups[0]["train_mode"] is True


def test_the_learner_trains_at_one_place_and_evaluates_at_the_other():
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    x = torch.randn(64, 6)
    y = (x @ torch.randn(6, 3)).argmax(1)
    batches = [(x[:32], y[:32]), (x[32:], y[32:])]
    seen = []

    class Look(Callback):
        def before_batch(self, fit):
            seen.append(fit.optimizer.param_groups[0]["train_mode"])

    loss = torch.nn.functional.cross_entropy
    learn = Learner(model, (batches, batches), loss, AdamWScheduleFree, (), quiet=True)
    learn.fit(3, 0.05, callbacks=[Look()])
    assert seen == [True] * 6
    assert learn.optimizer.param_groups[0]["train_mode"] is False  # the model is what was evaluated
    (*_, valid_loss) = learn.recorder.column("valid_loss")
    with torch.no_grad():
        now = sum(float(loss(model(a), b)) for a, b in batches) / 2
    assert valid_loss == pytest.approx(now, rel=1e-5)
    assert learn.validate()["valid_loss"] == pytest.approx(now, rel=1e-5)
    learn.fit(1, 0.05)
    assert seen == [True] * 6
