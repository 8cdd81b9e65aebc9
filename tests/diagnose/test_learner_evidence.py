"""What a Learner keeps of its run for the diagnosis: in memory, in its folder, and over a resume."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ravine.diagnose import Evidence, evidence_of
from ravine.diagnose._learner_evidence import EvidenceObserver
from ravine.errors import DataError
from ravine.optim import Adam, RMSprop
from ravine.train import Batches, Callback, Learner


def data(rows=48):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 6, generator=generator)
    return Batches(x, (x[:, 0] > 0).long(), 8), Batches(x[:16], (x[:16, 0] > 0).long(), 16, shuffle=False)


def learner(opt_func=RMSprop, folder=None, model=None):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 2))
    return Learner(model, data(), cross_entropy, opt_func, folder=folder, quiet=True)


def test_a_fit_leaves_its_evidence_in_the_folder(tmp_path):
    learn = learner(folder=tmp_path)
    learn.fit(3, lr=1e-3)
    found, now = Evidence.load(tmp_path), evidence_of(learn)
    assert found.optimizer == "RMSprop"
    assert found.losses.tolist() == learn.recorder.losses.tolist()
    assert [row["epoch"] for row in found.epochs] == [1, 2, 3]
    assert found.hypers["lr"].tolist() == [1e-3] * 18
    assert found.history.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert found.history.steps.tolist() == [[1] * 4] * 18
    assert (found.dims, found.dtypes, found.trained) == ((2, 1, 2, 1), ("float32",) * 4, (True,) * 4)
    for name, value in found.history.tree().items():
        assert np.array_equal(value, getattr(now.history, name)), name


def test_evidence_is_written_within_a_long_epoch_for_a_small_part_of_the_time(tmp_path, monkeypatch):
    """The clock says that each batch takes 0.1 seconds and that each writing takes 0.02."""
    now, written = [0.0], []

    def save(evidence, folder):
        now[0] += 0.02
        written.append((now[0], evidence.steps))

    class Tick(Callback):
        def before_batch(self, fit):
            now[0] += 0.1

    rows = Batches(torch.randn(2000, 6), torch.randint(0, 2, (2000,)), 2)
    learn = Learner(nn.Linear(6, 2), (rows, None), cross_entropy, RMSprop, folder=tmp_path, quiet=True)
    learn.observers = [EvidenceObserver(lambda: now[0])]
    monkeypatch.setattr(Evidence, "save", save)
    learn.fit(1, 1e-3, callbacks=[Tick()])
    within = written[:-2]  # the last two are the epoch's and the fit's
    assert len(within) > 10
    assert within[0][0] == pytest.approx(2.0, abs=0.2)
    assert 0.02 * len(within) < 0.005 * now[0]
    assert [steps for _, steps in within] == sorted(steps for _, steps in within)


def test_figures_are_those_of_the_steps():
    learn = learner()
    norms = []

    class Look(Callback):
        def before_step(self, fit):
            norms.append([p.grad.norm().item() for p in fit.model.parameters()])

    learn.fit(2, lr=1e-3, callbacks=[Look()])
    assert evidence_of(learn).history.grad_norm == pytest.approx(np.array(norms), rel=1e-5)


def test_units_that_never_answer_are_counted():
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].bias[:4] = -100.0
    learn = learner(functools.partial(RMSprop, lr=0.0), model=model)
    learn.fit(1)
    layers = evidence_of(learn).dead_units
    assert list(layers) == ["2", "4"]  # not the first: what comes into it is data
    assert layers["2"] == (10, 4)
    assert layers["4"][0] == 5


def test_magnitudes_are_those_of_the_first_forward_pass():
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 5), nn.Tanh(), nn.Linear(5, 2))
    learn = learner(model=model)
    first = next(learn.train.epoch(0))[0]
    with torch.no_grad():
        wanted = {at: model[: int(at)](first).double().abs().mean().item() for at in ("2", "4")}
    learn.fit(1, lr=1e-2)
    learn.fit(1, lr=1e-2)
    assert evidence_of(learn).magnitudes == pytest.approx(wanted, rel=1e-6)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_no_hook_is_left_where_the_first_forward_pass_fails():
    model = nn.Sequential(nn.Linear(6, 10), nn.Linear(9, 2))
    with pytest.raises(Exception, match="mat1 and mat2|9"):
        learner(model=model).fit(1, lr=1e-2)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_units_of_channels_and_of_functions_in_forward():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3)
            self.last = nn.Linear(4, 2)
            with torch.no_grad():
                self.first.bias[1] = -100.0

        def forward(self, x):
            x = self.second(torch.relu(self.first(x.reshape(-1, 1, 6, 6))))
            return self.last(torch.relu(x).mean((2, 3)))

    x = torch.randn(32, 36, generator=torch.Generator().manual_seed(0))
    batches = Batches(x, (x[:, 0] > 0).long(), 8)
    torch.manual_seed(0)
    learn = Learner(Net(), (batches, None), cross_entropy, functools.partial(RMSprop, lr=1e-6), quiet=True)
    learn.fit(1)
    assert evidence_of(learn).dead_units["second"] == (3, 1)


def test_looking_at_units_changes_nothing_of_the_training():
    def weights(look):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, 2))
        learn = learner(model=model)
        if not look:
            learn.observers.clear()
        torch.manual_seed(1)
        learn.fit(2, lr=1e-3)
        return [v.clone() for v in model.state_dict().values()]

    assert all(map(torch.equal, weights(True), weights(False)))


def test_the_history_goes_on_after_a_resume(tmp_path):
    whole = learner(folder=tmp_path / "whole")
    whole.fit(4, lr=1e-3)

    class Stop(Callback):
        def after_batch(self, fit):
            if fit.state.step == 15:
                raise RuntimeError("killed")

        def __repr__(self):
            return "Stop()"

    first = learner(folder=tmp_path / "half")
    with pytest.raises(RuntimeError, match="killed"):
        first.fit(4, lr=1e-3, checkpoint_every=5, callbacks=[Stop()])
    second = learner(folder=tmp_path / "half")
    second.fit(4, lr=1e-3, checkpoint_every=5, resume=True, callbacks=[_Same("Stop()")])
    wanted, found = evidence_of(whole).history.tree(), evidence_of(second).history.tree()
    assert all(np.array_equal(wanted[k], found[k]) for k in wanted)
    assert Evidence.load(tmp_path / "half").losses.tolist() == whole.recorder.losses.tolist()


class _Same(Callback):
    """Stands where another callback stood."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


