"""The piece language: the star rule, reserved names, states, renaming, and the errors of a formula that is none."""

import math

import numpy as np
import pytest
import torch

from ravine.errors import FormulaError
from ravine.formula import (
    global_norm,
    isfinite,
    maximum,
    mean,
    minimum,
    norm,
    param_copy,
    rename,
    sqrt,
    start,
    trace_formula,
    where,
)
from ravine.formula._tracing import hyper_defaults
from ravine.optim import Optimizer


def rms(update, square_avg=0.0, *, alpha, eps):
    square_avg = alpha * square_avg + (1 - alpha) * update**2
    return update / (sqrt(square_avg) + eps), square_avg


def momentum(update, momentum_buffer=0.0, *, momentum):
    momentum_buffer = momentum * momentum_buffer + update
    return momentum_buffer, momentum_buffer


def descend(param, *, update, lr):
    return param - lr * update


HYPERS = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.9}


def test_names_are_the_wiring():
    program = trace_formula([rms, momentum, descend], HYPERS)
    assert program.buffers == ("param", "grad", "square_avg", "momentum_buffer")
    assert program.states == {"square_avg": 0.0, "momentum_buffer": 0.0}
    assert set(program.hypers) == {"lr", "alpha", "eps", "momentum"}
    assert not program.uses_step
    final = program.passes[-1]
    assert set(final.reads) == {"param", "grad", "square_avg", "momentum_buffer"}
    assert set(final.writes) == {"param", "square_avg", "momentum_buffer"}
    assert program.traffic(dict.fromkeys(program.buffers, 4)) == 28


def test_a_state_that_a_later_piece_keeps_is_told_the_order():
    def average(avg, *, grad):
        return 0.9 * avg + grad

    def step(param, *, avg, lr):
        return param - lr * avg

    with pytest.raises(
        FormulaError, match=r"reads 'avg', which piece average .* keeps after it.*\[rms, average, step\]"
    ):
        trace_formula([rms, step, average], HYPERS)
    trace_formula([rms, average, step], HYPERS)


@pytest.mark.parametrize("name", ["g", "gradient"])
def test_the_gradient_by_another_name(name):
    piece = eval(f"lambda param, *, {name}, lr: param - lr * {name}")
    with pytest.raises(FormulaError, match="Did you mean 'grad'"):
        trace_formula([piece], HYPERS)


@pytest.mark.parametrize(
    ("line", "write", "meant"),
    [
        ("update.clamp(-1, 1)", "minimum(maximum(x, low), high)", lambda x: np.clip(x, -1, 1)),
        ("torch.clamp(update, -1, 1)", "minimum(maximum(x, low), high)", lambda x: np.clip(x, -1, 1)),
        ("update.clamp_(-1, 1)", "minimum(maximum(x, low), high)", lambda x: np.clip(x, -1, 1)),
        ("clamp(update, -1, 1)", "minimum(maximum(x, low), high)", lambda x: np.clip(x, -1, 1)),
        ("update.clamp_min(-1)", "maximum(x, low)", lambda x: np.maximum(x, -1)),
        ("torch.clamp_max(update, 1)", "minimum(x, high)", lambda x: np.minimum(x, 1)),
    ],
)
def test_clamp_is_answered_with_what_to_write(line, write, meant):
    with pytest.raises(FormulaError) as raised:
        trace_formula([eval(f"lambda update: {line}", {"torch": torch}), descend], HYPERS)
    assert f"write {write}" in str(raised.value)
    written = eval(f"lambda x, low, high: {write}", {"minimum": minimum, "maximum": maximum})
    x = np.array([-3.0, 0.5, 2.0])
    assert np.array_equal(written(x, -1, 1), meant(x))


def test_what_no_piece_uses_is_neither_kept_nor_moved():
    program = trace_formula([descend], HYPERS)
    assert program.states == {}
    assert program.hypers == ("lr",)
    assert program.traffic({"param": 4, "grad": 4}) == 12


def test_initial_values_also_a_copy_of_the_parameter():
    def average(slow=param_copy, *, param, decay):
        return decay * slow + (1 - decay) * param

    program = trace_formula([descend, average, start(rms, square_avg=1)], {**HYPERS, "decay": 0.9})
    assert program.states == {"slow": param_copy, "square_avg": 1.0}


