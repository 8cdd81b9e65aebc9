"""The named optimizers against torch.optim's classes of the same name, step by step and option by option.

Errors in float64 are relative to the largest element of each tensor: ``|ours - torch's| <= 1e-12 * max|torch's|``,
for parameters and states. In lower precisions every step starts from the same values, and errors are counted in
units in the last place.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from torch_pairs import (
    CLASSES,
    IN_TORCH,
    OPTIONS,
    REAL_ONLY,
    SHAPES,
    Gradients,
    assert_close,
    cases,
    each_case,
    each_path,
    fit,
    make_params,
    need_kernel,
    numbers,
    pairs,
    tensors,
    theirs_of,
    twins,
    ulp,
)

from ravine.errors import ParameterError
from ravine.optim import SGD

pytestmark = pytest.mark.usefixtures("numbers_in_double")
one_thread = pytest.mark.usefixtures("one_thread")
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)


@each_class
def test_every_class_that_torch_has_too_is_compared(cls):
    options = OPTIONS.get(cls.__name__, [])
    assert options, f"torch.optim has {cls.__name__} too: give its options a row in torch_pairs.OPTIONS"
    known = set(inspect.signature(theirs_of(cls)).parameters) - {"params", "foreach", "capturable", "differentiable"}
    known -= {"fused"}
    assert set().union(*options) >= known, "an option of torch's class is compared nowhere"


@pytest.mark.parametrize("cls", IN_TORCH, ids=lambda c: c.__name__)
def test_signature_starts_with_torchs(cls):
    ours = list(inspect.signature(cls).parameters.values())
    theirs = list(inspect.signature(theirs_of(cls)).parameters.values())
    positional = [p for p in theirs if p.kind is not p.KEYWORD_ONLY]
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [(p.name, p.kind, p.default) for p in theirs]
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in ours[len(positional) :]), (
        "an option of our own is positional"
    )


@one_thread
@each_path
@each_case
def test_float64_over_100_steps(cls, options, fused):
    """By torch's operations over 30: they are the same formula, and take three times as long."""
    params = make_params(fit(cls, SHAPES), torch.float64)
    others = twins(params)
    ours, theirs = cls(params, **options, fused=fused), theirs_of(cls)(others, **options)
    gradients = Gradients()
    for step in range(1, 101 if fused else 31):
        gradients(params, others)
        ours.step()
        theirs.step()
        if step in (1, 2, 3, 10, 30, 100):
            assert_close(ours, theirs, params, others, where=f", step {step}")


def copy_over(ours, theirs, params, others):
    """Give torch's side our parameters and states, in its own dtype."""
    with torch.no_grad():
        for p, q in zip(params, others, strict=True):
            mine, other = tensors(ours, p) | numbers(ours, p), tensors(theirs, q) | numbers(theirs, q)
            for name, tensor in mine.items():
                if name in other:
                    other[name].copy_(tensor)


# How far one step may be from torch's, whose every operation rounds, in units in the last place of what the step
# adds up (see ``size``). Nearly all of it is theirs. In float16 squares of small gradients vanish and torch divides by
# nothing: there every other step has gradients away from 0, and only those are compared.
UNITS_TO_TORCH = 8
# How far one step may be from the same step in double precision: half a unit is rounding the result, and the rest
# is the float32 it was computed in, which has 16 or 13 more bits.
UNITS_TO_EXACT = {torch.float32: 3.0, torch.bfloat16: 0.502, torch.float16: 0.51}


def size(before, after):
    """How large the terms are that a step adds up: they may cancel in one element, but not in all of a tensor."""
    return before.abs() + after.abs() + (after - before).abs().max()


def in_turn(cls, options, dtype, fused):
    """Whether a class with these options meets this dtype, of which a kernel takes half a second to compile.

    A class without options meets all. Of its other rows each meets one by torch's operations, and the one with the most
    switches one in a kernel. Each row has both in double precision above: how tensors are read and rounded does not depend
    on the formula, and ``test_universal_laws.py`` compares kernels with torch's operations.
    """
    if not options:
        return True
    dtypes, rows = list(UNITS_TO_EXACT), OPTIONS[cls.__name__]
    if not fused:
        return dtypes[rows.index(options) % len(dtypes)] is dtype
    most = max(rows, key=lambda row: (sum(value is True for value in row.values()), len(row)))
    return options is most and dtypes[len(str(options)) % len(dtypes)] is dtype


