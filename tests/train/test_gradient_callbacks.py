"""Gradient accumulation, clipping and mixed precision, each against the loop by hand that it stands for."""

import copy
import functools
import math

import pytest
import torch
from callback_runs import OPTIMIZERS, SGD, NoLength, Start, concatenated, data, equal, model, parameters, trained
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import StepLR

from ravine import optim
from ravine.errors import OptionError
from ravine.train import (
    Callback,
    GradientAccumulation,
    GradientClipping,
    Learner,
    MixedPrecision,
    StopOnNaN,
    TorchScheduler,
)

nan = math.nan


@pytest.mark.parametrize("opt", OPTIMIZERS)
@pytest.mark.parametrize("length", [True, False], ids=["with length", "without length"])
@pytest.mark.parametrize(
    ("sizes", "together", "groups"),
    [
        ((8, 8, 8, 8), 2, [2, 2]),
        ((8, 8, 8, 3), 2, [2, 2]),  # the last batch is smaller
        ((8, 8, 8, 8, 5), 3, [3, 2]),  # the last group is cut off
        ((4, 9, 1, 6, 2), 2, [2, 2, 1]),
        ((8, 5), 7, [2]),
        ((8, 5), 1, [1, 1]),
    ],
)
def test_accumulated_gradients_are_those_of_the_big_batch(opt, length, sizes, together, groups):
    batches, big, at = data(*sizes), [], 0
    for count in groups:
        big.append(concatenated(batches[at : at + count]))
        at += count
    given = batches if length else NoLength(batches)
    learn = trained(given, OPTIMIZERS[opt], [GradientAccumulation(together)])
    equal(learn, trained(big, OPTIMIZERS[opt], []))
    assert learn.state.step == 3 * len(groups)
    assert len(learn.recorder) == 3 * len(sizes)


def test_recorded_losses_are_those_of_the_batches_themselves():
    batches = data(8, 8, 3)
    learn = trained(batches, SGD, [GradientAccumulation(3)], epochs=1)
    expected = [cross_entropy(Start.model(x), y).item() for x, y in batches]
    assert learn.recorder.losses == pytest.approx(expected, abs=1e-14)


def test_gradients_go_on_adding_up_while_the_step_is_held_back():
    seen = []

    class Look(Callback):
        def after_batch(self, fit):
            seen.append((fit.step_skipped, fit.epoch_ends, fit.state.step))

        def after_step(self, fit):
            seen.append("step")

    trained(data(4, 4, 4, 4, 4), SGD, [GradientAccumulation(2), Look()], epochs=1)
    held, made = (True, False), (False, False)
    assert seen == [(*held, 0), "step", (*made, 1), (*held, 1), "step", (*made, 2), "step", (False, True, 3)]


def test_a_loss_that_ignores_padding_counts_what_it_does_not_ignore():
    """transformers#24725 and its like: a mean of means is not the mean where batches have unlike numbers of tokens."""
    generator = torch.Generator().manual_seed(3)
    batches = []
    for length in (3, 10, 1, 0, 7, 2):
        targets = torch.full((4, 6), -100)
        targets.view(-1)[:length] = torch.randint(3, (length,), generator=generator)
        batches.append((torch.randn(4, 6, 5, generator=generator, dtype=torch.float64), targets))

    def loss(outputs, targets):  # whose mean over nothing has the gradient NaN
        each = cross_entropy(outputs.flatten(0, 1), targets.flatten().clamp(min=0), reduction="none")
        return (each * (targets.flatten() != -100)).sum() / tokens(None, targets)

    def tokens(inputs, targets):
        return (targets != -100).sum()

    def big_loss(outputs, targets):
        return cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100)

    big = [concatenated(batches[:3]), concatenated(batches[3:])]
    expected = trained(big, SGD, [], loss=big_loss)
    equal(trained(batches, SGD, [GradientAccumulation(3, count=tokens)], loss=loss), expected)
    by_rows = trained([b for b in batches if tokens(*b)], SGD, [GradientAccumulation(3)], loss=loss)
    assert (parameters(by_rows) - parameters(expected)).abs().max() > 1e-3


