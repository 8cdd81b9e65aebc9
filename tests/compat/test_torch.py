"""What Ravine needs of torch's private parts is there and does what it is needed for."""

from __future__ import annotations

import ctypes
import functools
import math
import subprocess
import sys
import types

import pytest
import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from ravine._compat import torch as compat
from ravine.optim import Adam


def test_a_write_in_place_raises_the_version():
    t = torch.zeros(2)
    before = compat.version_of(t)
    t.add_(1)
    assert compat.version_of(t) > before


def test_zeros_without_memory_are_told_apart():
    assert compat.is_zero_tensor(torch._efficientzerotensor((2,)))
    assert not compat.is_zero_tensor(torch.zeros(2))


def test_a_function_outside_of_compile_is_called_as_it_is():
    seen = []

    @compat.outside_compile
    def outside(x: Tensor) -> Tensor:
        seen.append(torch.compiler.is_compiling())
        return x + 1

    compiled = torch.compile(lambda x: outside(x * 2) * 3, backend="eager")
    assert compiled(torch.ones(1)).item() == 9.0
    assert seen == [False]


def test_hooks_of_a_step_are_seen():
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))])
    assert not compat.has_step_hooks(optimizer)
    handle = optimizer.register_step_pre_hook(lambda *_: None)
    assert compat.has_step_hooks(optimizer)
    handle.remove()
    handle = register_optimizer_step_post_hook(lambda *_: None)
    assert compat.has_step_hooks(optimizer)
    handle.remove()
    assert not compat.has_step_hooks(optimizer)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        assert compat.has_step_hooks(optimizer)


def test_hooks_of_loading_are_given():
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))])

    def before(*_: object) -> None: ...

    def after(*_: object) -> None: ...

    optimizer.register_load_state_dict_pre_hook(before)
    optimizer.register_load_state_dict_post_hook(after)
    assert compat.load_hooks(optimizer) == ([before], [after])


@pytest.mark.skipif(not hasattr(Tensor, "__dlpack_c_exchange_api__"), reason="torch before 2.10")
def test_a_dltensor_is_filled_with_what_torch_says_of_the_tensor():
    t = torch.randn(3, 4, dtype=torch.float64).t()
    view = (ctypes.c_int64 * 6)()
    fill = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)(compat.fill_dltensor())
    assert fill(t, ctypes.addressof(view)) == 0
    assert view[0] == t.data_ptr()
    assert view[1] == 1  # the CPU, device 0
    assert view[2] & 0xFFFFFFFF == 2
    assert view[2] >> 32 == 2 | 64 << 8 | 1 << 16  # floating point of 64 bits
    assert list((ctypes.c_int64 * 2).from_address(view[3])) == [4, 3]
    assert list((ctypes.c_int64 * 2).from_address(view[4])) == [1, 4]


def test_the_largest_magnitudes_show_what_is_not_finite():
    found = compat.largest_magnitudes([torch.tensor([1.0, -3.0]), torch.tensor([float("nan"), 9.0]), torch.ones(1)])
    assert found[0].item() == 3.0
    assert torch.isnan(found[1])
    assert compat.largest_magnitudes([]) == []


def test_local_values_of_plain_and_sparse_tensors():
    assert compat.local_values(torch.ones(2)).tolist() == [1.0, 1.0]
    assert compat.local_values(torch.tensor([0.0, 2.0]).to_sparse()).tolist() == [2.0]


def test_sparse_values_are_given_before_they_are_coalesced():
    t = torch.sparse_coo_tensor(torch.tensor([[0, 0]]), torch.tensor([1.0, 2.0]), (3,), check_invariants=True)
    assert compat.sparse_values(t).tolist() == [1.0, 2.0]


def test_memory_has_a_number_of_its_own_even_without_an_address():
    t, empty = torch.zeros(4), [torch.zeros(0), torch.zeros(0)]
    assert compat.storage_identity(t) == compat.storage_identity(t[2:].view(1, 2))
    assert compat.storage_identity(empty[0]) != compat.storage_identity(empty[1])


