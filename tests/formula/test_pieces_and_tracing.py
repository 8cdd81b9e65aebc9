"""The piece language: the star rule, reserved names, states, renaming, and the errors of a formula that is none."""

import math

import numpy as np
import pytest
import torch

from ravine.errors import FormulaError
from ravine.formula import global_norm, minimum, norm, param_copy, rename, sqrt, start, trace, where
from ravine.formula._tracing import hyper_defaults


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
    program = trace([rms, momentum, descend], HYPERS)
    assert program.buffers == ("param", "grad", "square_avg", "momentum_buffer")
    assert program.states == {"square_avg": 0.0, "momentum_buffer": 0.0}
    assert set(program.hypers) == {"lr", "alpha", "eps", "momentum"}
    assert not program.uses_step
    final = program.passes[-1]
    assert set(final.reads) == {"param", "grad", "square_avg", "momentum_buffer"}
    assert set(final.writes) == {"param", "square_avg", "momentum_buffer"}
    assert program.traffic(dict.fromkeys(program.buffers, 4)) == 28


def test_what_no_piece_uses_is_neither_kept_nor_moved():
    program = trace([descend], HYPERS)
    assert program.states == {}
    assert program.hypers == ("lr",)
    assert program.traffic({"param": 4, "grad": 4}) == 12


def test_initial_values_also_a_copy_of_the_parameter():
    def average(slow=param_copy, *, param, decay):
        return decay * slow + (1 - decay) * param

    program = trace([descend, average, start(rms, square_avg=1)], {**HYPERS, "decay": 0.9})
    assert program.states == {"slow": param_copy, "square_avg": 1.0}


def test_a_tuple_hyperparameter_is_one_number_per_element():
    def mix(update, *, betas):
        first, second = betas
        return first * update + second

    program = trace([mix, descend], {"lr": 0.1, "betas": (0.9, 0.999)})
    assert set(program.hypers) == {"lr", "betas[0]", "betas[1]"}


def test_the_same_piece_twice_under_other_names():
    slow = rename(momentum, momentum_buffer="slow_buffer", momentum="slow_momentum")
    program = trace([momentum, slow, descend], {**HYPERS, "slow_momentum": 0.99})
    assert set(program.states) == {"momentum_buffer", "slow_buffer"}
    assert rename(momentum, momentum_buffer="slow_buffer", momentum="slow_momentum") == slow
    assert hash(rename(rename(momentum, momentum="slow_momentum"), momentum_buffer="slow_buffer")) == hash(slow)


def test_a_changed_gradient_is_what_later_pieces_see_as_gradient_and_as_update():
    def turn(grad):
        return -grad

    def by_grad(param, *, grad, lr):
        return param - lr * grad

    same = [trace([turn, last], HYPERS).numbers(0, 1, (0.5,)) for last in (descend, by_grad)]
    assert same[0] == same[1]
    assert trace([turn, descend], HYPERS).fingerprint == trace([turn, by_grad], HYPERS).fingerprint
    assert trace([turn, descend], HYPERS).fingerprint != trace([descend], HYPERS).fingerprint


def test_numbers_leave_the_loop_and_are_computed_in_double_precision():
    def unbias(update, *, beta, step):
        return update * sqrt(1 - beta**step)

    program = trace([unbias, descend], {"lr": 0.1, "beta": 0.9})
    values = dict(zip(program.hypers, (0.1, 0.9), strict=True))
    numbers = program.numbers(0, 3, [values[n] for n in program.hypers])
    assert math.sqrt(1 - 0.9**3) in numbers
    per_tensor = program.numbers(0, np.array([1.0, 3.0]), [values[n] for n in program.hypers])
    assert any(np.array_equal(n, np.sqrt(1 - 0.9 ** np.array([1.0, 3.0]))) for n in per_tensor)