def test_a_tuple_hyperparameter_is_one_number_per_element():
    def mix(update, *, betas):
        first, second = betas
        return first * update + second

    program = trace_formula([mix, descend], {"lr": 0.1, "betas": (0.9, 0.999)})
    assert set(program.hypers) == {"lr", "betas[0]", "betas[1]"}


def test_the_same_piece_twice_under_other_names():
    slow = rename(momentum, momentum_buffer="slow_buffer", momentum="slow_momentum")
    program = trace_formula([momentum, slow, descend], {**HYPERS, "slow_momentum": 0.99})
    assert set(program.states) == {"momentum_buffer", "slow_buffer"}
    assert rename(momentum, momentum_buffer="slow_buffer", momentum="slow_momentum") == slow
    assert hash(rename(rename(momentum, momentum="slow_momentum"), momentum_buffer="slow_buffer")) == hash(slow)


def test_pieces_and_programs_are_shown_in_one_line():
    changed = rename(start(rms, square_avg=1.0), alpha="decay")
    assert repr(changed) == "<Piece rms, alpha as decay, square_avg starts as 1.0>"
    program = trace_formula([changed, descend], {"lr": 0.1, "decay": 0.9, "eps": 1e-8})
    assert repr(program) == (
        "<Program: param, square_avg from param, grad, square_avg, lr, decay, eps; 1 pass over memory>"
    )
    assert "2 passes" in repr(trace_formula([lambda update: update / norm(update), descend], HYPERS))


def test_a_changed_gradient_is_what_later_pieces_see_as_gradient_and_as_update():
    def turn(grad):
        return -grad

    def by_grad(param, *, grad, lr):
        return param - lr * grad

    same = [trace_formula([turn, last], HYPERS).numbers(0, 1, (0.5,)) for last in (descend, by_grad)]
    assert same[0] == same[1]
    assert trace_formula([turn, descend], HYPERS).fingerprint == trace_formula([turn, by_grad], HYPERS).fingerprint
    assert trace_formula([turn, descend], HYPERS).fingerprint != trace_formula([descend], HYPERS).fingerprint


def test_numbers_leave_the_loop_and_are_computed_in_double_precision():
    def unbias(update, *, beta, step):
        return update * sqrt(1 - beta**step)

    program = trace_formula([unbias, descend], {"lr": 0.1, "beta": 0.9})
    values = dict(zip(program.hypers, (0.1, 0.9), strict=True))
    numbers = program.numbers(0, 3, [values[n] for n in program.hypers])
    assert math.sqrt(1 - 0.9**3) in numbers
    per_tensor = program.numbers(0, np.array([1.0, 3.0]), [values[n] for n in program.hypers])
    assert any(np.array_equal(n, np.sqrt(1 - 0.9 ** np.array([1.0, 3.0]))) for n in per_tensor)


def test_dividing_numbers_by_zero_is_infinite_as_in_the_loop():
    def scale(update, *, a, b):
        return update * (a / b)

    program = trace_formula([scale, descend], {"lr": 1.0, "a": 1.0, "b": 0.0})
    values = {"lr": 1.0, "a": 1.0, "b": 0.0}
    assert math.inf in program.numbers(0, 1, [values[n] for n in program.hypers])


def test_norms_cost_a_pass_each_level():
    def clip(update, *, max_norm):
        return update * minimum(1, max_norm / (global_norm(update) + 1e-6))

    def trust(update, *, param):
        return update * where(norm(param) > 0, norm(param) / norm(update), 1)

    one = trace_formula([clip, descend], {**HYPERS, "max_norm": 1.0})
    assert [bool(p.writes) for p in one.passes] == [False, True]
    assert one.traffic({"param": 4, "grad": 4}) == 16
    two = trace_formula([clip, trust, descend], {**HYPERS, "max_norm": 1.0})
    assert [bool(p.writes) for p in two.passes] == [False, False, True]
    assert [[r.join for r in p.reductions] for p in two.passes] == [["clip.1", ""], [""], []]


def test_the_same_expression_is_computed_once():
    def twice(update, *, param):
        return sqrt(param * param + 1) * update + sqrt(param * param + 1)

    from ravine.formula._python import Statements

    final = trace_formula([twice, descend], HYPERS).passes[-1]
    text = "\n".join(Statements(final.results, final.leaves()).lines)
    assert text.count("sqrt") == 1


