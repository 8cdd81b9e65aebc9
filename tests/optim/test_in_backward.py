"""Steps inside backward: the numbers of a step after it, gradients let go of, and what cannot be done so."""

from __future__ import annotations

import gc
import warnings
import weakref

import pytest
import torch
from torch import nn

from ravine import backends
from ravine.errors import NonFiniteError, OptionError, ParameterError
from ravine.formula import minimum as smaller
from ravine.formula import norm
from ravine.optim import Adam, AdamW, Muon, Optimizer, Prodigy, RMSprop, pieces
from ravine.train import Learner


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 3))


def rows(step):
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(step))


def losses(net, optimizer, steps, first=0, accumulate=1):
    made = []
    for step in range(first, first + steps):
        loss = net(rows(step)).square().mean()
        loss.backward()
        made.append(float(loss.detach()))
        if (step + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    return made


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (AdamW, {"lr": 1e-2}),
        (RMSprop, {"lr": 1e-2, "momentum": 0.9, "centered": True}),
        (Adam, {"lr": 1e-2, "ema_decay": 0.9, "cautious": True, "fused": False}),
        (Muon, {"lr": 1e-2}),
        (Adam, {"lr": 1e-2, "state_dtype": "bfloat16", "rounding": "stochastic"}),
    ],
)
def test_the_numbers_are_those_of_a_step_after_backward(cls, options):
    ours, plain = model(), model()
    inside, after = cls(ours.parameters(), **options), cls(plain.parameters(), **options)
    inside.in_backward()
    assert losses(ours, inside, 6) == losses(plain, after, 6)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)
        assert inside.state[p].keys() == after.state[q].keys()
        for name, value in inside.state[p].items():
            assert torch.equal(value, after.state[q][name])
    assert [g.keys() for g in inside.state_dict()["param_groups"]] == [
        g.keys() for g in after.state_dict()["param_groups"]
    ]


def test_a_gradient_is_gone_before_the_next_is_there():
    net, most = model(), []
    living = weakref.WeakSet()
    optimizer = AdamW(net.parameters())

    def count(p):
        living.add(p.grad)
        most.append(len(living))

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(count)
    optimizer.in_backward()
    losses(net, optimizer, 2)
    assert max(most) == 1
    assert all(p.grad is None for p in net.parameters())


def test_accumulation_steps_in_every_so_many_passes():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward(every=3)
    for step in range(6):
        ours(rows(step)).square().mean().backward()
        assert all((p.grad is None) == (step % 3 == 2) for p in ours.parameters())
    losses(plain, after, 6, accumulate=3)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_scheduler_groups_and_a_state_dict():
    def made(net):
        first, *rest = net.children()
        groups = [{"params": first.parameters(), "lr": 0.05}, {"params": [p for m in rest for p in m.parameters()]}]
        optimizer = AdamW(groups, lr=1e-2)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)

    ours, plain = model(), model()
    (inside, decay), (after, other) = made(ours), made(plain)
    inside.in_backward()
    for step in range(4):
        losses(ours, inside, 1, step)
        losses(plain, after, 1, step)
        decay.step()
        other.step()
    resumed = model()
    resumed.load_state_dict(ours.state_dict())
    second, _ = made(resumed)
    second.in_backward()
    second.load_state_dict(inside.state_dict())
    losses(resumed, second, 3, 4)
    losses(plain, after, 3, 4)
    for p, q in zip(resumed.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)


def test_states_that_the_user_replaces_are_taken():
    ours, plain = model(), model()
    inside, after = Adam(ours.parameters(), lr=1e-2), Adam(plain.parameters(), lr=1e-2)
    inside.in_backward()
    for step in range(4):
        losses(ours, inside, 1, step)
        losses(plain, after, 1, step)
        if step == 1:
            for net, optimizer in ((ours, inside), (plain, after)):
                p = net[0].weight
                optimizer.state[p]["exp_avg"] = torch.ones_like(p)
                del optimizer.state[net[2].bias]
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_watch_has_the_same_figures():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward()
    losses(ours, inside, 21)
    losses(plain, after, 21)
    assert inside.watch.steps == after.watch.steps == 21
    for name in map(str, range(6)):
        a, b = inside.watch.last[name], after.watch.last[name]
        assert (a.grad_norm, a.param_norm, a.update_norm) == (b.grad_norm, b.param_norm, b.update_norm)


