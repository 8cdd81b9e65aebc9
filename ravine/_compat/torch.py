"""Private parts of torch, and what each is needed for."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.optim.optimizer as torch_optimizer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode  # sees every operation

_F = TypeVar("_F", bound=Callable[..., Any])


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written in place: to see that a user wrote to it."""
    return tensor._version


def viewed(tensor: Tensor) -> Tensor | None:
    """The tensor of which this one is a view; None if it is none, or was made in inference mode."""
    return tensor._base


def is_zero_tensor(tensor: Tensor) -> bool:
    """Whether a tensor is zeros without memory, as some backward functions give."""
    return bool(tensor._is_zerotensor())


def is_fake(tensor: Tensor) -> bool:
    """Whether a tensor has a shape and no values, as under ``FakeTensorMode``: nothing of it can be read."""
    module = sys.modules.get("torch._subclasses.fake_tensor")  # who has such a tensor has imported it
    return module is not None and isinstance(tensor, module.FakeTensor)


def outside_compile(function: _F) -> _F:
    """The function as ``torch.compile`` leaves it: a kernel writes to addresses, so the graph breaks there."""
    return torch._disable_dynamo(function)  # type: ignore[return-value]


_MARKED = torch._disable_dynamo(lambda: None).__code__  # of every function that torch.compile leaves alone


def without_compiler(method: Callable[..., Any], *args: Any) -> Any:
    """Calls a method of torch's optimizer, without importing ``torch._dynamo``, which takes a second, if nobody has yet.

    torch marks some as methods that ``torch.compile`` leaves alone, and the mark imports the compiler at the first call.
    As long as nobody has imported it, nothing is compiled.
    """
    if torch.compiler.is_compiling():
        return method(*args)
    function = getattr(method, "__func__", None)
    if "torch._dynamo" in sys.modules or getattr(function, "__code__", None) is not _MARKED:
        return method(*args)
    return function.__wrapped__(method.__self__, *args)  # type: ignore[union-attr, attr-defined]


def defaults_in_torch(name: str) -> dict[str, Any]:
    """The options of torch's optimizer of that name, and what they are by default."""
    cls: type[torch.optim.Optimizer] = getattr(torch.optim, name)

    class _Quiet(cls):  # type: ignore[misc, valid-type]
        def add_param_group(self, param_group: dict[str, Any]) -> None:
            without_compiler(super().add_param_group, param_group)

    defaults: dict[str, Any] = _Quiet([torch.zeros(1, 1)]).defaults
    return defaults


class OperationCount(TorchDispatchMode):
    """Inside it, the floating-point operations of products of matrices and of convolutions are counted.

    They are those of torch's ``FlopCounterMode``, which imports ``torch._dynamo`` and tells modules apart.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry  # not above: it imports Triton

        super().__init__()
        self.total, self._counts = 0, flop_registry

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports the compiler, to be told that this is not to be compiled

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, count = kwargs or {}, self._counts.get(getattr(function, "_overloadpacket", None))
        if count is None and isinstance(function, torch._ops.OpOverload):
            with self:  # an operation that consists of others
                result = function.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = function(*args, **kwargs)
        if count is not None:
            self.total += count(*args, **kwargs, out_val=result)
        return result


def has_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Whether something has to happen around a step: hooks of this optimizer, of all, or a profiler."""
    return bool(
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or torch_optimizer._global_optimizer_pre_hooks
        or torch_optimizer._global_optimizer_post_hooks
        or torch.autograd._profiler_enabled()
    )


def load_hooks(optimizer: torch.optim.Optimizer) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
    """The hooks before and after a state dict is loaded."""
    return (
        list(optimizer._optimizer_load_state_dict_pre_hooks.values()),
        list(optimizer._optimizer_load_state_dict_post_hooks.values()),
    )


def local_values(tensor: Tensor) -> Tensor:
    """The elements that this process holds: of a DTensor its part, of a sparse tensor its values."""
    tensor = tensor._local_tensor if hasattr(tensor, "_local_tensor") else tensor
    return sparse_values(tensor) if tensor.is_sparse else tensor


def sparse_values(tensor: Tensor) -> Tensor:
    """The values of a sparse COO tensor, also of one that is not coalesced, which ``values()`` refuses."""
    return tensor._values()


def storage_identity(tensor: Tensor) -> int:
    """A number that identifies the memory of a strided tensor as long as it lives, even if it is empty or has no address."""
    identity: int = tensor.untyped_storage()._cdata
    return identity