def test_defaults_of_hyperparameters_come_from_the_signatures():
    def weak(update, *, strength=0.5):
        return strength * update

    def strong(update, *, strength=2.0):
        return strength * update

    assert hyper_defaults([weak, descend]) == {"strength": 0.5}
    with pytest.raises(FormulaError, match=r"strength is 0.5 by default in piece weak .* but 2.0 in piece strong"):
        hyper_defaults([weak, strong, descend])


@pytest.mark.parametrize("kind", ["numbers", "arrays", "tensors"])
def test_a_piece_can_be_called_by_hand(kind):
    make = {"numbers": float, "arrays": lambda x: np.full(3, x), "tensors": lambda x: torch.full((3,), x).double()}[
        kind
    ]
    update, square_avg = rms(make(2.0), make(1.0), alpha=0.9, eps=0.0)
    assert np.allclose(np.asarray(square_avg), 1.3)
    assert np.allclose(np.asarray(update), 2 / math.sqrt(1.3))


# --- mistakes ---------------------------------------------------------------------------------------------------


ZEROS = torch.zeros(3)


def fails(piece, match, hypers=HYPERS, last=descend):
    with pytest.raises(FormulaError, match=match):
        trace_formula([piece, last], hypers)


def test_a_name_that_nobody_provides():
    fails(lambda update, *, alhpa: alhpa * update, r"reads 'alhpa'.*Did you mean 'alpha'\?")


def test_wrong_number_of_results():
    fails(lambda update, average: update, r"must return the new values of \(update, average\).*returned 1 value")
    fails(lambda update: (update, update), r"returned 2 values")
    fails(lambda update: None, r"returned nothing")


