"""The life of an optimizer whose kernels Triton's interpreter runs: groups, addresses, layouts, dtypes, GradScaler, names."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from interpreted_steps import DTYPES, Context, close, exact_step, give, kernels_step, make, parameters, same_watch
from torch.nn import Parameter

from ravine.backends.triton import _device_batch, _device_check, _device_gather, _native_gather, _tile_batch, missing
from ravine.backends.triton._stage_text import sum_source
from ravine.errors import BackendError
from ravine.formula import norm
from ravine.optim import SGD, Adafactor, Adam, AdamW, NAdam, Optimizer, RMSprop


def test_groups_with_rates_and_a_gradient_that_is_missing(interpreting: Context) -> None:
    def made(fused: bool | None) -> tuple[list[Parameter], Optimizer]:
        params = parameters(torch.float64)
        groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.1, "betas": (0.5, 0.6)}]
        return params, AdamW(groups, lr=0.01, clip_norm=1.0, fused=fused)

    (a, ours), (b, eager) = made(None), made(False)
    for step, missing_ones in enumerate(([1], [0, 3], [0, 1, 2, 3])):
        give(a, step, missing_ones)
        give(b, step, missing_ones)
        with interpreting():
            ours.step()
        eager.step()
        assert kernels_step(ours)
    close(ours, eager, 1e-12)


@pytest.mark.parametrize("look", ["words", "no words", "no compiler"])
@pytest.mark.parametrize("which", ["parameter", "gradient", "state"])
@pytest.mark.parametrize("shape", [(), (3, 2)], ids=str)
def test_what_is_negated_in_place_is_read_with_its_sign(
    shape: tuple[int, ...], which: str, look: str, interpreting: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory, shape and strides are what they were."""
    if look == "no words":
        monkeypatch.setattr(_native_gather, "tensor_words", lambda: None)
    if look == "no compiler":
        monkeypatch.setattr(_device_gather, "native_gather", lambda *given: None)
    ends = []
    for fused in (None, False):
        p = Parameter(torch.ones(shape))
        optimizer = SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1, fused=fused)
        for step in range(4):
            p.grad = torch.full(shape, step + 1.0)
            kept = optimizer.state[p].get("momentum_buffer")
            if step == 2 and which == "gradient":
                p.grad = torch._neg_view(p.grad)
            elif step == 2:
                chosen = p if which == "parameter" else kept
                chosen.data = torch._neg_view(chosen.data)
            with interpreting():
                optimizer.step()
        ends.append(p.detach().clone())
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_addresses_that_are_no_multiple_of_sixteen(dtype: torch.dtype, interpreting: Context) -> None:
    """Views into flat buffers, as DDP and FSDP have them."""
    sizes = (1031, 5, 17)
    buffers = [torch.randn(sum(sizes) + 3).to(dtype)[3:] for _ in range(2)]
    params = [Parameter(part) for part in buffers[0].split(sizes)]
    optimizer = make("rmsprop", params, momentum=0.9)
    for step in range(2):
        for p, part in zip(params, buffers[1].split(sizes), strict=True):
            p.grad = part if step == 0 else part.clone()
        exact_step(optimizer, interpreting)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # complex tensors
def test_complex_parameters_and_other_layouts(interpreting: Context) -> None:
    def made(fused: bool | None) -> tuple[list[Parameter], Optimizer]:
        torch.manual_seed(0)
        tensors = [torch.randn(9, 5, dtype=torch.complex128), torch.randn(6, 8, dtype=torch.float64).t()]
        tensors.append(torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last))
        params = [Parameter(t) for t in tensors]
        return params, Adam(params, lr=0.1, fused=fused)

    (a, ours), (b, eager) = made(None), made(False)
    for step in range(2):
        torch.manual_seed(step)
        for p, q in zip(a, b, strict=True):
            p.grad = torch.randn(p.shape, dtype=p.dtype)  # by rows
            q.grad = p.grad.clone()
        with interpreting():
            ours.step()
        eager.step()
    assert kernels_step(ours)
    close(ours, eager, 1e-12)


