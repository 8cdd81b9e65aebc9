"""Planted faults: the trace names the right module of each, says why, and its file finds the same again."""

import copy
import functools
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.checkpoint import checkpoint

from ravine.diagnose import Finding, reproduce, trace
from ravine.diagnose._nonfinite.value_range import finite, span
from ravine.errors import DataError, OptionError, StateError

INF, NAN = float("inf"), float("nan")


class Does(nn.Module):
    """A module that is one function of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def net(*middle):
    """A healthy model around the modules to look at."""
    torch.manual_seed(1)
    middle = [m if isinstance(m, nn.Module) else Does(m) for m in middle]
    return nn.Sequential(nn.Linear(4, 8), *middle, nn.Linear(8, 2))


def batch(rows=16):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(rows, 4, generator=generator), torch.randn(rows, 2, generator=generator)


def with_zero(x):
    """The same with one column of zeros."""
    return x * (torch.arange(x.shape[-1]) != 2)


class Attention(nn.Module):
    """Causal; the mask is a buffer, a constant or a fill, the softmax a module or a function."""

    def __init__(self, mask="fill", module=True, empty_row=False):
        super().__init__()
        self.qkv, self.softmax, self.mask = nn.Linear(8, 24), nn.Softmax(-1) if module else torch.softmax, mask
        keep = torch.ones(16, 16).tril().bool()
        keep[0, 0] = not empty_row
        self.keep = keep
        added = torch.zeros(16, 16).masked_fill(~keep, -INF)
        if mask == "buffer":
            self.register_buffer("added", added)
        self.constant = added

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.T
        if self.mask == "fill":
            scores = scores.masked_fill(~self.keep, -INF)
        elif self.mask == "where":
            scores = torch.where(self.keep, scores, -INF)
        else:
            scores = scores + (self.added if self.mask == "buffer" else self.constant)
        return (self.softmax(scores) if isinstance(self.softmax, nn.Module) else scores.softmax(-1)) @ v


class Parent(nn.Module):
    """The fault is its own, between two healthy children of which the second then gets what is not finite."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.second(with_zero(self.first(x)).abs().log())


class Branches(nn.Module):
    """The branch that runs second is at fault."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Does(lambda x: x + 1), Does(lambda x: (x * 1e4).exp())

    def forward(self, x):
        return self.left(x) + self.right(x)


class Embeds(nn.Module):
    """Its inputs are numbers of rows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.rows, self.out = nn.Embedding(10, 4), nn.Linear(4, 2)
        self.rows.weight.data[3] = INF

    def forward(self, x):
        return self.out(self.rows((x[:, 0] * 0 + 3).long()))


class Checkpointed(nn.Module):
    """Its inside runs again in the backward pass."""

    def __init__(self, function):
        super().__init__()
        self.inner = Does(function)

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=False)


def half_overflow(x):
    return (x.half() * 60000).float()


def hidden_root(x):
    return (with_zero(x) ** 2).sqrt()