LOWER = [
    pytest.param(*case.values, d, fused, id=f"{case.id}-{str(d).removeprefix('torch.')}-{path}", marks=case.marks)
    for case in cases()
    for d in UNITS_TO_EXACT
    for fused, path in ((False, "eager"), (True, "fused"))
    if in_turn(*case.values, d, fused)
]


@one_thread
@pytest.mark.parametrize(("cls", "options", "dtype", "fused"), LOWER)
def test_lower_precision_one_step_at_a_time(cls, options, dtype, fused):
    need_kernel(dtype, fused)
    params = make_params(fit(cls, SHAPES), dtype)
    others, wide = twins(params), twins(params, torch.float64)
    ours = cls(params, **options, fused=fused)
    # Adafactor's eps is that of the parameter's dtype unless told otherwise.
    of_dtype = {"eps": (torch.finfo(dtype).eps, 1e-3)} if cls.__name__ == "Adafactor" else {}
    theirs, exact = theirs_of(cls)(others, **options), theirs_of(cls)(wide, **{**of_dtype, **options})
    gradients = Gradients()
    for step in range(1, 11):
        copy_over(ours, theirs, params, others)
        copy_over(ours, exact, params, wide)
        before = [{name: t.clone() for name, t in tensors(exact, p).items()} for p in wide]
        # grad + weight_decay * param may be all rounding error, and a first step of Adam or RMSprop forgets its size.
        away = "weight_decay" in options or (dtype is torch.float16 and step % 2 == 0)
        gradients(params, others, wide, least=0.5 if away else 0.0)
        for optimizer in (ours, theirs, exact):
            optimizer.step()
        start = [t for old, p in zip(before, wide, strict=True) for t in (old.get(n, 0 * p) for n in tensors(exact, p))]
        with_torch, with_exact = pairs(ours, theirs, params, others), pairs(ours, exact, params, wide)
        for old, (name, mine, torchs), (_, _, truth) in zip(start, with_torch, with_exact, strict=True):
            assert mine.dtype == torchs.dtype == dtype, name
            # Muon's iteration rounds to bfloat16, where a last digit can become a third one; on a bfloat16 buffer without
            # Nesterov torch's writes into the buffer itself (it divides what bfloat16() gave, which is the buffer).
            if not mine.numel() or (cls.__name__ == "Muon" and (name.startswith("param") or dtype is torch.bfloat16)):
                continue
            terms = size(old, truth)
            off = ((mine.double() - torchs.double()).abs() / ulp(terms, dtype)).max()
            # torch's Adafactor computes all of it in 16 bits.
            by_itself = cls.__name__ == "Adafactor" and dtype is not torch.float32
            assert off <= UNITS_TO_TORCH or (dtype is torch.float16 and not away) or by_itself, (
                f"{name}, step {step}: {off:g} units from torch's"
            )
            # Where terms cancel the result is small, and its error is that of float32 on the terms.
            allowed = UNITS_TO_EXACT[dtype] * ulp(truth, dtype) + 4 * ulp(terms, torch.float32)
            off = ((mine.double() - truth).abs() / allowed).max()
            assert off <= 1, f"{name}, step {step}: {off:g} times as far from the exact step as rounding explains"


@each_path
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=lambda d: str(d).removeprefix("torch."))
def test_half_way_goes_to_the_even_neighbour(dtype, fused):
    need_kernel(dtype, fused)
    unit = torch.finfo(dtype).eps
    p = torch.nn.Parameter(torch.tensor([1.0, 1 + unit, -1.0, -1 - unit], dtype=dtype))
    p.grad = torch.tensor([-unit / 2, -unit / 2, unit / 2, unit / 2], dtype=dtype)
    SGD([p], lr=1.0, fused=fused).step()
    assert p.tolist() == [1.0, 1 + 2 * unit, -1.0, -1 - 2 * unit]