def test_python_if_on_a_tensor_says_where():
    fails(lambda update: update if update > 0 else -update, r"write where\(condition, a, b\)")
    fails(lambda update: max(update, 0.0), r"write where\(condition, a, b\)")
    fails(lambda update, *, lr: update if lr > 0 else -update, r"choose the piece in Python")
    fails(lambda update: 0 < update < 1, r"where")


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda update: update.clamp(1), r"\.clamp is not in the language"),
        (lambda update: math.sqrt(update), r"ravine\.formula"),
        (lambda update: update.float(), r"\.float is not in the language of formulas; leave it out"),
        (
            lambda update: np.sqrt(update),
            r"numpy\.sqrt is not in the language.*write sqrt with sqrt from ravine.formula",
        ),
        (
            lambda update: torch.sqrt(update),
            r"torch\.sqrt is not in the language.*write sqrt with sqrt from ravine.formula",
        ),
        (lambda update: update @ update, r"not in the language"),
        (lambda update: update[0], r"not in the language"),
        (lambda update: sum(update), r"not in the language"),
        (lambda update: update + "1", r"uses '1'"),
        (lambda update: update + torch.ones(3), r"a tensor of shape \(3,\): .* a number a hyperparameter"),
        (lambda update: (update > 0) * update, r"a truth value cannot be used as a number"),
        (lambda update: where(update, 1, 0), r"first argument of where"),
        (lambda update: update > 0, r"is a truth value"),
        (lambda update, *, lr: norm(lr) * update, r"a sum or norm takes a tensor"),
        (lambda *update: update, r"\*update is not possible"),
        (lambda *, update: update, r"changes nothing"),
        (lambda step: step, r"step is counted for you"),
        (
            lambda update, alpha: alpha * update,
            r"'alpha', but .* put it after \*, lambda update, \*, alpha: \.\.\., or rename",
        ),
        (lambda update, average="x": (update, average), r"cannot start as 'x'"),
        (lambda update: 1 / 0, r"failed while its formula was read: ZeroDivisionError.*write math.inf"),
        (lambda update: update * unknown, r"NameError: name 'unknown' is not defined.*come after \* in its signature"),  # noqa: F821
        (lambda update: update * 10**400, r"too large for a double"),
        (lambda update: update + torch.ones(()), r"pass it as a hyperparameter"),
        (lambda update: divmod(update, 2), r"not in the language"),
        (lambda update: pow(update, 2, 5), r"not in the language"),
        (lambda update: round(update, 2), r"has no value while a formula is read"),
        (lambda update: norm(3.0) * update, r"a sum or norm takes a tensor"),
        (lambda update: norm(update > 0) * update, r"a truth value cannot be used as a number in a sum"),
        (lambda update, average=10**400: (update, average), r"cannot start as 1000"),
        (lambda update: (yield update), r"cannot be async, and has no yield"),
        (3, r"a piece is a Python function; got 3"),
        (lambda update, *, params=1.0: params * update, r"'params' cannot be a name in a formula.*another name"),
        (lambda self, update: update, r"'self' cannot be a name in a formula: pass a bound method"),
    ],
)
def test_what_is_not_in_the_language(piece, match):
    fails(piece, match)


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda update: update << 2, r"<< is not in the language of formulas\. It has \+ -"),
        (lambda update: update @ update, r"@ is not in .*sum, mean, dot, norm"),
        (lambda update: update @ update, r"@ is not in .*marked @tensor_function"),
        (lambda update: update.mT, r"\.mT is not in .*marked @tensor_function"),
        (lambda update: sum(update), r"Python's sum is one, and the sum of all elements is sum of ravine\.formula"),
        (lambda update: max(update, 0), r"write where\(condition, a, b\), or maximum\(a, b\)"),
        (lambda update, *, param: update + param.grad, r"\.grad is not in .*take the gradient as an argument"),
        (
            lambda update, kept=ZEROS: (update, kept),
            r"cannot start as .*, or tensor_state\(lambda shape: \.\.\.\)",
        ),
        (lambda update: mean(update, dim=-1, keepdim=True), r"always keep the dimension: mean\(x, dim=-1\)"),
        (lambda update: mean(update, axis=-1), r"take dim=-1 or dim=-2"),
        (lambda update: mean(update, -1), r"Along a dimension it is dim=-1"),
        (lambda update: update ^ 2, r"\^ is not in .*a power is written \*\*"),
        (lambda update: update[0], r"update\[0\] is not in .*every element alike"),
        (lambda update: update * (update + 1)(2), r"a call of a tensor.*missing"),
        (lambda update: float(f"{update:.3f}"), r"update has no value .*'\.3f' cannot format it"),
        (lambda update: update.mean(), r"\.mean is not in .*write mean\(x\) with mean from ravine\.formula"),
        (lambda update: torch.mean(update), r"torch\.mean is not in .*write mean\(x\)"),
        (lambda update: update.clamp(0, 1), r"\.clamp .*write minimum\(maximum\(x, low\), high\)"),
        (lambda update: update.square(), r"\.square .*write x\*\*2"),
        (lambda update: update.mul_(2), r"\.mul_ .*changes nothing in place"),
        (
            lambda update: torch.ones(3) * update,
            r"uses a tensor of shape \(3,\): a value for every element can only be",
        ),
        (lambda update: update * torch.ones(3), r"uses a tensor of shape \(3,\)"),
        (lambda update: torch.tensor(2.0) * update, r"uses tensor\(2\.\) .*pass it as a hyperparameter"),
    ],
)
def test_what_to_write_instead(piece, match):
    with pytest.raises(FormulaError, match=match) as error:
        trace_formula([piece, descend], {"lr": 0.1})
    assert "torch.mul" not in str(error.value)
    assert "tanh'" not in str(error.value)


def test_a_symbol_is_printed_without_a_format():
    trace_formula([lambda update: (f"{update} {update!s}", update)[1], descend], {"lr": 0.1})


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda param, *, grad, betas: param - betas * grad, r"betas is a tuple of 2 numbers.*beta1, beta2 = betas"),
        (
            lambda param, *, grad, betas: param - (1 - betas) * grad,
            r"is taken apart before it is used: beta1, beta2 = betas",
        ),
        (lambda param, *, grad, betas: param - betas[0][0] * grad, r"betas\[0\]\[0\] .*betas\[0\] is one number"),
    ],
)
def test_several_numbers_used_as_one(piece, match):
    with pytest.raises(FormulaError, match=match):
        trace_formula([piece], {"betas": (0.9, 0.99)})