def is_view(tensor: Tensor) -> bool:
    """Whether a tensor is a view of another, whose memory it keeps alive."""
    return tensor._base is not None


def schema_of(operation: Any) -> Any:
    """The declaration of an operation's arguments and results; None for higher-order operations, which take functions."""
    return getattr(operation, "_schema", None)


def largest_magnitudes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The largest magnitude of each tensor, NaN if an element is; in one call for all."""
    return list(torch._foreach_norm(list(tensors), float("inf"))) if tensors else []


def current_backward_node() -> Any:
    """The node of the graph whose backward runs now in this thread, or None."""
    return torch._C._current_autograd_node()


def sequence_number(node: Any) -> int:
    """The number of a node of the graph: its place in the order in which the forward pass made them."""
    return int(node._sequence_nr())


def current_backward_pass() -> int:
    """A number of the backward pass that runs now in this thread; -1 outside of one."""
    return int(torch._C._current_graph_task_id())


def after_backward(function: Callable[[], None]) -> None:
    """Call a function at the end of the backward pass that runs now."""
    torch.autograd.Variable._execution_engine.queue_callback(function)


def accumulation_hooks(leaf: Tensor) -> dict[Any, Any] | None:
    """The hooks that are called where a gradient has been added up, by handle; None if there never was one.

    torch can add one and remove it by its handle. To leave all of them out for a while, whoever added them, is not public.
    """
    return getattr(leaf, "_post_accumulate_grad_hooks", None)


def compiled_from(model: torch.nn.Module) -> torch.nn.Module | None:
    """The model that ``torch.compile(model)`` wraps; None if this is no such wrapper."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, torch.nn.Module) else None


def is_compiled(module: torch.nn.Module) -> bool:
    """Whether a module was compiled, by ``torch.compile(module)`` or ``module.compile()``."""
    return compiled_from(module) is not None or getattr(module, "_compiled_call_impl", None) is not None


def promise_to_unscale(optimizer: torch.optim.Optimizer) -> None:
    """GradScaler then leaves gradients scaled and passes ``grad_scale`` and ``found_inf`` to the step."""
    optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]


def count_as_stepped(optimizer: torch.optim.Optimizer) -> None:
    """torch's schedulers then do not warn that they move before the optimizer: its steps are counted elsewhere."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


#: What ``torch.log_softmax`` and its backward call; only these can be replaced in what is traced.
LOG_SOFTMAX = torch.ops.aten._log_softmax.default
LOG_SOFTMAX_BACKWARD = torch.ops.aten._log_softmax_backward_data.default
BMM, BADDBMM = torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default

_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


def raw_stream(device: torch.device) -> int:
    """The address of the stream that torch runs on there, without an object around it, which costs ten times as much."""
    if _raw_stream is None:
        return torch.cuda.current_stream(device).cuda_stream
    return int(_raw_stream(device.index))


def next_sequence_number() -> int:
    """The number that the next node of the graph gets: to tell which nodes a module made."""
    return torch.autograd._get_sequence_nr()


def fill_dltensor() -> int:
    """The address of the C function that fills a DLTensor from a tensor without waiting for a device; 0: none.

    DLPack's exchange API, torch 2.10 or newer: after a version and a pointer stand three functions for tensors that
    are handed over, then this one.
    """
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return 0
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(capsule, b"dlpack_exchange_api")
    if table is None or ctypes.c_uint32.from_address(table).value != 1:  # DLPack's major version
        return 0
    return ctypes.c_int64.from_address(table + 40).value


def traced(
    function: Callable[..., Any], *examples: Any, instead: Mapping[Any, Callable[..., Any]] | None = None
) -> Callable[..., Any]:
    """The operations that a function of tensors does, as a function that only does them: no autograd, no vmap around.

    They are those of arguments of these shapes; nothing is differentiated through the result.

    Args:
        function, examples: the function, and arguments.
        instead: by operation, a function that is called in its place, and gives NotImplemented to leave it as it is.
    """
    from torch._guards import TracingContext, tracing
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    # torch notes of each value how large it is, by a tensor without memory. Of these it would make a kind for each one.
    sizes = TracingContext(FakeTensorMode(allow_fallback_kernels=True))
    with tracing(sizes):
        forward: Callable[..., Any] = make_fx(function, decomposition_table=dict(instead or {}))(*examples).forward
    return forward


@contextmanager
def without_vmap_fallback() -> Iterator[None]:
    """Inside, ``vmap`` raises RuntimeError for an operation that it would do one copy after the other."""
    functorch: Any = torch._C._functorch
    enabled = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(enabled)
