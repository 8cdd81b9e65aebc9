"""In a loop with Accelerate: the losses of torch.optim, figures in its trackers, findings, resume, two processes."""

import json

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from inside import assert_alike, data, net, norm, pair, plain_losses, run_script, scalars, texts
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import OptionError
from ravine.integrations import unwrap, watch_accelerator
from ravine.optim import Adam, RMSprop


class Loop:
    """As the pages of Accelerate write it; keeps losses, and norms computed by hand."""

    def __init__(self, optimizer, folder, watched=True, every=5, accumulate=1, clip=None, **options):
        settings = ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "tb"))
        self.accelerator = Accelerator(
            cpu=True, gradient_accumulation_steps=accumulate, log_with="tensorboard", project_config=settings
        )
        self.accelerator.init_trackers("run")
        model = net()
        made = optimizer(model.parameters(), **options)
        loader = DataLoader(TensorDataset(*data()), 16 if self.accelerator.num_processes > 1 else 32)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, made, loader)
        self.watch = None
        if watched:
            self.watch = watch_accelerator(self.accelerator, self.optimizer, self.model, every=every)
            self.accelerator.register_for_checkpointing(self.watch)
        self.clip, self.losses, self.norms = clip, [], []

    def epoch(self):
        for inputs, targets in self.loader:
            with self.accelerator.accumulate(self.model):
                loss = cross_entropy(self.model(inputs), targets)
                self.accelerator.backward(loss)
                self.norms.append(norm(p.grad for p in self.model.parameters()))
                if self.clip:
                    self.accelerator.clip_grad_norm_(self.model.parameters(), self.clip)
                self.optimizer.step()
                if self.watch:
                    self.watch.step(loss)
                self.optimizer.zero_grad()
            self.losses.append(loss.item())
        return self


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_are_those_of_torch(tmp_path, accumulate):
    theirs, ours = (
        Loop(cls, tmp_path, watched=cls is RMSprop, accumulate=accumulate, lr=1e-3).epoch().epoch() for cls in pair()
    )
    assert_alike(ours.losses, theirs.losses)
    if accumulate == 1:
        assert_alike(ours.losses, plain_losses(lr=1e-3)[0])
    means = [sum(ours.losses[i : i + accumulate]) / accumulate for i in range(0, 20, accumulate)]
    assert_alike(list(unwrap(ours.optimizer).watch.losses), means, 1e-6)


def test_figures_are_in_the_trackers(tmp_path):
    loop = Loop(RMSprop, tmp_path, lr=1e-3).epoch().epoch()
    assert not loop.watch.end(tmp_path / "found")
    loop.accelerator.end_training()
    found = scalars(tmp_path / "tb", "watch/grad_norm")
    assert list(found) == [5, 10, 15, 20]
    assert_alike(list(found.values()), loop.norms[4::5])
    assert "diagnosis/text_summary" in texts(tmp_path / "tb")
    assert "No problem found in 20 steps" in (tmp_path / "found/diagnosis.txt").read_text()


def test_findings_are_said_while_it_trains(tmp_path):
    loop = Loop(RMSprop, tmp_path, lr=30.0)
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 20\\).*Try:"):
        loop.epoch().epoch()
    with pytest.warns(UserWarning, match="Learning rate too high"):
        assert loop.watch.end()[0].rule == "rate_too_high"


def test_resume_is_exact_and_the_history_goes_on(tmp_path):
    whole = Loop(Adam, tmp_path / "whole", lr=1e-3).epoch().epoch()
    first = Loop(Adam, tmp_path / "first", lr=1e-3).epoch()
    first.accelerator.save_state(tmp_path / "state")
    second = Loop(Adam, tmp_path / "second", lr=1e-2)
    second.accelerator.load_state(tmp_path / "state")
    second.epoch()
    assert first.losses + second.losses == whole.losses
    for mine, other in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    mine, other = (unwrap(loop.optimizer).watch for loop in (second, whole))
    assert mine.history.to_json() == other.history.to_json()
    second.accelerator.end_training()
    assert list(scalars(tmp_path / "second/tb", "watch/grad_norm")) == [15, 20]


def test_gradients_are_not_clipped_twice(tmp_path):
    with pytest.raises(OptionError, match=r"clip_grad_norm_\(..., 0.5\)\) and by .*clip_norm=1\): leave that line out"):
        Loop(RMSprop, tmp_path, clip=0.5, clip_norm=1.0).epoch()
    theirs = Loop(torch.optim.RMSprop, tmp_path, watched=False, clip=0.5, lr=1e-3).epoch()
    ours = Loop(RMSprop, tmp_path, clip_norm=0.5, lr=1e-3).epoch()
    assert_alike(ours.losses, theirs.losses)


def test_an_optimizer_of_torch_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"torch's Adam records nothing.*Write ravine\.optim\.Adam for"):
        Loop(torch.optim.Adam, tmp_path)
    with pytest.raises(OptionError, match="every 0 is not a number of steps"):
        Loop(Adam, tmp_path, every=0)


def test_what_is_no_accelerator_is_refused():
    model = net()
    optimizer = RMSprop(model.parameters())
    with pytest.raises(OptionError, match=r"watch_accelerator takes an accelerate\.Accelerator, not Linear"):
        watch_accelerator(torch.nn.Linear(1, 1), optimizer, model)
    with pytest.raises(OptionError, match=r"the model is a torch\.nn\.Module, or None, not str"):
        watch_accelerator(Accelerator(cpu=True), optimizer, "model")


SCRIPT = """
import json, pathlib
from inside import pair
from ravine.integrations import unwrap
from test_inside_accelerate import Loop

theirs, ours = (Loop(cls, pathlib.Path(), watched=cls.__module__.startswith("ravine"), lr=1e-3).epoch() for cls in pair("Adam"))
if ours.accelerator.is_main_process:
    watch = unwrap(ours.optimizer).watch
    total = list(watch.history.total("grad_norm"))
    print("FOUND", json.dumps([theirs.losses, ours.losses, ours.norms, total, watch.history.names[0], ours.accelerator.num_processes]))
"""


def test_two_processes(tmp_path):
    """By torchrun: `accelerate launch --cpu` starts several only through MPI."""
    printed = run_script(SCRIPT, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    theirs, ours, norms, watched, first, processes = json.loads(printed.split("FOUND")[1].splitlines()[0])
    assert (processes, len(ours), first) == (2, 10, "0.weight")
    assert_alike(ours, theirs)
    assert_alike(watched, norms)
