"""Inside skorch's nets: the losses of torch.optim, figures in the history and its loggers, findings, resume."""

import pickle

import numpy as np
import pytest
import torch
from inside import assert_alike, data, net, norm, pair, plain_losses, scalars
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback as SkorchsCallback
from skorch.callbacks import Checkpoint, GradientNormClipping, LoadInitState, TensorBoard
from torch.utils.tensorboard import SummaryWriter

from ravine.errors import OptionError
from ravine.integrations import skorch_callback, unwrap
from ravine.optim import Adam, RMSprop


class Norms(SkorchsCallback):
    """Norms of the gradients, by hand, and losses."""

    def on_train_begin(self, net, **kwargs):
        self.norms, self.losses = [], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.norms.append(norm(p.grad for _, p in named_parameters))

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.losses.append(kwargs["loss"].item())


def made(optimizer, *callbacks, epochs=2, **options):
    options = {f"optimizer__{name}": value for name, value in options.items()}
    return NeuralNetClassifier(
        net(), criterion=torch.nn.CrossEntropyLoss, optimizer=optimizer, max_epochs=epochs, batch_size=32, train_split=None,
        callbacks=[Norms(), *callbacks], verbose=0, **options,
    )  # fmt: skip


def fit(net):
    inputs, targets = data()
    net.partial_fit(inputs.numpy(), targets.numpy())
    return net


def seen(net):
    return next(callback for _, callback in net.callbacks_ if isinstance(callback, Norms))


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
def test_losses_are_those_of_torch(name):
    theirs, ours = pair(name)
    reference = fit(made(theirs, lr=1e-3))
    watched = fit(made(ours, skorch_callback(), lr=1e-3))
    assert_alike(seen(watched).losses, seen(reference).losses)
    if name == "RMSprop":
        assert_alike(seen(watched).losses, plain_losses(lr=1e-3)[0])
    assert_alike(list(unwrap(watched).watch.losses), seen(watched).losses, 1e-6)


def test_figures_are_in_the_history_and_its_loggers(tmp_path):
    watched = fit(
        made(RMSprop, skorch_callback(parameters=True), TensorBoard(SummaryWriter(tmp_path)), lr=1e-3, epochs=3)
    )
    last = seen(watched).norms[9::10]
    assert_alike(watched.history[:, "watch/grad_norm"], last)
    assert_alike(list(scalars(tmp_path, "watch/grad_norm").values()), last)
    assert len(watched.history[:, "watch/ratio/0.weight"]) == 3
    assert "No problem found in 30 steps" in str(watched.diagnosis_)


def test_findings_are_said_while_it_trains():
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 20\\).*Try:"):
        watched = fit(made(RMSprop, skorch_callback(), lr=30.0, epochs=4))
    assert watched.diagnosis_[0].rule == "rate_too_high"


def test_resume_is_exact(tmp_path):
    """From skorch's own checkpoint; a pickled net is the same, too."""
    whole = fit(made(Adam, skorch_callback(), epochs=4, lr=1e-3))
    saved = Checkpoint(dirname=tmp_path, monitor=None, f_pickle="net.pkl")
    first = fit(made(Adam, skorch_callback(), saved, lr=1e-3))
    rest = fit(made(Adam, LoadInitState(Checkpoint(dirname=tmp_path, monitor=None)), skorch_callback(), lr=1e-3))
    assert seen(first).losses + seen(rest).losses == seen(whole).losses
    with open(tmp_path / "net.pkl", "rb") as file:
        again = pickle.load(file)
    fit(again)
    for found in (rest, again):
        for mine, other in zip(found.module_.parameters(), whole.module_.parameters(), strict=True):
            assert torch.equal(mine, other)


def test_gradients_are_not_clipped_twice():
    with pytest.raises(OptionError, match=r"GradientNormClipping\(0.5\).*clip_norm=1\): leave that callback out"):
        fit(made(RMSprop, skorch_callback(), GradientNormClipping(0.5), clip_norm=1.0))
    theirs = fit(made(torch.optim.RMSprop, GradientNormClipping(0.5), lr=1e-3))
    ours = fit(made(RMSprop, skorch_callback(), clip_norm=0.5, lr=1e-3))
    assert_alike(seen(ours).losses, seen(theirs).losses)
    assert np.min(seen(ours).norms) > 0.5


def test_an_optimizer_of_torch_is_refused():
    with pytest.raises(OptionError, match=r"torch's Adam records nothing.*Write ravine\.optim\.Adam for"):
        fit(made(torch.optim.Adam, skorch_callback()))


def test_a_fitted_net_can_be_cloned():
    first = made(RMSprop, lr=1e-3).set_params(callbacks=[skorch_callback(parameters=True)])
    again = fit(clone(fit(first)))
    assert unwrap(again).watch.steps == 20
    assert "watch/ratio/0.weight" in again.history[-1]
