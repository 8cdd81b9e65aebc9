"""Gradients of every kind: missing, zero, huge, sparse, of another shape, shared, of another dtype."""

import math

import pytest
import torch
from step_runs import EVERY, KERNEL_OF_EACH_KIND, PATHS, every_dtype, make, randn, snapshot
from torch.nn import Parameter

from ravine.errors import BackendError, ParameterError
from ravine.formula._symbols import postorder
from ravine.optim import LAMB, SGD, Adam

# --- none ---------------------------------------------------------------------------------------------------------


@EVERY
@PATHS
def test_without_a_gradient_nothing_of_a_parameter_is_touched(name, fused):
    a, b = Parameter(randn(5)), Parameter(randn(4, seed=1))
    optimizer = make(name, [a, b], fused=fused)
    a.grad, b.grad = torch.ones(5), torch.ones(4)
    optimizer.step()
    for k in range(3):
        before = snapshot(optimizer)
        a.grad = None if k != 1 else torch.ones(5)
        b.grad = None if k == 1 else torch.ones(4)
        optimizer.step()
        after = snapshot(optimizer)
        assert (after[0] == before[0]) is (k != 1)
        assert (after[1] == before[1]) is (k == 1)
    a.grad = b.grad = None
    optimizer.step()
    assert snapshot(optimizer) == after


@PATHS
def test_gradients_that_come_and_go_give_the_numbers_of_torch(fused):
    """Step counts differ from tensor to tensor, also of those whose first gradient comes late."""
    results = []
    for cls, kw in ((torch.optim.Adam, {}), (Adam, {"fused": fused})):
        params = [Parameter(randn(5, seed=s)) for s in range(4)]
        optimizer = cls(params, lr=0.1, weight_decay=0.1, **kw)
        for k in range(12):
            for i, p in enumerate(params):
                p.grad = torch.cos(p.detach()) if k % (i + 1) == i else None
            optimizer.step()
        results.append((params, [float(optimizer.state[p]["step"]) for p in params]))
    (expected, steps), (got, our_steps) = results
    assert steps == our_steps == [12, 6, 4, 3]
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(got, expected, strict=True))


@PATHS
def test_a_first_gradient_that_comes_late_is_used(fused):
    a, b = Parameter(torch.ones(3)), Parameter(torch.ones(4))
    optimizer = SGD([a, b], lr=0.1, fused=fused)
    a.grad = torch.ones(3)
    optimizer.step()
    assert b not in optimizer.state
    b.grad = torch.ones(4)
    optimizer.step()
    assert torch.equal(b.detach(), torch.ones(4) - 0.1 * torch.ones(4))
    assert [optimizer.state[p]["step"] for p in (a, b)] == [2, 1]


@PATHS
def test_a_step_before_any_gradient_does_nothing(fused):
    p = Parameter(torch.ones(3))
    optimizer = Adam([p], fused=fused)
    optimizer.step()
    assert torch.equal(p.detach(), torch.ones(3))
    assert not optimizer.state.get(p)


# --- values -------------------------------------------------------------------------------------------------------


@every_dtype(torch.float32, torch.float16, torch.bfloat16, torch.float64)
def test_zero_gradients_leave_parameters_alone(name, fused, dtype):
    """In float16 torch gives NaN where eps underflows."""
    p = Parameter(randn(9, dtype=dtype))
    optimizer = make(name, [p], fused=fused)
    for group in optimizer.param_groups:  # some decay the weights by default
        group |= {n: 0.0 for n in ("weight_decay", "lambd") if n in optimizer.defaults}
    before = p.detach().clone()
    for _ in range(3):
        p.grad = torch.zeros(9, dtype=dtype)
        optimizer.step()
    if name == "madgrad":  # it computes the parameter anew from where it began
        torch.testing.assert_close(p.detach(), before, rtol=4 * torch.finfo(dtype).eps, atol=0.0)
    else:
        assert torch.equal(p.detach(), before)


