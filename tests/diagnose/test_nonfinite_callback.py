"""``fit(..., find_nonfinite=True)``: the fit ends before the step that would break the model, and says what broke."""

import copy
import functools
import os
import socket

import pytest
import torch
from forked import PIPE, TRAINS_TOGETHER, Forked
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from ravine.diagnose import FindNonFinite, reproduce
from ravine.train import (
    Callback,
    GradientAccumulation,
    GradientClipping,
    Learner,
    MixedPrecision,
    StopOnNaN,
)

SGD = functools.partial(torch.optim.SGD, lr=0.01)


class At(nn.Module):
    """A function of its input, but only from its ``call``-th batch on."""

    def __init__(self, call, function):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.call, self.function = call, function

    def forward(self, x):
        if not self.training:
            return x
        self.calls += 1
        return self.function(x) if self.calls >= self.call else x


def log_of_0(x):
    return (x * (torch.arange(8) != 2)).abs().log()


def root_at_0(x):
    return x + (x * 0).square().sqrt()


def net(function=log_of_0, call=3):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), At(call, function), nn.Linear(8, 2))


def batches(count=5):
    generator = torch.Generator().manual_seed(2)
    return [(torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator)) for _ in range(count)]


def learner(model, *callbacks, data=None, loss=mse_loss, **options):
    return Learner(model, (data or batches(), None), loss, SGD, (), callbacks=callbacks, quiet=True, **options)


class Before(Callback):
    """The model before each batch."""

    order = -1000

    def before_batch(self, fit):
        self.state = copy.deepcopy(fit.model.state_dict())


def said(learn):
    return " | ".join(text for _, text in learn.recorder.notes)


@pytest.mark.parametrize(("fault", "where"), [(log_of_0, "the loss is nan"), (root_at_0, "a gradient is not finite")])
@pytest.mark.parametrize("others", [(), (StopOnNaN(),), (GradientClipping(1.0),), (GradientAccumulation(2),)])
def test_the_fit_ends_before_the_step(fault, where, others, tmp_path):
    before = Before()
    learn = learner(net(fault), before, *others, folder=tmp_path)
    learn.fit(2, find_nonfinite=True)
    assert len(learn.recorder) == 3
    assert learn.state.step == (1 if any(isinstance(c, GradientAccumulation) for c in others) else 2)
    *_, (_, finding), (at, reason) = learn.recorder.notes
    assert at == 3
    assert finding.startswith("module '3' (At)")
    if fault is root_at_0:
        assert reason == f"epoch 1, step 3: {where}, from module '3' (At): stopped before the step"
    assert reason.endswith("from module '3' (At): stopped before the step")
    now = learn.model.state_dict()
    assert all(torch.equal(now[name], before.state[name]) for name in now)  # buffers, too
    file = tmp_path / "nan-3.safetensors"
    assert str(file) in finding
    assert str(reproduce(file, learn.model)) == finding


def test_without_a_fault_nothing_changes(tmp_path):
    plain, traced = learner(net(call=100)), learner(net(call=100), folder=tmp_path)
    torch.manual_seed(3)
    plain.fit(2)
    torch.manual_seed(3)
    traced.fit(2, find_nonfinite=True)
    mine, other = traced.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert (traced.state.step, said(traced)) == (10, "")
    assert not list(tmp_path.glob("nan*"))


def test_the_dropout_of_the_broken_batch_is_replayed(tmp_path):
    """Other callbacks draw, too, before the forward pass begins."""

    class Draws(Callback):
        order = 50

        def before_batch(self, fit):
            torch.rand(3)

    counts = []

    def counting(x):
        counts.append(int((x == 0).sum()))
        return x.abs().log()

    learn = learner(net(counting), Draws())
    learn.fit(1, find_nonfinite=True)
    assert len(counts) == 3  # in training, to find it, and to keep it
    assert len(set(counts)) == 1
    assert f"-inf in {counts[0]} of 64 elements" in said(learn)


