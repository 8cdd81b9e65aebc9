"""What the recorder says a training was like is what a plain loop of torch measures, and its file says the same."""

import copy
import json
import math
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from ravine.errors import DataError, OptionError
from ravine.optim import Adam, RMSprop
from ravine.train import Batches, Callback, Fit, Learner, Recorder, TorchScheduler
from ravine.train._data_order import DataOrder
from ravine.train._display import Display
from ravine.train._forward import ForwardPass
from ravine.train._interrupt import Interrupt
from ravine.train._loop import Loop
from ravine.train._schedules.one_cycle import OneCycle

STEPS = 4  # in an epoch


def rows():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(30, 5, generator=generator), torch.randint(0, 3, (30,), generator=generator)


def batches():
    return Batches(*rows(), 8)


def model():
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))


def learner(opt_func=RMSprop, folder=None, **options):
    options = {"loss": cross_entropy, **options}
    return Learner(model(), (batches(), batches()), opt_func=opt_func, folder=folder, quiet=True, **options)


def smoothing_of_fastai(losses, beta=0.98):
    """AvgSmoothLoss: val = lerp(loss, val, beta), divided by 1 - beta**count."""
    value, found = 0.0, []
    for count, loss in enumerate(losses, 1):
        value = loss + beta * (value - loss)
        found.append(value / (1 - beta**count))
    return np.array(found)


def same_in_the_file(learn):
    recorder, read = learn.recorder, Recorder.load(learn.folder)
    assert len(read) == len(recorder)
    np.testing.assert_array_equal(read.losses, recorder.losses)
    np.testing.assert_array_equal(read.smoothed, recorder.smoothed)
    assert sorted(read.hyper_names) == sorted(recorder.hyper_names)
    for name in recorder.hyper_names:
        np.testing.assert_array_equal(read.hyper(name), recorder.hyper(name))
    for part, seconds in recorder.seconds.items():
        np.testing.assert_allclose(read.seconds[part], seconds, rtol=0, atol=1e-7)
    assert json.dumps([read.epochs, read.notes]) == json.dumps([recorder.epochs, recorder.notes])


def test_losses_are_those_of_a_loop_of_torch_before_each_step():
    net, data = model(), batches()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=0.01)
    expected, sizes = [], []
    for epoch in range(3):
        for inputs, targets in data.epoch(epoch):
            optimizer.zero_grad()
            loss = cross_entropy(net(inputs), targets)
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
            sizes.append(len(targets))
    learn = learner(torch.optim.RMSprop)
    learn.fit(2, 0.01)
    learn.fit(1, 0.01)
    assert learn.recorder.losses.tolist() == expected
    np.testing.assert_allclose(learn.recorder.smoothed, smoothing_of_fastai(expected), rtol=1e-12)
    assert learn.recorder.smooth_loss == learn.recorder.smoothed[-1]
    assert len(set(sizes)) > 1, "a mean over rows differs from one over batches only where these differ in size"
    of_rows = [np.average(expected[i : i + STEPS], weights=sizes[i : i + STEPS]) for i in range(0, 3 * STEPS, STEPS)]
    np.testing.assert_allclose(learn.recorder.column("train_loss"), of_rows, rtol=1e-12)
    assert learn.recorder.column("epoch").tolist() == [1, 2, 1]
    assert learn.recorder.column("step").tolist() == [4, 8, 12]
    assert len(learn.recorder) == 12


def test_before_anything_there_is_nothing():
    recorder = Recorder()
    assert (len(recorder), recorder.losses.tolist(), recorder.smoothed.tolist()) == (0, [], [])
    assert math.isnan(recorder.smooth_loss)
    assert recorder.hyper_names == []
    assert {part: s.tolist() for part, s in recorder.seconds.items()} == {
        part: [] for part in ("data", "forward", "backward", "step")
    }


class Really(Callback):
    """Notes what the optimizer is given at each of its steps, by torch's own hook."""

    def before_fit(self, fit):
        self.found = getattr(self, "found", [])
        self.handle = fit.optimizer.register_step_pre_hook(self.look)

    def look(self, optimizer, args, kwargs):
        self.found.append(
            [
                {name: copy.deepcopy(value) for name, value in group.items() if name != "params"}
                for group in optimizer.param_groups
            ]
        )

    def after_fit(self, fit):
        self.handle.remove()

    def of(self, name, group=0):
        return np.array([[float(v) for v in np.atleast_1d(step[group][name])] for step in self.found]).squeeze()


def step_lr():
    return TorchScheduler(lr_scheduler.StepLR, step_size=3, gamma=0.5)