#: the model, the module at fault, its class, where, the operation, words of the advice.
FAULTS = {
    "log of 0": (lambda: net(with_zero, torch.abs, torch.log), "3", "Does", "forward", "log", "clamp_min"),
    "log in place": (lambda: net(lambda x: with_zero(x).abs().log_()), "1", "Does", "forward", "log_", "clamp_min"),
    "in place on its input": (lambda: net(lambda x: x.mul_(0).log_()), "1", "Does", "forward", "log_", "clamp_min"),
    "division by 0": (lambda: net(lambda x: x / with_zero(x)), "1", "Does", "forward", "div", "divisor"),
    "exp overflow": (lambda: net(lambda x: (x * 1e3).exp(), nn.Identity()), "1", "Does", "forward", "exp", "logsumexp"),
    "root of a negative number": (lambda: net(torch.sqrt), "1", "Does", "forward", "sqrt", "negative"),
    "row of inf": (Embeds, "rows", "Embedding", "parameter", "", "checkpoint"),
    "backward of sqrt at 0": (lambda: net(hidden_root), "1", "Does", "backward", "Sqrt", "infinite"),
    "backward of a choice": (
        lambda: net(lambda x: torch.where(with_zero(x) > 0, with_zero(x).log(), 0.0)),
        "1",
        "Does",
        "backward",
        "Log",
        "torch.where",
    ),
    "x / |x|": (lambda: net(lambda x: with_zero(x) / with_zero(x).abs()), "1", "Does", "forward", "div", "0/0"),
    "norm at 0": (
        lambda: net(lambda x: x + (x * 0).square().sum(-1, keepdim=True).sqrt()),
        "1",
        "Does",
        "backward",
        "Sqrt",
        "inside",
    ),
    "float16 overflow": (lambda: net(half_overflow), "1", "Does", "forward", "mul", "65504"),
    "the parent's own code": (lambda: net(Parent()), "1", "Parent", "forward", "log", "clamp_min"),
    "the second branch": (lambda: net(Branches()), "1.right", "Does", "forward", "exp", "exp overflows"),
    "empty row, fill": (lambda: net(Attention("fill", True, True)), "1", "Attention", "forward", "_softmax", "masked"),
    "empty row, buffer": (
        lambda: net(Attention("buffer", True, True)),
        "1",
        "Attention",
        "forward",
        "_softmax",
        "masked",
    ),
    "empty row, constant": (
        lambda: net(Attention("constant", False, True)),
        "1",
        "Attention",
        "forward",
        "_softmax",
        "masked",
    ),
    "after a mask that is meant": (
        lambda: net(Attention("fill"), lambda x: with_zero(x).abs().log()),
        "2",
        "Does",
        "forward",
        "log",
        "clamp_min",
    ),
    "layer norm without eps": (
        lambda: net(lambda x: x * 0, nn.LayerNorm(8, eps=0.0)),
        "2",
        "LayerNorm",
        "forward",
        "native_layer_norm",
        "eps",
    ),
    "checkpointed, backward": (lambda: net(Checkpointed(hidden_root)), "1.inner", "Does", "backward", "Sqrt", "root"),
    "checkpointed, forward": (lambda: net(Checkpointed(torch.log)), "1.inner", "Does", "forward", "log", "clamp_min"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_found_again(name, tmp_path):
    make, module, kind, where, operation, advice = FAULTS[name]
    model = make()
    found = trace(model, batch(), mse_loss, path=tmp_path)
    assert isinstance(found, Finding)
    assert (found.where, found.module, found.kind, found.operation) == (where, module, kind, operation)
    assert advice in str(found)
    assert f"{module!r} ({kind})" in str(found)
    assert found.output.bad
    assert found.input.total
    assert found.path == tmp_path / f"nan-{module}.safetensors"
    again = reproduce(found.path, make())
    assert again == found
    assert str(again) == str(found)


@pytest.mark.parametrize("mask", ["fill", "where", "buffer", "constant"])
@pytest.mark.parametrize("module", [True, False], ids=["module", "function"])
@pytest.mark.parametrize("loss", [mse_loss, None], ids=["loss", "no loss"])
def test_an_attention_mask_of_minus_infinity_is_no_fault(mask, module, loss):
    given = batch() if loss else batch()[0]
    assert trace(net(Attention(mask, module)), given, loss) is None


def test_what_is_infinite_on_the_way_and_comes_to_nothing_is_no_fault():
    chosen = net(lambda x: torch.where(x > 1e9, with_zero(x.detach()).abs().log(), x))
    assert trace(chosen, batch(), mse_loss) is None
    assert trace(net(nn.ReLU()), batch(), mse_loss) is None


def test_an_infinity_that_is_meant_is_named_where_it_reaches_the_loss():
    model = net(lambda x: x.masked_fill(torch.arange(8) == 3, INF))
    found = trace(model, batch(), mse_loss)
    assert (found.module, found.operation) == ("1", "masked_fill")


def test_the_evidence_is_counted():
    def fault(x):
        return (x.detach() * 0 + torch.tensor([1.0, 0.0, 4.0, 0.5, 1, 1, 1, 1])).log() + x

    found = trace(net(fault), batch(), mse_loss)
    assert found.output.minus_inf == 16
    assert (found.output.total, found.output.bad) == (16 * 8, 16)
    assert found.operands[0].low == 0.0
    assert found.operands[0].high == 4.0
    x = model_input(net(fault))
    assert (found.input.low, found.input.high) == pytest.approx((x.min().item(), x.max().item()))
    assert "-inf in 16 of 128 elements by log of numbers between 0 and 4" in str(found)


def model_input(model):
    return model[0](batch()[0]).detach()


def test_the_first_of_two_faults_is_named():
    class Both(nn.Module):
        def __init__(self, *functions):
            super().__init__()
            self.parts = nn.ModuleList(map(Does, functions))

        def forward(self, x):
            first, second = (part(x) for part in self.parts)
            return second - first

    def log(x):
        return with_zero(x).abs().log()

    def masked(x):
        return x.masked_fill(torch.arange(8) == 2, -INF)

    assert trace(net(Both(log, torch.sqrt)), batch(), mse_loss).module == "1.parts.0"
    assert trace(net(Both(torch.sqrt, log)), batch(), mse_loss).module == "1.parts.0"
    assert trace(net(Both(masked, log)), batch(), mse_loss).module == "1.parts.1"  # what is meant comes last


def test_a_fault_of_the_forward_pass_that_runs_in_the_backward_pass():
    def breaks(x):
        again = torch._C._current_autograd_node() is not None
        return x * (torch.zeros(8) if again else torch.ones(8)).reciprocal()

    found = trace(net(Checkpointed(breaks)), batch(), mse_loss)
    assert (found.where, found.module, found.call, found.operation) == ("forward", "1.inner", 2, "reciprocal")


# --- the batch, the parameters and the loss --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_bad_inputs_come_first(value, tmp_path):
    inputs, targets = batch()
    inputs[5, 2] = inputs[9, 0] = value
    model = net(lambda x: with_zero(x).abs().log())
    found = trace(model, (inputs, targets), mse_loss, path=tmp_path)
    assert (found.where, found.tensor, found.first, found.rows) == ("inputs", "inputs", (5, 2), (5, 9))
    assert found.output.bad == 2
    assert "rows 5, 9" in str(found)
    assert reproduce(found.path, model) == found


def test_the_tensor_of_the_inputs_is_named():
    inputs = batch()[0]
    bad = inputs.clone()
    bad[0, 1] = NAN
    model = Does(lambda a, b: a + b)
    assert trace(model, (inputs, bad)).tensor == "inputs[1]"

    class Named(nn.Module):
        def forward(self, a, b):
            return a + b

    found = trace(Named(), ({"a": inputs, "b": bad}, inputs), mse_loss)
    assert found.tensor == "inputs['b']"
    assert found.first == (0, 1)


def test_bad_targets_are_named(tmp_path):
    inputs, targets = batch()
    targets[7, 1] = NAN
    model = net(nn.ReLU())
    found = trace(model, (inputs, targets), mse_loss, path=tmp_path)
    assert (found.where, found.tensor, found.first) == ("targets", "targets", (7, 1))
    assert reproduce(found.path, model, mse_loss) == found


def test_a_bad_parameter_is_named_with_its_row():
    found = trace(Embeds(), batch(), mse_loss)
    assert (found.tensor, found.first, found.output.inf, found.output.total) == ("weight", (3, 0), 4, 40)
    assert found.subject == "parameter 'weight' of module 'rows' (Embedding)"


def test_a_bad_parameter_that_only_others_use_is_named(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.held = nn.Linear(4, 2)
            self.held.weight.data[1, 1] = NAN

        def forward(self, x):
            return x @ self.held.weight.T

    found = trace(Tied(), batch(), mse_loss, path=tmp_path)
    assert (found.where, found.module, found.tensor) == ("parameter", "held", "weight")
    assert reproduce(found.path, Tied()) == found


def test_a_bad_buffer_is_named():
    model = net(nn.BatchNorm1d(8)).eval()
    model[1].running_var[4] = NAN
    found = trace(model, batch(), mse_loss)
    assert (found.where, found.module, found.tensor, found.first) == ("parameter", "1", "running_var", (4,))


def overflowing_loss(outputs, targets):
    return ((outputs - targets) * 1e30).square().mean()


def root_loss(outputs, targets):
    return (outputs - outputs.detach()).square().sum().sqrt()


@pytest.mark.parametrize(
    ("loss", "kind", "backward"),
    [
        (overflowing_loss, "overflowing_loss", False),
        (functools.partial(overflowing_loss), "overflowing_loss", False),
        (Does(overflowing_loss), "Does", False),
        (root_loss, "root_loss", True),
    ],
)
def test_the_loss_is_named(loss, kind, backward, tmp_path):
    model = net(nn.Tanh())
    found = trace(model, batch(), loss, path=tmp_path)
    assert (found.where, found.kind, found.backward) == ("loss", kind, backward)
    assert found.subject == f"the loss ({kind})"
    outputs = model(batch()[0]).detach()
    assert (found.input.low, found.input.high) == pytest.approx((outputs.min().item(), outputs.max().item()))
    assert reproduce(found.path, model, loss) == found
    with pytest.raises(OptionError, match=f"about the loss {kind}; give it"):
        reproduce(found.path, model)


def test_a_class_that_was_masked_away_is_the_mask_s_fault():
    model = net(nn.Identity())
    model.append(Does(lambda x: x.masked_fill(torch.tensor([False, True]), -INF)))
    found = trace(model, (batch()[0], torch.ones(16, dtype=torch.long)), cross_entropy)
    assert (found.where, found.module, found.operation) == ("forward", "3", "masked_fill")


def test_float16_overflow_under_autocast(tmp_path):
    inputs, targets = batch()
    model = net(nn.ReLU())
    with torch.autocast("cpu", torch.float16):
        found = trace(model, (inputs * 1e6, targets), mse_loss, path=tmp_path)
    assert (found.module, found.kind) == ("0", "Linear")
    assert "float16 ends at 65504" in str(found)
    assert reproduce(found.path, model) == found  # the file knows of autocast


# --- models of all kinds ---------------------------------------------------------------------------------------------


def test_the_call_of_a_shared_module_is_counted(tmp_path):
    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.log = Does(torch.log)
            self.same = self.log
            self.first, self.second = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            good = self.log(self.first(x).square() + 1)
            return good + self.same(self.second(x).relu()) + self.log(self.first(x).square() + 1)

    torch.manual_seed(1)
    model = Shares()
    found = trace(model, batch(), mse_loss, path=tmp_path)
    assert (found.module, found.call) == ("log", 2)
    assert found.input.low == 0
    assert "in its call 2" in str(found)
    assert reproduce(found.path, model) == found


def test_outputs_may_be_tuples_and_dicts(tmp_path):
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Does(lambda x: (x, {"log": with_zero(x).abs().log(), "n": 3, "none": None}))

        def forward(self, x):
            return {"all": self.inner(x)}

    found = trace(Many(), batch()[0], path=tmp_path)
    assert (found.module, found.operation) == ("inner", "log")
    assert reproduce(found.path, Many()) == found
    loss = trace(Many(), batch(), lambda outputs, targets: outputs["all"][1]["log"].sum())
    assert loss.module == "inner"


@pytest.mark.parametrize(
    "inputs",
    [
        torch.tensor(0.0),
        torch.empty(0, 3),
        torch.arange(6),
        torch.tensor([True, False]),
        torch.zeros(2, dtype=torch.cfloat),
    ],
    ids=["zero-dim", "empty", "integer", "bool", "complex"],
)
def test_tensors_of_all_kinds(inputs):
    model = Does(lambda x: x)
    assert trace(model, inputs) is None
    found = trace(Does(lambda x: 1 / x), torch.tensor(0.0))
    assert (found.module, found.output.inf, found.input.low) == ("", 1, 0.0)
    assert str(found).startswith("the model (Does) gave inf in 1 of 1 element")
    assert finite(torch.tensor([INF]).long())


def test_what_no_torch_operation_made_is_named():
    class ByNumpy(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return torch.from_numpy(np.full(x.shape, np.nan, dtype=np.float32))

        @staticmethod
        def backward(context, gradient):
            return gradient

    found = trace(net(ByNumpy.apply), batch(), mse_loss)
    assert found.module == "1"


def test_a_gradient_that_a_custom_function_breaks():
    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient / 0

    found = trace(net(nn.Tanh(), Breaks.apply), batch(), mse_loss)
    assert (found.where, found.module, found.operation) == ("backward", "2", "Breaks")


def test_a_module_whose_inputs_need_no_gradient_is_found_by_its_parameters():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return x + self.scale.square().sqrt()

    found = trace(nn.Sequential(Scale(), nn.Linear(4, 2)), batch(), mse_loss)
    assert (found.where, found.module, found.operation) == ("backward", "0", "Sqrt")


def test_memory_that_nobody_wrote_is_no_origin_of_its_own():
    def fills(x):
        room = torch.empty_like(x).fill_(NAN)
        room.copy_(x)
        return room

    assert trace(net(fills), batch(), mse_loss) is None


# --- it leaves no trace ----------------------------------------------------------------------------------------------


def test_the_model_and_the_random_states_stay_as_they_were():
    model = net(nn.BatchNorm1d(8), nn.Dropout(0.5), with_zero, torch.abs, torch.log)
    inputs, targets = batch()
    model[:3](inputs).sum().backward()
    fresh = torch.zeros(())
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: fresh.add_(1))
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad for p in model.parameters()]
    values = [None if g is None else g.clone() for g in gradients]
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert trace(model, (inputs, targets), mse_loss).module == "5"
    assert trace(model[:3], (inputs, None), lambda outputs, targets: outputs.mean()) is None
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(v is None or torch.equal(g, v) for g, v in zip(gradients, values, strict=True))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert fresh == 0  # no step in the backward pass
    assert model.training


def test_dropout_draws_the_same_again(tmp_path):
    """The fault is in the elements that dropout took: another mask would count others."""

    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x).abs().log()

    model = net(Drops())
    torch.manual_seed(7)
    taken = nn.functional.dropout(torch.ones(16, 8)).eq(0).sum()
    torch.manual_seed(7)
    found = trace(model, batch(), mse_loss, path=tmp_path)
    assert found.output.minus_inf == taken
    torch.manual_seed(8)
    assert trace(model, batch(), mse_loss) != found
    assert trace(model.eval(), batch(), mse_loss) is None
    assert reproduce(found.path, model) == found  # training is the file's, too


def test_reproducing_leaves_the_model_as_it_is(tmp_path):
    model = net(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2)), Parent())
    path = trace(model, batch(), mse_loss, path=tmp_path / "own.safetensors").path
    assert path.name == "own.safetensors"
    other = net(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.2)), Parent()).eval()
    for p in other.parameters():
        p.data += 1
    before = copy.deepcopy(other.state_dict())
    assert reproduce(path, other).module == "2"
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    assert not any(m.training for m in other.modules())
    assert all(p.grad is None for p in other.parameters())


