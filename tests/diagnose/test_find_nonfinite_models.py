"""The search on models and tensors of all kinds."""

import numpy as np
import pytest
import torch
from faulty_models import INF, NAN, Does, batch, net, with_zero
from torch import nn
from torch.nn.functional import mse_loss

from ravine.diagnose import find_nonfinite, reproduce
from ravine.diagnose._nonfinite.value_range import finite, value_range
from ravine.errors import OptionError


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
    finding = find_nonfinite(model, batch(), mse_loss, path=tmp_path)
    assert (finding.module, finding.call) == ("log", 2)
    assert finding.input.low == 0
    assert "in its call 2" in str(finding)
    assert reproduce(finding.path, model) == finding


def test_outputs_may_be_tuples_and_dicts(tmp_path):
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Does(lambda x: (x, {"log": with_zero(x).abs().log(), "n": 3, "none": None}))

        def forward(self, x):
            return {"all": self.inner(x)}

    finding = find_nonfinite(Many(), batch()[0], path=tmp_path)
    assert (finding.module, finding.operation) == ("inner", "log")
    assert reproduce(finding.path, Many()) == finding
    loss = find_nonfinite(Many(), batch(), lambda outputs, targets: outputs["all"][1]["log"].sum())
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
    assert not find_nonfinite(model, inputs)
    finding = find_nonfinite(Does(lambda x: 1 / x), torch.tensor(0.0))
    assert (finding.module, finding.output.inf, finding.input.low) == ("", 1, 0.0)
    assert str(finding).startswith("the model (Does) gave inf in 1 of 1 element")
    assert finite(torch.tensor([INF]).long())


def test_what_no_torch_operation_made_is_named():
    class ByNumpy(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return torch.from_numpy(np.full(x.shape, np.nan, dtype=np.float32))

        @staticmethod
        def backward(context, gradient):
            return gradient

    finding = find_nonfinite(net(ByNumpy.apply), batch(), mse_loss)
    assert finding.module == "1"


def test_a_gradient_that_a_custom_function_breaks():
    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient / 0

    finding = find_nonfinite(net(nn.Tanh(), Breaks.apply), batch(), mse_loss)
    assert (finding.where, finding.module, finding.operation) == ("backward", "2", "Breaks")


def test_a_module_whose_inputs_need_no_gradient_is_found_by_its_parameters():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return x + self.scale.square().sqrt()

    finding = find_nonfinite(nn.Sequential(Scale(), nn.Linear(4, 2)), batch(), mse_loss)
    assert (finding.where, finding.module, finding.operation) == ("backward", "0", "Sqrt")


def test_memory_that_nobody_wrote_is_no_origin_of_its_own():
    def fills(x):
        room = torch.empty_like(x).fill_(NAN)
        room.copy_(x)
        return room

    assert not find_nonfinite(net(fills), batch(), mse_loss)


def test_ranges():
    values = value_range(
        [torch.tensor([1.0, NAN, -3.0]), torch.tensor([INF, -INF], dtype=torch.float16), torch.arange(3)]
    )
    assert (values.low, values.high, values.total, values.bad, values.nan) == (-3.0, 1.0, 5, 3, 1)
    assert values.dtypes == ("float32", "float16")
    assert str(values) == "between -3 and 1, with NaN and inf and -inf in 3 of 5 elements"
    assert value_range(torch.full((2,), NAN)) == value_range(torch.full((2,), NAN))
    assert str(value_range(torch.full((2,), NAN))) == "nowhere finite, with NaN in 2 of 2 elements"


def test_a_model_that_changes_its_batch_in_place_gets_the_same_each_time():
    class Less(nn.Module):
        def forward(self, x):
            return x.sub_(1).log()

    x = torch.ones(2, 3)
    finding = find_nonfinite(Less(), x)
    assert finding is not None
    assert (finding.input.low, finding.input.high) == (1.0, 1.0)
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
        finding = find_nonfinite(Root(), (torch.ones(1, 2), torch.zeros(1, 2)), nn.functional.mse_loss)
    assert not finding or finding.backward


def test_what_cannot_be_watched_says_so():
    class Mapped(nn.Module):
        def forward(self, x):
            return torch.func.vmap(lambda row: row if float(row.sum()) > 0 else -row)(x)

    with pytest.raises(OptionError, match=r"cannot be run while its operations are observed.*vmap"):
        find_nonfinite(Mapped(), torch.ones(3, 2))