def test_numbers_of_numpy_and_pythons_truth_values_are_constants():
    def piece(update):
        update = np.float64(2) * update + np.float32(0.5) - np.sqrt(9) / update + update * np.array(3)
        return where((update > 0) & True | False, where(True, update, 0.0), where(isfinite(0.5), -update, 1))

    program = trace_formula([piece, descend], HYPERS)
    p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    p.grad = torch.tensor([2.0, -2.0], dtype=torch.float64)
    Optimizer([p], [piece, descend], lr=1.0, fused=False).step()
    assert p.tolist() == [-(5 * 2 + 0.5 - 1.5), -(5 * 2 - 0.5 - 1.5)]
    assert "<Program: param from" in repr(program)


def test_a_state_shared_by_accident_names_both():
    def other(update, square_avg=0.0):
        return update, square_avg + update

    fails(rms, r"pieces rms .* and other .* would both keep the state 'square_avg'.*rename\(other", last=other)


def test_a_state_and_a_hyperparameter_of_one_name():
    fails(lambda update, lr=0.0: (update, lr), r"keeps the state 'lr', but a hyperparameter of that name was given")


def test_a_parameter_that_never_changes():
    with pytest.raises(FormulaError, match="no piece changes param"):
        trace_formula([rms], HYPERS)


def test_rename_and_start_know_the_arguments():
    with pytest.raises(FormulaError, match=r"no argument 'square_agv'\. Did you mean 'square_avg'"):
        rename(rms, square_agv="v")
    with pytest.raises(FormulaError, match=r"no argument 'alpha'"):
        start(rms, alpha=1.0)
    with pytest.raises(FormulaError, match="cannot be a name"):
        rename(rms, square_avg="not a name")
    with pytest.raises(FormulaError, match="'params' cannot be a name"):
        trace_formula([rename(rms, alpha="params"), descend], {**HYPERS, "params": 0.9})


def test_a_name_that_no_optimizer_can_be_given_is_said_when_it_is_made():
    def scale(update, *, params=0.5):
        return params * update

    with pytest.raises(FormulaError, match="'params' cannot be a name in a formula"):
        Optimizer([torch.nn.Parameter(torch.ones(1))], [scale, descend], lr=0.1)


def test_a_parameter_may_become_another_tensor():
    def last_gradient(param, *, grad):
        return grad

    for fused in (True, False):
        p = torch.nn.Parameter(torch.zeros(3))
        p.grad = torch.arange(3.0)
        Optimizer([p], [last_gradient], fused=fused).step()
        assert p.tolist() == [0.0, 1.0, 2.0]
        assert p.grad.tolist() == [0.0, 1.0, 2.0]


def decay(grad, *, param, alpha):
    return grad + alpha * param


def test_a_piece_whose_gradient_nobody_reads_afterwards_is_an_error():
    def by_grad(param, *, grad, lr):
        return param - lr * grad

    with pytest.raises(FormulaError, match=r"decay .* changes grad, and no piece after it reads grad.* put it before"):
        trace_formula([by_grad, decay], HYPERS)
    with pytest.raises(FormulaError, match=r"doubled .* changes update, and no piece after it reads update"):
        trace_formula([doubled, by_grad], HYPERS)
    trace_formula([decay, by_grad], HYPERS)
    trace_formula([decay, doubled, descend], HYPERS)


def doubled(update):
    return 2 * update


@pytest.mark.parametrize("kind", [list, dict])
def test_results_in_a_list_or_a_dict(kind):
    def piece(update, average, *, alpha):
        return [update, average] if kind is list else {"update": update, "average": average}

    fails(piece, rf"returned a {kind.__name__} of 2: write them with commas between them")


def test_a_parameter_under_another_name_is_a_state():
    def step(theta, *, grad, lr):
        return theta - lr * grad

    with pytest.raises(FormulaError, match="theta is a state here, which starts at 0; the parameter is called param"):
        trace_formula([step], HYPERS)


def test_a_formula_is_a_list_and_hyperparameters_are_a_dict():
    with pytest.raises(FormulaError, match=r"a formula is a list of pieces \(functions\); got 3"):
        trace_formula(3, HYPERS)
    with pytest.raises(FormulaError, match=r"hypers is a dict of hyperparameters by name, .*; got 3"):
        trace_formula([descend], 3)
    assert trace_formula(descend, HYPERS).fingerprint == trace_formula([descend], HYPERS).fingerprint
