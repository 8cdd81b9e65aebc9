"""How an optimizer is made: what is a formula, what is an option, and what is said of anything else."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from on_lists import on_lists
from torch.nn import Parameter

from ravine.errors import FormulaError, OptionError, ParameterError
from ravine.formula import rename, where
from ravine.optim import Adagrad, Adam, Hyper, Optimizer, RMSprop, pieces
from ravine.optim import _registry as registry
from ravine.optim._common import parameters_of
from ravine.optim._hyperparameters import hypers_of
from ravine.optim.pieces import HYPERS


def params() -> list[Parameter]:
    return [Parameter(torch.ones(3))]


def descend(param, *, grad, lr):
    return param - lr * grad


def test_no_formula_is_said_so():
    with pytest.raises(FormulaError, match=r"Optimizer needs a formula: Optimizer\(params, \[piece, ...\], lr=...\)"):
        Optimizer(params(), lr=1.0)
    with pytest.raises(FormulaError, match="the list of pieces is empty"):
        Optimizer(params(), [], lr=1.0)
    with pytest.raises(FormulaError, match="a formula is a list of pieces"):
        Optimizer(params(), 7, lr=1.0)


@pytest.mark.parametrize("name", ["params", "pieces"])
def test_a_hyperparameter_with_the_name_of_an_argument_is_told_so(name):
    with pytest.raises(OptionError, match=f"{name} is given twice, .* {name}=0.1: .* needs another name"):
        Optimizer(params(), [descend], lr=1.0, **{name: 0.1})


def test_a_lone_function_is_a_piece():
    (p,) = made = params()
    optimizer = Optimizer(made, descend, lr=0.5)
    p.grad = torch.ones(3)
    optimizer.step()
    assert p.tolist() == [0.5] * 3


@pytest.mark.parametrize(("wrong", "right"), [("learning_rate", "lr"), ("epsilon", "eps"), ("wd", "weight_decay")])
def test_another_librarys_word_is_answered_with_ours(wrong, right):
    with pytest.raises(TypeError, match=f"RMSprop has no option '{wrong}'. Did you mean '{right}'"):
        RMSprop(params(), **{wrong: 1.0})


@pytest.mark.parametrize("cls", registry.classes())
def test_an_option_of_other_optimizers_is_refused(cls):
    """By torch's class of the same name, too."""
    one = {"lr": 0.1} if "lr" in parameters_of(cls) else {}
    others = {*HYPERS, "betas", "alpha", "nesterov", "pieces_", "hyperparameters", "update", "step"}
    for name in others.difference(parameters_of(cls), hypers_of(cls).keys() - HYPERS.keys()):
        with pytest.raises(TypeError, match=f"{cls.__name__} has no option '{name}'"):
            cls([Parameter(torch.ones(3, 3))], **one, **{name: 0.9})
        if theirs := getattr(torch.optim, cls.__name__, None):
            with pytest.raises(TypeError, match=name):
                theirs([Parameter(torch.ones(3, 3))], **one, **{name: 0.9})


def test_a_constructor_may_give_what_its_formula_reads():
    class Mine(Optimizer):
        def __init__(self, params, lr=0.1, **common):
            super().__init__(params, lr=lr, momentum=0.5, **common)

        @staticmethod
        def formula():
            return [pieces.momentum, descend]

    assert Mine(params()).defaults["momentum"] == 0.5
    with pytest.raises(TypeError, match="Mine has no option 'max_norm'"):
        Mine(params(), max_norm=1.0)


def forgot(param, grad, lr):
    return param - lr * grad


def forgot_with_state(update, buffer=0.5, momentum=None, step=None, *, lr):
    return momentum * buffer + update, buffer


@pytest.mark.parametrize(
    ("piece", "write"),
    [
        (forgot, "def forgot(param, *, grad, lr)"),
        (forgot_with_state, "def forgot_with_state(update, buffer=0.5, *, momentum, step, lr)"),
        (lambda grad, lr: grad, "lambda grad, *, lr: ..."),
        (lambda param, update, lr: param - lr * update, "lambda param, *, update, lr: ..."),
    ],
)
def test_a_forgotten_star_is_said_with_the_signature_to_write(piece, write):
    place = f"piece {re.escape(piece.__name__)} \\({re.escape(__file__)}:{piece.__code__.co_firstlineno}\\) has '(lr|momentum)'"
    with pytest.raises(OptionError, match=f"{place} among the tensors .* after \\*, {re.escape(write)}$"):
        Optimizer(params(), piece, **dict.fromkeys(("lr", "momentum")[: 1 + ("momentum" in write)], 0.1))
    inspect.signature(eval(write) if write.startswith("lambda") else _defined(write))


