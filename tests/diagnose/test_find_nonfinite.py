"""Planted faults: the search names the right module of each, says why, and its file finds the same again."""

import functools

import pytest
import torch
from faulty_models import (
    INF,
    NAN,
    Attention,
    Branches,
    Checkpointed,
    Does,
    Embeds,
    Parent,
    batch,
    half_overflow,
    hidden_root,
    net,
    with_zero,
)
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from ravine.diagnose import Finding, find_nonfinite, reproduce
from ravine.errors import OptionError

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
    "after a mask that is intended": (
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
    finding = find_nonfinite(model, batch(), mse_loss, path=tmp_path)
    assert isinstance(finding, Finding)
    assert (finding.where, finding.module, finding.kind, finding.operation) == (where, module, kind, operation)
    assert advice in str(finding)
    assert f"{module!r} ({kind})" in str(finding)
    assert finding.output.bad
    assert finding.input.total
    assert finding.path == tmp_path / f"nan-{module}.safetensors"
    again = reproduce(finding.path, make())
    assert again == finding
    assert str(again) == str(finding)


@pytest.mark.parametrize("mask", ["fill", "where", "buffer", "constant"])
@pytest.mark.parametrize("module", [True, False], ids=["module", "function"])
@pytest.mark.parametrize("loss", [mse_loss, None], ids=["loss", "no loss"])
def test_an_attention_mask_of_minus_infinity_is_no_fault(mask, module, loss):
    given = batch() if loss else batch()[0]
    assert not find_nonfinite(net(Attention(mask, module)), given, loss)


def test_what_is_infinite_on_the_way_and_comes_to_nothing_is_no_fault():
    chosen = net(lambda x: torch.where(x > 1e9, with_zero(x.detach()).abs().log(), x))
    assert not find_nonfinite(chosen, batch(), mse_loss)
    found = find_nonfinite(net(nn.ReLU()), batch(), mse_loss)
    assert not found
    assert repr(found) == str(found) == "Nothing found: outputs, loss and gradients are finite."
    assert repr(find_nonfinite(net(nn.ReLU()), batch()[0])) == "Nothing found: the outputs are finite."


def test_an_infinity_that_is_intended_is_named_where_it_reaches_the_loss():
    model = net(lambda x: x.masked_fill(torch.arange(8) == 3, INF))
    finding = find_nonfinite(model, batch(), mse_loss)
    assert (finding.module, finding.operation) == ("1", "masked_fill")


def test_the_evidence_is_counted():
    def fault(x):
        return (x.detach() * 0 + torch.tensor([1.0, 0.0, 4.0, 0.5, 1, 1, 1, 1])).log() + x

    finding = find_nonfinite(net(fault), batch(), mse_loss)
    assert finding.output.minus_inf == 16
    assert (finding.output.total, finding.output.bad) == (16 * 8, 16)
    assert finding.operands[0].low == 0.0
    assert finding.operands[0].high == 4.0
    x = model_input(net(fault))
    assert (finding.input.low, finding.input.high) == pytest.approx((x.min().item(), x.max().item()))
    assert "-inf in 16 of 128 elements by log of numbers between 0 and 4" in str(finding)


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

    assert find_nonfinite(net(Both(log, torch.sqrt)), batch(), mse_loss).module == "1.parts.0"
    assert find_nonfinite(net(Both(torch.sqrt, log)), batch(), mse_loss).module == "1.parts.0"
    assert (
        find_nonfinite(net(Both(masked, log)), batch(), mse_loss).module == "1.parts.1"
    )  # what is intended comes last


def test_a_fault_of_the_forward_pass_that_runs_in_the_backward_pass():
    def breaks(x):
        again = torch._C._current_autograd_node() is not None
        return x * (torch.zeros(8) if again else torch.ones(8)).reciprocal()

    finding = find_nonfinite(net(Checkpointed(breaks)), batch(), mse_loss)
    assert (finding.where, finding.module, finding.call, finding.operation) == ("forward", "1.inner", 2, "reciprocal")


# --- the batch, the parameters and the loss --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_bad_inputs_come_first(value, tmp_path):
    inputs, targets = batch()
    inputs[5, 2] = inputs[9, 0] = value
    model = net(lambda x: with_zero(x).abs().log())
    finding = find_nonfinite(model, (inputs, targets), mse_loss, path=tmp_path)
    assert (finding.where, finding.tensor, finding.first, finding.rows) == ("inputs", "inputs", (5, 2), (5, 9))
    assert finding.output.bad == 2
    assert "rows 5, 9" in str(finding)
    assert reproduce(finding.path, model) == finding


def test_the_tensor_of_the_inputs_is_named():
    inputs = batch()[0]
    bad = inputs.clone()
    bad[0, 1] = NAN
    model = Does(lambda a, b: a + b)
    assert find_nonfinite(model, (inputs, bad)).tensor == "inputs[1]"

    class Named(nn.Module):
        def forward(self, a, b):
            return a + b

    finding = find_nonfinite(Named(), ({"a": inputs, "b": bad}, inputs), mse_loss)
    assert finding.tensor == "inputs['b']"
    assert finding.first == (0, 1)


def test_bad_targets_are_named(tmp_path):
    inputs, targets = batch()
    targets[7, 1] = NAN
    model = net(nn.ReLU())
    finding = find_nonfinite(model, (inputs, targets), mse_loss, path=tmp_path)
    assert (finding.where, finding.tensor, finding.first) == ("targets", "targets", (7, 1))
    assert reproduce(finding.path, model, mse_loss) == finding


def test_a_bad_parameter_is_named_with_its_row():
    finding = find_nonfinite(Embeds(), batch(), mse_loss)
    assert (finding.tensor, finding.first, finding.output.inf, finding.output.total) == ("weight", (3, 0), 4, 40)
    assert finding.subject == "parameter 'weight' of module 'rows' (Embedding)"


def test_a_bad_parameter_that_only_others_use_is_named(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.held = nn.Linear(4, 2)
            self.held.weight.data[1, 1] = NAN

        def forward(self, x):
            return x @ self.held.weight.T

    finding = find_nonfinite(Tied(), batch(), mse_loss, path=tmp_path)
    assert (finding.where, finding.module, finding.tensor) == ("parameter", "held", "weight")
    assert reproduce(finding.path, Tied()) == finding


def test_a_bad_buffer_is_named():
    model = net(nn.BatchNorm1d(8)).eval()
    model[1].running_var[4] = NAN
    finding = find_nonfinite(model, batch(), mse_loss)
    assert (finding.where, finding.module, finding.tensor, finding.first) == ("parameter", "1", "running_var", (4,))


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
    finding = find_nonfinite(model, batch(), loss, path=tmp_path)
    assert (finding.where, finding.kind, finding.backward) == ("loss", kind, backward)
    assert finding.subject == f"the loss ({kind})"
    outputs = model(batch()[0]).detach()
    assert (finding.input.low, finding.input.high) == pytest.approx((outputs.min().item(), outputs.max().item()))
    assert reproduce(finding.path, model, loss) == finding
    with pytest.raises(OptionError, match=f"about the loss {kind}; give it"):
        reproduce(finding.path, model)


def test_a_class_that_was_masked_away_is_the_mask_s_fault():
    model = net(nn.Identity())
    model.append(Does(lambda x: x.masked_fill(torch.tensor([False, True]), -INF)))
    finding = find_nonfinite(model, (batch()[0], torch.ones(16, dtype=torch.long)), cross_entropy)
    assert (finding.where, finding.module, finding.operation) == ("forward", "3", "masked_fill")


def test_float16_overflow_under_autocast(tmp_path):
    inputs, targets = batch()
    model = net(nn.ReLU())
    with torch.autocast("cpu", torch.float16):
        finding = find_nonfinite(model, (inputs * 1e6, targets), mse_loss, path=tmp_path)
    assert (finding.module, finding.kind) == ("0", "Linear")
    assert "float16 ends at 65504" in str(finding)
    assert reproduce(finding.path, model) == finding  # the file knows of autocast