@pytest.mark.parametrize("options", [{"weight": torch.tensor([1.0, 6.0, 0.5]).double()}, {"ignore_index": 1}])
def test_a_loss_of_torch_says_what_it_is_the_mean_over(options):
    """``cross_entropy`` divides by the weights of the targets that count, and so does the one large batch."""
    loss = nn.CrossEntropyLoss(**options)
    batches = data(8, 8, 3, 8, 8)
    batches[3] = (batches[3][0], torch.ones_like(batches[3][1]))  # for ignore_index a batch in which nothing counts
    big = [concatenated(batches[:4]), batches[4]]
    equal(trained(batches, SGD, [GradientAccumulation(4)], loss=loss), trained(big, SGD, [], loss=loss))


def test_a_group_without_items_makes_no_change():
    start = parameters(Start)
    learn = trained(data(4, 4), torch.optim.SGD, [GradientAccumulation(2, count=lambda x, y: 0)])
    assert torch.equal(parameters(learn), start)


def test_schedules_by_step_count_steps_of_the_optimizer():
    learn = trained(
        data(4, 4, 4, 4, 4), SGD, [GradientAccumulation(2)], epochs=2, schedule=TorchScheduler(StepLR, 1, gamma=0.5)
    )
    used = [0.1, 0.1, 0.05, 0.05, 0.025, 0.0125, 0.0125, 0.00625, 0.00625, 0.003125]
    assert learn.recorder.hyper("lr").tolist() == used
    per_epoch = trained(
        data(4, 4, 4), SGD, [GradientAccumulation(2)], 2, schedule=TorchScheduler(StepLR, 1, gamma=0.5, every="epoch")
    )
    assert per_epoch.recorder.hyper("lr").tolist() == [0.1] * 3 + [0.05] * 3


def test_sparse_gradients_add_up_too():
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randint(9, (n, 2), generator=generator), torch.randint(3, (n,))) for n in (4, 4, 2)]
    ends = []
    for given, callbacks in ((batches, [GradientAccumulation(3)]), ([concatenated(batches)], [])):
        torch.manual_seed(0)
        net = nn.Sequential(nn.EmbeddingBag(9, 3, sparse=True).double())
        ends.append(trained(given, torch.optim.SparseAdam, callbacks, start=net))
    torch.testing.assert_close(parameters(ends[0]), parameters(ends[1]), rtol=1e-11, atol=0)


def test_a_group_that_a_stop_cuts_off_does_not_reach_into_the_next_fit():
    class Once(Callback):
        def after_batch(self, fit):
            fit.stop("once")

    batches = data(6, 6)
    learn = Learner(model(), (batches, None), cross_entropy, SGD, (), quiet=True)
    accumulate = GradientAccumulation(2)
    learn.fit(1, callbacks=[accumulate, Once()])
    assert learn.loop.fit.step_skipped
    assert torch.equal(parameters(learn), parameters(Start))
    learn.fit(3, callbacks=[accumulate])
    equal(learn, trained([concatenated(batches)], SGD, []))