def _defined(line: str):
    names: dict[str, object] = {}
    exec(f"{line}: pass", names)
    return names[line.split("(")[0].removeprefix("def ")]


@pytest.mark.parametrize(("given", "read"), [("lr", "learning_rate"), ("learning_rate", "lr"), ("betas", "beta1")])
def test_a_hyperparameter_in_other_words_is_answered_with_the_one_that_is_read(given, read):
    piece = eval(f"lambda param, *, grad, {read}: param - {read} * grad")
    with pytest.raises(OptionError, match=f"^no piece reads the hyperparameter '{given}': write {read}=0.1$"):
        Optimizer(params(), piece, **{given: 0.1})


def test_what_the_error_lists_are_hyperparameters():
    with pytest.raises(OptionError, match=r"'zzz'. Known: lr.$"):
        Optimizer(params(), descend, zzz=0.1)


def test_help_shows_the_constructor():
    assert list(inspect.signature(Optimizer).parameters)[:2] == ["params", "pieces"]
    assert list(inspect.signature(RMSprop).parameters)[:3] == ["params", "lr", "alpha"]


@pytest.mark.parametrize("cls", registry.classes())
def test_every_numeric_option_declares_what_it_may_be(cls):
    """So that a new optimizer's momentum_decay=-5 is refused."""
    declared = hypers_of(cls)
    for name, p in parameters_of(cls).items():
        number = isinstance(p.default, int | float | tuple) and not isinstance(p.default, bool)
        assert not number or name in declared, f"{cls.__name__}.{name}"


def test_a_declared_range_is_held():
    class Mine(Optimizer):
        """Momentum that fades."""

        hypers = {"momentum_decay": Hyper(low=0, high=1, below=True)}  # noqa: RUF012

        def __init__(self, params, lr=0.1, momentum_decay=0.5):
            super().__init__(params, lr=lr, momentum_decay=momentum_decay)

        @staticmethod
        def formula():
            return [lambda param, *, grad, lr, momentum_decay: param - lr * momentum_decay * grad]

    Mine(params())
    with pytest.raises(OptionError, match="momentum_decay=-5.*at least 0 and below 1"):
        Mine(params(), momentum_decay=-5)
    with pytest.raises(OptionError, match="lr=-1"):
        Mine(params(), lr=-1)


def test_a_flag_is_not_a_number():
    with pytest.raises(OptionError, match="lr=True"):
        Adam(params(), lr=True)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ("rmsprop", "got the text 'rmsprop': write from ravine.optim import RMSprop; RMSprop\\(params, ...\\)"),
        (["sgd"], "write from ravine.optim import SGD"),
        ("nothing", "got the text 'nothing': write the functions themselves"),
        (RMSprop, "RMSprop is an optimizer: write RMSprop\\(params, ...\\)"),
        ([torch.optim.Adam], "Adam is an optimizer"),
    ],
)
def test_an_optimizer_where_pieces_are_meant_is_answered_with_the_right_line(pieces, message):
    with pytest.raises(FormulaError, match=message):
        Optimizer(params(), pieces, lr=0.1)


def test_a_module_where_its_parameters_are_meant_is_said_so():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for wrong, name in ((model, "Sequential"), (model[0], "Linear")):
        with pytest.raises(ParameterError, match=rf"params is a module \({name}\).*model.parameters\(\)"):
            RMSprop(wrong)
    with pytest.raises(ParameterError, match=r"module \(Linear\) \(parameter group 1\)"):
        RMSprop([{"params": params()}, {"params": model[0]}])
    with pytest.raises(ParameterError, match=r"a function \(parameters\).*call it"):
        RMSprop(model.parameters)


def test_a_number_beyond_a_double_is_refused_by_name():
    for make in (lambda: RMSprop(params(), lr=10**400), lambda: Adam(params(), betas=(10**5000, 0.9))):
        with pytest.raises(OptionError, match=r"(lr|betas\[0\])=\(a whole number above 1.8e\+308.*must be a finite"):
            make()
    (p,) = made = params()
    optimizer = RMSprop(made)
    p.grad = torch.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 10**400
    with pytest.raises(OptionError, match="lr="):
        optimizer.step()
    assert RMSprop(params(), lr=10**300).param_groups[0]["lr"] == 10**300


