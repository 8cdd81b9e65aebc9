"""A run that was stopped anywhere and gone on with is bit for bit the run that was never stopped."""

import functools
import os
import signal
from pathlib import Path

import interrupted_runs
import numpy as np
import pytest
import safetensors.torch
import torch
from forked import run_forked
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from interrupted_runs import (
    SCENARIOS,
    SCHEDULED,
    Killed,
    Rows,
    batches,
    differences,
    everything,
    learner,
    loader,
    model,
    rows,
    seed,
    stopped,
    whole,
)
from torch.nn.functional import cross_entropy

from ravine.errors import DataError, OptionError, StateError
from ravine.optim import Adam, Optimizer, RMSprop
from ravine.train import Batches, BestCheckpoint, Callback, EarlyStopping, Learner, Recorder

reference = functools.cache(whole)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Small models need no second thread; what survives a loss of power is tested where files are written."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
    torch.set_num_threads(threads)


def same_in_the_file(recorder, folder):
    """The file tells what the recorder does: no line is there twice or missing."""
    read = Recorder.load(folder)
    assert read.losses.tobytes() == recorder.losses.tobytes()
    assert read.smoothed.tobytes() == recorder.smoothed.tobytes()
    assert sorted(read.hyper_names) == sorted(recorder.hyper_names)
    for name in recorder.hyper_names:
        np.testing.assert_array_equal(read.hyper(name), recorder.hyper(name))
    for part, seconds in recorder.seconds.items():
        np.testing.assert_allclose(read.seconds[part], seconds, rtol=0, atol=1e-7)
    assert (read.epochs, read.notes) == (recorder.epochs, recorder.notes)


def files_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("name", SCENARIOS)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_run_stopped_at_any_moments_ends_as_if_it_had_never_been_stopped(name, tmp_path_factory, data):
    expected, moments = reference(name)
    folder = tmp_path_factory.mktemp("run")
    every = data.draw(st.sampled_from([1, 2, 5, "epoch"]), "checkpoint_every")
    strikes = data.draw(st.lists(st.integers(1, moments), min_size=1, max_size=3), "moments")
    for strike in [*strikes, None]:
        done, learn = stopped(name, folder, strike, every)
        if done:  # perhaps before the last strike, which the end was nearer than
            break
    assert done
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, folder)
    assert b'"start"' not in (folder / "metrics.jsonl").read_bytes()  # it went on, and was not told again


def test_weights_of_two_places_are_looked_at_and_left_where_they_are(tmp_path):
    """A resumed fit tries the validation first; going there and back would round."""
    expected, moments = reference("weights of two places, best")
    for moment in range(moments // 3, moments, moments // 6):
        folder = tmp_path / str(moment)
        assert not stopped("weights of two places, best", folder, moment, 1)[0]
        done, learn = stopped("weights of two places, best", folder, None, 1)
        assert done
        assert differences(expected, everything(learn)) == []


@pytest.mark.parametrize("name", SCHEDULED)
def test_every_kind_of_schedule_goes_on(name, tmp_path):
    expected, moments = reference(name)
    assert not stopped(name, tmp_path, moments * 2 // 5, 1)[0]
    done, learn = stopped(name, tmp_path, None, 1)
    assert done
    assert differences(expected, everything(learn)) == []


@pytest.mark.parametrize("every", [1, "epoch"])
@pytest.mark.parametrize("after", ["the epoch's last batch", "an epoch", "half the validation"])
def test_the_end_of_an_epoch_is_not_lost_and_not_done_twice(after, every, tmp_path):
    name = "Batches, RMSprop"
    expected, _ = reference(name)
    where = {"the epoch's last batch": ("after_batch", 6), "an epoch": ("after_epoch", 1), "half the validation": None}
    strike = Strike(*where[after]) if where[after] else Strike("metric", 3)  # one call is the rehearsal
    seed(0)
    learn, fit = learner(name, strike, tmp_path)
    with pytest.raises(Killed):
        fit(checkpoint_every=every, resume=True)
    done, learn = stopped(name, tmp_path, None, every)
    assert done
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, tmp_path)


@pytest.mark.parametrize(
    ("name", "hook", "count", "every"),
    [
        ("stopped by a callback, rows validated in any order", "after_batch", 9, 1),
        ("bfloat16, best and early", "after_epoch", 2, "epoch"),
    ],
)
def test_a_fit_that_a_callback_stopped_is_ended_if_the_process_was_killed_before(name, hook, count, every, tmp_path):
    expected, _ = reference(name)
    assert len(expected["epochs"]) == 2
    assert expected["notes"]
    seed(0)
    learn, fit = learner(name, Strike(hook, count), tmp_path)
    with pytest.raises(Killed):
        fit(checkpoint_every=every, resume=True)
    assert learn.recorder.notes == []
    done, learn = stopped(name, tmp_path, None, every)
    assert done
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, tmp_path)