def test_mixed_dtypes_of_parameters_and_states(interpreting: Context) -> None:
    params = [Parameter(torch.linspace(-1, 1, 40).to(dtype)) for dtype in DTYPES]
    optimizer = Adam(params, lr=0.01)
    for step in range(3):
        give(params, step)
        exact_step(optimizer, interpreting)
        if step == 0:
            for p in params:
                optimizer.state[p]["exp_avg"] = optimizer.state[p]["exp_avg"].to(torch.bfloat16)


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_gradscaler_and_an_overflow(clip_norm: float | None, interpreting: Context) -> None:
    a, b = parameters(torch.float64), parameters(torch.float64)
    ours, plain = RMSprop(a, lr=0.01, clip_norm=clip_norm), RMSprop(b, lr=0.01, clip_norm=clip_norm, fused=False)
    for step in range(3):
        give(a, step)
        for p in a:
            p.grad.mul_(1024.0)  # type: ignore[union-attr]
        ours.grad_scale, ours.found_inf = torch.tensor(1024.0), torch.tensor(float(step == 1))  # type: ignore[attr-defined]
        with interpreting():
            ours.step()
        if step != 1:
            give(b, step)
            plain.step()
    close(ours, plain, 1e-12)
    with interpreting():
        assert ours.watch.overflowed == 1


@pytest.mark.parametrize("name", ["sgd", "adam-amsgrad"])
@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25, float("nan")], ids=str)
def test_watch_figures_of_small_large_and_missing_gradients(name: str, scale: float, interpreting: Context) -> None:
    a, b = parameters(torch.float32), parameters(torch.float32)
    lr = 0.01 / max(1.0, scale)  # large parameters are another matter
    ours, eager = make(name, a, lr=lr), make(name, b, lr=lr, fused=False)
    for step in range(2):
        for params in (a, b):
            give(params, step, [1])
            params[0].grad[7:9] *= scale  # type: ignore[index]
            params[3].grad *= scale
        with interpreting():
            ours.step()
        eager.step()
    with interpreting():
        same_watch(ours, eager)


def test_a_norm_of_a_sum(interpreting: Context) -> None:
    """Of (grad + a), not of its parts."""

    def piece(param, *, grad, a):  # type: ignore[no-untyped-def]
        return norm(grad + a) + 0 * param

    p = Parameter(torch.zeros(3, dtype=torch.float64))
    p.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    optimizer = Optimizer([p], [piece], a=1.0)
    with interpreting():
        optimizer.step()
    assert p.tolist() == pytest.approx([29**0.5] * 3, rel=1e-15)


#: Names that the text of a kernel has of its own.
OWN = ["tl", "place", "size", "inside", "at", "n", "first", "chunk", "tensor", "total0", "got", "low", "skip", "part"]
OWN += ["BLOCK", "grad_at", "widen", "moved", "param_at_new", "made", "count", "active", "div"]


@pytest.mark.parametrize("i", range(len(OWN)), ids=OWN)
def test_a_formula_may_use_any_name(i: int, interpreting: Context) -> None:
    """Each is a state of one formula and a hyperparameter of another."""
    state, hyper = OWN[i], OWN[i - 1]
    source = f"def piece(param, {state}=0.0, *, grad, {hyper}, step):\n    {state} = 0.5 * {state} + grad / step\n"
    scope: dict[str, object] = {}
    exec(source + f"    return param - {hyper} * {state}, {state}\n", scope)
    params = [Parameter(torch.ones(20, dtype=torch.float64))]
    optimizer = Optimizer(params, [scope["piece"]], **{hyper: 0.25})  # type: ignore[list-item, arg-type]
    params[0].grad = torch.full((20,), 2.0, dtype=torch.float64)
    with interpreting():
        optimizer.step()
        optimizer.step()
    assert params[0].tolist() == [1 - 0.25 * 2 - 0.25 * 2] * 20


