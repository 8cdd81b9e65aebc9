"""``ravine.watch.diagnose(optimizer)`` in a loop without a Learner."""

import copy
import dataclasses
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from tiny_runs import digits, mlp, on_digits
from torch.nn import functional

from ravine import diagnose, optim, watch
from ravine.diagnose._optimizer_evidence import evidence_of_optimizer
from ravine.errors import OptionError


def loop(optimizer, steps, tell=True, change=None, model=None):
    """Train on digits; returns the optimizer and the losses."""
    torch.manual_seed(0)
    model = model or mlp(64, 50, 10)
    made = optimizer(model.named_parameters())
    losses, batches = [], [batch for _ in range(-(-steps // 22)) for batch in digits()[0]][:steps]
    for step, (inputs, targets) in enumerate(batches):
        made.zero_grad()
        loss = functional.cross_entropy(model(change(inputs, step) if change else inputs), targets)
        loss.backward()
        if tell:
            made.watch.loss(loss)
        made.step()
        losses.append(loss.item())
    return made, losses


def rules(optimizer):
    return [symptom.rule for symptom in watch.diagnose(optimizer)]


def test_losses_and_rates_are_those_of_the_steps():
    model = mlp(64, 50, 10)
    torch.manual_seed(0)
    made = optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(made, 3, 0.5)
    told = [1.5, torch.tensor([2.5]), torch.tensor(3.5, requires_grad=True), np.float32(4.5)]
    for value in told:
        made.watch.loss(value)
        made.step()
        schedule.step()
    np.testing.assert_array_equal(made.watch.losses, [1.5, 2.5, 3.5, 4.5])
    np.testing.assert_allclose(made.watch.hypers["lr"], [0.1, 0.1, 0.1, 0.05])


def test_a_loss_that_is_added_to_later_stays_what_it_was():
    made = optim.SGD(mlp(4, 2).parameters(), lr=0.1)
    total = torch.zeros(())
    for _ in range(3):
        total += 1
        made.watch.loss(total)
    assert made.watch.losses.tolist() == [1, 2, 3]


@pytest.mark.parametrize("wrong", ["much", torch.ones(3), None])
def test_what_is_no_loss(wrong):
    made = optim.SGD(mlp(4, 2).parameters(), lr=0.1)
    with pytest.raises(OptionError, match=r"watch\.loss"):
        made.watch.loss(wrong)
    assert not len(made.watch.losses)


def test_a_healthy_loop_and_one_whose_rate_is_too_high():
    healthy, _ = loop(partial(optim.RMSprop, lr=2e-3), 138)
    found = watch.diagnose(healthy)
    assert not found
    assert found.headline == "No problem found in 138 steps"
    assert "the loss of 138 steps, the history of 4 parameters" in found.examined
    wild, _ = loop(partial(optim.SGD, lr=50.0), 138)
    assert rules(wild)[0] == "rate_too_high"
    assert "The learning rate was 50" in watch.diagnose(wild)[0].evidence


def test_the_same_as_what_a_learner_or_torch_has_seen():
    """The evidence of a loop says what one that is computed beside it with torch's operations says."""
    made, _ = loop(partial(optim.SGD, lr=1e-7), 138)
    beside = on_digits(partial(mlp, 64, 50, 10), partial(torch.optim.SGD, lr=1e-7))
    assert rules(made) == [s.rule for s in diagnose.diagnose(beside)] == ["rate_too_low"]


def test_without_losses_it_says_what_it_can():
    def nan_at_3(inputs, step):
        return inputs * float("nan") if step == 2 else inputs

    made, _ = loop(partial(optim.Adam, lr=1e-3), 40, tell=False, change=nan_at_3)
    found = watch.diagnose(made)
    assert [s.rule for s in found] == ["nonfinite"]
    assert "at step 3" in found[0].evidence
    assert found.headline == "1 problem found in 40 steps"
    assert "Not available: losses" in found.examined


def test_a_factor_outside_its_range_is_named_and_not_a_logarithm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, _ = loop(partial(optim.RMSprop, lr=1e-3, alpha=9.0), 60)
    found = watch.diagnose(made)
    assert found[0].rule == "outside_range"
    assert "alpha was 9" in found[0].evidence
    assert "logarithm" not in str(found)


def test_losses_are_kept_with_the_watch():
    made, losses = loop(partial(optim.SGD, lr=0.1), 30)
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_allclose(other.watch.losses, losses)
    fresh = optim.SGD(mlp(64, 50, 10).parameters(), lr=0.1)
    fresh.watch.load_state_dict(made.watch.state_dict())
    np.testing.assert_allclose(fresh.watch.losses, losses)
    np.testing.assert_allclose(fresh.watch.hypers["lr"], 0.1)
    fresh.watch.loss(1.0)
    assert len(made.watch.losses) == 30
    assert len(fresh.watch.losses) == 31


def test_who_records_nothing_is_told_what_to_do():
    params = list(mlp(4, 2).parameters())
    with pytest.raises(OptionError, match=r"Make it with ravine\.optim"):
        watch.diagnose(torch.optim.SGD(params, lr=0.1))
    with pytest.raises(
        OptionError,
        match=r"torch\.optim\.SGD is torch's.*Make it with ravine\.optim\.SGD\(\.\.\.\), which.*diagnose\(learn\)",
    ):
        watch.diagnose(torch.optim.SGD(params, lr=0.1))
    with pytest.raises(
        OptionError,
        match=r"torch\.optim\.LBFGS is torch's.*Make it with ravine\.optim, where there is such an optimizer\. Or diagnose\(learn\)",
    ):
        watch.diagnose(torch.optim.LBFGS(params))
    with pytest.raises(OptionError, match="Leave watch=False out"):
        watch.diagnose(optim.SGD(params, lr=0.1, watch=False))
    with pytest.raises(OptionError, match=r"give an optimizer of ravine\.optim, a Learner, the folder"):
        watch.diagnose(3)


def test_steps_that_change_nothing_are_found():
    params = [torch.nn.Parameter(torch.ones(3))]
    forgotten, still = optim.Adam(params), optim.SGD(params, lr=0.0)
    for _ in range(50):
        forgotten.step()
    for _ in range(50):
        params[0].grad = torch.ones(3)
        still.step()
    (found,) = watch.diagnose(forgotten)
    assert (
        found.evidence
        == "No parameter had a gradient in any of 50 steps: call backward() before step(), and zero_grad() not between the two."
    )
    assert rules(still) == ["no_update"]
    assert watch.diagnose(still)[0].evidence.endswith("though there were gradients. The learning rate was 0.")


def test_gradients_that_are_cleared_before_the_step_are_told_of_zero_grad():
    model = mlp(4, 8, 2)
    for to_none, rule in ((True, "no_gradient"), (False, "zero_gradient")):
        optimizer = optim.Adam(model.parameters())
        for _ in range(30):
            model(torch.ones(5, 4)).square().mean().backward()
            optimizer.zero_grad(set_to_none=to_none)
            optimizer.step()
        (found,) = watch.diagnose(optimizer)
        assert found.rule == rule
        assert "zero_grad()" in found.evidence
        if to_none:
            assert "zero_grad not between the two" in str(optimizer.watch.last)


def test_before_the_first_step_nothing_is_found():
    found = watch.diagnose(optim.SGD(mlp(4, 2).parameters(), lr=0.1))
    assert not found
    assert found.headline == "Nothing to diagnose yet: no step was made"


@pytest.mark.parametrize("place", ["optimizer", "opt", "optim", "optimizers"])
def test_the_optimizer_in_a_trainers_wrapper_is_found(place):
    made, _ = loop(partial(optim.SGD, lr=1e4), 60)

    class Wrapper:
        pass

    wrapper = Wrapper()
    setattr(wrapper, place, [made] if place == "optimizers" else made)
    assert rules(wrapper) == rules(made) != []


def test_a_wrapper_without_an_optimizer_of_ours_is_refused():
    class Wrapper:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)

    with pytest.raises(OptionError, match=r"diagnose\(Wrapper\): give an optimizer of ravine.optim"):
        watch.diagnose(Wrapper())
    with pytest.raises(OptionError, match="is torch's and records nothing"):
        watch.diagnose(Wrapper.optimizer)


def nothing_to_learn(kind, seed, steps=300):
    """A loop at a usual rate whose loss cannot fall: only the noise of its batches moves it."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    made = optim.Adam(model.named_parameters(), lr=1e-2)
    inputs = torch.randn(256, 20)
    targets = 3 * inputs[:, 0] + 2 * inputs[:, 1] - 3 * inputs[:, 2]
    for _ in range(steps):
        rows = torch.randint(256, (64,))
        made.zero_grad()
        outputs = model(inputs[rows])
        if kind == "random labels":
            loss = functional.cross_entropy(outputs, torch.randint(2, (64,)))
        elif kind == "noise":
            loss = (outputs[:, 0] - torch.randn(64)).square().mean()
        elif kind == "heavy tails":
            loss = (outputs[:, 0] - torch.distributions.StudentT(4.0).sample((64,))).square().mean()
        else:
            loss = (outputs[:, :1] - targets[rows]).square().mean()
        loss.backward()
        made.watch.loss(loss)
        made.step()
    return made


@pytest.mark.slow  # trains for seconds
@pytest.mark.parametrize("kind", ["broadcast", "noise", "random labels", "heavy tails"])
def test_the_noise_of_batches_is_no_rise(kind):
    """Of 6 runs none; before noise was looked at, it was most of them."""
    assert not [seed for seed in range(6) if "rate_too_high" in rules(nothing_to_learn(kind, seed))]


@pytest.mark.parametrize("seed", [0, 2])
def test_a_rise_beyond_the_noise_is_found(seed):
    """A rate that grows until it undoes what was learned, without a jump."""

    def grow(optimizer, step):
        optimizer.param_groups[0]["lr"] = 1e-3 * 500 ** (step / 184)

    model = partial(mlp, 64, 50, 10)
    found = diagnose.diagnose(on_digits(model, partial(optim.Adam, lr=1e-3), epochs=8, seed=seed, each_step=grow))
    assert found[0].rule == "rate_too_high"
    assert "The loss fell from" in found[0].evidence


def fit_of(optimizer, model, loss=functional.cross_entropy, scale=1.0, steps=80):
    """Train on digits whose pixels are multiplied, and tell the losses."""
    torch.manual_seed(0)
    made = optimizer(model.parameters())
    batches = [batch for _ in range(-(-steps // 22)) for batch in digits()[0]][:steps]
    for inputs, targets in batches:
        made.zero_grad()
        value = loss(model(scale * inputs), targets)
        made.watch.loss(value)
        value.backward()
        made.step()
    return made


def test_a_loss_that_is_thrown_up_and_stays_there_is_found_though_it_is_as_noisy_as_it_is_high():
    found = [rules(fit_of(partial(optim.SGD, lr=rate), mlp(64, 50, 10))) for rate in (30.0, 50.0, 80.0)]
    assert all(each[0] == "rate_too_high" for each in found), found


def test_a_loss_that_never_comes_back_is_found_in_few_steps_too():
    """As of a small GPT with RMSprop at a rate of 30."""
    made = fit_of(partial(optim.RMSprop, lr=30.0), mlp(64, 50, 10), steps=40)
    height = 1e6 * np.exp(np.random.default_rng(0).normal(0, 0.6, 39))
    known = dataclasses.replace(evidence_of_optimizer(made), losses=np.array([3.5, *height]))
    assert [symptom.rule for symptom in diagnose.diagnose(known)][:1] == ["rate_too_high"]


def test_a_loss_that_is_thrown_away_is_found_though_it_ends_below_its_start():
    made = fit_of(partial(optim.SGD, lr=0.1), mlp(64, 50, 10), scale=4080.0)
    assert made.watch.losses[-10:].mean() < made.watch.losses[0] / 10  # the units have died: it is that of a constant
    assert rules(made)[0] == "rate_too_high"


def negative(outputs, targets):
    return -functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("loss", [functional.nll_loss, negative])
@pytest.mark.parametrize("optimizer", [partial(optim.SGD, lr=0.1), partial(optim.Adam, lr=3e-3)])
def test_a_loss_without_a_lower_bound_is_found(loss, optimizer):
    made = fit_of(optimizer, mlp(64, 50, 10), loss, steps=200)
    assert np.nanmin(made.watch.losses) < -100  # some become NaN in the end
    assert rules(made)[0] == "endless"


def test_a_density_that_is_learned_is_no_such_loss():
    """The negative logarithm of a density, summed over its dimensions, goes far below 0 and slows down."""
    torch.manual_seed(0)
    mean, logarithm = torch.zeros(64, requires_grad=True), torch.zeros(64, requires_grad=True)
    made = optim.Adam([mean, logarithm], lr=0.1)
    for _ in range(200):
        points = 1e-3 * torch.randn(64, 64) + 0.3
        made.zero_grad()
        loss = -torch.distributions.Normal(mean, logarithm.exp()).log_prob(points).sum(1).mean()
        made.watch.loss(loss)
        loss.backward()
        made.step()
    assert made.watch.losses[-1] < -100
    assert "endless" not in rules(made)
