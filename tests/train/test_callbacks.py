"""The callbacks that the library brings, each against the loop by hand that it stands for."""

import contextlib
import copy
import functools
import math
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import StepLR

from ravine import optim
from ravine._files import checkpoint
from ravine.errors import OptionError
from ravine.train import (
    Batches,
    BestCheckpoint,
    Callback,
    EarlyStopping,
    GradientAccumulation,
    GradientClipping,
    Learner,
    MixedPrecision,
    StopOnNaN,
    TensorBoard,
    TorchScheduler,
)


def model(dtype=torch.float64):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def data(*sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(sum(sizes), 5, generator=generator, dtype=dtype)
    targets = torch.randint(3, (sum(sizes),), generator=generator)
    return list(zip(inputs.split(sizes), targets.split(sizes), strict=True))


def joined(batches):
    inputs, targets = zip(*batches, strict=True)
    return torch.cat(inputs), torch.cat(targets)


class NoLength:
    """Batches whose number nobody knows before they are gone through."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def trained(batches, opt_func, callbacks, epochs=3, loss=cross_entropy, schedule=None, start=None, valid=None):
    net = start or model()
    learn = Learner(net, (batches, valid), loss, opt_func, (), callbacks=callbacks, quiet=True)
    learn.fit(epochs, schedule=schedule)
    return learn


def parameters(learn):
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def equal(learn, other, tolerance=1e-12):
    a, b = parameters(learn), parameters(other)
    assert (a - b).abs().max() <= tolerance * a.abs().max()
    assert (a - parameters(Start)).abs().max() > 1e-3  # something was trained


class Start:
    model = model()


SGD = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)
OPTIMIZERS = {
    "SGD": SGD,
    "Adam": functools.partial(torch.optim.Adam, lr=1e-2),
    "our RMSprop": functools.partial(optim.RMSprop, lr=1e-2, eps=1e-3),
}

# --- accumulation ----------------------------------------------------------------------------------------------------


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
        big.append(joined(batches[at : at + count]))
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

    big = [joined(batches[:3]), joined(batches[3:])]
    expected = trained(big, SGD, [], loss=big_loss)
    equal(trained(batches, SGD, [GradientAccumulation(3, count=tokens)], loss=loss), expected)
    by_rows = trained([b for b in batches if tokens(*b)], SGD, [GradientAccumulation(3)], loss=loss)
    assert (parameters(by_rows) - parameters(expected)).abs().max() > 1e-3


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
    for given, callbacks in ((batches, [GradientAccumulation(3)]), ([joined(batches)], [])):
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
    equal(learn, trained([joined(batches)], SGD, []))


# --- clipping --------------------------------------------------------------------------------------------------------


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
    equal(learn, trained([joined(batches)], SGD, [GradientClipping(0.2)]))
    assert len(clip.norms) == 3


# --- mixed precision -------------------------------------------------------------------------------------------------


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
    learn, _ = check_half(data(16, 16, 5, dtype=torch.float32), OPTIMIZERS[opt], [MixedPrecision()], torch.bfloat16)
    assert learn.loop.fit.outputs.dtype == torch.bfloat16


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


# --- stopping and keeping --------------------------------------------------------------------------------------------


class Fake(Callback):
    """Puts values into the table in place of those that were measured."""

    order = -100

    def __init__(self, values, column="valid_loss"):
        self.values, self.column = values, column

    def after_epoch(self, fit):
        fit.row[self.column] = self.values[fit.state.epoch - 1]


nan = math.nan


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2}, 4, "2 in epoch 2"),
        ([3, 2, 2.5, 1, 1, 1, 1], {"patience": 3}, 7, "1 in epoch 4"),
        ([3, 2, 1, 0.5], {"patience": 1}, 4, None),
        ([3, nan, nan, 1], {"patience": 2}, 3, "3 in epoch 1"),
        ([nan, nan, 1], {"patience": 2}, 2, ""),
        ([nan, 1, 1, 0], {"patience": 2}, 4, None),
        ([3, 2.9, 2.8, 2.7], {"patience": 2, "min_delta": 0.5}, 3, "3 in epoch 1"),
        ([3, 2.4, 1.9, 1.0], {"patience": 2, "min_delta": 0.5}, 4, None),
        ([3, 2, 1], {"patience": 1, "mode": "max"}, 2, "3 in epoch 1"),
        ([math.inf, math.inf], {"patience": 2}, 2, ""),
    ],
)
def test_early_stopping_waits_so_many_epochs(values, options, epochs, best):
    learn = Learner(model(), (data(4), data(4)), cross_entropy, SGD, (), quiet=True)
    learn.fit(len(values), callbacks=[Fake(values), EarlyStopping(**options)])
    assert len(learn.recorder.epochs) == epochs
    if best is None:
        assert learn.recorder.notes == []
    else:
        waited = options["patience"]
        expected = f"epoch {epochs}: valid_loss has not improved for {waited} epoch{'s' * (waited > 1)}: stopped"
        assert [text for _, text in learn.recorder.notes] == [expected + (f"; the best was {best}" if best else "")]


def test_early_stopping_on_a_metric_waits_for_it_to_rise():
    learn = Learner(model(), (data(4), data(4)), cross_entropy, SGD, {"f1": lambda o, t: 0.5}, quiet=True)
    stop = EarlyStopping(1, "f1")
    learn.fit(5, callbacks=[Fake([0.1, 0.2, 0.2], "f1"), stop])
    assert learn.state.epoch == 3
    assert (stop.best, stop.best_epoch) == (0.2, 2)
    learn.fit(5, callbacks=[Fake([0.1, 0.1], "f1"), stop])  # a new fit begins anew
    assert learn.state.epoch == 2


@pytest.mark.parametrize("callbacks", [[], [GradientAccumulation(2)]], ids=["plain", "accumulated"])
@pytest.mark.parametrize("bad", [nan, math.inf])
def test_stop_on_nan_comes_before_the_step(bad, callbacks):
    batches = data(4, 4, 4, 4)
    broken = [*batches[:2], (batches[2][0] * bad, batches[2][1]), batches[3]]
    good = trained(batches[:2], SGD, callbacks, 1)
    learn = trained(broken, SGD, [*callbacks, StopOnNaN()], 3)
    assert torch.equal(parameters(learn), parameters(good))
    state, expected = learn.optimizer.state_dict()["state"], good.optimizer.state_dict()["state"]
    assert all(torch.equal(state[i]["momentum_buffer"], expected[i]["momentum_buffer"]) for i in expected)
    assert learn.recorder.notes == [(3, "epoch 1, step 3: the loss is nan: stopped")]
    assert learn.recorder.losses[:2].tolist() == good.recorder.losses.tolist()
    assert len(learn.recorder.epochs) == 1
    learn.train = batches
    learn.fit(1)
    assert parameters(learn).isfinite().all()


def test_keep_best_gives_the_best_weights_back(tmp_path):
    seen = []

    class Look(Callback):
        def after_epoch(self, fit):
            seen.append(parameters(fit))

    best = BestCheckpoint()
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), folder=tmp_path / "run", quiet=True)
    learn.fit(4, callbacks=[Fake([3, 1, nan, 2]), Look(), best])
    assert torch.equal(parameters(learn), seen[1])
    assert not torch.equal(seen[1], seen[3])
    assert (best.best, best.best_epoch) == (1, 2)
    kept = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert (kept["epoch"], kept["valid_loss"]) == (2, 1)
    assert all(torch.equal(kept["model"][name], value) for name, value in learn.model.state_dict().items())


def test_keep_best_may_leave_the_last_weights():
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[Fake([1, 2]), BestCheckpoint(restore=False)])
    other = trained(data(8), SGD, [], 2)
    assert torch.equal(parameters(learn), parameters(other))


def test_keep_best_by_a_metric_and_by_its_mode():
    for options, epoch in (({"monitor": "score"}, 2), ({"monitor": "score", "mode": "min"}, 3)):
        learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, {"score": lambda o, t: 0}, quiet=True)
        best = BestCheckpoint(**options)
        learn.fit(3, callbacks=[Fake([0.5, 0.7, 0.3], "score"), best])
        assert best.best_epoch == epoch
        assert torch.equal(parameters(learn), parameters(trained(data(8), SGD, [], epoch)))


def test_a_later_fit_that_fails_does_not_bring_old_weights_back():
    best = BestCheckpoint()
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[best])
    learn.fit(2)
    weights = parameters(learn)
    with pytest.raises(OptionError):
        learn.fit(1, schedule="linear:5", callbacks=[best])
    assert torch.equal(parameters(learn), weights)


def test_all_weights_are_nan_where_no_epoch_was_best():
    learn = Learner(model(), (data(8), data(8)), cross_entropy, SGD, (), quiet=True)
    learn.fit(2, callbacks=[Fake([nan, nan]), BestCheckpoint()])
    assert torch.equal(parameters(learn), parameters(trained(data(8), SGD, [], 2)))


# --- TensorBoard -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_what_was_recorded(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    learn = Learner(
        model(),
        (data(4, 4, 4), data(8)),
        cross_entropy,
        torch.optim.Adam,
        {"share": lambda o, t: 0.25},
        folder=tmp_path / "run",
        callbacks=[TensorBoard(every=2)],
        quiet=True,
    )
    learn.fit(2, 1e-2)
    learn.fit(2, 1e-3)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()

    def curve(tag):
        return {event.step: event.value for event in events.Scalars(tag)}

    losses, lrs = learn.recorder.losses, learn.recorder.hyper("lr")
    steps = range(2, 13, 2)
    assert curve("train/loss") == pytest.approx({step: losses[step - 1] for step in steps}, rel=1e-6)
    assert curve("hyper/lr") == pytest.approx({step: lrs[step - 1] for step in steps}, rel=1e-6)
    assert curve("hyper/betas[1]") == pytest.approx(dict.fromkeys(steps, 0.999), rel=1e-6)
    column = learn.recorder.column("valid_loss")
    assert curve("epoch/valid_loss") == pytest.approx({i + 1: value for i, value in enumerate(column)}, rel=1e-6)
    assert curve("epoch/share") == {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}
    assert {"epoch/train_loss", "epoch/time"} <= set(events.Tags()["scalars"])
    assert "epoch/epoch" not in events.Tags()["scalars"]


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(ImportError, match=r"not installed: pip install 'ravine\[tensorboard\]'"):
        learn.fit(1, callbacks=[TensorBoard(tmp_path)])
    assert torch.equal(parameters(learn), parameters(Start))


def test_tensorboard_needs_a_folder():
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(OptionError, match="TensorBoard needs a folder"):
        learn.fit(1, callbacks=[TensorBoard()])


# --- options, and errors of a user's own -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientAccumulation(0), r"GradientAccumulation\(0\): give a whole number of batches, at least 1"),
        (lambda: GradientAccumulation(1.5), "whole number"),
        (lambda: GradientAccumulation(True), "whole number"),
        (lambda: GradientClipping(0), r"GradientClipping\(0\): give the largest norm, a number above 0"),
        (lambda: GradientClipping(nan), "a number above 0"),
        (lambda: GradientClipping("1"), "a number above 0"),
        (lambda: MixedPrecision(torch.float32), "the dtype is torch.bfloat16 or torch.float16"),
        (lambda: EarlyStopping(0), "patience 0 is not a number of epochs, at least 1"),
        (lambda: EarlyStopping(True), "patience True"),
        (lambda: EarlyStopping(2, min_delta=nan), "min_delta nan is not a number, 0 or above"),
        (lambda: EarlyStopping(2, min_delta=-1), "min_delta -1"),
        (lambda: EarlyStopping(2, mode="least"), "EarlyStopping: mode 'least' is neither 'min' nor 'max'"),
        (lambda: BestCheckpoint(mode="most"), "BestCheckpoint: mode 'most'"),
        (lambda: TensorBoard(every=0), "every 0 is not a number of steps"),
    ],
)
def test_impossible_options(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("make", [EarlyStopping, BestCheckpoint])
def test_a_column_that_will_not_be_there_is_said_before_training(make):
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    for monitor, message in (("valid_loss", "There is no validation data"), ("train_los", "Did you mean 'train_loss'")):
        with pytest.raises(OptionError, match=f"{make.__name__} watches '{monitor}', which is no column.*{message}"):
            learn.fit(1, callbacks=[make(monitor=monitor)])
    assert torch.equal(parameters(learn), parameters(Start))
    assert len(learn.recorder) == 0
    learn.fit(1, callbacks=[make(monitor="train_loss")])


def test_two_accumulations_are_refused():
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, (), quiet=True)
    with pytest.raises(OptionError, match="Two GradientAccumulation"):
        learn.fit(1, callbacks=[GradientAccumulation(2), GradientAccumulation(3)])


@pytest.mark.parametrize(
    "hook", ["before_fit", "before_epoch", "after_loss", "after_step", "after_batch", "after_epoch"]
)
def test_a_callback_that_raises_loses_nothing(hook, tmp_path):
    ended = []

    class Broken(Callback):
        pass

    def fail(self, fit):
        if hook in ("before_fit", "before_epoch") or fit.state.epoch == 2:
            raise ZeroDivisionError("by the user")

    setattr(Broken, hook, fail)

    class After(Callback):
        def after_fit(self, fit):
            ended.append(True)
            raise ValueError("in the end, too")

    learn = Learner(model(), (data(4, 4), data(8)), cross_entropy, SGD, (), folder=tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match="in the end, too") as caught:
        learn.fit(3, callbacks=[Broken(), After()])
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert ended == [True]
    epochs = {"before_fit": 0, "before_epoch": 0, "after_epoch": 2}.get(hook, 1)
    batches = {"before_fit": 0, "before_epoch": 0, "after_loss": 2, "after_step": 2, "after_batch": 3}.get(hook, 4)
    assert len(learn.recorder.epochs) == epochs
    assert len(learn.recorder.losses) == batches
    with contextlib.suppress(FileNotFoundError):
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert sum('"kind":"epoch"' in line for line in lines) == epochs
    learn.fit(1)
    assert len(learn.recorder.losses) == batches + 2


def test_the_display_ends_when_a_callback_raises(monkeypatch):
    from ravine.train import _learner as module
    from ravine.train._display import Display

    said = []

    class Spy(Display):
        def begin(self, columns, epochs, first=1):
            said.append("begin")

        def end(self):
            said.append("end")

    class Broken(Callback):
        def after_batch(self, fit):
            raise ZeroDivisionError

    monkeypatch.setattr(module, "display_for", lambda quiet: Spy())
    learn = Learner(model(), (data(4), None), cross_entropy, SGD, ())
    with pytest.raises(ZeroDivisionError):
        learn.fit(1, callbacks=[Broken()])
    assert said == ["begin", "end"]


def test_several_callbacks_on_real_batches_work_together(tmp_path):
    inputs, targets = joined(data(64, dtype=torch.float32))
    batches = Batches(inputs, targets, 16)
    learn = Learner(
        model(torch.float32),
        (batches, Batches(inputs, targets, 64, shuffle=False)),
        cross_entropy,
        optim.RMSprop,
        callbacks=[BestCheckpoint(), GradientClipping(1.0), MixedPrecision(), GradientAccumulation(2), StopOnNaN()],
        folder=tmp_path / "run",
        quiet=True,
    )
    learn.fit(3, 1e-2, TorchScheduler(StepLR, 4), callbacks=[EarlyStopping(2)])
    losses = learn.recorder.column("valid_loss")
    assert learn.validate()["valid_loss"] == pytest.approx(losses.min(), rel=1e-6)
    assert losses.min() < mse_loss(torch.ones(1), torch.zeros(1)) * 1.2