def test_an_option_taken_out_of_a_group_is_said_so_and_may_be_put_back():
    (p,) = made = params()
    optimizer = RMSprop(made, lr=0.1)
    p.grad = torch.ones(3)
    optimizer.step()
    before = p.detach().clone()
    del optimizer.param_groups[0]["lr"]
    for use in (optimizer.step, optimizer.program, optimizer.state_dict, lambda: repr(optimizer)):
        with pytest.raises(OptionError, match=r"no 'lr' any more \(parameter group 0\): set group\['lr'\]"):
            use()
    assert torch.equal(p.detach(), before)
    assert float(optimizer.state[p]["step"]) == 1
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 2


@pytest.mark.parametrize("group", [9, -2, "a", None])
def test_a_program_of_no_group_is_an_option_error(group):
    optimizer = RMSprop(params())
    with pytest.raises(OptionError, match=rf"no parameter group {group!r}: this optimizer has one, program\(0\)"):
        optimizer.program(group)
    optimizer.add_param_group({"params": params()})
    assert optimizer.program(-1) is optimizer.program(1)
    with pytest.raises(OptionError, match=r"program\(0\) to program\(1\)"):
        optimizer.program(2)


def test_a_hyperparameter_named_self_is_an_option_like_another():
    with pytest.raises(OptionError, match="no piece reads the hyperparameter 'self'"):
        Optimizer(params(), descend, lr=0.1, self=1.0)


def test_a_key_that_is_almost_an_option_is_said_when_groups_are_read_again():
    (p,) = made = params()
    optimizer = RMSprop(made)
    p.grad = torch.ones(3)
    optimizer.param_groups[0]["alhpa"] = 0.5
    with pytest.warns(
        UserWarning, match=r"key 'alhpa' \(parameter group 0\) is not an option.*Did you mean 'alpha'"
    ) as caught:
        optimizer.step()
    if sys.version_info >= (3, 12):  # before, a list comprehension is a frame of its own
        assert caught[0].filename == __file__
    del optimizer.param_groups[0]["alhpa"]
    optimizer.param_groups[0] |= {"layer": 3, "initial_lr": 1.0, "weight_decay_scale": 2.0}
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.step()  # keys of the user's own
    optimizer.param_groups[0] |= {"epss": 1.0, "lr": 0.25}
    with pytest.warns(UserWarning, match="'epss'.*'eps'"):
        optimizer.step()


TAKEN = [
    "maximize",
    "fused",
    "nonfinite",
    "watch",
    "foreach",
    "capturable",
    "name",
    "param_names",
    "initial_lr",
    "grad_scale",
]


def piece_with(signature, result):
    made = {}
    exec(f"def own({signature}):\n    return {result}", made)
    return made["own"]


@pytest.mark.parametrize("name", [*TAKEN, "clip_norm", "ema_decay"])
def test_a_state_named_like_an_option_is_refused_by_name(name):
    own = piece_with(f"param, {name}=0.0, *, grad, lr", f"param - lr * {name}, {name} + grad")
    with pytest.raises(FormulaError, match=rf"own .*keeps the state '{name}', and that is .*rename\(own, {name}="):
        Optimizer(params(), own, lr=0.1)
    with pytest.raises(FormulaError, match=rf"keeps the state '{name}'"):
        type("Mine", (Optimizer,), {"formula": staticmethod(lambda: [own])})(params(), lr=0.1)
    Optimizer(params(), [rename(own, **{name: "another_name"})], lr=0.1)


@pytest.mark.parametrize("name", TAKEN)
def test_a_hyperparameter_named_like_an_option_is_refused_by_name(name):
    for default in ("", "=0.5"):
        own = piece_with(f"param, *, grad, {name}{default}", f"param - {name} * grad")
        with pytest.raises(FormulaError, match=rf"own .*reads '{name}', and that is .*rename\(own, {name}="):
            Optimizer(params(), own, **({} if default else {name: 0.5}))


def test_a_piece_may_read_the_numbers_that_every_optimizer_has():
    """They put pieces of ours before or after, unless a piece of the user's own reads them."""
    own = piece_with("param, *, grad, clip_norm", "param - clip_norm * grad")
    assert "clip_norm" in str(Optimizer(params(), own, clip_norm=0.5).program())


# --- faults ---------------------------------------------------------------------------------------------------------


def keep_old(param, previous=0.0, *, grad, lr):
    return param - lr * grad, param


def swap(param, a=1.0, b=2.0, *, grad, lr):
    return param - lr * grad, b, a


