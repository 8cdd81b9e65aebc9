"""What is no matrix, in optimizers of matrices: stepped as torch's AdamW steps it, or refused; for every such class."""

import pytest
import torch
from torch.nn import Parameter

import ravine.optim
from ravine.errors import OptionError, ParameterError
from ravine.optim import _registry as registry
from ravine.optim._others import StepsMatrices

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = [cls for cls in registry.classes() if issubclass(cls, StepsMatrices)]
EACH = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
OTHERS = {"lr": 3e-3, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.2}


def test_what_they_have_in_common_is_no_optimizer_by_name():
    assert [cls.__name__ for cls in CLASSES] == ["SOAP", "Muon", "NorMuon", "PSGDKron", "Shampoo"]
    assert "stepsmatrices" not in registry.names()
    assert "StepsMatrices" not in dir(ravine.optim)


@EACH
@pytest.mark.parametrize("in_group", [False, True], ids=["of all", "of a group"])
def test_a_vector_is_stepped_by_adamw_with_options_of_its_own(cls, in_group):
    start = torch.randn(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, q = (Parameter(start.clone()) for _ in range(2))
    given = [{"params": [p], "others": OTHERS}] if in_group else [p]
    ours = cls(given, lr=0.5, **({} if in_group else {"others": OTHERS}))
    theirs = torch.optim.AdamW([q], **OTHERS)
    for t in range(5):
        p.grad = torch.randn(5, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        q.grad = p.grad.clone()
        if t == 3:  # a schedule of the matrices' rate moves this one too
            ours.param_groups[0]["lr"], theirs.param_groups[0]["lr"] = 0.05, OTHERS["lr"] / 10
        ours.step()
        theirs.step()
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@EACH
def test_where_none_may_be_a_vector_is_refused_and_leaves_no_group(cls):
    matrix, vector = Parameter(torch.ones(2, 3)), Parameter(torch.ones(3))
    with pytest.raises(ParameterError, match=f"has 1 dimension, and {cls.__name__} steps matrices: leave out others="):
        cls([matrix, vector], others=False)
    optimizer = cls([matrix], others=False)
    with pytest.raises(ParameterError, match="others=False"):
        optimizer.add_param_group({"params": [vector]})
    assert [group["params"] for group in optimizer.param_groups] == [[matrix]]
    optimizer.add_param_group({"params": [vector], "others": {"lr": 1e-4}})
    assert len(optimizer.param_groups) == 2


@EACH
def test_an_option_that_adamw_has_not_is_named(cls):
    with pytest.raises(OptionError, match=r"others has no option 'beta'.*betas"):
        cls([Parameter(torch.ones(3))], others={"beta": 0.9})