class Strike(interrupted_runs.Clock):
    """Strikes at the n-th call of one hook."""

    def __init__(self, hook, count):
        super().__init__()
        self.hook, self.left = hook, count

    def __repr__(self):
        return "Clock()"

    def called(self, hook):
        self.left -= hook == self.hook
        if hook == self.hook and not self.left:
            raise Killed

    def after_batch(self, fit):
        self.called("after_batch")

    def after_epoch(self, fit):
        self.called("after_epoch")

    def metric(self, outputs, targets):
        self.called("metric")
        return torch.zeros(())


@pytest.mark.slow  # a process for each moment, and a training that goes on
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_a_process_that_the_system_killed_goes_on(share, tmp_path):
    name = "global random order, Adam"
    expected, moments = reference(name)
    program = [interrupted_runs.__file__, name, tmp_path, str(max(1, int(moments * share)))]
    assert run_forked(program).returncode == -signal.SIGKILL
    done, learn = stopped(name, tmp_path, None, 2)
    assert done
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, tmp_path)


@pytest.mark.slow  # a DataLoader starts its workers for each epoch
def test_rows_that_workers_change_at_random_are_the_same_again(tmp_path):
    name = "augmentation, AdamW"

    def train():
        return loader(Rows(), shuffle=True, num_workers=2)

    expected, moments = whole(name, train=train())
    assert not stopped(name, tmp_path, moments // 2, 2, train=train())[0]
    done, learn = stopped(name, tmp_path, None, 2, train=train())
    assert done
    assert differences(expected, everything(learn)) == []


def test_the_same_learner_can_go_on(tmp_path):
    expected, moments = reference("Batches, RMSprop")
    done, learn = stopped("Batches, RMSprop", tmp_path, moments // 2, 3)
    assert not done
    learn.fit(3, 0.02, "step:4,0.5", checkpoint_every=3, resume=True)
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, tmp_path)


def test_a_run_may_be_resumed_without_further_checkpoints(tmp_path):
    expected, moments = reference("Batches, RMSprop")
    assert not stopped("Batches, RMSprop", tmp_path, moments // 2, 3)[0]
    seed(1)
    learn, fit = learner("Batches, RMSprop", folder=tmp_path)
    fit(resume=True)
    assert differences(expected, everything(learn)) == []


# --- by hand ---------------------------------------------------------------------------------------------------------

TWICE = ["Batches, RMSprop", "global random order, Adam", "generator of its own, torch SGD", "augmentation, AdamW"]


@pytest.mark.parametrize("name", TWICE)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_was_saved_and_loaded_trains_on_as_if_it_had_not(name, fresh, tmp_path):
    seed(0)
    learn, fit = learner(name)
    fit()
    fit()
    expected = everything(learn)

    seed(0)
    learn, fit = learner(name, folder=tmp_path)
    fit()
    learn.save(tmp_path / "kept")
    saved = everything(learn)
    if fresh:
        seed(99)
        learn, fit = learner(name, folder=tmp_path / "other")
    else:
        fit()  # to be undone
    learn.load(tmp_path / "kept")
    loaded = everything(learn)
    for gone in ("callbacks", "training", "counts"):  # of the last fit
        del saved[gone], loaded[gone]
    assert differences(saved, loaded) == []
    fit()
    assert differences(expected, everything(learn)) == []
    same_in_the_file(learn.recorder, learn.folder)


def simple(net=None, opt_func=RMSprop, folder=None, data=None, **options):
    return Learner(
        net or model(), (data or batches(), None), cross_entropy, opt_func, folder=folder, quiet=True, **options
    )


def refused(learn, path, error, match):
    """Loading raises, and leaves every bit as it was."""
    learn.fit(1, 0.01)
    before = everything(learn)
    with pytest.raises(error, match=match) as caught:
        learn.load(path)
    assert differences(before, everything(learn)) == []
    return str(caught.value)


@pytest.fixture
def kept(tmp_path):
    learn = simple(opt_func=Adam)
    learn.fit(1, 0.01)
    learn.save(tmp_path / "kept")
    return tmp_path / "kept"


def test_the_checkpoint_of_another_model_is_refused_by_names_and_shapes(kept):
    other = model()
    other[1] = torch.nn.BatchNorm1d(12, affine=False)
    other[4] = torch.nn.Linear(12, 4)
    other.append(torch.nn.Linear(4, 3, bias=False))
    text = refused(simple(other, Adam), kept, StateError, "is of another model")
    for part in (
        "4.weight: (3, 12) float32 in the file, (4, 12) float32 in the model",
        "only in the file: 1.weight",
        "only in the model: 5.weight",
        "Nothing was loaded",
        "kept",
    ):
        assert part in text


def test_the_checkpoint_of_a_model_in_another_precision_is_refused(kept):
    data = Batches(rows()[0].double(), rows()[1], 8)
    refused(simple(model().double(), Adam, data=data), kept, StateError, r"float32 in the file, \(12, 6\) float64")


@pytest.mark.parametrize(
    ("wrote", "reads"),
    [
        (Adam, RMSprop),
        (torch.optim.Adam, torch.optim.SGD),
        (functools.partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam),
        (torch.optim.RMSprop, torch.optim.Rprop),
    ],
)
def test_the_checkpoint_of_another_optimizer_is_refused(wrote, reads, tmp_path):
    learn = simple(opt_func=wrote)
    learn.fit(1, 0.01)
    learn.save(tmp_path / "kept")
    text = refused(simple(opt_func=reads), tmp_path / "kept", StateError, "optimizer")
    assert learn.optimizer.__class__.__name__ in text
    assert reads.__name__ in text


def test_the_checkpoint_of_another_formula_is_refused(tmp_path):
    def descend(param, *, update, lr):
        return param - lr * update

    def descend_twice(param, *, update, lr):
        return param - 2 * lr * update

    learn = simple(opt_func=lambda parameters: Optimizer(parameters, [descend], lr=0.1))
    learn.fit(1, 0.01)
    learn.save(tmp_path / "kept")
    other = simple(opt_func=lambda parameters: Optimizer(parameters, [descend_twice], lr=0.1))
    refused(
        other, tmp_path / "kept", StateError, "kept does not fit the optimizer: the state dict is of another formula"
    )


def test_best_weights_are_no_checkpoint(tmp_path):
    learn = Learner(
        model(), (batches(), batches()), cross_entropy, callbacks=[BestCheckpoint()], folder=tmp_path, quiet=True
    )
    learn.fit(1, 0.01)
    said = refused(
        simple(), tmp_path / "best.safetensors", StateError, "best.safetensors is not a Learner's checkpoint"
    )
    fresh = model()
    line = said[said.index("model.load_state_dict") :].removesuffix(".")
    eval(line, {"model": fresh, "safetensors": safetensors})
    for mine, best in zip(fresh.parameters(), learn.model.parameters(), strict=True):
        assert torch.equal(mine, best)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_damaged_checkpoint_is_refused(at, kept):
    content = bytearray(kept.read_bytes())
    content[int(len(content) * at)] ^= 4
    kept.write_bytes(content)
    refused(simple(opt_func=Adam), kept, DataError, "kept")


def test_there_is_no_checkpoint(tmp_path):
    refused(simple(opt_func=Adam), tmp_path / "kept", DataError, "There is no checkpoint")


# --- what cannot go on -----------------------------------------------------------------------------------------------


class Quiet(Callback):
    """Does nothing."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 1}, "epochs 2 there, 1 here"),
        ({"lr": 0.02}, r"lr 0\.01 there, 0\.02 here"),
        ({"schedule": "step:3,0.9"}, r"gamma=0\.5.*there.*gamma=0\.9.*here"),
        ({"schedule": None}, r"StepLR.*there, \[\] here"),
        ({"callbacks": [Quiet()]}, r"there, \['Quiet\(\)', .*here"),
        ({"data": Batches(*rows(), 16)}, "batch size 15 there, 16 here"),
        ({"data": Batches(*rows(), 8)}, "batches in an epoch 3 there, 6 here"),
        ({"data": Batches(*rows(), 15, seed=1)}, "seed 0 there, 1 here"),
    ],
)
def test_a_fit_that_differs_cannot_go_on(change, message, tmp_path):
    def fit(data=None, epochs=2, lr=0.01, schedule="step:3,0.5", callbacks=(), resume=True):
        learn = simple(folder=tmp_path, data=data or Batches(*rows(), 15))
        learn.fit(epochs, lr, schedule, callbacks=callbacks, checkpoint_every=2, resume=resume)

    fit()
    before = files_of(tmp_path)
    with pytest.raises(OptionError, match=message):
        fit(**change)
    assert files_of(tmp_path) == before
    fit()  # the same is complete


@pytest.mark.parametrize("stop", [False, True])
def test_a_run_that_is_complete_says_so_and_stays(stop, tmp_path, capsys):
    callbacks = [EarlyStopping(1, min_delta=100)] if stop else []

    def fit():
        learn = Learner(model(), (batches(), batches()), cross_entropy, callbacks=callbacks, folder=tmp_path)
        learn.fit(3, 0.01, checkpoint_every=4, resume=True)
        return learn

    first = everything(fit())
    capsys.readouterr()
    for _ in range(2):
        learn = fit()
        assert "is complete: " + ("epoch 2: valid_loss has not" if stop else "all epochs") in capsys.readouterr().out
        assert differences(first, everything(learn)) == []
        same_in_the_file(learn.recorder, tmp_path)


def test_a_new_run_does_not_go_into_the_folder_of_another(tmp_path):
    simple(folder=tmp_path).fit(1, 0.01, checkpoint_every=2)
    before = files_of(tmp_path)
    learn = simple(folder=tmp_path)
    weights = {name: value.clone() for name, value in learn.model.state_dict().items()}
    with pytest.raises(OptionError, match=r"already has a run\. Resume it with resume=True"):
        learn.fit(1, 0.01)
    assert files_of(tmp_path) == before
    assert differences(weights, dict(learn.model.state_dict())) == []
    assert len(learn.recorder) == 0


@pytest.mark.parametrize("option", [{"checkpoint_every": 2}, {"checkpoint_every": "epoch"}, {"resume": True}])
def test_a_checkpoint_needs_a_folder(option):
    with pytest.raises(OptionError, match=f"{next(iter(option))} needs a folder"):
        simple().fit(1, 0.01, **option)


def test_a_checkpoint_saved_by_hand_is_no_fit_to_go_on_with(tmp_path):
    learn = simple(folder=tmp_path)
    learn.fit(1, 0.01)
    learn.save(tmp_path / "checkpoint.safetensors")
    with pytest.raises(StateError, match=r"load it with learn\.load"):
        simple(folder=tmp_path).fit(1, 0.01, resume=True)


def test_more_epochs_go_on_to_what_they_would_have_been_from_the_start(tmp_path):
    def fit(folder, epochs, schedule=None, resume=True):
        torch.manual_seed(0)
        learn = simple(folder=folder, data=Batches(*rows(), 15))
        learn.fit(epochs, 0.01, schedule, checkpoint_every="epoch", resume=resume)
        return learn

    whole = fit(tmp_path / "whole", 4)
    fit(tmp_path / "longer", 2)
    longer = fit(tmp_path / "longer", 4)
    assert longer.recorder.losses.tolist() == whole.recorder.losses.tolist()
    assert longer.recorder.column("epoch").tolist() == [1, 2, 3, 4]
    fit(tmp_path / "cosine", 2, "cosine")
    with pytest.raises(OptionError, match=r"over 2 epochs, and TorchScheduler.*learn.load\(.*\), then learn.fit\(2\)"):
        fit(tmp_path / "cosine", 4, "cosine")
