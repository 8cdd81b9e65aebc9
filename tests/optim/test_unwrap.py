"""The optimizer and its watch inside what trainers put around it, with the parameters' names where these were dropped."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn import Parameter

from ravine.errors import NonFiniteError, OptionError
from ravine.optim import SGD, Adam, unwrap


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))


class Delegating(torch.optim.Optimizer):
    """As Accelerate's: holds it as ``optimizer``, and passes on what it is asked."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state

    def step(self, closure=None):
        self.optimizer.step(closure)


class SharpnessAware(torch.optim.Optimizer):
    """As the first published SAM: hands its own groups on, with its own keys, to a class that it makes."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, {"rho": rho, "adaptive": False, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self):
        grads = [p.grad.norm() for group in self.param_groups for p in group["params"]]
        norm = torch.stack(grads).norm()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * (group["rho"] / (norm + 1e-12)))

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()


class Rewritten:
    """As Lightning's: an instance of the optimizer's class as well, with a copy of what it had then."""

    def __init__(self, optimizer):
        self.__dict__ = {k: v for k, v in vars(optimizer).items() if k != "step"}
        self.__class__ = type(f"Other{type(optimizer).__name__}", (Rewritten, type(optimizer)), {})
        self._optimizer = optimizer

    def step(self, closure=None):
        return self._optimizer.step(closure)


class Trainer:
    """Holds lists and things inside things; a property of it fails until it has begun."""

    def __init__(self, optimizer):
        self.optimizers = [Delegating(Delegating(optimizer))]

    @property
    def opt(self):
        raise RuntimeError("not yet")


class Net:
    """As skorch's."""

    def __init__(self, optimizer):
        self.optimizer, self.optimizer_ = SGD, optimizer


def train(model, optimizer, inner=None):
    x = torch.linspace(-1, 1, 12).view(4, 3)
    for _ in range(3):
        for p in model.parameters():
            p.grad = None
        model(x).square().mean().backward()
        if hasattr(optimizer, "first_step"):
            optimizer.first_step()
            for p in model.parameters():
                p.grad = None
            model(x).square().mean().backward()
            optimizer.second_step()
        else:
            (inner or optimizer).step()


@pytest.mark.parametrize("wrap", [lambda o: o, Delegating, Rewritten, Trainer, Net, lambda o: (o,)])
def test_the_watch_is_reached_with_the_models_names(wrap):
    model = net()
    optimizer = Adam(model.parameters(), lr=0.1)
    wrapped = wrap(optimizer)
    train(model, optimizer if not hasattr(wrapped, "step") else wrapped)
    found = unwrap(wrapped)
    assert found is optimizer
    assert [row.name for row in found.watch.last] == ["0", "1", "2", "3"]
    parallel = torch.nn.Module()  # as DistributedDataParallel names them
    parallel.module = model
    assert found.name_parameters(parallel) == 4
    names = ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [row.name for row in found.watch.last] == names
    assert found.watch.steps == 3
    assert "param_names" not in found.param_groups[0]
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), copy.copy(found)):
        assert [row.name for row in other.watch.last] == names


def test_names_are_in_errors_and_leave_others_their_places():
    model, extra = net(), Parameter(torch.ones(1))
    optimizer = SGD([*model.parameters(), extra], lr=0.1, nonfinite="raise")
    assert optimizer.name_parameters(model.named_parameters()) == 4
    train(model, optimizer)
    model[1].weight.grad = torch.full_like(model[1].weight, torch.nan)
    with pytest.raises(NonFiniteError, match=r"parameter '1\.weight'"):
        optimizer.step()
    assert [row.name for row in optimizer.watch.last][-1] == "4"
    assert optimizer.name_parameters([("other", Parameter(torch.ones(1)))]) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit, inside torch
def test_torchs_wrapper_that_shards_states():
    import torch.distributed as dist
    from torch.distributed.optim import ZeroRedundancyOptimizer

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = net()
        wrapped = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=Adam, lr=0.1)
        train(model, wrapped)
        assert unwrap(wrapped).name_parameters(model) == 4
        assert unwrap(wrapped).watch.last["1.weight"].grad_norm == pytest.approx(float(model[1].weight.grad.norm()))
    finally:
        dist.destroy_process_group()


def test_a_wrapper_that_hands_its_groups_on_steps_as_with_torchs_class():
    runs = []
    for cls in (torch.optim.Adam, Adam):
        model = net()
        optimizer = SharpnessAware(model.parameters(), cls, lr=0.1, rho=0.1)
        train(model, optimizer)
        assert optimizer.param_groups[0]["rho"] == 0.1
        runs.append([p.detach().clone() for p in model.parameters()])
        if cls is Adam:
            assert unwrap(optimizer) is optimizer.base_optimizer
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*runs, strict=True))


def test_none_and_several_are_said():
    params = [Parameter(torch.ones(1))]
    with pytest.raises(OptionError, match="no Ravine optimizer in this Delegating"):
        unwrap(Delegating(torch.optim.SGD(params)))
    with pytest.raises(OptionError, match="no Ravine optimizer in this NoneType"):
        unwrap(None)
    with pytest.raises(OptionError, match="2 Ravine optimizers in this list"):
        unwrap([SGD(params), Delegating(SGD(params))])