@pytest.mark.parametrize("opt_func", [torch.optim.Adam, functools.partial(Adam, watch=False)], ids=["torch", "off"])
def test_an_optimizer_that_is_not_watched_leaves_the_rest(opt_func, tmp_path):
    learn = learner(opt_func, folder=tmp_path)
    learn.fit(2, lr=1e-3)
    found = Evidence.load(tmp_path)
    assert len(found.losses) == 12
    assert len(found.history) == 0
    assert found.optimizer == "Adam"


def test_a_fit_that_fails_leaves_what_there_was(tmp_path):
    class Fail(Callback):
        def after_batch(self, fit):
            if fit.state.step == 4:
                raise RuntimeError("no")

    learn = learner(folder=tmp_path)
    with pytest.raises(RuntimeError):
        learn.fit(1, lr=1e-3, callbacks=[Fail()])
    assert len(Evidence.load(tmp_path).losses) == 4


def test_files_that_are_no_evidence(tmp_path):
    with pytest.raises(DataError, match=r"There is no .*watch\.safetensors"):
        Evidence.load(tmp_path)
    (tmp_path / "watch.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"watch\.safetensors"):
        Evidence.load(tmp_path)
    learn = learner()
    learn.fit(1, lr=1e-3)
    learn.save(tmp_path / "watch.safetensors")
    with pytest.raises(DataError, match="is not the evidence of a run"):
        Evidence.load(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my_task.py").write_text("import torch\n")
    with pytest.raises(DataError, match=rf"metrics\.jsonl is not the evidence.*Name the folder, {tmp_path}\.$"):
        Evidence.load(tmp_path / "metrics.jsonl")
    with pytest.raises(DataError, match=r"my_task\.py is not the evidence.*Name the folder, such as"):
        Evidence.load(tmp_path / "other" / "my_task.py")