def test_a_layer_that_takes_no_part():
    net = model()
    optimizer = AdamW(net.parameters(), lr=1e-2)
    optimizer.in_backward()
    net[0](rows(0)).square().mean().backward()
    losses(net, optimizer, 2, 1)
    assert float(optimizer.state[net[0].weight]["step"]) == 3
    assert float(optimizer.state[net[4].weight]["step"]) == 2
    assert optimizer.watch.steps == 3


def test_it_ends():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    with inside.in_backward() as steps:
        assert repr(steps) == "StepsInBackward(AdamW, 6 parameters, every=1)"
        losses(ours, inside, 2)
    losses(ours, inside, 2, 2)
    losses(plain, after, 4)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)
    assert inside.watch.steps == 4


def test_a_norm_of_one_tensor_is_exact():
    def clip(grad, *, longest):
        return grad * smaller(1.0, longest / norm(grad))

    ours, plain = model(), model()
    inside, after = (Optimizer(net.parameters(), [clip, pieces.descend], lr=0.1, longest=0.01) for net in (ours, plain))
    inside.in_backward()
    assert losses(ours, inside, 3) == losses(plain, after, 3)


def test_gradients_that_are_not_finite():
    net = model()
    optimizer = AdamW(net.parameters(), nonfinite="raise")
    optimizer.in_backward()
    before = [p.detach().clone() for p in net.parameters()]
    with pytest.raises(NonFiniteError, match="the gradient of parameter 5"):
        (net(rows(0)) * torch.inf).sum().backward()
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    skipping = model()
    optimizer = AdamW(skipping.parameters(), nonfinite="skip")
    optimizer.in_backward()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (skipping(rows(0)) * torch.inf).sum().backward()
    assert all(torch.equal(p, b) for p, b in zip(skipping.parameters(), before, strict=True))


def same(ours, plain):
    return all(torch.equal(p, q) for p, q in zip(ours.parameters(), plain.parameters(), strict=True))


def test_groups_that_a_state_dict_brings_are_followed():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward()
    losses(ours, inside, 2)
    losses(plain, after, 2)
    saved = after.state_dict()
    saved["param_groups"][0]["lr"] = 0.3
    inside.load_state_dict(saved)
    after.load_state_dict(saved)
    for step in range(2, 4):
        losses(ours, inside, 1, step)
        losses(plain, after, 1, step)
        inside.param_groups[0]["lr"] = after.param_groups[0]["lr"] = 0.05
    assert same(ours, plain)


def test_parameters_that_join_or_thaw_later_are_stepped():
    ours, plain = model(), model()
    made = []
    for net, optimizer in ((ours, None), (plain, None)):
        net[0].requires_grad_(False)
        optimizer = AdamW([*net[0].parameters(), *net[2].parameters()], lr=1e-2)
        if net is ours:
            optimizer.in_backward()
        losses(net, optimizer, 1)
        net[0].requires_grad_(True)
        optimizer.add_param_group({"params": net[4].parameters(), "lr": 0.1})
        optimizer.zero_grad()
        net[4].zero_grad()
        losses(net, optimizer, 3, 1)
        made.append(optimizer)
    assert same(ours, plain)


def test_gradients_set_by_hand_are_stepped_by_step():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward()
    for net, optimizer in ((ours, inside), (plain, after)):
        for p in net.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert same(ours, plain)


def test_accumulation_counts_passes_and_keeps_gradients_from_zero_grad():
    """A layer that takes no part in a pass stays in step; ``zero_grad()`` may stay in the loop."""
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward(every=2)
    for step in range(6):
        for net, optimizer in ((ours, inside), (plain, after)):
            part = net if step != 3 else net[0]
            part(rows(step)).square().mean().backward()
            if net is ours or step % 2:
                optimizer.step()
                optimizer.zero_grad()
    assert same(ours, plain)


def test_a_pass_that_breaks_is_forgotten():
    ours, plain = model(), model()
    inside, after = AdamW(ours.parameters(), lr=1e-2), AdamW(plain.parameters(), lr=1e-2)
    inside.in_backward(every=2)

    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        ours[4](ours[3](ours[2](Breaks.apply(ours[1](ours[0](rows(0))))))).sum().backward()
    ours.zero_grad()
    for step in range(2):
        ours(rows(step)).square().mean().backward()
    losses(plain, after, 2, accumulate=2)
    assert same(ours, plain)


