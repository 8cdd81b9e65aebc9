"""What users of other libraries and books write is answered with what to write here."""

import pytest
import torch

import ravine.optim
from ravine.errors import FormulaError, OptionError
from ravine.formula import global_norm, minimum
from ravine.optim import SGD, Optimizer, RMSprop


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("RMSProp", "RMSprop"), ("ADAM", "Adam"), ("Sgd", "SGD"), ("AdaGrad", "Adagrad"), ("Adamw", "AdamW")],
)
def test_the_nearest_optimizer_is_named(name, nearest):
    with pytest.raises(AttributeError, match=f"has no '{name}', .* Did you mean '{nearest}'"):
        getattr(ravine.optim, name)
    assert not hasattr(ravine.optim, name)
    with pytest.raises(ImportError):
        exec(f"from ravine.optim import {name}")


def descend(param, *, grad, lr):
    return param - lr * grad


def one(value=1.0):
    return [torch.full((3,), value, requires_grad=True)]


def clip_norms(gs, c):
    norm = sum((g**2).sum() for g in gs) ** 0.5
    return [g * min(1, c / norm) for g in gs]


def test_a_list_of_gradients_is_answered_with_global_norm():
    with pytest.raises(FormulaError, match=r"takes 'gs', a list of all gradients.*global_norm\(grad\).*clip_norm=50"):
        Optimizer(one(), [clip_norms, descend], lr=0.1, c=50)


@pytest.mark.parametrize("name", ["c", "clip_norms", "clipnorm", "grad_clip", "max_grad_norm"])
def test_a_longest_norm_under_another_name(name):
    with pytest.raises(OptionError, match=r"no piece reads the hyperparameter .*clip_norm=.*global_norm\(grad\)"):
        Optimizer(one(), [descend], lr=0.1, **{name: 50})


def test_what_is_answered_clips_as_the_book_does():
    """The two ways that the error names, against the lines above on torch's tensors."""

    def clip(grad, *, longest):
        return grad * minimum(1, longest / global_norm(grad))

    gradients = [torch.randn(3, dtype=torch.float64) * 40, torch.randn(2, 2, dtype=torch.float64) * 40]
    for longest in (50.0, 1e6):
        expected = [-0.1 * g for g in clip_norms(gradients, torch.tensor(longest))]
        for pieces, option in (([clip, descend], "longest"), ([descend], "clip_norm")):
            params = [torch.zeros_like(g, requires_grad=True) for g in gradients]
            for p, g in zip(params, gradients, strict=True):
                p.grad = g.clone()
            Optimizer(params, pieces, lr=0.1, **{option: longest}).step()
            for p, wanted in zip(params, expected, strict=True):
                torch.testing.assert_close(p.data, wanted, rtol=1e-6, atol=0)


def test_a_step_without_a_backward_says_what_is_missing():
    net = torch.nn.Linear(3, 2)
    optimizer = RMSprop(net.parameters())
    before = [p.clone() for p in net.parameters()]
    optimizer.step()  # as torch: nothing happens
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    said = "no parameter had a gradient: call backward before step"
    assert str(optimizer.watch.last) == f"Step 1: {said}."
    assert said in repr(optimizer.watch.last)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert said not in str(optimizer.watch.last)


def test_totals_stand_beside_the_parameters():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).double()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    rows = []
    for _ in range(3):
        before = [p.detach().clone() for p in net.parameters()]
        optimizer.zero_grad()
        net(torch.randn(5, 3, dtype=torch.float64)).pow(2).mean().backward()
        grads = [p.grad.clone() for p in net.parameters()]
        optimizer.step()
        added = [p.detach() - q for p, q in zip(net.parameters(), before, strict=True)]
        rows.append([torch.cat([x.flatten() for x in each]).norm().item() for each in (grads, before, added)])
        last = optimizer.watch.last
        assert [last.grad_norm, last.param_norm, last.update_norm] == pytest.approx(rows[-1], rel=1e-9)
        assert last.ratio == pytest.approx(rows[-1][2] / rows[-1][1], rel=1e-9)
    cells = str(last).splitlines()[-1].split()
    assert cells[:2] == ["all", "together"]
    assert [float(cell) for cell in cells[2:5]] == pytest.approx(rows[-1], rel=5e-3)
    history = optimizer.watch.history
    for place, figure in enumerate(("grad_norm", "param_norm", "update_norm")):
        assert history.total(figure).tolist() == pytest.approx([row[place] for row in rows], rel=1e-9)
    with pytest.raises(OptionError, match="no total of 'ratio'"):
        history.total("ratio")


def test_totals_leave_out_what_was_not_stepped_and_show_a_nan():
    a, b = one()[0], one(5.0)[0]
    optimizer = SGD([a, b], lr=0.1)
    a.grad = torch.full((3,), 2.0)
    optimizer.step()
    assert optimizer.watch.last.param_norm == pytest.approx(3**0.5)
    b.grad = torch.tensor([1.0, float("nan"), 0.0])
    optimizer.step()
    last = optimizer.watch.last
    assert last.grad_norm != last.grad_norm
    assert last.nonfinite == 1