def test_one_cycle_takes_it_and_the_random_states_are_left():
    learn = learner(net(), data=batches(4))
    learn.fit_one_cycle(1, 0.01, find_nonfinite=True)
    assert "module '3' (At)" in said(learn)


def test_a_bad_batch_and_a_bad_loss_are_named(tmp_path):
    data = batches()
    data[1][0][5, 1] = float("nan")
    learn = learner(net(call=100), data=data, folder=tmp_path)
    learn.fit(1, find_nonfinite=True)
    assert "inputs of the batch: NaN in 1 of 32 elements, first at [5, 1]" in said(learn)
    assert "step 2" in said(learn)

    learn = learner(net(call=100), loss=lambda outputs, targets: (outputs * 1e30).square().mean())
    learn.fit(1, find_nonfinite=True)
    assert "the loss (<lambda>) gave inf" in said(learn)


def test_a_fit_goes_on_after_it():
    learn = learner(net())
    learn.fit(1, find_nonfinite=True)
    learn.model[3].function = nn.Identity()
    learn.fit(1, find_nonfinite=True)
    assert learn.state.step == 5
    assert all(p.isfinite().all() for p in learn.model.parameters())


def test_a_fault_that_does_not_come_again_still_ends_the_fit():
    class Once(nn.Module):
        broken = False

        def forward(self, x):
            first, self.broken = not self.broken, True
            return x * float("nan") if first else x

    learn = learner(nn.Sequential(nn.Linear(4, 2), Once()))
    learn.fit(1, find_nonfinite=True)
    assert "When it was run again, the batch was finite" in said(learn)
    assert learn.state.step == 0


