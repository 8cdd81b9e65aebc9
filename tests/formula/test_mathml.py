"""The printed MathML: well formed, of MathML Core alone, and line by line what the text says."""

import re
from collections import Counter
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import torch

from ravine.formula import global_norm, minimum, norm, sqrt, trace_formula, where
from ravine.formula._mathml import formula_mathml
from ravine.formula._plain_text import formula_lines
from ravine.formula._symbols import Assignment, apply, buffer, number
from ravine.optim import _registry as registry

CORE = {"math", "mtable", "mtr", "mtd", "mrow", "mi", "mn", "mo", "mtext", "mfrac", "msqrt", "msub", "msup", "msubsup"}
CHILDREN = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3}
WORDS = {"where", "finite", "nan", "of", "all", "tensors"}  # MathML writes these as text or signs
VARIANTS = [
    *((name, {}) for name in registry.names()),
    ("rmsprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("adam", {"amsgrad": True, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adagrad", {"lr_decay": 0.1}),
    ("sgd", {"momentum": 0.9, "dampening": 0.1, "clip_norm": 1.0, "ema_decay": 0.99, "maximize": True}),
]


def descend(param, *, update, lr):
    return param - lr * update


def named(name, options):
    found = registry.lookup(name)
    return found.cls([torch.nn.Parameter(torch.zeros(1))], **{"lr": 0.1, **found.options, **options}).program()


def rows(program):
    tree = ElementTree.fromstring(formula_mathml(program))
    assert tree.tag == "math"
    return [tuple(row) for row in tree[0]]


def flat(element):
    """An element as text: ``a_(b)``, ``a^(b)``, ``(a)/(b)``, ``√(a)``; cases as their cells."""
    inner = [flat(child) for child in element]
    text = (element.text or "").strip("\u2061\u2062")
    if element.tag in ("msub", "msup"):
        return f"{inner[0]}{'_' if element.tag == 'msub' else '^'}({inner[1]})"
    if element.tag == "msubsup":
        return f"{inner[0]}_({inner[1]})^({inner[2]})"
    if element.tag == "mfrac":
        return f"({inner[0]})/({inner[1]})"
    return f"√({inner[0]})" if element.tag == "msqrt" else text + "".join(inner)


def flattened(pieces, **hypers):
    return ["".join(map(flat, row)) for row in rows(trace_formula(pieces, {"lr": 0.1, **hypers}))]


def identifiers(row):
    """How often each identifier stands in a line, without the times of states."""
    below = {id(e) for cell in row for sub in cell.iter() if sub.tag in ("msub", "msubsup") for e in sub[1].iter()}
    return Counter(e.text for cell in row for e in cell.iter("mi") if id(e) not in below)


def words(line):
    plain = re.sub("[₀-₉²³]", "", line.replace("ₜ₋₁", "").replace("ₜ", ""))
    return Counter(word for word in re.findall(r"(?<!\w)[^\W\d]\w*", plain) if word not in WORDS)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_every_optimizer_is_well_formed_and_says_what_the_text_says(name, options):
    program = named(name, options)
    tree = ElementTree.fromstring(formula_mathml(program))
    assert {e.tag for e in tree.iter()} <= CORE
    assert tree.get("alttext") == "; ".join(formula_lines(program))
    for element in tree.iter():
        if element.tag in CHILDREN:
            assert len(element) == CHILDREN[element.tag]
        assert element.tag in ("mi", "mn", "mo", "mtext") or not (element.text or "").strip()
    lines = formula_lines(program)
    assert [identifiers(row) for row in rows(program)] == [words(line) for line in lines]
    assert [row[1][0][0].text for row in rows(program)] == ["="] * len(lines)


