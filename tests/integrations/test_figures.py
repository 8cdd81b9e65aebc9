"""What the callbacks of all trainers are made of, in plain loops: nothing here needs a trainer."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from inside import assert_alike, batches, net, norm
from torch.nn.functional import cross_entropy

from ravine import integrations
from ravine.errors import OptionError, PackageError, ParameterError
from ravine.integrations import Follower, figures, name
from ravine.integrations._twice import averages, clips, refuse_average, refuse_clipping
from ravine.optim import RMSprop


def train(model, optimizer, follower=None, epochs=2):
    """The norms before the last step, by hand."""
    for inputs, targets in batches() * epochs:
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), targets)
        loss.backward()
        before = norm(p.grad for p in model.parameters()), norm(model.parameters())
        if follower:
            follower.loss(loss)
        optimizer.step()
    return before


def test_figures_are_those_of_the_last_step():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    assert figures(optimizer) == {}
    grad, param = train(model, optimizer)
    found = figures(optimizer)
    assert_alike([found["watch/grad_norm"], found["watch/param_norm"]], [grad, param])
    assert_alike([found["watch/ratio"]], [found["watch/update_norm"] / param])
    assert found["watch/nonfinite"] == found["watch/skipped"] == 0.0
    assert "watch/rounding" not in found
    assert all(type(value) is float for value in found.values())
    assert name(optimizer, model) is optimizer
    each = figures(optimizer, parameters=True, prefix="x/")
    assert_alike([each["x/grad_norm/2.bias"]], [norm([model[2].bias.grad])])


def test_losses_in_narrow_states_are_logged():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3, state_dtype="bfloat16")
    train(model, optimizer)
    assert 0 < figures(optimizer)["watch/rounding"] <= 1


def test_counts_of_bad_gradients_are_logged():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    train(model, optimizer)
    model[0].weight.grad[0, :3] = torch.inf
    optimizer.step()
    assert figures(optimizer)["watch/nonfinite"] == 3.0


def test_a_follower_names_notes_and_finds(tmp_path):
    model = net()
    optimizer = RMSprop(model.parameters(), lr=30.0)
    follower = Follower(optimizer, model)
    train(model, optimizer, follower)
    with pytest.warns(UserWarning, match="Learning rate too high \\(step 20\\)") as told:
        assert follower.figures() == follower.figures()
    assert len(told) == 1, "once"
    with pytest.warns(UserWarning, match="Learning rate too high.*All of it is in .*diagnosis.txt"):
        found = follower.end(tmp_path / "new")
    assert (tmp_path / "new/diagnosis.txt").read_text() == f"{found}\n"
    assert len(optimizer.watch.losses) == 20
    assert optimizer.watch.history.names[0] == "0.weight"


def test_another_process_is_silent(tmp_path):
    model = net()
    optimizer = RMSprop(model.parameters(), lr=30.0)
    follower = Follower(optimizer, model, main=False)
    train(model, optimizer, follower)
    follower.figures()
    assert follower.end(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_healthy_run_is_not_warned_of(tmp_path):
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    follower = Follower(optimizer, model)
    train(model, optimizer, follower, epochs=4)
    follower.figures()
    assert not follower.end(tmp_path)
    assert "No problem found in 40 steps" in (tmp_path / "diagnosis.txt").read_text()


def test_the_mean_of_the_parts_is_the_loss_of_a_step():
    follower = Follower(RMSprop(net().parameters(), lr=1e-3))
    loss = torch.tensor(1.0)
    follower.part(loss)
    loss += 7  # as a trainer adds up in place
    follower.part(3.0)
    follower.loss()
    follower.loss()  # nothing new
    follower.loss(5.0)
    assert list(follower.optimizer.watch.losses) == [2.0, 5.0]


def test_a_follower_goes_on_from_its_state():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    follower = Follower(optimizer, model)
    train(model, optimizer, follower)
    again = Follower(RMSprop(model.parameters(), lr=1e-3), model)
    again.load_state_dict(follower.state_dict())
    assert again.optimizer.watch.history.to_json() == optimizer.watch.history.to_json()
    assert list(again.optimizer.watch.losses) == list(optimizer.watch.losses)


def test_what_has_no_watch_is_refused_with_what_to_write():
    model = net()
    with pytest.raises(
        OptionError, match=r"torch's SGD records nothing.*Write ravine\.optim\.SGD for torch\.optim\.SGD"
    ):
        Follower(torch.optim.SGD(model.parameters(), lr=1e-3))
    with pytest.raises(OptionError, match=r"made with watch=False.*leave watch=False out"):
        figures(RMSprop(model.parameters(), lr=1e-3, watch=False))
    with pytest.raises(OptionError, match="no Ravine optimizer in this Sequential"):
        figures(model)
    with pytest.raises(ParameterError, match="none of the parameters of this RMSprop is one of this Linear"):
        name(RMSprop(model.parameters(), lr=1e-3), torch.nn.Linear(2, 1))


def test_what_would_run_twice_is_refused():
    groups = [{"params": [p]} for p in net().parameters()]
    plain = RMSprop(groups, lr=1e-3)
    assert clips(plain) is None
    assert averages(plain) is None
    refuse_clipping(plain, "max=1", "write max=0")
    refuse_average(plain, "EMA")
    groups[1]["clip_norm"] = 2.0
    with pytest.raises(OptionError, match=r"by the trainer \(max=1\).*clip_norm=2\): write max=0, and"):
        refuse_clipping(RMSprop(groups, lr=1e-3), "max=1", "write max=0")
    with pytest.raises(
        OptionError, match=r"averaged twice, by EMA and by the optimizer \(ema_decay=0.9\): leave EMA out"
    ):
        refuse_average(RMSprop(net().parameters(), lr=1e-3, ema_decay=0.9), "EMA")


ENTRANCES = {
    "lightning_callback": ("lightning", ()),
    "watch_trainer": ("transformers accelerate", (None,)),
    "watch_accelerator": ("accelerate", (None, None, None)),
    "skorch_callback": ("skorch", ()),
    "fastai_callback": ("fastai", ()),
    "watch_engine": ("pytorch-ignite", (None, None, None)),
}
MODULES = {"pytorch-ignite": "ignite", "transformers accelerate": "transformers"}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_missing_package_is_named_with_what_to_install(entrance, monkeypatch):
    install, arguments = ENTRANCES[entrance]
    package = MODULES.get(install, install)
    if find_spec(package):
        monkeypatch.setattr("ravine.integrations._entrances.import_module", absent)
    with pytest.raises(PackageError, match=f"{package} is not installed: pip install {install}$"):
        getattr(integrations, entrance)(*arguments)


def absent(package):
    raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def test_importing_it_imports_no_trainer():
    code = "import sys, ravine.integrations as i; [getattr(i, n) for n in i.__all__]; print(' '.join(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not {"lightning", "transformers", "accelerate", "skorch", "fastai", "ignite", "keras"} & loaded


class Homemade(torch.optim.Optimizer):
    """Not Ravine's, and nothing of ravine.optim has its name."""

    def __init__(self, params):
        super().__init__(params, {})


def test_what_ravine_does_not_have_is_not_recommended():
    with pytest.raises(OptionError, match=r"^Homemade records nothing.*Take an optimizer of ravine\.optim\.$"):
        Follower(Homemade(net().parameters()))
    with pytest.raises(OptionError, match=r"the model is a torch\.nn\.Module, or None, not str"):
        Follower(RMSprop(net().parameters()), "net")


def test_the_newest_of_several_followers_notes_losses_and_warns():
    model = net()
    optimizer = RMSprop(model.parameters(), lr=30.0)
    older, newer = Follower(optimizer, model), Follower(optimizer, model)
    train(model, optimizer, newer)
    older.loss(1.0)
    assert len(optimizer.watch.losses) == 20
    with pytest.warns(UserWarning, match="Learning rate too high") as told:
        older.figures()
        newer.figures()
    assert len(told) == 1