def test_a_view_is_known():
    t = torch.zeros(4)
    assert compat.is_view(t[1])
    assert not compat.is_view(t)
    assert not compat.is_view(t[1].clone())


def test_operations_say_what_they_write_and_higher_ones_say_nothing():
    assert compat.schema_of(torch.ops.aten.add_.Tensor).is_mutable
    assert not compat.schema_of(torch.ops.aten.add.Tensor).is_mutable
    assert compat.schema_of(torch.ops.higher_order.cond) is None


def test_nodes_are_numbered_in_the_order_of_the_forward_pass():
    x = torch.ones(1, requires_grad=True)
    before = compat.next_sequence_number()
    first = x * 2
    second = first * 3
    numbers = [compat.sequence_number(t.grad_fn) for t in (first, second)]
    assert before <= numbers[0] < numbers[1]


def test_hooks_of_accumulation_are_left_out_by_clearing_them():
    p, called = Parameter(torch.ones(1)), []
    assert not compat.accumulation_hooks(p)
    p.register_post_accumulate_grad_hook(lambda _: called.append(1))
    hooks = compat.accumulation_hooks(p)
    assert hooks is not None
    kept = dict(hooks)
    hooks.clear()
    (p * 2).backward()
    assert called == []
    hooks.update(kept)
    (p * 2).backward()
    assert called == [1]


def test_compiled_modules_are_known():
    model, in_place = nn.Linear(2, 2), nn.Linear(2, 2)
    assert compat.compiled_from(model) is None
    assert not compat.is_compiled(model)
    wrapped = torch.compile(model, backend="eager")
    assert compat.compiled_from(wrapped) is model
    assert compat.is_compiled(wrapped)
    in_place.compile(backend="eager")
    assert compat.is_compiled(in_place)