def test_fractions_roots_powers_and_times():
    def rms(update, square_avg=0.0, *, betas, eps, step):
        square_avg = betas[1] * square_avg + (1 - betas[1]) * update**2
        return update / (sqrt(square_avg) / (1 - betas[1] ** step) + eps) ** 3, square_avg**2

    assert flattened([rms, descend], betas=(0.9, 0.99), eps=1e-8) == [
        "square_avg_(t)=(β_(2)⋅square_avg_(t−1)+(1−β_(2))g^(2))^(2)",
        "u=(g)/((" + "(√(β_(2)⋅square_avg_(t−1)+(1−β_(2))g^(2)))/(1−β_(2)^(t))" + "+ε)^(3))",
        "θ_(t)=θ_(t−1)−lr⋅u",
    ]


def test_a_fraction_in_a_fraction_is_as_large_as_others():
    def piece(update, *, a, b):
        return update / (a / b)

    (above, below) = next(iter(rows(trace_formula([piece, descend], {"lr": 0.1, "a": 1.0, "b": 1.0}))))[1][0][1]
    assert above.tag == "mi"
    assert below.get("displaystyle") == "true"


def test_products_of_letters_need_no_sign_and_those_of_words_do():
    def piece(update, *, a, b, long, param):
        return a * b * update + long * a + a * long + a * 2 * b + a * abs(update) - a * minimum(b, update)

    assert flattened([piece, descend], a=1.0, b=1.0, long=1.0)[0] == "u=abg+long⋅a+a⋅long+a⋅2b+a|g|−a⋅min(b,g)"


def test_norms_signs_and_choices():
    def piece(update, *, param, step):
        clipped = update * minimum(1.0, 1.0 / (global_norm(update) + 1e-6))
        return where(step == 1, -clipped, norm(param) - (-update) + -2.5 * (update / 3) ** 2)

    (line, *_) = flattened([piece, descend])
    assert line == (
        "u={−(g⋅min(1,(1)/(‖g‖_(all tensors)+10^(−6))))if\xa0t=1‖θ_(t−1)‖−(−g)+(−2.5((g)/(3))^(2))otherwise"
    )


def test_a_choice_within_a_sum_is_in_parentheses():
    def piece(update):
        return where(update > 0, update, 0.0) + update

    assert flattened([piece, descend])[0] == "u=({gif\xa0g>00otherwise)+g"


def test_hostile_names_are_text():
    wild = '</mi><script>&"\n\x00'
    value = apply("mul", buffer("param"), apply("add", buffer(wild), number("<b>")))
    # a program of such names cannot be traced today; a printer reads nothing of it but its lines
    program = SimpleNamespace(assignments=[Assignment("", name, value) for name in (wild, "param")])
    text = formula_mathml(program)
    tree = ElementTree.fromstring(text)
    assert "<script>" not in text
    assert "<b>" not in text
    shown = '</mi><script>&"\\n\\x00'
    assert {e.text for e in tree.iter("mi")} == {"θ", shown, "<b>", "t"}
    assert formula_lines(program) == [f"{shown}ₜ = θₜ₋₁ · ({shown}ₜ₋₁ + <b>)", f"θₜ = {shown}ₜ"]


def test_a_state_whose_name_has_a_number_has_number_and_time_below():
    def piece(update, beta1=0.0):
        return update + beta1, beta1 + update**2

    assert flattened([piece, descend])[0] == "β_(1,t)=β_(1,t−1)+g^(2)"


def test_it_asks_for_fonts_of_mathematics():
    """With another font Chromium's roots do not cover what stands in them, and subscripts lie on the line."""
    tree = ElementTree.fromstring(formula_mathml(named("adam", {})))
    fonts = [name.strip(" '") for name in tree.get("style").removeprefix("font-family:").split(",")]
    assert {"Latin Modern Math", "STIX Two Math", "Cambria Math"} < set(fonts)
    assert fonts[-2:] == ["math", "serif"]


def test_fractions_in_cases_are_set_as_large_as_others():
    tree = ElementTree.fromstring(formula_mathml(named("lamb", {})))
    assert all(table.get("displaystyle") == "true" for table in tree.iter("mtable"))
    assert sum(1 for _ in tree.iter("mtable")) > 1
