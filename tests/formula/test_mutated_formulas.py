"""Whatever text a user gives: it ends in a FormulaError that says what to do, or in right numbers.

Good formulas are mutated word by word. What Python itself cannot read is left to Python; of the rest, a formula is
either refused when it is read, or printed, stepped, and held against the evaluation of ``tests/exact_program.py``.
"""

from __future__ import annotations

import ast
import math
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from exact_program import Expected, within

from ravine import formula
from ravine.backends.cpu import kernel_source
from ravine.errors import FormulaError
from ravine.formula._mathml import formula_mathml
from ravine.formula._pieces import as_piece
from ravine.formula._plain_text import formula_lines
from ravine.formula._tracing import hyper_defaults
from ravine.optim import Optimizer

GOOD = (
    "def piece(param, square_avg=0.0, *, grad, lr, alpha):\n"
    "    square_avg = alpha * square_avg + (1 - alpha) * grad**2\n"
    "    return param - lr * grad / (sqrt(square_avg) + 1e-8), square_avg\n",
    "def piece(param, exp_avg=0.5, *, grad, lr, betas, step):\n"
    "    beta1, beta2 = betas\n"
    "    exp_avg = beta1 * exp_avg + (1 - beta1) * grad\n"
    "    return param - lr * exp_avg / (1 - beta2**step), exp_avg\n",
    "def piece(param, slow=param_copy, *, grad, lr, alpha, step):\n"
    "    new = param - lr * where((grad > alpha) & ~isnan(grad), sign(grad), grad)\n"
    "    return where(step == 1, new, maximum(new, slow)), alpha * slow + (1 - alpha) * new\n",
    "def piece(param, *, grad, lr, alpha):\n"
    "    grad = grad * minimum(1.0, alpha / (global_norm(grad) + 1e-6))\n"
    "    return param - lr * tanh(grad) * norm(param)\n",
)
#: What a word of a formula is replaced by, and what a part of an expression is.
WORDS = """param grad lr alpha betas step slow unknown self params None True 0 -1 1e400 1j 'text' [grad] norm sqrt log abs
    max float sum where isfinite ** / // % @ & | ~ > == and or not if else for in return = += , : * ( ) . yield await"""
PARTS = """param ; grad ; lr ; alpha ; betas ; betas[1] ; betas[2] ; step ; slow ; unknown ; None ; True ; not grad ; -grad
    ; ~grad ; ~(grad > 0) ; inf ; nan ; -0.0 ; 10**400 ; 10.0**400 ; 1j ; 'text' ; [grad, 1] ; (grad, lr) ; {} ; grad.x
    ; grad.data ; grad[0] ; grad() ; lr() ; len(grad) ; float(lr) ; int(step) ; str(grad) ; bool(grad) ; round(grad, 2)
    ; f'{grad}' ; print ; print(grad) ; lambda: grad ; (grad for _ in (1, 2)) ; [x for x in grad] ; max(grad, 0) ; sum(betas)
    ; grad if lr else param ; grad > 0 ; grad > 0 > lr ; (grad > 0) * grad ; (grad > 0) & True ; (grad > 0) & lr ; grad & lr
    ; grad == grad ; grad is grad ; grad in (1, 2) ; grad and lr ; norm(grad) ; norm(norm(grad) * grad) ; norm(lr) ; norm(1)
    ; global_norm(grad - param) ; sqrt(lr) ; sqrt(-1) ; sqrt('4') ; sqrt() ; sqrt(grad, lr) ; log(0 * lr) ; exp(1e3 * step)
    ; sign(grad) ; abs(grad) ; abs(lr) ; minimum(grad, 1) ; minimum(lr, None) ; where(grad, 1, 0) ; where(grad > 0, 1, 0)
    ; where(lr > 0, grad, lr) ; where(True, grad, 0) ; where(grad > 0, True, False) ; where(where(lr > 0, grad > 0, True), 1, 2)
    ; isfinite(grad) ; isnan(lr / 0) ; isfinite(0.5) ; grad ** 2 ; grad ** 0.5 ; grad ** lr ; grad ** 1.5 ; (-2.0) ** grad
    ; lr ** 0.5 ; (lr - 1) ** 0.5 ; lr ** -step ; step ** 400 ; grad / 0 ; 0 / lr ; 1 / (lr - 0.1) ; 1 / 0 ; grad // 2
    ; grad % 2 ; grad @ grad ; grad << 1 ; divmod(grad, 2) ; pow(grad, 3) ; pow(lr, 2, 5) ; np.sqrt(grad) ; np.sqrt(2) * grad
    ; np.float32(0.1) * grad ; grad * np.float64(0.1) ; np.add(grad, 1) ; np.add(grad, 1, out=grad) ; np.ones(3) * grad
    ; grad + np.array(2.0) ; math.sqrt(grad) ; math.pi * grad ; torch.sqrt(grad) ; torch.ones(3) * grad ; grad * torch.ones(())
    ; torch.tensor(2.0) ; grad.mean() ; random.random() ; random.choice([grad, lr]) ; undefined ; slow.x ; (yield)"""