def test_gradscaler_hands_unscaling_to_an_optimizer_that_promises_it():
    class Seeing(torch.optim.SGD):
        def step(self, closure=None):
            scales.append(getattr(self, "grad_scale", None))

    scales, p = [], Parameter(torch.ones(1))
    optimizer, scaler = Seeing([p]), torch.amp.GradScaler("cpu", init_scale=8.0)
    for _ in range(2):
        scaler.scale((p * 2).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        compat.promise_to_unscale(optimizer)
    assert scales[0] is None
    assert scales[1].item() == 8.0


def test_a_scheduler_may_move_before_an_optimizer_that_counts_as_stepped():
    optimizer = torch.optim.SGD([Parameter(torch.ones(1))])
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    compat.count_as_stepped(optimizer)
    scheduler.step()  # a warning is an error
    with pytest.warns(UserWarning, match="before"):
        torch.optim.lr_scheduler.ConstantLR(torch.optim.SGD([Parameter(torch.ones(1))])).step()


def test_log_softmax_and_products_of_matrices_are_these_operations():
    seen = []

    class Seeing(compat.TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    with Seeing():
        torch.ones(2, 3, requires_grad=True).log_softmax(1).sum().backward()
        torch.baddbmm(torch.bmm(x := torch.ones(2, 3, 3), x), x, x)
    assert {compat.LOG_SOFTMAX, compat.LOG_SOFTMAX_BACKWARD, compat.BMM, compat.BADDBMM} <= set(seen)


def test_the_node_whose_backward_runs_is_known():
    seen = []

    class Seen(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, grad):
            seen.append(compat.current_backward_node().name())  # in torch 2.6 a node has a name no longer than this
            return grad

    assert compat.current_backward_node() is None
    Seen.apply(torch.ones(1, requires_grad=True)).backward()
    assert "Seen" in seen[0]


def test_numbers_of_nodes_rise_with_operations():
    before = compat.next_sequence_number()
    torch.ones(1, requires_grad=True) * 2
    assert compat.next_sequence_number() > before


def test_a_dispatch_mode_sees_operations():
    seen = []

    class Seeing(compat.TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, args=(), kwargs=None):
            seen.append(str(function))
            return function(*args, **(kwargs or {}))

    with Seeing():
        torch.ones(2) + 1
    assert any("add" in name for name in seen)


def test_a_traced_function_does_the_same_operations_without_vmap_around():
    def loss(w: Tensor, x: Tensor) -> Tensor:
        return (w @ x).log_softmax(0)[0]

    w, x = torch.randn(3, 4, 5), torch.randn(3, 5)
    gradients = torch.func.vmap(torch.func.grad(loss))
    run = compat.traced(gradients, w, x)
    assert torch.equal(run(w, x), gradients(w, x))
    assert torch.equal(run(2 * w, x), gradients(2 * w, x))
    none = compat.traced(gradients, w, x, instead={torch.ops.aten.mv.default: lambda *_: NotImplemented})
    assert torch.equal(none(w, x), gradients(w, x))
    ones = compat.traced(lambda t: t.exp(), w, instead={torch.ops.aten.exp.default: torch.ones_like})
    assert torch.equal(ones(w), torch.ones_like(w))


def test_what_is_traced_makes_one_kind_of_tensors_without_memory(monkeypatch):
    """Else torch makes one for each value, with all that is on Python's stack as text: half of the time."""
    from torch._subclasses import FakeTensorMode

    made, start = [], FakeTensorMode.__init__
    monkeypatch.setattr(FakeTensorMode, "__init__", lambda self, *a, **k: (made.append(1), start(self, *a, **k))[1])
    run = compat.traced(lambda x: (x.exp() + 1).sin().sum(), torch.ones(3))
    assert len(made) == 1
    assert run(torch.zeros(3)) == pytest.approx(3 * math.sin(2))


def test_vmap_does_nothing_copy_by_copy_without_its_fallback():
    layer = torch.nn.TransformerEncoderLayer(4, 1, 4, dropout=0.0, batch_first=True)
    x = torch.randn(3, 2, 2, 4)
    with compat.without_vmap_fallback(), pytest.raises(RuntimeError, match="fallback"):
        torch.func.vmap(layer)(x)
    assert torch._C._functorch._is_vmap_fallback_enabled()


def test_tensors_without_values_are_known():
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert not compat.is_fake(torch.ones(1))
    with FakeTensorMode():
        assert compat.is_fake(torch.ones(1))
        assert compat.is_fake(torch.nn.Parameter(torch.ones(1)))
    assert not compat.is_fake(torch.ones(1, device="meta"))


@pytest.mark.parametrize(("module", "shape"), [(nn.Linear(6, 3), (7, 6)), (nn.Conv2d(2, 4, 3, groups=2), (3, 2, 8, 8))])
def test_operations_are_counted_as_torch_counts_them(module, shape):
    inputs, ours, theirs = torch.randn(shape), compat.OperationCount(), FlopCounterMode(display=False)
    for counter in (ours, theirs):
        with counter:
            module(inputs).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0


TRAINING = """
import sys
import torch
from ravine.optim import Adam
from ravine.optim._spec import parse
from ravine.tasks import find
from ravine.tasks._dry_run import dry_run

p = torch.nn.Parameter(torch.ones(3))
optimizer = Adam([p], lr=0.1, fused=False)
p.grad = torch.ones(3)
optimizer.step()
optimizer.zero_grad()
assert p.grad is None
copied = optimizer.state_dict()
optimizer.load_state_dict(copied)
assert dry_run(find("digits"), parse("adam", "digits")) > 0
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.slow  # fresh processes, which import torch
def test_a_training_does_not_import_the_compiler_which_takes_a_second():
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


def test_a_method_that_somebody_has_wrapped_is_called_as_it_is(monkeypatch):
    seen = []
    theirs = torch.optim.Optimizer.zero_grad

    @functools.wraps(theirs)
    def zero_grad(self, *args, **kwargs):
        seen.append(args)
        return theirs(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", zero_grad)
    monkeypatch.setattr(compat, "sys", types.SimpleNamespace(modules={}))  # as if nothing were compiled here
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    Adam([p]).zero_grad()
    assert seen == [(True,)]
    assert p.grad is None