@PATHS
def test_zero_grad_that_keeps_tensors_counts_as_gradients(fused):
    results = []
    for cls, kw in ((torch.optim.SGD, {}), (SGD, {"fused": fused})):
        p = Parameter(randn(3))
        optimizer = cls([p], lr=0.1, momentum=0.9, **kw)
        p.grad = torch.ones(3)
        kept = p.grad
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        assert p.grad is kept
        assert not kept.any()
        optimizer.step()
        (p * 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert p.grad is None
        results.append(p.detach())
    assert torch.allclose(*results)


@EVERY
@PATHS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_where_it_stands(name, fused, bad):
    p, q, r = Parameter(randn(40)), Parameter(randn(40)), Parameter(randn(3))
    both = make(name, [p, r], fused=fused), make(name, [q], fused=fused)
    place = 17
    for k in range(3):
        for t in (p, q, r):
            t.grad = torch.cos(t.detach()).nan_to_num() + 0.1
        if k == 1:
            p.grad[place] = bad
        for optimizer in both:
            optimizer.step()
    others = torch.arange(40) != place
    optimizer = both[0]
    if len(optimizer.program().passes) > 1:  # a norm carries it to all elements of the tensor, and to no other
        others = others & False
    if name in ("adopt", "rprop") and math.isinf(bad):
        pass  # ADOPT clips, and of Rprop's gradient only the sign counts
    elif math.isinf(bad) and any(s.op == "sign" for s in postorder(optimizer.program().passes[-1].results)):
        kept = [v for n, v in optimizer.state[p].items() if n != "step"]  # the sign of infinity is finite
        assert not all(torch.isfinite(v[place]) for v in kept)
    else:
        assert not torch.isfinite(p.detach()[place])
    assert torch.equal(p.detach()[others], q.detach()[others])
    joined = any(one.over != "tensor" for each in optimizer.program().passes for one in each.reductions)
    assert joined or torch.isfinite(r).all()  # a sum over all tensors carries it to all of them


@EVERY
def test_gradients_of_1e30_are_the_same_on_both_paths(name):
    """Their squares overflow float32, as in torch: second moments become inf and such elements stop."""
    results = []
    for fused in (None, False):
        p = Parameter(torch.ones(67))  # whole vectors and a rest
        optimizer = make(name, [p], fused=fused)
        for _ in range(2):
            p.grad = torch.ones(67)
            p.grad[::5], p.grad[-1] = 1e30, -1e30
            optimizer.step()
        results.append(p.detach())
    assert torch.allclose(*results, rtol=1e-5, equal_nan=True)
    if len(optimizer.program().passes) == 1:  # a norm would carry it to all elements of the tensor
        assert torch.isfinite(results[0][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_subnormal_numbers_are_kept_on_every_path(dtype):
    tiny = torch.finfo(dtype).smallest_normal * torch.tensor([0.25, 0.5, 3.0], dtype=torch.float64)
    results = []
    for fused in (None, False):
        p = Parameter((tiny * 2).to(dtype))
        p.grad = tiny.to(dtype)
        SGD([p], lr=1.0, momentum=0.9, fused=fused).step()
        results.append(p.detach())
    assert torch.equal(*results)
    assert torch.equal(results[0], tiny.to(dtype))
    assert (results[0] != 0).all()


@PATHS
def test_lazily_negated_and_conjugated_gradients_count_with_their_sign(fused):
    for shape in ((), (5,)):
        p = Parameter(torch.ones(shape))
        optimizer = SGD([p], lr=1.0, fused=fused)
        for k in range(2):
            p.grad = torch.complex(torch.zeros(shape), torch.ones(shape)).conj().imag
            assert p.grad.is_neg()
            optimizer.step()
            assert torch.equal(p.detach(), torch.full(shape, 2.0 + k))
    z = Parameter(torch.zeros(4, dtype=torch.complex64))
    optimizer = SGD([z], lr=1.0, fused=fused)
    for _ in range(2):
        z.grad = torch.full((4,), 1 + 2j).conj()
        optimizer.step()
    assert torch.equal(z.detach(), torch.full((4,), -2 + 4j))


@KERNEL_OF_EACH_KIND
def test_a_step_leaves_the_gradient_as_it_was(name, fused):
    other = (
        torch.float64 if fused is False else torch.float32
    )  # a kernel more takes half a second, and writes as this one
    params = [Parameter(randn(3, 4)), Parameter(randn(5, dtype=other)), Parameter(randn(40000))]
    optimizer = make(name, params, fused=fused, maximize=True)
    for _ in range(2):
        kept = [torch.cos(p.detach()) for p in params]
        kept[0] = kept[0].t().contiguous().t()
        for p, g in zip(params, kept, strict=True):
            p.grad = g
        copies, versions = [g.clone() for g in kept], [g._version for g in kept]
        optimizer.step()
        assert all(p.grad is g for p, g in zip(params, kept, strict=True))
        assert all(torch.equal(g, c) for g, c in zip(kept, copies, strict=True))
        assert [g._version for g in kept] == versions


@PATHS
def test_gradients_may_share_memory_or_be_the_parameter_itself(fused):
    shared = torch.ones(4)
    a, b, c = Parameter(torch.zeros(4)), Parameter(torch.zeros(4)), Parameter(torch.ones(4))
    optimizer = SGD([a, b, c], lr=0.5, fused=fused)
    a.grad, b.grad, c.grad = shared, shared, c.detach()
    optimizer.step()
    assert torch.equal(a.detach(), torch.full((4,), -0.5))
    assert torch.equal(b.detach(), a.detach())
    assert torch.equal(c.detach(), torch.full((4,), 0.5))


@PATHS
def test_a_gradient_of_another_dtype_where_torch_allows_it(fused):
    p = Parameter(torch.zeros(4, dtype=torch.bfloat16))
    if not hasattr(p, "grad_dtype"):
        pytest.skip("this torch has no grad_dtype")
    p.grad_dtype = None
    optimizer = SGD([p], lr=1.0, fused=fused)
    for dtype in (torch.bfloat16, torch.float32, torch.float16, torch.float64):
        p.grad = torch.full((4,), 0.5, dtype=dtype)
        optimizer.step()
    assert torch.equal(p.detach(), torch.full((4,), -2.0, dtype=torch.bfloat16))


# --- impossible ones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [None, True, False])
@pytest.mark.parametrize("before", [0, 2])
def test_a_sparse_gradient_of_what_needs_the_whole_tensor_is_refused_by_name_and_nothing_is_written(fused, before):
    a, e = Parameter(randn(3)), Parameter(randn(4, 2))
    optimizer = LAMB([("bias", a), ("embedding", e)], lr=0.1, fused=fused)
    for _ in range(before):
        a.grad, e.grad = torch.ones(3), torch.ones(4, 2)
        optimizer.step()
    kept = snapshot(optimizer)
    for sparse in (torch.ones(4, 2).to_sparse(), torch.ones(4, 2).to_sparse(1)):
        a.grad, e.grad = torch.ones(3), sparse
        with pytest.raises(
            ParameterError, match=r"'embedding'.*sparse gradient, whose rows alone.*norm of the whole tensor"
        ):
            optimizer.step()
        assert snapshot(optimizer) == kept
    e.grad = torch.ones(4, 2)
    optimizer.step()
    assert optimizer.state[e]["step"] == before + 1


@pytest.mark.parametrize("fused", [None, True, False])
@pytest.mark.parametrize("shape", [(2, 2), (4, 1), (1, 4), (5,), (), (2,)])
def test_a_gradient_or_state_of_another_shape_is_refused_by_name_before_any_write(fused, shape):
    a, b = Parameter(randn(3)), Parameter(randn(4))
    optimizer = SGD([("a", a), ("b", b)], lr=0.1, momentum=0.9, fused=fused)
    a.grad, b.grad = torch.ones(3), torch.ones(4)
    optimizer.step()
    # A view of the same memory with as many elements is no other tensor to a kernel.
    memory = b.data if fused is False or math.prod(shape) != 4 else b.data.clone()
    b.data = memory[: math.prod(shape)].view(shape) if math.prod(shape) <= 4 else torch.ones(shape)
    kept = snapshot(optimizer)
    with pytest.raises(ParameterError, match=r"'b'.*gradient of shape \(4,\)"):
        optimizer.step()
    b.grad = None
    b.grad = torch.ones(shape)
    with pytest.raises(ParameterError, match=r"'b'.*momentum_buffer.*\(4,\)"):
        optimizer.step()
    assert snapshot(optimizer) == kept
    del optimizer.state[b]  # what the error tells to do
    expected = b.detach() - 0.1
    optimizer.step()
    assert torch.allclose(b.detach(), expected)


@PATHS
def test_a_step_after_an_error_runs_the_formula_of_now(fused):
    """A rebuilt plan that failed must leave nothing of itself behind."""
    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=0.1, cautious=True, fused=fused)
    p.grad = torch.ones(3)
    optimizer.step()
    optimizer.param_groups[0]["weight_decay"] = 0.5
    p.grad = torch.ones(3).to_sparse()  # of which a mean over the tensor, as cautious has it, cannot be taken
    with pytest.raises(ParameterError, match="rows alone"):
        optimizer.step()
    p.grad = torch.ones(3)
    expected = p.detach() - 0.1 * (1 + 0.5 * p.detach())
    optimizer.step()
    assert torch.allclose(p.detach(), expected)
    optimizer.param_groups[0].update(momentum=0.9, fused=True)
    p.data = torch.ones(6)[::2]
    with pytest.raises(BackendError):
        optimizer.step()
    optimizer.param_groups[0].update(weight_decay=0.0, fused=fused)
    optimizer.step()
    assert torch.allclose(p.detach(), torch.full((3,), 0.9))


@PATHS
def test_a_step_that_fails_where_it_is_written_is_not_counted(fused, monkeypatch):
    def fails(*_, **__):
        raise MemoryError

    p = Parameter(torch.ones(3))
    optimizer = SGD([p], lr=0.1, fused=fused)
    p.grad = torch.ones(3)
    optimizer.step()
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(type(optimizer._plan._entries[0].batch), "write", fails)
        optimizer.step()
    assert float(optimizer.state[p]["step"]) == 1
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 2


def test_a_gradient_on_another_device_is_an_error_by_name():
    """As after a parameter was moved between backward and step: to a GPU torch lets that happen, to meta it does not."""

    class Moved(Parameter):
        grad = torch.zeros(3, device="meta")

    p = Moved(torch.ones(3))
    with pytest.raises(ParameterError, match=r"parameter 0 .*is on cpu, and its gradient on meta: .*p\.grad\.to"):
        Adam([p]).step()
    assert p.tolist() == [1, 1, 1]