@each_path
@each_class
def test_large_tensor_in_chunks_on_all_threads(cls, fused):
    """Chunks of 16,384 elements and a ragged tail: which elements are in one does not depend on options."""
    params = make_params(fit(cls, [(300, 401), (3,)]), torch.float64)
    others = twins(params)
    ours, theirs = cls(params, fused=fused), theirs_of(cls)(others)
    gradients = Gradients()
    for _ in range(2):
        gradients(params, others)
        ours.step()
        theirs.step()
    assert_close(ours, theirs, params, others)


@one_thread
@each_path
@each_case
def test_complex_parameters(cls, options, fused):
    params = make_params(fit(cls, [(3, 5), (), (0,)]), torch.complex128)
    others = twins(params)
    ours, theirs = cls(params, **options, fused=fused), theirs_of(cls)(others, **options)
    gradients = Gradients()
    if cls.__name__ in REAL_ONLY:
        gradients(params, others)
        for optimizer, error in ((ours, ParameterError), (theirs, (RuntimeError, ValueError))):
            with pytest.raises(error, match=r"[Cc]omplex"):
                optimizer.step()
        return
    for step in range(1, 8):
        gradients(params, others)
        ours.step()
        theirs.step()
        assert_close(ours, theirs, params, others, where=f", step {step}")


@each_path
@each_class
def test_learning_rate_as_a_tensor_changed_in_place(cls, fused):
    params = make_params(fit(cls, [(4, 3), (5,)]), torch.float64)
    others = twins(params)
    rates = [torch.tensor(0.03, dtype=torch.float64) for _ in range(2)]
    ours, theirs = cls(params, lr=rates[0], fused=fused), theirs_of(cls)(others, lr=rates[1])
    gradients = Gradients()
    for _ in range(6):
        gradients(params, others)
        ours.step()
        theirs.step()
        assert_close(ours, theirs, params, others)
        for rate in rates:
            rate.mul_(0.7)
    assert ours.param_groups[0]["lr"] is rates[0]


@each_path
@pytest.mark.parametrize(
    "cls", [c for c in CLASSES if "betas" in inspect.signature(c).parameters], ids=lambda c: c.__name__
)
def test_betas_as_tensors_are_their_numbers(cls, fused):
    params = make_params(fit(cls, [(4, 3), (5,)]), torch.float64)
    others = twins(params)
    betas = (torch.tensor(0.8, dtype=torch.float64), torch.tensor(0.95, dtype=torch.float64))
    ours, theirs = cls(params, betas=betas, fused=fused), theirs_of(cls)(others, betas=(0.8, 0.95))
    gradients = Gradients()
    for step in range(4):
        gradients(params, others)
        ours.step()
        theirs.step()
        if step == 1:  # in place, as schedules change them
            betas[0].fill_(0.7)
            theirs.param_groups[0]["betas"] = (0.7, 0.95)
    assert_close(ours, theirs, params, others)
    assert ours.param_groups[0]["betas"][0] is betas[0]


#: Kernels that go uphill are compared with torch's where a row of OPTIONS has ``maximize``.
UPHILL = [(c, False) for c in CLASSES]
UPHILL += [(c, True) for c in CLASSES if not any("maximize" in options for options in OPTIONS[c.__name__])]


@pytest.mark.parametrize(("cls", "fused"), UPHILL, ids=lambda x: getattr(x, "__name__", x))
def test_maximize_is_minimizing_the_negative(cls, fused):
    params = make_params(fit(cls, [(4, 3), (5,)]), torch.float64)
    others = twins(params)
    up, down = cls(params, maximize=True, fused=fused), cls(others, fused=fused)
    gradients = Gradients()
    for _ in range(3):
        gradients(params, others)
        for q in others:
            q.grad.neg_()
        up.step()
        down.step()
    assert all(torch.equal(p, q) for p, q in zip(params, others, strict=True))
