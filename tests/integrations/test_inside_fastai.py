"""Inside fastai's Learner: the losses of torch.optim, figures in its table and CSV file, findings, resume."""

from functools import partial

import fastai.callback.schedule  # noqa: F401 - gives every Learner lr_find
import pytest
import torch
from fastai.callback.progress import CSVLogger
from fastai.callback.training import GradientClip
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Callback, Learner
from fastai.optimizer import Adam as FastaisAdam
from fastai.optimizer import OptimWrapper
from inside import assert_alike, column, data, net, norm, pair, plain_losses
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from ravine.errors import OptionError
from ravine.integrations import fastai_callback, unwrap
from ravine.optim import Adam, RMSprop


class Norms(Callback):
    """Norms of the gradients, by hand, and losses."""

    order = -100

    def __init__(self):
        self.norms, self.losses = [], []

    def before_step(self):
        self.norms.append(norm(p.grad for p in self.learn.model.parameters()))
        self.losses.append(self.learn.loss.item())


def learner(optimizer, folder, *callbacks, lr=1e-3, **options):
    loaders = [DataLoader(TensorDataset(*data()), bs=32, num_workers=0) for _ in range(2)]
    learn = Learner(
        DataLoaders(*loaders), net(), cross_entropy, opt_func=partial(OptimWrapper, opt=optimizer, **options), lr=lr,
        wd=0.0, path=folder, cbs=[Norms(), *callbacks],
    )  # fmt: skip
    learn.no_bar_done = True
    return learn


def fit(learn, epochs=2):
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs)
    return learn


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
def test_losses_are_those_of_torch(tmp_path, name):
    theirs, ours = pair(name)
    reference = fit(learner(theirs, tmp_path))
    watched = fit(learner(ours, tmp_path, fastai_callback()))
    assert len(watched.norms.losses) == 20
    assert_alike(watched.norms.losses, reference.norms.losses)
    if name == "RMSprop":
        assert_alike(watched.norms.losses, plain_losses(lr=1e-3)[0])
    assert_alike(list(unwrap(watched).watch.losses), watched.norms.losses, 1e-6)


def test_figures_are_columns_of_the_table(tmp_path):
    watched = learner(RMSprop, tmp_path, fastai_callback(), CSVLogger())
    fit(watched, 3)
    assert_alike(column(tmp_path / "history.csv", "watch/grad_norm"), watched.norms.norms[9::10])
    assert len(column(tmp_path / "history.csv", "watch/ratio")) == 3
    assert not watched.metrics
    assert "No problem found in 30 steps" in str(watched.diagnosis)
    assert unwrap(watched).watch.history.names[0] == "0.weight"


def test_findings_are_said_while_it_trains(tmp_path):
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 20\\).*Try:"):
        watched = fit(learner(RMSprop, tmp_path, fastai_callback(), lr=30.0), 4)
    assert watched.diagnosis[0].rule == "rate_too_high"


def test_resume_is_exact(tmp_path):
    """From what ``learn.save`` writes."""
    whole = fit(learner(Adam, tmp_path, fastai_callback()), 4)
    first = fit(learner(Adam, tmp_path, fastai_callback()))
    first.save("half")
    rest = learner(Adam, tmp_path, fastai_callback()).load("half")
    fit(rest)
    assert first.norms.losses + rest.norms.losses == whole.norms.losses
    for mine, other in zip(rest.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_gradients_are_not_clipped_twice(tmp_path):
    with pytest.raises(OptionError, match=r"GradientClip\(0.5\).*clip_norm=1\): leave that callback out"):
        fit(learner(RMSprop, tmp_path, fastai_callback(), GradientClip(0.5), clip_norm=1.0))
    theirs = fit(learner(torch.optim.RMSprop, tmp_path, GradientClip(0.5)))
    ours = fit(learner(RMSprop, tmp_path, fastai_callback(), clip_norm=0.5))
    assert_alike(ours.norms.losses, theirs.norms.losses)
    assert min(ours.norms.norms) > 0.5


def test_an_optimizer_of_torch_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"torch's Adam records nothing.*Write ravine\.optim\.Adam for"):
        fit(learner(torch.optim.Adam, tmp_path, fastai_callback()))


class InterruptedOnce(Callback):
    """As by Ctrl-C, in the first fit alone."""

    done = False

    def after_batch(self):
        if self.learn.training and not self.done:
            self.done = True
            raise KeyboardInterrupt


def test_an_interrupted_fit_leaves_no_columns(tmp_path, recwarn):
    watched = learner(RMSprop, tmp_path, fastai_callback(), InterruptedOnce())
    with pytest.raises(KeyboardInterrupt):
        fit(watched)
    fit(watched)
    assert list(watched.recorder.metric_names).count("watch/ratio") == 1
    assert not watched.metrics
    assert not [w for w in recwarn if "shadowing" in str(w.message)]


def test_validation_is_as_without_it(tmp_path):
    """Before a fit, when there is no optimizer, and after one; nothing is diagnosed."""
    plain, watched = learner(RMSprop, tmp_path), learner(RMSprop, tmp_path, fastai_callback())
    with watched.no_bar(), watched.no_logging(), plain.no_bar(), plain.no_logging():
        assert list(watched.validate()) == list(plain.validate())
        assert not hasattr(watched, "diagnosis")
        fit(watched)
        found = watched.diagnosis
        assert len(watched.validate()) == 1
        assert watched.diagnosis is found
        assert len(watched.get_preds()) == 2


def test_the_search_for_a_rate_is_no_part_of_the_history(tmp_path):
    watched = fit(learner(RMSprop, tmp_path, fastai_callback()), 1)
    with watched.no_bar(), watched.no_logging():
        watched.lr_find(num_it=30, show_plot=False)
    fit(watched, 1)
    assert unwrap(watched).watch.steps == len(unwrap(watched).watch.losses) == 20
    assert "No problem found in 20 steps" in watched.diagnosis.headline


def test_fastais_own_optimizer_is_refused_with_what_to_write(tmp_path):
    watched = learner(RMSprop, tmp_path, fastai_callback())
    watched.opt_func = FastaisAdam
    with pytest.raises(OptionError, match=r"write opt_func=partial\(OptimWrapper, opt=ravine\.optim\.RMSprop\)"):
        fit(watched)
