"""Sparse gradients: the rows that they name are stepped, and the others stay; torch's own sparse optimizers give the numbers.

What torch has not (momentum, decay, averages of rows) is compared with the dense step whose other rows are put back, and
with lines of NumPy.
"""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from kinds import one_of_each_kind
from torch import nn
from torch.nn import Parameter

from ravine.backends._sparse_rows import why_no_rows
from ravine.errors import NonFiniteError, ParameterError
from ravine.optim import SGD, Adagrad, Adam, AdamW, SparseAdam
from ravine.optim import _registry as registry

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
]

PATHS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "eager"])
IN_TORCH = [
    (SparseAdam, {"lr": 0.02}),
    (SparseAdam, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "maximize": True}),
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "maximize": True}),
    (Adagrad, {"lr": 0.1}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.5, "eps": 1e-3}),
]
EACH = pytest.mark.parametrize(("cls", "options"), IN_TORCH, ids=[f"{c.__name__}-{len(o)}" for c, o in IN_TORCH])


def sparse(shape, dims, rows, seed, dtype=torch.float64):
    """An uncoalesced gradient of so many rows, some of them named more than once."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.stack([torch.randint(0, n, (rows,), generator=generator) for n in shape[:dims]])
    values = torch.randn(rows, *shape[dims:], generator=generator, dtype=torch.float64).to(dtype)
    return torch.sparse_coo_tensor(index, values, shape)


def table(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))


def twin(params):
    return [Parameter(p.detach().clone()) for p in params]


def assert_equals_torch(ours, theirs, params, others):
    for p, q in zip(params, others, strict=True):
        mine, other = ours.state[p], theirs.state[q]
        assert mine.keys() - {"step"} == other.keys() - {"step"}
        if "step" not in ours.not_in_torch:
            assert float(mine["step"]) == float(other["step"])
        for a, b in [(p, q), *((mine[n], other[n]) for n in other if n != "step")]:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@EACH
@PATHS
def test_torchs_numbers_on_embeddings_over_100_steps_and_state_dicts_both_ways(cls, options, fused):
    bags = [nn.EmbeddingBag(40, 7, mode="sum", sparse=True).double(), nn.Embedding(11, 1, sparse=True).double()]
    pair = bags, copy.deepcopy(bags)
    params, others = ([m.weight for m in side] for side in pair)
    ours, theirs = cls(params, **options, fused=fused), getattr(torch.optim, cls.__name__)(others, **options)
    generator = torch.Generator().manual_seed(0)
    for step in range(100):
        first, second = (
            torch.randint(0, 40, (3, 4), generator=generator),
            torch.randint(0, 11, (5,), generator=generator),
        )
        for side, optimizer in zip(pair, (ours, theirs), strict=True):
            optimizer.zero_grad()
            ((side[0](first) ** 2).sum() + (side[1](second) ** 2).sum()).backward()
            optimizer.step()
        if step == 50:  # torch goes on from ours, and ours from torch's
            saved = copy.deepcopy(ours.state_dict()), copy.deepcopy(theirs.state_dict())
            ours.load_state_dict(saved[1])
            saved[0]["param_groups"][0]["fused"] = None  # torch's own fused loops take no sparse gradients
            theirs.load_state_dict(saved[0])
    assert_equals_torch(ours, theirs, params, others)


@EACH
@PATHS
def test_hybrid_uncoalesced_empty_and_missing_gradients(cls, options, fused):
    params = [table(6, 4, 5), table(6, 4, 5, seed=1), table(9, 3, seed=2), table(8, seed=3), table(5, 2, seed=4)]
    others = twin(params)
    ours, theirs = cls(params, **options, fused=fused), getattr(torch.optim, cls.__name__)(others, **options)
    for step in range(12):
        gradients = [
            sparse((6, 4, 5), 1, 7, step),
            sparse((6, 4, 5), 2, 9, step + 100),
            sparse((9, 3), 2, 11, step + 200),  # each element is a row
            sparse((8,), 1, 5, step + 300),
            sparse((5, 2), 1, 0, step),  # names no row
        ]
        if step % 3 == 1:
            gradients[1] = gradients[2] = None
        for side in (params, others):
            for p, g in zip(side, gradients, strict=True):
                p.grad = None if g is None else g.clone()
        before = [None if g is None else g.to_dense() for g in gradients]
        ours.step()
        theirs.step()
        for p, g in zip(params, before, strict=True):
            assert g is None or torch.equal(p.grad.to_dense(), g)
    assert_equals_torch(ours, theirs, params, others)


BY_ROWS = [
    name
    for name in registry.names()
    if not why_no_rows((named := registry.lookup(name)).cls([table(2, 2)], **{"lr": 0.01, **named.options}).program())
]


def test_those_that_step_rows_are_known():
    assert {"sgd", "adam", "adagrad", "rmsprop", "lion", "nadam", "sparseadam", "momentum"} <= set(BY_ROWS)
    assert not {"lamb", "lars", "adafactor", "muon", "prodigy", "stableadamw"} & set(BY_ROWS)


#: A kernel of rows is that of elements, which every formula has, with other addresses: one of each kind.
EACH_BY_ROWS = [(n, False) for n in BY_ROWS] + [(n, True) for n in one_of_each_kind(BY_ROWS)]


@pytest.mark.parametrize(("name", "fused"), EACH_BY_ROWS)
def test_every_formula_of_elements_is_its_dense_step_on_these_rows(name, fused):
    """Step counts and kept numbers are of the parameter, whichever rows it had gradients for."""
    named = registry.lookup(name)
    (p,) = params = [table(13, 6)]
    (q,) = others = twin(params)
    options = {"lr": 0.01, **named.options}
    ours, dense = named.cls(params, **options, fused=fused), named.cls(others, **options, fused=False)
    for step in range(6):
        g = sparse((13, 6), 1, 6, step)
        p.grad, q.grad = g, g.to_dense()
        dense.init_state()
        before = {"param": q.detach().clone(), **{n: v.clone() for n, v in dense.state[q].items()}}
        ours.step()
        dense.step()
        elsewhere = torch.ones(13, dtype=torch.bool)
        elsewhere[g.coalesce().indices()[0]] = False
        for n, now in [("param", q.detach()), *dense.state[q].items()]:
            if now.dim():
                now[elsewhere] = before[n][elsewhere]
            mine = p.detach() if n == "param" else ours.state[p][n]
            torch.testing.assert_close(mine, now, rtol=1e-11, atol=1e-12, msg=lambda m, n=n: f"{n}: {m}")


@PATHS
def test_momentum_and_decay_move_a_row_only_when_it_has_a_gradient(fused):
    (p,) = params = [table(5, 3)]
    optimizer = SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, fused=fused)
    x, m = p.detach().numpy().copy(), np.zeros((5, 3))
    for step in range(20):
        g = sparse((5, 3), 1, 3, step)
        p.grad = g
        optimizer.step()
        dense = g.to_dense().numpy()
        for row in set(g.coalesce().indices()[0].tolist()):
            m[row] = 0.9 * m[row] + dense[row] + 0.01 * x[row]
            x[row] = x[row] - 0.1 * m[row]
    np.testing.assert_allclose(p.detach().numpy(), x, rtol=1e-12)
    np.testing.assert_allclose(optimizer.state[p]["momentum_buffer"].numpy(), m, rtol=1e-12)


@PATHS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_lower_precision_is_the_dense_step_of_the_rows_alone(dtype, fused):
    """All rows are named, so that the dense step is the same; gradients are rounded when repeated rows are added up."""
    (p,) = params = [table(40, 9, dtype=dtype)]
    (q,) = others = twin(params)
    ours, dense = AdamW(params, lr=0.02, fused=fused), AdamW(others, lr=0.02, fused=fused)
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        order = torch.randperm(40, generator=generator)
        values = torch.randn(40, 9, generator=generator).to(dtype)
        p.grad = torch.sparse_coo_tensor(order[None], values, (40, 9))
        q.grad = p.grad.to_dense()
        ours.step()
        dense.step()
    assert torch.equal(p, q)
    assert all(torch.equal(v, dense.state[q][n]) for n, v in ours.state[p].items())


@PATHS
def test_clip_norm_is_of_the_rows_and_of_dense_gradients_together(fused):
    params = [table(20, 4), table(6, 3, seed=1), table(7, seed=2)]
    others = twin(params)
    ours, theirs = SGD(params, lr=0.1, clip_norm=1.5, fused=fused), torch.optim.SGD(others, lr=0.1)
    for step in range(10):
        gradients = [
            sparse((20, 4), 1, 5, step).mul(0.1 if step % 3 else 1.0),
            sparse((6, 3), 1, 2, step + 50).mul(0.1),
            torch.full((7,), 0.1, dtype=torch.float64),
        ]
        norm = torch.stack([g.to_dense().norm() if g.is_sparse else g.norm() for g in gradients]).norm()
        for p, q, g in zip(params, others, gradients, strict=True):
            p.grad, q.grad = g, g * min(1.0, 1.5 / (float(norm) + 1e-6))
        ours.step()
        theirs.step()
        assert ours.watch.last.grad_norm == pytest.approx(float(norm), rel=1e-6)
    for p, q in zip(params, others, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


@PATHS
def test_what_is_not_finite_is_skipped_or_raised_with_nothing_written(fused):
    model = nn.ModuleDict({"table": nn.Embedding(9, 4, sparse=True), "dense": nn.Linear(4, 2)})
    for policy in ("skip", "raise"):
        optimizer = Adam(model.named_parameters(), lr=0.1, nonfinite=policy, fused=fused)
        for bad in (False, True):
            for n, p in model.named_parameters():
                p.grad = sparse((9, 4), 1, 3, 1, torch.float32) if n == "table.weight" else torch.ones_like(p)
            if bad:
                model["table"].weight.grad._values()[1, 2] = float("nan")
            states = {id(p): {n: v.clone() for n, v in s.items()} for p, s in optimizer.state.items()}
            before = [p.detach().clone() for p in model.parameters()]
            if bad and policy == "skip":
                with pytest.warns(UserWarning, match=r"table\.weight"):
                    optimizer.step()
            elif bad:
                with pytest.raises(NonFiniteError, match=r"table\.weight"):
                    optimizer.step()
            else:
                optimizer.step()
            assert [torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)] == [bad] * 3
            if bad:
                for p, s in optimizer.state.items():
                    assert all(torch.equal(v, states[id(p)][n]) for n, v in s.items())
        assert optimizer.skipped == (policy == "skip")


@pytest.mark.parametrize("fused", [True, None], ids=["unscales", "unscaled"])
def test_gradscaler_unscales_rows_and_leaves_out_what_overflows(fused):
    bags = nn.Embedding(12, 5, sparse=True)
    other = copy.deepcopy(bags)
    ours, theirs = SGD(bags.parameters(), lr=0.1, fused=fused), torch.optim.SGD(other.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    rows = torch.tensor([1, 4, 4, 9])
    for step in range(4):
        ours.zero_grad()
        theirs.zero_grad()
        factor = float("inf") if step == 2 else 1.0
        scaler.scale((bags(rows) ** 2).sum() * factor).backward()
        before = bags.weight.detach().clone()
        scaler.step(ours)
        scaler.update()
        if step == 2:
            assert torch.equal(bags.weight, before)
            continue
        (other(rows) ** 2).sum().backward()
        theirs.step()
    torch.testing.assert_close(bags.weight, other.weight, rtol=1e-6, atol=1e-7)
    assert ours.skipped == (fused is True)  # else the scaler does not ask for the step


@PATHS
def test_the_watch_sees_the_rows(fused):
    """Norms of gradient and update are those of the whole tensor, whose other rows are 0; that of the parameter is the rows'."""
    (p,) = params = [table(30, 4)]
    optimizer = SGD([("table", p)], lr=0.1, fused=fused)
    before, g = params[0].detach().clone(), sparse((30, 4), 1, 8, 0)
    p.grad = g
    optimizer.step()
    (row,) = optimizer.watch.last
    touched = g.coalesce().indices()[0]
    assert row.name == "table"
    assert row.grad_norm == pytest.approx(float(g.to_dense().norm()), rel=1e-6)
    assert row.update_norm == pytest.approx(float((p.detach() - before).norm()), rel=1e-6)
    assert row.param_norm == pytest.approx(float(before[touched].norm()), rel=1e-6)


