"""In Keras' fit with the torch backend, as docs/trainers/keras.md writes it: the losses of torch.optim and of Keras, resume."""

import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import pytest
import torch
from inside import assert_alike, batches, net, pair, plain_losses

from ravine.integrations import Follower
from ravine.optim import Adam, RMSprop


class Watched(keras.Sequential):
    """Steps with an optimizer of torch's kind."""

    def step_with(self, optimizer):
        self.made, self.seen = optimizer, []

    def train_step(self, data):
        self.zero_grad()
        loss = self.compute_loss(y=data[1], y_pred=self(data[0], training=True))
        loss.backward()
        self.seen.append(loss.item())
        self.made.step()
        return {"loss": loss.detach()}


def model(cls=Watched, **compiled):
    """With the weights of ``net()``."""
    made = cls([keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)])
    weights = [w.detach().T.numpy() if w.ndim == 2 else w.detach().numpy() for w in net().parameters()]
    made.set_weights(weights)
    made.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compiled)
    return made


def fit(made, epochs=2):
    made.fit(Batches(), epochs=epochs, verbose=0, shuffle=False)
    return made


class Batches(keras.utils.PyDataset):
    """The batches in order."""

    def __len__(self):
        return len(batches())

    def __getitem__(self, index):
        return batches()[index]


def run(optimizer, epochs=2, **options):
    made = model()
    made.step_with(optimizer([w.value for w in made.trainable_weights], **options))
    return fit(made, epochs)


@pytest.mark.parametrize("name", ["RMSprop", "AdamW"])
def test_losses_are_those_of_torch(name):
    theirs, ours = (run(cls, lr=1e-3) for cls in pair(name))
    assert_alike(ours.seen, theirs.seen)
    assert_alike(ours.seen, plain_losses(pair(name)[0], lr=1e-3)[0])


def test_the_dialect_is_keras_own_rmsprop():
    reference = model(keras.Sequential, optimizer=keras.optimizers.RMSprop())
    reference.fit(Batches(), epochs=2, verbose=0, shuffle=False)
    ours = model()
    ours.step_with(RMSprop.dialect("keras", [w.value for w in ours.trainable_weights]))
    fit(ours)
    for mine, theirs in zip(ours.get_weights(), reference.get_weights(), strict=True):
        torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), rtol=1e-4, atol=1e-5)


def test_resume_is_exact_and_the_history_goes_on(tmp_path):
    whole, first, rest = run(Adam, 4, lr=1e-3), run(Adam, lr=1e-3), model()
    first.save_weights(tmp_path / "half.weights.h5")
    torch.save([first.made.state_dict(), Follower(first.made).state_dict()], tmp_path / "half.pt")
    rest.load_weights(tmp_path / "half.weights.h5")
    rest.step_with(Adam([w.value for w in rest.trainable_weights], lr=1e-2))
    state, history = torch.load(tmp_path / "half.pt", weights_only=True)
    rest.made.load_state_dict(state)
    Follower(rest.made).load_state_dict(history)
    fit(rest)
    assert first.seen + rest.seen == whole.seen
    assert rest.made.watch.history.to_json() == whole.made.watch.history.to_json()