def test_dividing_numbers_by_zero_is_infinite_as_in_the_loop():
    def scale(update, *, a, b):
        return update * (a / b)

    program = trace([scale, descend], {"lr": 1.0, "a": 1.0, "b": 0.0})
    values = {"lr": 1.0, "a": 1.0, "b": 0.0}
    assert math.inf in program.numbers(0, 1, [values[n] for n in program.hypers])


def test_norms_cost_a_pass_each_level():
    def clip(update, *, max_norm):
        return update * minimum(1, max_norm / (global_norm(update) + 1e-6))

    def trust(update, *, param):
        return update * where(norm(param) > 0, norm(param) / norm(update), 1)

    one = trace([clip, descend], {**HYPERS, "max_norm": 1.0})
    assert [bool(p.writes) for p in one.passes] == [False, True]
    assert one.traffic({"param": 4, "grad": 4}) == 16
    two = trace([clip, trust, descend], {**HYPERS, "max_norm": 1.0})
    assert [bool(p.writes) for p in two.passes] == [False, False, True]
    assert [[r.join for r in p.reductions] for p in two.passes] == [["clip.1", ""], [""], []]


def test_the_same_expression_is_computed_once():
    def twice(update, *, param):
        return sqrt(param * param + 1) * update + sqrt(param * param + 1)

    from ravine.formula._printer import Statements

    final = trace([twice, descend], HYPERS).passes[-1]
    text = "\n".join(Statements(final.results, final.leaves(), taken=()).lines)
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


def fails(piece, match, hypers=HYPERS, last=descend):
    with pytest.raises(FormulaError, match=match):
        trace([piece, last], hypers)


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
        (lambda update: np.sqrt(update), r"numpy\.sqrt is not in the language.*Did you mean 'sqrt'"),
        (lambda update: torch.sqrt(update), r"torch\.sqrt is not in the language.*Did you mean 'sqrt'"),
        (lambda update: update % 2, r"not in the language"),
        (lambda update: update @ update, r"not in the language"),
        (lambda update: update[0], r"not in the language"),
        (lambda update: sum(update), r"not in the language"),
        (lambda update: update + "1", r"uses '1'"),
        (lambda update: update + torch.ones(3), r"pass it as a hyperparameter|not in the language"),
        (lambda update: (update > 0) * update, r"a truth value cannot be used as a number"),
        (lambda update: where(update, 1, 0), r"first argument of where"),
        (lambda update: update > 0, r"is a truth value"),
        (lambda update, *, lr: norm(lr) * update, r"norm and global_norm take a tensor"),
        (lambda *update: update, r"\*update is not possible"),
        (lambda *, update: update, r"changes nothing"),
        (lambda step: step, r"step is counted for you"),
        (lambda update, average="x": (update, average), r"cannot start as 'x'"),
        (lambda update: 1 / 0, r"failed while its formula was read: ZeroDivisionError"),
        (3, r"a piece is a Python function; got 3"),
    ],
)
def test_what_is_not_in_the_language(piece, match):
    fails(piece, match)


def test_a_state_shared_by_accident_names_both():
    def other(update, square_avg=0.0):
        return update, square_avg + update

    fails(rms, r"pieces rms .* and other .* would both keep the state 'square_avg'.*rename\(other", last=other)


def test_a_state_and_a_hyperparameter_of_one_name():
    fails(lambda update, lr=0.0: (update, lr), r"keeps the state 'lr', but a hyperparameter of that name was given")


def test_a_parameter_that_never_changes():
    with pytest.raises(FormulaError, match="no piece changes param"):
        trace([rms], HYPERS)


def test_rename_and_start_know_the_arguments():
    with pytest.raises(FormulaError, match=r"no argument 'square_agv'\. Did you mean 'square_avg'"):
        rename(rms, square_agv="v")
    with pytest.raises(FormulaError, match=r"no argument 'alpha'"):
        start(rms, alpha=1.0)
    with pytest.raises(FormulaError, match="cannot be a name"):
        rename(rms, square_avg="not a name")