def test_policies_that_change_later_hold():
    net = model()
    optimizer = AdamW(net.parameters())
    optimizer.in_backward()
    losses(net, optimizer, 1)
    optimizer.nonfinite = "raise"
    with pytest.raises(NonFiniteError, match="was not stepped; those whose gradients came before it"):
        (net(rows(0)) * torch.inf).sum().backward()
    net.zero_grad()
    optimizer.nonfinite = "propagate"
    optimizer.param_groups[0]["clip_norm"] = 0.1
    with pytest.raises(OptionError, match="clip_norm is of all gradients"):
        losses(net, optimizer, 1)
    net.zero_grad()
    del optimizer.param_groups[0]["clip_norm"]
    losses(net, optimizer, 1)


def test_a_pass_with_something_left_out_counts_once():
    net = model()
    optimizer = AdamW(net.parameters(), nonfinite="skip")
    optimizer.in_backward()
    with pytest.warns(UserWarning, match="nonfinite='skip'"):
        (net(rows(0)) * torch.inf).sum().backward()
    assert optimizer.skipped == 1


@pytest.mark.parametrize("on_device", [False, True])
def test_accumulation_goes_on_after_a_pass_that_raised(on_device, monkeypatch):
    if on_device:
        monkeypatch.setattr(backends, "on_host", lambda device: False)
    net, raised = model(), []
    optimizer = AdamW(net.parameters(), nonfinite="raise", fused=False)
    optimizer.in_backward(every=2)
    for step in range(8):
        try:
            (net(rows(step)).square().mean() * (torch.nan if step in (1, 4) else 1)).backward()
        except NonFiniteError:
            raised.append(step)
            optimizer.zero_grad()
    assert raised == [1, 5]  # the fifth pass accumulates, and the sixth would step with what it left


@pytest.mark.filterwarnings("ignore:nonfinite='skip'")
@pytest.mark.parametrize("on_device", [False, True])
def test_what_is_skipped_is_passes_on_a_device_too(on_device, monkeypatch):
    if on_device:
        monkeypatch.setattr(backends, "on_host", lambda device: False)
    net, found, bad = model(), [], [1.0]
    next(net.parameters()).register_hook(lambda grad: grad * bad[0])  # the others are as they were
    optimizer = AdamW(net.parameters(), nonfinite="skip", fused=False)
    optimizer.in_backward()
    for step in range(5):
        bad[0] = torch.nan if step in (1, 3) else 1.0
        net(rows(step)).square().mean().backward()
        found.append(optimizer.skipped)
    assert found == [0, 1, 1, 2, 2]


def test_no_step_inside_averages():
    net = model()
    optimizer = AdamW(net.parameters(), ema_decay=0.9)
    optimizer.in_backward()
    losses(net, optimizer, 1)
    with optimizer.averaged(), pytest.raises(ParameterError, match="the parameters are their averages"):
        losses(net, optimizer, 1)


def test_a_model_and_its_optimizer_can_be_let_go_of():
    net = model()
    optimizer = AdamW(net.parameters())
    optimizer.in_backward()
    losses(net, optimizer, 1)
    seen = weakref.ref(net[0].weight), weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert seen[1]() is None
    net(rows(0)).sum().backward()
    assert net[0].weight.grad is not None  # nobody steps it any more
    del net
    gc.collect()
    assert seen[0]() is None


def test_a_learner_refuses_it():
    def made(params):
        optimizer = AdamW(params)
        optimizer.in_backward()
        return optimizer

    learn = Learner(model(), ([(rows(0), torch.zeros(5, 3))], None), nn.functional.mse_loss, made)
    with pytest.raises(OptionError, match="makes its steps in backward"):
        learn.fit(1, 0.1)


def test_what_cannot_be_done():
    net = model()
    with pytest.raises(OptionError, match=r"in_backward\(\) steps a parameter before .* clip_norm is of all gradients"):
        AdamW(net.parameters(), clip_norm=1.0).in_backward()
    with pytest.raises(OptionError, match="keeps d_numerator|keeps .* for all of them"):
        Prodigy(net.parameters()).in_backward()
    with pytest.raises(OptionError, match=r"in_backward\(every=0\)"):
        AdamW(net.parameters()).in_backward(every=0)
    optimizer = AdamW(net.parameters())
    optimizer.in_backward()
    with pytest.raises(TypeError, match=r"after in_backward\(\)"):
        optimizer.step(lambda: 0.0)
    optimizer.found_inf = torch.zeros(1)
    with pytest.raises(OptionError, match="GradScaler after in_backward"):
        optimizer.step()