def test_the_file_holds_only_what_the_module_needs(tmp_path):
    model = net(nn.Linear(8, 8), lambda x: with_zero(x).abs().log())
    model.append(nn.Linear(2, 100_000))
    path = trace(model, batch(), lambda outputs, targets: outputs.sum(), path=tmp_path).path
    assert path.stat().st_size < 30_000


def test_a_mended_module_gives_nothing(tmp_path):
    path = trace(net(torch.log), batch(), mse_loss, path=tmp_path).path
    assert reproduce(path, net(lambda x: x.abs().clamp_min(1e-12).log())) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: nn.Linear(4, 2), "the module '1', which this model does not have"),
        (lambda: net(nn.Tanh()), "there a Parent, and here a Tanh"),
        (lambda: net(smaller()), r"first.bias has shape \(8,\) in the file, \(3,\) in the model"),
    ],
)
def test_another_model_is_refused(other, message, tmp_path):
    path = trace(net(Parent()), batch(), mse_loss, path=tmp_path).path
    with pytest.raises(DataError, match=message):
        reproduce(path, other())


def smaller():
    parent = Parent()
    parent.first = nn.Linear(3, 3)
    return parent


def test_wrong_arguments_are_refused(tmp_path):
    model = net(nn.ReLU())
    with pytest.raises(OptionError, match="with a loss it is a pair"):
        trace(model, batch()[0], mse_loss)
    with pytest.raises(OptionError, match=r"shape \(16, 2\)"):
        trace(model, batch(), functools.partial(mse_loss, reduction="none"))
    with pytest.raises(DataError, match="There is no checkpoint"):
        reproduce(tmp_path / "none.safetensors", model)
    from ravine._files import checkpoint

    checkpoint.save(tmp_path / "other.safetensors", {"model": {}})
    with pytest.raises(DataError, match=r"no file of ravine\.diagnose\.trace"):
        reproduce(tmp_path / "other.safetensors", model)
    with pytest.raises(StateError):
        asks = Does(lambda x, f: f(x))
        trace(asks, (with_zero(batch()[0]).abs(), torch.log), path=tmp_path)