def test_without_triton_a_gpu_has_no_kernels_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "triton" else find(name, *a))
    missing.cache_clear()
    assert "pip install triton" in missing(torch.device("cuda"))
    missing.cache_clear()


@pytest.mark.parametrize(("version", "refused"), [("3.2.0", True), ("3.3.1+git", False), ("3.10.0", False)])
def test_versions_of_triton(version: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(_device_check, "version", lambda name: version)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    missing.cache_clear()
    assert ("too old" in missing(torch.device("cuda"))) is refused
    missing.cache_clear()


@pytest.mark.parametrize(
    ("capability", "refused"), [((6, 1), True), ((7, 0), False), ((7, 5), False), ((12, 0), False)]
)
def test_gpus_from_volta_on_have_kernels(
    capability: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GeForce GTX 1080")
    missing.cache_clear()
    found = missing(torch.device("cuda"))
    missing.cache_clear()
    assert ("GeForce GTX 1080 is older" in found and "7.0" in found) is refused


@pytest.mark.parametrize("shapes", [((37, 41), (), (0,)), ((0,), (5,)), ((1031,), (5, 5))])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_new_gradients_are_read_at_every_step_beside_tensors_without_elements(interpreter, shapes, clip_norm):
    ours, eager = parameters(torch.float32, shapes), parameters(torch.float32, shapes)
    steppers = [
        Adam(params, lr=0.1, clip_norm=clip_norm, fused=fused) for params, fused in ((ours, True), (eager, False))
    ]
    for step in range(3):
        for params, optimizer in zip((ours, eager), steppers, strict=True):
            give(params, step)
            optimizer.step()
    assert kernels_step(steppers[0])
    for p, q in zip(ours, eager, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("module", [_device_batch, _tile_batch], ids=["elements", "tiles"])
def test_a_kernel_that_cannot_be_compiled_later_is_an_error_that_writes_nothing(module, interpreter, monkeypatch):
    p = Parameter(torch.ones(40, 48))
    optimizer = (Adam if module is _device_batch else Adafactor)([p], lr=0.1, fused=True)
    p.grad = torch.ones(40, 48)
    optimizer.step()
    before = p.detach().clone()

    compile_one, known = module.kernel, [sum_source(1, top) for top in ((), (0,))]  # that add up what tiles have found

    def fails(source, *given):
        if source in known:
            return compile_one(source, *given)
        raise RuntimeError("PTXAS failed\nand more")

    p.grad = torch.ones(1924)[3:1923].view(40, 48)
    with monkeypatch.context() as patch:
        patch.setattr(module, "kernel", fails)
        with pytest.raises(
            BackendError, match=r"cpu: RuntimeError: PTXAS failed\. Nothing was written.*'fused'\] = False"
        ):
            optimizer.step()
    assert torch.equal(p, before)
    assert float(optimizer.state[p]["step"]) == 1
    optimizer.param_groups[0]["fused"] = False
    optimizer.step()
    assert float(optimizer.state[p]["step"]) == 2


def test_kept_numbers_that_kernels_wrote_are_not_taken_to_be_alike(interpreter):
    """A parameter whose gradient was missing has others; torch's operations then go on from them."""
    found = []
    for fused in (True, False):
        params = [Parameter(torch.ones(n)) for n in (2, 3)]
        optimizer = NAdam(params, lr=0.1, fused=fused)
        optimizer.init_state()
        for state in optimizer.state.values():  # known before the first step, as those on the host are beside a device
            state.update({name: float(value) for name, value in state.items() if value.ndim == 0})
        for step in range(6):
            for p in params:
                p.grad = torch.full_like(p, 1.0 + step)
            if step in (1, 2):
                params[1].grad = None
            if step == 4:
                optimizer.param_groups[0]["fused"] = False
            optimizer.step()
        found.append([*(p.detach() for p in params), *(optimizer.state[p]["mu_product"].double() for p in params)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
