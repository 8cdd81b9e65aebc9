"""What users of other libraries and books write is answered with what to write here."""

import copy
import pickle
from typing import Any

import pytest
import torch

import ravine.optim
from ravine.errors import FormulaError, OptionError
from ravine.formula import global_norm, minimum
from ravine.optim import SGD, Adam, AdamW, Lion, Optimizer, RMSprop
from ravine.optim._engine import slips
from ravine.optim._engine.slips import AnswersNames


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
    said = "no parameter had a gradient: call backward before step, and zero_grad not between the two"
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


# --- other libraries' names and options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FusedAdam", "Did you mean 'Adam'. Its step is one kernel already"),
        ("FusedSGD", "Did you mean 'SGD'"),
        ("FusedLAMB", "Did you mean 'LAMB'"),
        ("DeepSpeedCPUAdam", "Did you mean 'Adam'"),
        ("AdamW_hf", "Did you mean 'AdamW'"),
        ("adamw_torch", "Did you mean 'AdamW'"),
        ("adamw_torch_fused", "Did you mean 'AdamW'"),
        ("adamw_8bit", "Did you mean 'AdamW'"),
        ("PagedLion8bit", "Did you mean 'Lion'"),
        ("Momentum", r"Write SGD\(params, lr=0.01, momentum=0.9\)"),
        ("Lookahead", r"Write lookahead=\(k, alpha\)"),
        ("StepLR", "It is in lr_scheduler: ravine.optim.lr_scheduler.StepLR"),
        ("AveragedModel", "ravine.optim.swa_utils.AveragedModel"),
        ("Adamm", "Did you mean 'Adam'"),
        ("SophiaG", "torch.optim has none. Known: AdaBelief, .* Yogi.$"),
    ],
)
def test_names_of_other_libraries(name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(ravine.optim, name)


@pytest.mark.parametrize(
    ("optimizer", "options", "line"),
    [
        (Adam, {"learning_rate": 0.1}, "Adam(params, lr=0.1)"),
        (
            Adam,
            {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-7},
            "Adam(params, lr=0.1, betas=(0.8, 0.99), eps=1e-07)",
        ),
        (Adam, {"beta_1": 0.8}, "Adam(params, lr=0.001, betas=(0.8, 0.999))"),
        (Adam, {"lr": 0.1, "global_clipnorm": 1.0}, "Adam(params, lr=0.1, clip_norm=1.0)"),
        (Adam, {"lr": 0.1, "clipnorm": 1.0}, "Adam(params, lr=0.1). Keras clips each tensor by its own norm"),
        (Adam, {"lr": 0.1, "adam_w_mode": True, "set_grad_none": True}, "Adam(params, lr=0.1, decoupled_weight_decay=True)"),
        (AdamW, {"lr": 0.1, "wd": 0.01}, "AdamW(params, lr=0.1, weight_decay=0.01)"),
        (Adam, {"lr": 0.1, "mom": 0.8, "sqr_mom": 0.99, "wd": 0.1}, "Adam(params, lr=0.1, betas=(0.8, 0.99), weight_decay=0.1)"),
        (Adam, {"use_ema": True, "ema_momentum": 0.99}, "Adam(params, lr=0.001, ema_decay=0.99)"),
        (Adam, {"lr": 0.1, "momentum": 0.8}, "Adam(params, lr=0.1, betas=(0.8, 0.999))"),
        (RMSprop, {"lr": 0.1, "max_norm": 1.0}, "RMSprop(params, lr=0.1, clip_norm=1.0)"),
        (SGD, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}, "SGD(params, lr=0.1, momentum=0.9, nesterov=True)"),
        # numbers that are the defaults: an answer without them looks as if they were lost
        (Lion, {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99}, "Lion(params, lr=0.0001, betas=(0.9, 0.99))"),
    ],
)  # fmt: skip
def test_options_of_other_libraries_are_answered_with_the_line_to_write(optimizer, options, line):
    with pytest.raises(TypeError, match="has no option") as error:
        optimizer(one(), **options)
    assert f"Write {line}" in str(error.value)
    call = str(error.value).partition("Write ")[2]
    eval(
        call[: call.rindex(")") + 1] if "Keras" not in call else call.partition(". ")[0],
        {"params": one(), **vars(ravine.optim)},
    )


def test_the_line_for_a_dialect_keeps_its_form():
    """Lasagne: accu = rho accu + (1 - rho) g^2; p = p - lr g / sqrt(accu + epsilon)."""
    with pytest.raises(TypeError) as error:
        RMSprop.dialect("lasagne", one(), learning_rate=0.01, rho=0.8, epsilon=1e-3)
    assert "Keras" not in str(error.value)
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = eval(str(error.value).partition("Write ")[2].removesuffix("."), {"params": [p], "RMSprop": RMSprop})
    expected, accu = p.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for gradient in torch.randn(5, 2, dtype=torch.float64):
        p.grad = gradient.clone()
        optimizer.step()
        accu = 0.8 * accu + 0.2 * gradient**2
        expected -= 0.01 * gradient / torch.sqrt(accu + 1e-3)
    torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-14)


def test_the_line_for_keras_rmsprop_steps_as_keras_does():
    """Keras 3: v = rho v + (1 - rho) g^2; p = p - m, m = momentum m + lr g / sqrt(v + epsilon)."""
    with pytest.raises(TypeError) as error:
        RMSprop(one(), learning_rate=0.1, rho=0.8, momentum=0.5, epsilon=1e-3)
    call = str(error.value).partition("Write ")[2].partition(". ")[0]
    p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = eval(call, {"params": [p], "RMSprop": RMSprop})
    expected, v, m = p.detach().clone(), torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for gradient in torch.randn(5, 2, dtype=torch.float64):
        p.grad = gradient.clone()
        optimizer.step()
        v = 0.8 * v + 0.2 * gradient**2
        m = 0.5 * m + 0.1 * gradient / torch.sqrt(v + 1e-3)
        expected -= m
    torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", slips._OF_OTHERS)
def test_an_attribute_of_another_librarys_optimizer_is_answered_with_a_line_that_runs(name):
    model = torch.nn.Linear(2, 2)
    optimizer = Adam(model.parameters(), lr=0.1)
    assert not hasattr(optimizer, name)
    with pytest.raises(AttributeError) as caught:
        getattr(optimizer, name)
    line = slips._OF_OTHERS[name]
    assert str(caught.value) == f"Adam has no {name}; write: {line}"
    exec(line, {"optimizer": optimizer, "model": model})


def test_an_option_is_found_in_the_groups():
    optimizer = Adam(torch.nn.Linear(2, 2).parameters())
    with pytest.raises(AttributeError, match=r"^Adam has no betas; write: optimizer.param_groups\[0\]\['betas'\]$"):
        _ = optimizer.betas
    with pytest.raises(AttributeError, match="^Adam has no zzz$"):
        _ = optimizer.zzz
    assert copy.deepcopy(optimizer).defaults == optimizer.defaults
    assert pickle.loads(pickle.dumps(optimizer)).defaults == optimizer.defaults


def test_a_step_asks_for_no_attribute_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would cost the making of an answer: a tenth of a step of small tensors."""
    asked: list[str] = []
    found = AnswersNames.__getattr__

    def noted(self: AnswersNames, name: str) -> Any:
        asked.append(name)
        return found(self, name)

    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Adam([p])
    optimizer.step()
    monkeypatch.setattr(AnswersNames, "__getattr__", noted)
    optimizer.step()
    optimizer.zero_grad()
    assert asked == []
    assert not hasattr(optimizer, "momentum_of_others")
    assert asked == ["momentum_of_others"]