def test_a_pair_that_the_model_does_not_take_is_inputs_and_targets():
    assert trace(net(torch.log), batch()).module == "1"


def test_ranges():
    found = span([torch.tensor([1.0, NAN, -3.0]), torch.tensor([INF, -INF], dtype=torch.float16), torch.arange(3)])
    assert (found.low, found.high, found.total, found.bad, found.nan) == (-3.0, 1.0, 5, 3, 1)
    assert found.dtypes == ("float32", "float16")
    assert str(found) == "between -3 and 1, with NaN and inf and -inf in 3 of 5 elements"
    assert span(torch.full((2,), NAN)) == span(torch.full((2,), NAN))
    assert str(span(torch.full((2,), NAN))) == "nowhere finite, with NaN in 2 of 2 elements"


def test_importing_the_package_loads_no_torch():
    code = "import ravine.watch, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_a_model_that_changes_its_batch_in_place_gets_the_same_each_time():
    class Less(nn.Module):
        def forward(self, x):
            return x.sub_(1).log()

    x = torch.ones(2, 3)
    found = trace(Less(), x)
    assert found is not None
    assert (found.input.low, found.input.high) == (1.0, 1.0)
    assert torch.equal(x, torch.ones(2, 3))


def test_in_inference_mode_gradients_are_looked_at_too():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)
            nn.init.zeros_(self.linear.weight)

        def forward(self, x):
            return self.linear(x).sqrt()

    with torch.inference_mode():
        found = trace(Root(), (torch.ones(1, 2), torch.zeros(1, 2)), nn.functional.mse_loss)
    assert found is None or found.backward


def test_what_cannot_be_watched_says_so():
    class Mapped(nn.Module):
        def forward(self, x):
            return torch.func.vmap(lambda row: row if float(row.sum()) > 0 else -row)(x)

    with pytest.raises(OptionError, match=r"cannot be run with its operations watched.*vmap"):
        trace(Mapped(), torch.ones(3, 2))
