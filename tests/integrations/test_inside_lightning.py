"""Inside lightning.pytorch: the losses of torch.optim, figures in its loggers, findings, resume, two processes."""

import json
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from inside import assert_alike, column, data, net, norm, pair, plain_losses, run_script, scalars, texts
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ravine.errors import OptionError
from ravine.integrations import lightning_callback, unwrap
from ravine.optim import Adam, RMSprop


class Digits(pl.LightningModule):
    """Keeps the loss of each batch, and the norms before each step, computed by hand."""

    def __init__(self, optimizer, **options):
        super().__init__()
        self.net, self.make, self.options = net(), optimizer, options
        self.losses, self.norms = [], []

    def training_step(self, batch, index):
        loss = cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def on_before_optimizer_step(self, optimizer):
        params = list(self.parameters())
        self.norms.append((norm(p.grad for p in params), norm(params)))

    def configure_optimizers(self):
        return self.make(self.parameters(), **self.options)


def fit(module, folder, epochs=2, logger=False, ckpt_path=None, callbacks=(), **options):
    options = {"log_every_n_steps": 1, "enable_checkpointing": False, **options}
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=logger, callbacks=list(callbacks), default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(*data()), 32), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}], ids=["plain", "accumulated"])
def test_losses_are_those_of_torch(tmp_path, name, options):
    theirs, ours = (Digits(cls, lr=1e-3) for cls in pair(name))
    fit(theirs, tmp_path, **options)
    fit(ours, tmp_path, callbacks=[lightning_callback()], **options)
    assert_alike(ours.losses, theirs.losses)


def test_figures_are_logged_where_lightning_logs(tmp_path):
    """In both loggers, at each step that is logged, the norms that the gradients have."""
    module = Digits(RMSprop, lr=1e-3)
    loggers = [CSVLogger(tmp_path, "csv", 0), TensorBoardLogger(tmp_path, "tb", 0)]
    fit(module, tmp_path, logger=loggers, callbacks=[lightning_callback(parameters=True)], log_every_n_steps=5)
    grads, params = ([norms[i] for norms in module.norms[4::5]] for i in (0, 1))
    csv = tmp_path / "csv/version_0/metrics.csv"
    assert_alike(column(csv, "watch/grad_norm"), grads)
    assert_alike(column(csv, "watch/param_norm"), params)
    assert column(csv, "watch/skipped") == [0.0] * 4
    assert len(column(csv, "watch/ratio/net.0.weight")) == 4
    assert_alike(list(scalars(tmp_path / "tb", "watch/grad_norm").values()), grads)
    assert list(scalars(tmp_path / "tb", "watch/grad_norm")) == list(scalars(tmp_path / "tb", "loss")) == [4, 9, 14, 19]


def test_the_diagnosis_knows_the_losses_of_the_steps(tmp_path):
    module = Digits(RMSprop, lr=1e-3)
    fit(module, tmp_path, callbacks=[lightning_callback()], accumulate_grad_batches=2)
    means = [sum(two) / 2 for two in zip(module.losses[::2], module.losses[1::2], strict=True)]
    assert_alike(list(unwrap(module.trainer).watch.losses), means, 1e-6)


def test_findings_are_said_while_it_trains_and_written(tmp_path):
    loggers = [TensorBoardLogger(tmp_path, "tb", 0)]
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 1.*Try:"):
        trainer = fit(Digits(RMSprop, lr=30.0), tmp_path, epochs=4, logger=loggers, callbacks=[lightning_callback()])
    assert "1. Learning rate too high" in Path(trainer.log_dir, "diagnosis.txt").read_text()
    assert "diagnosis/text_summary" in texts(tmp_path / "tb")


def test_resume_is_exact_and_the_history_goes_on(tmp_path):
    whole, first, second = (Digits(Adam, lr=1e-3) for _ in range(3))
    fit(whole, tmp_path / "whole", 4, callbacks=[lightning_callback()])
    saved = ModelCheckpoint(tmp_path / "first", save_last=True)
    fit(first, tmp_path / "first", 2, callbacks=[lightning_callback(), saved], enable_checkpointing=True)
    fit(second, tmp_path / "second", 4, ckpt_path=tmp_path / "first/last.ckpt", callbacks=[lightning_callback()])
    assert first.losses + second.losses == whole.losses
    for mine, other in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)
    mine, other = (unwrap(m.trainer).watch for m in (second, whole))
    assert mine.steps == 40
    assert mine.history.to_json() == other.history.to_json()
    assert list(mine.losses) == list(other.losses)


