"""Inside transformers.Trainer, with a small GPT: the losses of torch.optim, figures in its loggers, findings, resume, two processes."""

import json

import pytest
import torch
from inside import assert_alike, norm, pair, run_script, scalars, texts
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from ravine.errors import OptionError
from ravine.integrations import unwrap, watch_trainer
from ravine.optim import AdamW, RMSprop


def gpt():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=40, n_positions=16, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def tokens(rows=64):
    """Texts that can be learned: each counts on from a random number."""
    start = torch.randint(40, (rows, 1), generator=torch.Generator().manual_seed(1))
    ids = (start + torch.arange(16)) % 40
    return [{"input_ids": row, "labels": row} for row in ids]


class Norms(TrainerCallback):
    """Computes the norms of the gradients by hand, where the trainer has made them."""

    def __init__(self):
        self.norms = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.norms.append(norm(p.grad for p in model.parameters()))


def trainer_of(optimizer, folder, lr=1e-3, watched=True, parameters=False, given=None, **arguments):
    arguments = {
        "max_steps": 12, "per_device_train_batch_size": 8, "logging_steps": 1, "report_to": "none", "save_strategy": "no",
        "max_grad_norm": 0, "use_cpu": True, "disable_tqdm": True, "seed": 0, "learning_rate": lr, **arguments,
    }  # fmt: skip
    trainer = Trainer(
        gpt(),
        TrainingArguments(str(folder), **arguments),
        train_dataset=tokens(),
        optimizer_cls_and_kwargs=(optimizer, {"lr": lr, **(given or {})}),
    )
    trainer.norms = Norms()
    trainer.add_callback(trainer.norms)
    if watched:
        watch_trainer(trainer, parameters=parameters)
    return trainer


def logged(trainer, name="loss"):
    return [line[name] for line in trainer.state.log_history if name in line]


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "bf16": True}], ids=["plain", "more"])
def test_losses_are_those_of_torch(tmp_path, name, options):
    theirs, ours = (trainer_of(cls, tmp_path, watched=cls is pair(name)[1], **options) for cls in pair(name))
    theirs.train()
    ours.train()
    assert len(logged(ours)) == 12
    assert_alike(logged(ours), logged(theirs), 1e-3 if options else 2e-5)


def test_figures_are_logged_where_the_trainer_logs(tmp_path, monkeypatch):
    """In TensorBoard and in the trainer's own history, though its loggers come before callbacks that a user adds."""
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    trainer = trainer_of(RMSprop, tmp_path, logging_steps=3, report_to="tensorboard", parameters=True)
    trainer.train()
    assert_alike(logged(trainer, "watch/grad_norm"), trainer.norms.norms[2::3])
    assert_alike(list(scalars(tmp_path / "tb", "train/watch/grad_norm").values()), trainer.norms.norms[2::3])
    assert list(scalars(tmp_path / "tb", "train/loss")) == [3, 6, 9, 12]
    assert len(logged(trainer, "watch/ratio/transformer.wte.weight")) == 4
    losses = list(unwrap(trainer).watch.losses)
    assert len(losses) == 12
    assert_alike(losses[2::3], logged(trainer), 1e-6)


def test_findings_are_said_while_it_trains_and_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    trainer = trainer_of(
        RMSprop, tmp_path, lr=30.0, lr_scheduler_type="constant", max_steps=40, report_to="tensorboard"
    )
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 16\\).*Try:"):
        trainer.train()
    assert "Learning rate too high" in (tmp_path / "diagnosis.txt").read_text()
    assert "diagnosis/text_summary" in texts(tmp_path / "tb")


def test_resume_is_exact_and_the_history_goes_on(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 6}
    whole = trainer_of(AdamW, tmp_path / "run", **saving)
    whole.train()
    rest = trainer_of(AdamW, tmp_path / "run", **saving)
    rest.train(resume_from_checkpoint=str(tmp_path / "run/checkpoint-6"))
    assert logged(rest) == logged(whole)
    for mine, other in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    mine, other = (unwrap(t).watch for t in (rest, whole))
    assert mine.history.to_json() == other.history.to_json()
    assert list(mine.losses) == list(other.losses)


def test_gradients_are_not_clipped_twice(tmp_path):
    with pytest.raises(
        OptionError, match=r"max_grad_norm=1\), its default is 1.*clip_norm=0.5\): write max_grad_norm=0"
    ):
        trainer_of(RMSprop, tmp_path, given={"clip_norm": 0.5}, max_grad_norm=1.0).train()
    theirs = trainer_of(torch.optim.RMSprop, tmp_path, watched=False, max_grad_norm=0.5)
    ours = trainer_of(RMSprop, tmp_path, given={"clip_norm": 0.5})
    theirs.train()
    ours.train()
    assert_alike(logged(ours), logged(theirs))
    assert_alike(logged(ours, "watch/grad_norm"), ours.norms.norms)
    assert min(ours.norms.norms) > 0.5


def test_what_is_no_trainer_and_an_optimizer_of_torch_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"watch_trainer takes a transformers\.Trainer, not GPT2LMHeadModel"):
        watch_trainer(gpt())
    with pytest.raises(OptionError, match=r"torch's AdamW records nothing.*Write ravine\.optim\.AdamW for"):
        trainer_of(torch.optim.AdamW, tmp_path).train()


def test_resume_goes_on_from_a_checkpoint_anywhere(tmp_path):
    """In another folder, and of a step between two logs: each step has a loss."""
    first = trainer_of(AdamW, tmp_path / "first", logging_steps=4, save_strategy="steps", save_steps=6)
    first.train()
    rest = trainer_of(AdamW, tmp_path / "rest", logging_steps=4)
    rest.train(resume_from_checkpoint=str(tmp_path / "first/checkpoint-6"))
    mine, other = (unwrap(t).watch for t in (rest, first))
    assert mine.history.to_json() == other.history.to_json()
    assert len(mine.losses) == 12
    assert list(mine.losses)[8:] == list(other.losses)[8:]


def test_a_trainer_is_watched_once(tmp_path):
    trainer = trainer_of(RMSprop, tmp_path)
    assert watch_trainer(trainer, parameters=True) is watch_trainer(trainer, parameters=True)
    trainer.train()
    assert len(unwrap(trainer).watch.losses) == 12
    assert len(logged(trainer, "watch/ratio/transformer.wte.weight")) == 12


SCRIPT = """
import json, os
from inside import pair
from ravine.integrations import unwrap
from test_inside_huggingface import logged, trainer_of

found = []
for cls in pair("AdamW"):
    ours = cls.__module__.startswith("ravine")
    trainer = trainer_of(cls, "out", watched=ours, per_device_train_batch_size=4)
    trainer.train()
    found.append([logged(trainer), trainer.norms.norms])
if os.environ["RANK"] == "0":
    print("FOUND", json.dumps([*found, list(unwrap(trainer).watch.history.total("grad_norm"))]))
"""


def test_two_processes(tmp_path):
    """By torchrun: losses as with torch.optim, and the norms of the gradients that both have together."""
    printed = run_script(SCRIPT, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    (theirs, _), (ours, norms), watched = json.loads(printed.split("FOUND")[1].splitlines()[0])
    assert len(ours) == 12
    assert_alike(ours, theirs)
    assert_alike(watched, norms)