@pytest.mark.parametrize("opt_func", [RMSprop, Adam, torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("schedule", [step_lr, lambda: OneCycle(0.02), lambda: None])
def test_hyperparameters_are_those_that_each_step_really_had(opt_func, schedule, tmp_path):
    really = Really()
    learn = learner(opt_func, tmp_path, callbacks=[really])
    for _ in range(2):
        learn.fit(2, None if isinstance(schedule(), OneCycle) else 0.03, schedule())
    assert len(really.found) == len(learn.recorder) == 16
    numbers = {
        name
        for name, value in learn.optimizer.param_groups[0].items()
        if name in learn.optimizer.defaults and isinstance(value, int | float | tuple) and not isinstance(value, bool)
    }
    assert set(learn.recorder.hyper_names) == numbers
    for name in numbers:
        np.testing.assert_array_equal(learn.recorder.hyper(name), really.of(name))
    last = learn.recorder.last_hypers()
    assert last["lr"] == really.of("lr")[-1]
    same_in_the_file(learn)


def two_groups(parameters):
    first, *rest = parameters
    return torch.optim.Adam([{"params": [first], "betas": (0.8, 0.9)}, {"params": rest}])


def test_every_group_has_its_own(tmp_path):
    really = Really()
    learn = learner(two_groups, tmp_path, callbacks=[really])
    learn.fit(2, 0.03, step_lr())
    assert learn.recorder.hyper("betas").tolist() == [[0.8, 0.9]] * 8
    for group, suffix in enumerate(("", "/1")):
        for name in ("lr", "betas", "eps"):
            np.testing.assert_array_equal(learn.recorder.hyper(name + suffix), really.of(name, group))
    same_in_the_file(learn)


@pytest.mark.filterwarnings("ignore:The loss depends on 1 tensor of shape")  # as it is not in the optimizer yet
def test_a_group_that_is_added_later_has_no_values_before(tmp_path):
    extra = torch.nn.Parameter(torch.ones(3))
    learn = learner(folder=tmp_path, loss=lambda outputs, targets: cross_entropy(outputs * extra, targets))
    learn.fit(1, 0.01)
    learn.optimizer.add_param_group({"params": [("extra", extra)], "lr": 0.5})
    learn.fit(1)
    assert learn.recorder.hyper("lr").tolist() == [0.01] * 8
    np.testing.assert_array_equal(learn.recorder.hyper("lr/1"), [np.nan] * 4 + [0.5] * 4)
    same_in_the_file(learn)


def test_a_rate_in_a_tensor_is_looked_at_anew_at_each_step(tmp_path):
    really = Really()
    rate = torch.tensor(0.02, dtype=torch.float64)
    learn = learner(lambda parameters: torch.optim.Adam(parameters, lr=rate), tmp_path, callbacks=[really])
    learn.fit(2, 0.02, step_lr())
    np.testing.assert_array_equal(learn.recorder.hyper("lr"), really.of("lr"))
    assert learn.recorder.hyper("lr").tolist() == [0.02] * 3 + [0.01] * 3 + [0.005] * 2
    same_in_the_file(learn)


def test_what_is_said_within_a_batch_loses_no_change(tmp_path):
    class Talks(Callback):
        def after_step(self, fit):
            fit.say(f"step {fit.state.step}")

    learn = learner(folder=tmp_path, callbacks=[Talks()])
    learn.fit(1, 0.02, step_lr())
    assert learn.recorder.notes == [(n, f"step {n + 1}") for n in range(4)]
    assert learn.recorder.hyper("lr").tolist() == [0.02] * 3 + [0.01]
    same_in_the_file(learn)


def test_the_file_after_fits_in_a_row_and_losses_that_are_not_finite(tmp_path):
    values = iter([1.0, math.nan, 2.0, math.inf, -math.inf] + [0.5] * 100)

    def value():
        return next(values) if torch.is_grad_enabled() else 0.5  # the rest for training alone

    learn = learner(folder=tmp_path, loss=lambda o, t: cross_entropy(o, t) * 0 + value(), metrics=[])
    for lr in (0.1, 0.1, 0.2):
        learn.fit(1, lr)
    recorder = learn.recorder
    assert recorder.losses[0] == 1.0
    assert np.isnan(recorder.losses[1])
    assert np.isnan(recorder.smoothed[1:]).all()
    assert recorder.hyper("lr").tolist() == [0.1] * 8 + [0.2] * 4
    same_in_the_file(learn)
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    changes = [tuple(change) for line in lines for change in line.get("hypers", ()) if change[1] == "lr"]
    assert changes == [(0, "lr", 0.1), (8, "lr", 0.2)]


def test_a_recorder_that_goes_back_sees_a_rate_that_is_the_one_it_saw_last(tmp_path):
    learn = learner(folder=tmp_path)
    learn.fit(1, 0.1)
    learn.save(tmp_path / "kept")
    learn.fit(1, 0.2)
    learn.load(tmp_path / "kept")
    learn.fit(1, 0.2)
    assert learn.recorder.hyper("lr").tolist() == [0.1] * 4 + [0.2] * 4
    same_in_the_file(learn)


def test_a_file_in_another_folder_has_the_whole_past_of_what_was_loaded(tmp_path):
    learn = learner(folder=tmp_path / "one")
    learn.fit(2, 0.1, "step:3,0.5", callbacks=[SaysAtTheEnd()])
    learn.save(tmp_path / "kept")
    other = learner(folder=tmp_path / "two")
    other.load(tmp_path / "kept")
    other.fit(1, 0.3)
    assert other.recorder.losses[:8].tolist() == learn.recorder.losses.tolist()
    assert other.recorder.notes == [(4, "over"), (8, "over")]
    same_in_the_file(other)


class SaysAtTheEnd(Callback):
    def after_epoch(self, fit):
        fit.say("over")


def test_a_file_that_cannot_be_written_for_a_while_has_no_gap(tmp_path, monkeypatch):
    learn = learner(folder=tmp_path)
    learn.fit(1, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(learn.recorder.journal, "append", fails)
        with pytest.raises(OptionError, match="disk"):
            learn.fit(1, 0.2)
    learn.fit(1, 0.1)
    assert Recorder.load(tmp_path).losses.tolist() == learn.recorder.losses.tolist()
    assert Recorder.load(tmp_path).hyper("lr").tolist() == learn.recorder.hyper("lr").tolist()


def fails(line):
    raise OptionError("the disk is full")


def test_many_changes_are_kept_as_tensors():
    """The JSON of a checkpoint holds 100 MB; one entry for each step would fill it."""
    learn = learner()
    learn.fit(1, 0.1, step_lr())
    state = learn.recorder.state_dict()
    assert {type(t) for kept in state["hypers"].values() for t in kept.values()} == {torch.Tensor}
    other = Recorder()
    other.load_state_dict(state)
    assert other.hyper("lr").tolist() == learn.recorder.hyper("lr").tolist()


class Time:
    """A clock that goes only while something is said to take time: a busy machine tells nothing."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def take(self, seconds):
        self.now += seconds


def slow_parts(clock, data, forward, backward, step, epochs=1):
    """A loop whose parts take so many seconds in each batch, by that clock."""

    class Data(list):
        def __iter__(self):
            for batch in super().__iter__():
                clock.take(data)
                yield batch

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, outputs):
            clock.take(forward)
            return outputs.clone()

        @staticmethod
        def backward(ctx, gradient):
            clock.take(backward)
            return gradient

    def loss(outputs, targets):
        return cross_entropy(Backward.apply(outputs), targets)

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    optimizer.register_step_pre_hook(lambda *_: clock.take(step))
    forward_pass = ForwardPass(net)
    fit = Fit(forward_pass, loss, {}, Data(batches()), None, optimizer, Recorder(), Display(), epochs=epochs)
    loop = Loop(fit, [], DataOrder(), clock)
    loop.begin()
    loop.run(Interrupt())
    loop.finish()
    return fit.recorder


def test_seconds_are_counted_where_they_are_spent():
    taken = {"data": 1.0, "forward": 2.0, "backward": 4.0, "step": 8.0}
    recorder = slow_parts(Time(), **taken, epochs=2)
    assert {part: s.tolist() for part, s in recorder.seconds.items()} == {
        part: [seconds] * 2 * STEPS for part, seconds in taken.items()
    }
    assert recorder.column("time").tolist() == [15.0 * STEPS] * 2


def test_seconds_are_seconds():
    learn = learner(torch.optim.SGD)
    learn.optimizer.register_step_pre_hook(lambda *_: time.sleep(0.02))
    began = time.perf_counter()
    learn.fit(1, 0.01)
    seconds = learn.recorder.seconds
    assert seconds["step"].min() >= 0.02
    assert all(s.min() >= 0 for s in seconds.values())
    assert sum(s.sum() for s in seconds.values()) <= learn.recorder.epochs[0]["time"] <= time.perf_counter() - began


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.hyper("alfa"), r"No hyperparameter 'alfa' was recorded. Did you mean 'alpha'\? Known: alpha"),
        (lambda r: r.column("accurcy"), r"no 'accurcy'. Did you mean 'accuracy'\?"),
        (lambda r: r.plot_lr_find(), r"nothing to plot before learn.lr_find\(\)"),
    ],
)
def test_what_was_not_recorded(call, message):
    learn = learner()
    learn.fit(1, 0.01)
    with pytest.raises(OptionError, match=message):
        call(learn.recorder)


def test_a_file_that_is_not_there_or_is_damaged(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.jsonl cannot be read"):
        Recorder.load(tmp_path)
    learner(folder=tmp_path).fit(1, 0.01)
    path = tmp_path / "metrics.jsonl"
    assert Recorder.load(path).losses.tolist() == Recorder.load(str(tmp_path)).losses.tolist()
    content = path.read_bytes()
    path.write_bytes(b"{" + content)
    with pytest.raises(DataError, match="line 1 is damaged"):
        Recorder.load(path)
    (tmp_path / "my_task.py").write_text("import torch\n")
    with pytest.raises(DataError, match=r"my_task\.py is not what a run recorded: name the run's folder"):
        Recorder.load(tmp_path / "my_task.py")
    for line in (b'{"kind":"note","text":"a"}', b'{"kind":"steps","loss":1}', b'{"kind":"stepz"}', b'{"a":1}'):
        path.write_bytes(line + b"\n" + content)  # as an older version might have written it, damaged
        with pytest.raises(DataError, match=r"metrics\.jsonl, line 1 is not a recorder's line"):
            Recorder.load(path)