def test_clipping_is_torchs():
    batches, hand = data(8, 8, 3), model()
    optimizer, norms = SGD(hand.parameters()), []
    for inputs, targets in batches * 2:
        optimizer.zero_grad()
        cross_entropy(hand(inputs), targets).backward()
        norms.append(nn.utils.clip_grad_norm_(hand.parameters(), 0.3).item())
        optimizer.step()
    clip = GradientClipping(0.3)
    learn = trained(batches, SGD, [clip], epochs=2)
    assert clip.norms == norms
    assert max(norms) > 0.3
    assert all(torch.equal(a, b) for a, b in zip(learn.model.parameters(), hand.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:.* are trainable, but in no parameter group")
def test_only_what_is_stepped_counts_in_the_norm():
    """Gradients of parameters that no optimizer has are never set to zero: they add up for nothing."""
    net = model()
    clip = GradientClipping(1e9)
    learn = Learner(net, (data(8), None), cross_entropy, lambda p: SGD(net[2].parameters()), (), quiet=True)
    learn.fit(5, callbacks=[clip])
    inputs, targets = data(8)[0]
    hand = model()
    cross_entropy(hand(inputs), targets).backward()
    assert clip.norms[0] == pytest.approx(nn.utils.get_total_norm([p.grad for p in hand[2].parameters()]).item())
    assert clip.norms[-1] < clip.norms[0] * 1.5


def test_accumulation_and_clipping_clip_the_sum():
    batches = data(8, 8, 3)
    clip = GradientClipping(0.2)
    learn = trained(batches, SGD, [clip, GradientAccumulation(3)])
    equal(learn, trained([concatenated(batches)], SGD, [GradientClipping(0.2)]))
    assert len(clip.norms) == 3


def half_loop(batches, make, dtype, scaled, epochs=2, clip=None, together=1):
    """Mixed precision as torch's documentation writes it."""
    net = model(torch.float32)
    optimizer, losses = make(net.parameters()), []
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)
    for _ in range(epochs):
        for at in range(0, len(batches), together):
            optimizer.zero_grad()
            group = batches[at : at + together]
            for inputs, targets in group:
                with torch.autocast("cpu", dtype):
                    loss = cross_entropy(net(inputs), targets)
                losses.append(loss.item())
                scaler.scale(loss / len(group)).backward()
            if clip:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            scaler.step(optimizer)
            scaler.update()
    return net, losses, scaler


def check_half(batches, make, callbacks, dtype, tolerance=0.0, **hand):
    net, losses, scaler = half_loop(batches, make, dtype, dtype is torch.float16, **hand)
    learn = trained(batches, make, callbacks, epochs=2, start=model(torch.float32))
    if tolerance:
        assert learn.recorder.losses == pytest.approx(losses, rel=tolerance)
    else:
        assert learn.recorder.losses.tolist() == losses
    for mine, theirs in zip(learn.model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance / 10)
        assert mine.dtype == torch.float32
    return learn, scaler


@pytest.mark.parametrize("opt", OPTIMIZERS)
def test_bfloat16_is_autocast(opt):
    seen = set()

    class Outputs(Callback):
        def after_step(self, fit):
            seen.add(fit.outputs.dtype)

    batches = data(16, 16, 5, dtype=torch.float32)
    check_half(batches, OPTIMIZERS[opt], [MixedPrecision(), Outputs()], torch.bfloat16)
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize("opt", ["SGD", "our RMSprop", "torch RMSprop"])
def test_float16_is_a_grad_scaler(opt):
    make = {**OPTIMIZERS, "torch RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-2, eps=1e-3)}[opt]
    precision = MixedPrecision(torch.float16)
    learn, scaler = check_half(data(16, 16, 5, dtype=torch.float32), make, [precision], torch.float16, 1e-6)
    assert precision.scaler.get_scale() == scaler.get_scale()
    assert learn.state.step == 6


def overflowing(*sizes, at):
    """Batches of which number ``at`` overflows float16 in the gradient, though not in the loss."""
    batches = data(*sizes, dtype=torch.float32)
    batches[at] = (batches[at][0] * 1e3, batches[at][1])
    return batches


@pytest.mark.parametrize("make", [optim.RMSprop, torch.optim.RMSprop, SGD], ids=["ours", "torch", "SGD"])
def test_an_overflow_leaves_the_step_out(make):
    batches = overflowing(16, 16, 16, at=1)
    precision, seen, scales = MixedPrecision(torch.float16), [], []
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    hand = copy.deepcopy(net)

    class Look(Callback):
        def before_batch(self, fit):
            self.before = parameters(fit)

        def after_batch(self, fit):
            seen.append((fit.state.step, fit.step_skipped, not torch.equal(self.before, parameters(fit))))
            scales.append(precision.scaler.get_scale())

    learn = Learner(net, (batches, None), cross_entropy, make, (), quiet=True)
    learn.fit(1, 1e-3, TorchScheduler(StepLR, 1, gamma=0.5), callbacks=[precision, Look()])
    assert seen == [(1, False, True), (1, False, False), (2, False, True)]
    assert scales == [65536.0, 32768.0, 32768.0]
    assert learn.recorder.hyper("lr").tolist() == [1e-3, 5e-4, 5e-4]  # a step left out moves no schedule
    optimizer, scaler = make(hand.parameters(), lr=1e-3), torch.amp.GradScaler("cpu")
    for number, (inputs, targets) in enumerate(batches):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = cross_entropy(hand(inputs), targets)
        scaler.scale(loss).backward()
        optimizer.param_groups[0]["lr"] = 1e-3 if number == 0 else 5e-4
        scaler.step(optimizer)
        scaler.update()
    for mine, theirs in zip(net.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


def test_an_overflow_in_the_first_step():
    learn = trained(
        overflowing(16, 16, at=0),
        SGD,
        [MixedPrecision(torch.float16)],
        1,
        start=nn.Linear(5, 3),
        schedule=TorchScheduler(StepLR, 1, 0.5),
    )
    assert learn.state.step == 1
    assert learn.recorder.hyper("lr").tolist() == [0.1, 0.1]


@pytest.mark.parametrize("opt", OPTIMIZERS)
def test_float16_clipping_and_accumulation_together(opt):
    batches = data(16, 16, 16, 16, dtype=torch.float32)
    callbacks = [GradientClipping(0.1), MixedPrecision(torch.float16), GradientAccumulation(2)]
    for order in (callbacks, callbacks[::-1]):
        learn, _ = check_half(batches, OPTIMIZERS[opt], order, torch.float16, 1e-5, clip=0.1, together=2)
        assert learn.state.step == 4


def test_the_scale_goes_on_in_the_next_fit():
    precision = MixedPrecision(torch.float16)
    batches = data(16, dtype=torch.float32)
    learn = Learner(model(torch.float32), (batches, None), cross_entropy, SGD, (), quiet=True)
    learn.fit(1, callbacks=[precision])
    precision.scaler.update(1024.0)
    learn.fit(1, callbacks=[precision, StopOnNaN()])
    assert precision.scaler.get_scale() == 1024.0


def test_a_fit_that_ended_between_unscaling_and_step_does_not_break_the_next():
    precision = MixedPrecision(torch.float16)
    good = data(16, dtype=torch.float32)
    bad = [(good[0][0] * math.inf, good[0][1])]
    learn = Learner(model(torch.float32), (bad, None), cross_entropy, SGD, (), quiet=True)
    learn.fit(1, callbacks=[precision, StopOnNaN()])
    learn.train = good
    learn.fit(1, callbacks=[precision, StopOnNaN()])
    assert learn.state.step == 1


def test_two_that_want_to_make_the_step():
    learn = Learner(model(torch.float32), (data(4, dtype=torch.float32), None), cross_entropy, SGD, (), quiet=True)
    half = MixedPrecision(torch.float16)
    with pytest.raises(OptionError, match="MixedPrecision and MixedPrecision both want to make"):
        learn.fit(1, callbacks=[half, MixedPrecision(torch.float16)])


@pytest.mark.parametrize(
    "callback", [GradientAccumulation(2), GradientClipping(1.0), MixedPrecision(torch.float16)], ids=repr
)
def test_an_optimizer_that_computes_its_own_gradients_is_refused(callback):
    learn = Learner(model(), (data(4), None), cross_entropy, torch.optim.LBFGS, (), quiet=True)
    with pytest.raises(OptionError, match=f"{type(callback).__name__} cannot be used with LBFGS"):
        learn.fit(1, callbacks=[callback])
    assert torch.equal(parameters(learn), parameters(Start))