GIVEN = {"lr": 0.1, "alpha": 0.9, "betas": (0.9, 0.99), "slow": 0.3, "unknown": 2.0}
TOKEN = re.compile(r"\s+|\w+(?:\.\w+)?|\*\*|==|.", re.DOTALL)


def words_changed(text: str, chance: random.Random) -> str:
    """One to three words changed, left out, doubled or exchanged."""
    tokens = TOKEN.findall(text)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, other = (chance.randrange(2, len(tokens)) for _ in range(2))
        kind = chance.random()
        if kind < 0.6:
            tokens[at] = chance.choice(WORDS.split())
        elif kind < 0.75:
            tokens[at] = ""
        elif kind < 0.85:
            tokens[at] *= 2
        else:
            tokens[at], tokens[other] = tokens[other], tokens[at]
    return "".join(tokens)


def parts_changed(text: str, chance: random.Random) -> str:
    """One to three parts of expressions replaced."""
    parts = [part.strip() for part in PARTS.split(";")]
    tree = ast.parse(text)
    for _ in range(chance.choice([1, 1, 2, 3])):
        body = [node for line in tree.body[0].body for node in ast.walk(line)]  # type: ignore[attr-defined]
        places = [
            (node, name, i)
            for node in body
            if not isinstance(node, ast.JoinedStr)
            for name, value in ast.iter_fields(node)
            for i, one in enumerate(value if isinstance(value, list) else [value])
            if isinstance(one, ast.expr) and isinstance(getattr(one, "ctx", ast.Load()), ast.Load)
        ]
        node, name, i = chance.choice(places)
        new = ast.parse(chance.choice(parts), mode="eval").body
        if isinstance(getattr(node, name), list):
            getattr(node, name)[i] = new
        else:
            setattr(node, name, new)
    return ast.unparse(tree)


def function(text: str) -> Any:
    """The function that Python makes of a text; None if it makes none."""
    scope = {
        **vars(formula),
        "math": math,
        "np": np,
        "torch": torch,
        "inf": math.inf,
        "nan": math.nan,
        "random": random,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            exec(compile(text, "<formula>", "exec"), scope)
    except Exception:
        return None
    made = scope.get("piece")
    return made if callable(made) else None


def made(piece: Any, params: list[torch.nn.Parameter]) -> Optimizer | None:
    """An optimizer of the piece with what it reads; None if the formula is refused."""
    try:
        reads = {n.name for n in as_piece(piece).signature()[1]}
        given = {n: v for n, v in GIVEN.items() if n in reads}
        formula.trace_formula([piece], {**hyper_defaults([piece]), **given})
    except FormulaError as error:
        return None if len(str(error)) > 20 else pytest.fail(str(error))
    return Optimizer(params, [piece], fused=False, watch=False, **given)


def step_and_compare(text: str, piece: Any) -> bool:
    """Whether there was a formula; then its numbers are right."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(n, generator=generator, dtype=torch.float64)) for n in (5, 3)]
    optimizer = made(piece, params)
    if optimizer is None:
        return False
    program = optimizer.program()
    assert all(formula_lines(program))
    assert formula_mathml(program)
    for i in range(len(program.passes)):
        ast.parse(kernel_source(program, i, dict.fromkeys(program.buffers, torch.float32), watch=True))
    for _ in range(2):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        expected = Expected(optimizer)
        optimizer.step()
        for p in params:
            for name, tensor in {"param": p, **{s: optimizer.state[p][s] for s in program.states}}.items():
                assert within(tensor, expected.of(p, name)).all(), f"{name} of\n{text}"
    return True


def test_good_formulas_are_right() -> None:
    assert all(step_and_compare(text, function(text)) for text in GOOD)


@pytest.mark.parametrize("change", [words_changed, parts_changed])
@pytest.mark.parametrize("seed", range(2))
def test_a_mutated_formula_is_refused_or_right(change: Callable[[str, random.Random], str], seed: int) -> None:
    chance = random.Random(seed)
    formulas = refused = 0
    for _ in range(300):
        text = change(chance.choice(GOOD), chance)
        piece = function(text)
        if piece is not None:
            try:
                right = step_and_compare(text, piece)
            except Exception as error:
                raise AssertionError(f"{type(error).__name__}: {error}, of\n{text}") from error
            formulas, refused = formulas + right, refused + (not right)
    assert formulas > 15
    assert refused > 15
