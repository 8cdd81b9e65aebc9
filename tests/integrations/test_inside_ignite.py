"""Inside an engine of ignite: the losses of torch.optim, figures in its metrics and loggers, findings, resume."""

import pytest
import torch
from ignite.engine import Engine, Events, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver
from ignite.handlers.tensorboard_logger import TensorboardLogger
from inside import assert_alike, batches, net, norm, pair, plain_losses, scalars
from torch.nn.functional import cross_entropy

from ravine.errors import OptionError
from ravine.integrations import watch_engine
from ravine.optim import Adam, RMSprop


class Run:
    """An engine that trains, as ignite's pages write it; keeps losses, and norms computed by hand."""

    def __init__(self, optimizer, watched=True, every=5, **options):
        self.model, self.losses, self.norms = net(), [], []
        self.optimizer = optimizer(self.model.parameters(), **options)
        self.engine = Engine(self.update)
        self.watch = watch_engine(self.engine, self.optimizer, self.model, every=every) if watched else None

    def update(self, engine, batch):
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(batch[0]), batch[1])
        loss.backward()
        self.norms.append(norm(p.grad for p in self.model.parameters()))
        self.optimizer.step()
        self.losses.append(loss.item())
        return loss.item()

    def fit(self, epochs=2):
        self.engine.run(batches(), max_epochs=epochs)
        return self


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
def test_losses_are_those_of_torch(name):
    theirs, ours = (Run(cls, watched=cls is pair(name)[1], lr=1e-3).fit() for cls in pair(name))
    assert_alike(ours.losses, theirs.losses)
    if name == "RMSprop":
        assert_alike(ours.losses, plain_losses(lr=1e-3)[0])
    assert_alike(list(ours.optimizer.watch.losses), ours.losses, 1e-12)


def test_figures_are_where_loggers_look(tmp_path):
    run = Run(RMSprop, lr=1e-3)
    logger = TensorboardLogger(log_dir=tmp_path)
    logger.attach_output_handler(run.engine, Events.ITERATION_COMPLETED(every=5), "training", metric_names="all")
    run.fit()
    logger.close()
    found = scalars(tmp_path, "training/watch/grad_norm")
    assert list(found) == [5, 10, 15, 20]
    assert_alike(list(found.values()), run.norms[4::5])
    assert "No problem found in 20 steps" in str(run.engine.state.diagnosis)


def test_findings_are_said_while_it_trains():
    run = Run(RMSprop, lr=30.0)
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 20\\).*Try:"):
        run.fit(4)
    assert run.engine.state.diagnosis[0].rule == "rate_too_high"


def test_resume_is_exact_and_the_history_goes_on(tmp_path):
    whole = Run(Adam, lr=1e-3).fit(4)
    first = Run(Adam, lr=1e-3)
    parts = {"model": first.model, "optimizer": first.optimizer, "engine": first.engine, "watch": first.watch}
    first.engine.add_event_handler(Events.COMPLETED, Checkpoint(parts, DiskSaver(tmp_path), filename_pattern="half.pt"))
    first.fit(2)
    rest = Run(Adam, lr=1e-2)
    parts = {"model": rest.model, "optimizer": rest.optimizer, "engine": rest.engine, "watch": rest.watch}
    Checkpoint.load_objects(parts, torch.load(tmp_path / "half.pt", weights_only=True))
    rest.fit(4)
    assert first.losses + rest.losses == whole.losses
    for mine, other in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert rest.optimizer.watch.history.to_json() == whole.optimizer.watch.history.to_json()


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(OptionError, match=r"torch's Adam records nothing.*Write ravine\.optim\.Adam for"):
        Run(torch.optim.Adam)
    run = Run(Adam)
    with pytest.raises(OptionError, match=r"watch_engine takes an ignite\.engine\.Engine, not Linear"):
        watch_engine(torch.nn.Linear(1, 1), run.optimizer, run.model)
    with pytest.raises(OptionError, match="every 0 is not a number of steps"):
        Run(Adam, every=0)


def test_losses_of_batches_that_make_a_step_are_one():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    losses = []
    engine = create_supervised_trainer(model, optimizer, cross_entropy, gradient_accumulation_steps=2)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    watch_engine(engine, optimizer, model)
    engine.run(batches(), max_epochs=2)
    assert_alike(
        list(optimizer.watch.losses), [(a + b) / 2 for a, b in zip(losses[::2], losses[1::2], strict=True)], 1e-6
    )


def test_two_optimizers_have_names_of_their_own():
    run = Run(RMSprop, lr=1e-3)
    other = Adam(net().parameters())
    watch_engine(run.engine, other, None, prefix="other/")
    watch_engine(run.engine, run.optimizer, run.model, every=5)  # again
    run.fit()
    assert_alike([run.engine.state.metrics["watch/grad_norm"]], run.norms[-1:])
    assert len(run.optimizer.watch.losses) == 20


def test_an_output_that_is_no_loss_is_refused_with_what_to_write():
    run = Run(RMSprop, watched=False)
    for output in ({"loss": 1.0}, (1.0, 2.0), torch.ones(2)):
        engine = Engine(lambda engine, batch, output=output: output)
        watch_engine(engine, run.optimizer, run.model)
        with pytest.raises(OptionError, match=r"no loss but a.* Say where the loss is: loss=lambda output"):
            engine.run(batches(), max_epochs=1)