def test_clipping_and_averages_do_not_run_twice(tmp_path):
    fit(Digits(RMSprop, lr=1e-3), tmp_path, 1, callbacks=[lightning_callback()], gradient_clip_val=1.0)
    fit(Digits(RMSprop, lr=1e-3, clip_norm=1.0), tmp_path, 1, callbacks=[lightning_callback()])
    with pytest.raises(OptionError, match=r"gradient_clip_val=1\).*clip_norm=0.5\): leave gradient_clip_val out"):
        fit(
            Digits(RMSprop, lr=1e-3, clip_norm=0.5),
            tmp_path,
            1,
            callbacks=[lightning_callback()],
            gradient_clip_val=1.0,
        )
    with pytest.raises(OptionError, match="averaged twice, by EMAWeightAveraging"):
        both = [lightning_callback(), EMAWeightAveraging()]
        fit(Digits(RMSprop, lr=1e-3, ema_decay=0.9), tmp_path, 1, callbacks=both)


def test_the_optimizer_clips_as_lightning_does(tmp_path):
    theirs, ours = Digits(torch.optim.RMSprop, lr=1e-3), Digits(RMSprop, lr=1e-3, clip_norm=0.5)
    fit(theirs, tmp_path, gradient_clip_val=0.5)
    fit(ours, tmp_path, callbacks=[lightning_callback()])
    assert_alike(ours.losses, theirs.losses)


def test_an_optimizer_without_a_watch_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"torch's RMSprop records nothing.*Write ravine\.optim\.RMSprop for"):
        fit(Digits(torch.optim.RMSprop, lr=1e-3), tmp_path, callbacks=[lightning_callback()])
    with pytest.raises(OptionError, match="watch=False"):
        fit(Digits(RMSprop, lr=1e-3, watch=False), tmp_path, callbacks=[lightning_callback()])


class Adversaries(Digits):
    """Two optimizers that the module steps itself, the second five times for each step of the first."""

    def __init__(self):
        super().__init__(RMSprop, lr=1e-3)
        self.critic, self.automatic_optimization = net(), False

    def on_before_optimizer_step(self, optimizer):
        """Norms are of no interest here."""

    def training_step(self, batch, index):
        optimizers = self.optimizers()
        for optimizer, model in zip(optimizers, (self.net, self.critic), strict=True):
            if index % 5 == 0 or model is self.critic:
                optimizer.zero_grad()
                self.manual_backward(cross_entropy(model(batch[0]), batch[1]))
                optimizer.step()

    def configure_optimizers(self):
        return [RMSprop(model.parameters(), lr=1e-3) for model in (self.net, self.critic)]


def test_several_optimizers_are_logged_when_lightning_logs(tmp_path):
    trainer = fit(
        Adversaries(), tmp_path, logger=CSVLogger(tmp_path), callbacks=[lightning_callback()], log_every_n_steps=5
    )
    for i in range(2):
        assert len(column(Path(trainer.log_dir, "metrics.csv"), f"watch/{i}/grad_norm")) == 4
        assert "No problem found" in Path(trainer.log_dir, str(i), "diagnosis.txt").read_text()


class Dies(Digits):
    def training_step(self, batch, index):
        if self.global_step == 7:
            raise RuntimeError("out of memory")
        return super().training_step(batch, index)


def test_a_run_that_dies_is_diagnosed(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(Dies(RMSprop, lr=1e-3), tmp_path, callbacks=[lightning_callback()])
    assert "No problem found in 7 steps" in (tmp_path / "diagnosis.txt").read_text()


SCRIPT = """
import json, sys, torch
import lightning.pytorch as pl
from inside import data, pair
from ravine.integrations import lightning_callback, unwrap
from test_inside_lightning import Digits
from torch.utils.data import DataLoader, TensorDataset

found = []
for cls, callbacks in zip(pair("Adam"), ([], [lightning_callback()])):
    module = Digits(cls, lr=1e-3)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False, callbacks=callbacks, log_every_n_steps=2,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(*data()), 16))
    found.append([module.losses, [n[0] for n in module.norms]])
if trainer.global_rank == 0:
    watch = unwrap(trainer).watch
    print("FOUND", json.dumps([*found, list(watch.history.total("grad_norm")), watch.history.names[0]]))
"""


def test_two_processes(tmp_path):
    """Losses as with torch.optim, and the norms of the gradients that both have together."""
    printed = run_script(SCRIPT, tmp_path)
    (theirs, _), (ours, norms), watched, first = json.loads(printed.split("FOUND")[1])
    assert len(ours) == 10
    assert_alike(ours, theirs)
    assert_alike(watched, norms)
    assert first == "net.0.weight"


def test_the_reference_is_a_plain_loop(tmp_path):
    module = Digits(RMSprop, lr=1e-3)
    fit(module, tmp_path, callbacks=[lightning_callback()])
    losses, norms = plain_losses(lr=1e-3)
    assert_alike(module.losses, losses)
    assert_alike([n for n, _ in module.norms], norms, 1e-4)