@pytest.fixture(params=["kernel", "eager", "lists"])
def fused(request):
    """The option for kernels, for torch's operations, and, on a device without kernels, for those on lists."""
    with on_lists() if request.param == "lists" else nullcontext():
        yield False if request.param == "eager" else None


def test_a_state_that_is_given_an_old_value_gets_the_old_value(fused):
    """R2: eager, and later lists, wrote one result after the other, and results were views of what they wrote."""
    (p,) = made = params()
    optimizer = Optimizer(made, [keep_old], lr=1.0, fused=fused)
    p.grad = torch.full((3,), 0.25)
    optimizer.step()
    assert optimizer.state[p]["previous"].tolist() == [1.0] * 3
    assert p.tolist() == [0.75] * 3
    optimizer.step()
    assert optimizer.state[p]["previous"].tolist() == [0.75] * 3


def test_states_that_change_places_keep_both_values(fused):
    (p,) = made = params()
    optimizer = Optimizer(made, [swap], lr=1.0, fused=fused)
    p.grad = torch.zeros(3)
    optimizer.step()
    assert optimizer.state[p]["a"].tolist() == [2.0] * 3
    assert optimizer.state[p]["b"].tolist() == [1.0] * 3


def test_a_step_of_the_users_own_that_is_no_tensor_is_kept_and_copied():
    """R12: wrappers keep numbers there."""
    import copy
    import pickle

    (p,) = made = params()
    optimizer = Adam(made, lr=0.1)
    optimizer.state[p]["step"] = 7
    assert optimizer.state_dict()["state"][0]["step"] == 7
    assert copy.deepcopy(optimizer).state_dict()["state"][0]["step"] == 7
    assert pickle.loads(pickle.dumps(optimizer)).state_dict()["state"][0]["step"] == 7
    p.grad = torch.ones(3)
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 8


def test_an_idle_parameter_on_meta_is_left_alone():
    """R13: Adagrad makes its states at once, so it looked as if the parameter had been stepped."""
    p, idle = Parameter(torch.ones(2)), Parameter(torch.ones(2, device="meta"))
    optimizer = Adagrad([p, idle], lr=0.1)
    p.grad = torch.ones(2)
    optimizer.step()
    assert p.tolist() != [1.0, 1.0]


def test_an_empty_parameter_of_numpy_is_taken():
    """R14: NumPy gives it strides of 0."""
    empty = Parameter(torch.from_numpy(np.zeros((0, 3), dtype=np.float32)))
    zero = Parameter(torch.empty(0, 3).as_strided((0, 3), (0, 0)))
    optimizer = Adam([empty, zero], lr=0.1)
    empty.grad, zero.grad = torch.zeros(0, 3), torch.zeros(0, 3)
    optimizer.step()


@pytest.mark.parametrize("given", [params(), iter(params()), [("weight", params()[0])], [{"params": params()}]])
def test_pieces_that_took_the_place_of_the_parameters_are_told_their_name(given):
    written = r"partial\(Optimizer, pieces=\[piece, ...\], lr=...\)"
    with pytest.raises(FormulaError, match=written) as raised:
        functools.partial(Optimizer, [descend])(given, lr=0.1)
    assert len(str(raised.value)) < 400
    functools.partial(Optimizer, pieces=[descend], lr=0.1)(params())


def test_a_piece_that_is_no_function_is_shown():
    with pytest.raises(FormulaError, match="one of them is 7"):
        Optimizer(params(), [descend, 7], lr=0.1)
    for builtin in (dict, int, type, max):
        with pytest.raises(
            FormulaError, match=f"a piece is a Python function with a readable signature; got <.*{builtin.__name__}"
        ):
            Optimizer(params(), [builtin], lr=0.1)


def test_a_truth_value_that_a_piece_reads_is_told_how_to_be_written():
    def given(param, *, grad, lr, flag):
        return param - lr * grad if flag else param

    def default(param, *, grad, lr, flag=True):
        return given(param, grad=grad, lr=lr, flag=flag)

    def number(param, *, grad, lr, flag):
        return where(flag != 0, param - lr * grad, param)

    for piece, options in ((given, {"flag": np.True_}), (given, {"flag": True}), (default, {})):
        optimizer = None
        with pytest.raises(FormulaError, match="reads flag=True.* Give flag=1 and write where"):
            optimizer = Optimizer(params(), [piece], lr=0.1, **options)
        assert optimizer is None
    Optimizer(params(), [number], lr=0.1, flag=1)