def test_a_model_that_cannot_run_again_does_not_break_the_fit():
    class Twice(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 1:
                raise ValueError("no more")
            return x.log()

    learn = learner(nn.Sequential(nn.Linear(4, 2), Twice()))
    learn.fit(1, find_nonfinite=True)
    assert "could not be run again to find where it came from: no more" in said(learn)


def test_what_cannot_be_kept_in_a_file_is_said(tmp_path):
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.first = Applies(), nn.Linear(4, 2)

        def forward(self, x):
            return self.inner(self.first(x), torch.log)

    class Applies(nn.Module):
        def forward(self, x, function):
            return function(x)

    learn = learner(Asks(), folder=tmp_path)
    learn.fit(1, find_nonfinite=True)
    assert "module 'inner' (Applies) gave NaN" in said(learn)
    assert "No file reproduces it: " in said(learn)


@pytest.mark.parametrize("factor", [1e20, 1e30])
def test_large_gradients_are_finite(factor):
    """Their squares are not."""
    learn = learner(nn.Linear(4, 2), loss=lambda outputs, targets: outputs.mean() * factor)
    learn.fit(1, lr=1e-35, find_nonfinite=True)
    assert learn.state.step == 5
    assert not said(learn)


def test_complex_sparse_and_empty_gradients_are_looked_at():
    class Kinds(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Embedding(5, 2, sparse=True)
            self.turns = nn.Parameter(torch.ones(2, dtype=torch.cfloat))
            self.none = nn.Parameter(torch.zeros(0))

        def forward(self, x):
            return self.rows(x) + self.turns.real + self.none.sum()

    data = [(torch.arange(4), torch.randn(4, 2))] * 2

    learn = learner(Kinds(), data=data)
    learn.fit(1, find_nonfinite=True)
    assert learn.state.step == 2
    learn = learner(Kinds(), data=data, loss=lambda outputs, targets: (outputs * 0).square().sum().sqrt())
    learn.fit(1, find_nonfinite=True)
    assert "the loss (<lambda>): its gradient is not finite" in said(learn)


# --- together with others --------------------------------------------------------------------------------------------


def test_gradients_that_a_scaled_loss_overflows_are_no_fault():
    skipped = []

    class Count(Callback):
        def after_batch(self, fit):
            skipped.append(not all(p.grad.isfinite().all() for p in fit.model.parameters()))

    precision = MixedPrecision(torch.float16)
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    learn = learner(net(call=100), precision, Count())
    learn.fit(1, find_nonfinite=True)
    assert all(skipped)
    assert (len(skipped), learn.state.step) == (5, 0)
    assert not said(learn)


def test_a_loss_that_float16_overflows_is_traced_under_autocast():
    learn = learner(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), MixedPrecision(torch.float16))
    learn.model[0].weight.data *= 1e6
    learn.fit(1, find_nonfinite=True)
    assert "float16 ends at 65504" in said(learn)
    assert "'0' (Linear)" in said(learn)


def test_a_batch_in_which_nothing_counts_is_no_fault():
    """The mean over nothing is NaN, and accumulation leaves it out."""
    data = [(torch.randn(4, 4), torch.tensor(t)) for t in ([0, 1, 1, 0], [-100] * 4, [1, 0, -100, 1])]
    model = nn.Linear(4, 2)
    accumulation = GradientAccumulation(3, count=lambda inputs, targets: float((targets >= 0).sum()))
    learn = learner(model, accumulation, data=data, loss=cross_entropy)
    learn.fit(1, find_nonfinite=True)
    assert learn.state.step == 1
    assert not said(learn)


def test_a_run_is_resumed_with_it_or_without(tmp_path):
    for traced in (False, True, False):
        learn = learner(net(call=1000), folder=tmp_path)
        learn.fit(2, checkpoint_every="epoch", find_nonfinite=traced, resume=True)
    assert len(learn.recorder) == 10


def test_an_optimizer_with_a_closure_may_be_traced():
    learn = Learner(net(call=2), (batches(), None), mse_loss, torch.optim.LBFGS, (), quiet=True)
    learn.fit(1, find_nonfinite=True)
    assert "'3' (At)" in said(learn) or "parameter" in said(learn)


def test_lr_find_goes_on_where_the_loss_breaks():
    learn = learner(net(call=100), FindNonFinite(), data=batches(20))
    found = learn.lr_find(1e-3, 1e10, steps=20, orders=1)
    assert len(found.rates) == 20
    assert not said(learn)


PROCESSES = """
import sys, torch
from torch import nn
from torch.nn.functional import mse_loss
from ravine.train import Batches, Learner, MixedPrecision, _parallel as parallel

class Log(nn.Module):
    def forward(self, x):
        return x.log()

parallel.start()
torch.manual_seed(1)
inputs = torch.rand(64, 4) + 1
model = nn.Sequential(nn.Linear(4, 4), Log(), nn.Linear(4, 2))
for p in model.parameters():
    p.data.abs_()
inputs[5] = -9  # one row: the share of one process
data = Batches(inputs, torch.zeros(64, 2), 8, shuffle=False)
learn = Learner(model, (data, None), mse_loss, lambda p: torch.optim.SGD(p, 0.0), (), folder=sys.argv[1])
learn.fit(1, find_nonfinite=True, callbacks=[MixedPrecision(torch.float16)])
# a file each: what two processes print may be mixed
with open(f"{sys.argv[1]}-{parallel.rank()}.txt", "w") as file:
    print(len(learn.recorder), [text for _, text in learn.recorder.notes], file=file)
parallel.leave()
"""


@pytest.mark.slow  # two processes, which wait for each other
def test_all_processes_stop_where_one_has_a_fault(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(PROCESSES)
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    told = {"TORCHELASTIC_RUN_ID": "one", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    both = [
        Forked(
            [script, tmp_path / "run"],
            after=TRAINS_TOGETHER,
            env={**os.environ, **told, "RANK": rank},
            stderr=PIPE,
            text=True,
        )
        for rank in "01"
    ]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    told = [(tmp_path / f"run-{rank}.txt").read_text() for rank in (0, 1)]
    assert all("module '1' (Log) gave NaN" in line and line.startswith("1 [") for line in told), told
    assert (tmp_path / "run" / "nan-1.safetensors").exists()