@PATHS
def test_groups_have_options_of_their_own_and_a_run_goes_on_bit_for_bit(fused):
    def made(params):
        return Adam(
            [{"params": params[:1], "lr": 0.1, "weight_decay": 0.01}, {"params": params[1:]}], lr=0.01, fused=fused
        )

    def run(params, optimizer, steps):
        for step in steps:
            params[0].grad, params[1].grad = sparse((9, 4), 1, 4, step), sparse((7, 3), 1, 3, step + 50)
            params[2].grad = None if step % 2 else torch.cos(params[2].detach())  # dense, in a sparse one's group
            optimizer.step()

    params = [table(9, 4), table(7, 3, seed=1), table(5, seed=2)]
    alone = twin(params)
    optimizer = made(params)
    run(params, optimizer, range(5))
    file = io.BytesIO()
    torch.save({"params": [p.detach() for p in params], "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = [Parameter(p) for p in saved["params"]]
    resumed = made(again)
    resumed.load_state_dict(saved["optimizer"])
    run(params, optimizer, range(5, 9))
    run(again, resumed, range(5, 9))
    assert all(map(torch.equal, params, again))
    for part, options in ((slice(0, 1), {"lr": 0.1, "weight_decay": 0.01}), (slice(1, None), {"lr": 0.01})):
        one = Adam(alone[part], **options, fused=fused)
        rest = list(alone)
        for step in range(9):
            rest[0].grad, rest[1].grad = sparse((9, 4), 1, 4, step), sparse((7, 3), 1, 3, step + 50)
            rest[2].grad = None if step % 2 else torch.cos(rest[2].detach())
            one.step()
    assert all(map(torch.equal, params, alone))


def test_a_parameter_may_have_dense_and_sparse_gradients_in_turn():
    (p,) = params = [table(9, 4)]
    (q,) = others = twin(params)
    ours, dense = Adagrad(params, lr=0.1), Adagrad(others, lr=0.1, fused=False)
    for step in range(6):
        g = sparse((9, 4), 1, 5, step)
        q.grad = g.to_dense()  # rows without a gradient stay in a dense step of Adagrad, too
        p.grad = g if step % 2 else g.to_dense()
        ours.step()
        dense.step()
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lamb", "a sum or norm of the whole tensor"),
        ("adafactor", "sums of rows and columns of the whole tensor|a sum or norm of the whole tensor"),
        ("muon", "orthogonalize is a function of whole tensors"),
        ("stableadamw", "a sum or norm of the whole tensor"),
    ],
)
def test_a_formula_of_the_whole_tensor_is_refused_by_name_with_why_and_nothing_is_written(name, why):
    named = registry.lookup(name)
    model = nn.ModuleDict({"dense": nn.Linear(4, 2), "table": nn.Embedding(9, 4, sparse=True)})
    optimizer = named.cls(model.named_parameters(), lr=0.1)
    for n, p in model.named_parameters():
        p.grad = sparse((9, 4), 1, 3, 1, torch.float32) if n == "table.weight" else torch.ones_like(p)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ParameterError, match=rf"'table\.weight'.*sparse gradient.*({why}).*SparseAdam, Adagrad, SGD"):
        optimizer.step()
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert not any(optimizer.state.values())
