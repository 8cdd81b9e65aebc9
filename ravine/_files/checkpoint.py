"""Trees of numbers, text and tensors, such as state dicts, in one file that is verified when it is read.

The file is in the safetensors format: tensors, named by their place in the tree; the tree itself as JSON in the
metadata; and a SHA-256 of both. Nothing in it is ever executed.

In the JSON, None, bool, str, int and finite floats stand for themselves and a list for a list. Everything else is an
object with one key, its tag. Dicts are written as ``{"dict": [[key, value], ...]}``, so that no text of a user can be
mistaken for a tag.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ravine import _files as files
from ravine.errors import DataError, StateError, an

_FORMAT = "ravine checkpoint"
_VERSION = "1"
_DEEPEST = 100  # levels; Python's and JSON's own limits lie far beyond
_LONGEST_INT = 4096  # bits: JSON's readers stop at 4300 digits
_LARGEST_HEADER = 100_000_000  # bytes; safetensors reads no larger one
_OF_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\n")  # how a file of torch.save begins, today's and the old form
_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save(path: Path, tree: Any) -> None:
    """Write a tree to a file, whole or not at all; an older file of that name is replaced at the end.

    A tree is made of dicts (with text or integers as keys), lists, tuples, None, bool, int, float, str, bytes, dense
    tensors and parameters of any shape, and NumPy arrays. They come back as plain values: an OrderedDict as a dict, a
    named tuple as a tuple, a NumPy scalar as a number, a parameter as a tensor, each in contiguous memory of its own.
    Tensors must not change while they are saved; those on the CPU are not copied, except out of strided memory.

    Raises:
        StateError: something in the tree cannot be stored; its place is named, and nothing was written.
        OptionError: the file cannot be written; an older one is still there.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_encode(tree, "", 0, tensors), separators=(",", ":"), allow_nan=False)
    header = _header(tensors, structure)
    if len(header) > _LARGEST_HEADER:
        raise StateError(
            f"{path.name}: everything but the tensors takes {len(header):,} bytes; the limit is {_LARGEST_HEADER:,}. "
            "Store long lists of numbers as tensors."
        )
    files.write(path, _parts(header, tensors))


def load(path: Path, device: torch.device | str = "cpu") -> Any:
    """The tree that :func:`save` wrote, with all its tensors on ``device``; NumPy arrays are arrays again.

    The file is verified before anything is returned.

    Raises:
        DataError: there is no such file, or it is not a checkpoint, of another version, or damaged.
    """
    return _moved(_read(path), torch.device(device))


def _read(path: Path) -> Any:
    """The tree, on the CPU."""
    try:
        if not path.is_file():
            raise DataError(f"There is no checkpoint {path}.")
        with path.open("rb") as raw:
            if raw.read(4) in _OF_TORCH:
                raise DataError(
                    f"{path} was written by torch.save, not by Ravine. A model's state dict is loaded by "
                    f"model.load_state_dict(torch.load({str(path)!r}))."
                )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise DataError(
                    f"{path} is not a checkpoint that Ravine wrote. A model's weights are loaded by "
                    f"model.load_state_dict(safetensors.torch.load_file({str(path)!r}))."
                )
            if metadata.get("version") != _VERSION:
                raise DataError(
                    f"{path} is a checkpoint of version {metadata.get('version')!r}; this Ravine reads {_VERSION}. "
                    "Load it with the Ravine that wrote it."
                )
            # copies, because the file is mapped into memory and may change later
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        structure = metadata.get("structure", "")
        if _digest(structure, tensors) != metadata.get("sha256"):
            raise DataError(_damaged(path, "its checksum does not match its content"))
        tree = _decode(json.loads(structure), 0, tensors)
        if tensors:
            raise ValueError(f"nothing refers to the tensor {min(tensors)!r}")
        return tree
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # safetensors, JSON and torch raise many kinds of errors
        raise DataError(_damaged(path, f"{type(error).__name__}: {error}")) from error


def _moved(tree: Any, device: torch.device) -> Any:
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {key: _moved(value, device) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_moved(value, device) for value in tree)
    return tree


def _damaged(path: Path, how: str) -> str:
    return f"The checkpoint {path} is damaged ({how}). Nothing was loaded; use an older one."


# --- the tree ----------------------------------------------------------------------------------------------------


def _encode(value: Any, place: str, depth: int, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON; its tensors are added to ``tensors`` in the form in which they are stored."""
    if depth > _DEEPEST:
        raise StateError(f"{place[:80]}... is nested deeper than {_DEEPEST} levels, or contains itself.")
    if isinstance(value, Tensor):
        return _encode_tensor(value, place, tensors)
    if isinstance(value, np.ndarray):
        return {"array": _encode_tensor(_from_numpy(value, place), place, tensors)}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if value.bit_length() > _LONGEST_INT:
            raise StateError(
                f"{place or 'The tree'} is an integer of {value.bit_length()} bits, too long to be stored."
            )
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{place}[{i}]", depth + 1, tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        return {"dict": [[k, _encode(v, _place(place, k), depth + 1, tensors)] for k, v in value.items()]}
    raise _unfit(place, f"{an(type(value).__qualname__)}")


def _place(place: str, key: object) -> str:
    """The place in the tree, as Python would write it; different for every place, and never ``__metadata__``."""
    if type(key) not in (str, int):
        raise _unfit(place, f"a dict with the key {key!r}", "a key is text or an integer")
    if isinstance(key, str) and key.isidentifier() and not key.startswith("__"):
        return f"{place}.{key}" if place else key
    return f"{place}[{key!r}]"


def _unfit(
    place: str, what: str, rule: str = "store numbers, text, dense tensors, and lists, tuples and dicts of them"
) -> StateError:
    return StateError(f"{place or 'The tree'} is {what}, which a checkpoint cannot store: {rule}.")


def _encode_tensor(value: Tensor, place: str, tensors: dict[str, Tensor]) -> dict[str, str]:
    if type(value) not in (Tensor, torch.nn.Parameter) or value.layout != torch.strided or value.device.type == "meta":
        raise _unfit(place, f"{an(type(value).__name__)} of layout {value.layout} on {value.device}")
    name, value = place or "tree", value.detach()
    tag, value = ("complex", torch.view_as_real(value.resolve_conj())) if value.is_complex() else ("tensor", value)
    if value.dtype not in _CODES:
        raise _unfit(place, f"a tensor of {value.dtype}")
    tensors[name] = value.resolve_neg().cpu().contiguous()
    return {tag: name}


def _from_numpy(value: np.ndarray, place: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(value))  # a copy, because torch warns of memory that cannot be written
    except (TypeError, ValueError):  # of text or objects; of the other byte order
        raise _unfit(place, f"an array of {value.dtype}") from None


def _decode(node: Any, depth: int, tensors: dict[str, Tensor]) -> Any:
    """The value of a JSON node; the tensors it refers to are taken out of ``tensors``."""
    if depth > _DEEPEST:
        raise ValueError(f"deeper than {_DEEPEST} levels")
    if isinstance(node, list):
        return [_decode(item, depth + 1, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, inner),) = node.items()
    match tag, inner:
        case "tensor", str():
            return tensors.pop(inner)
        case "complex", str():
            return torch.view_as_complex(tensors.pop(inner))
        case "array", dict():
            return _decode(inner, depth + 1, tensors).numpy()
        case "tuple", list():
            return tuple(_decode(item, depth + 1, tensors) for item in inner)
        case "dict", list():
            return _decode_dict(inner, depth, tensors)
        case "bytes", str():
            return base64.b64decode(inner, validate=True)
        case "float", "nan" | "inf" | "-inf":
            return float(inner)
    raise ValueError(f"{tag!r} is not a tag, or has a value of another type")


def _decode_dict(pairs: Any, depth: int, tensors: dict[str, Tensor]) -> dict[str | int, Any]:
    decoded: dict[str | int, Any] = {}
    for key, value in pairs:
        if key in decoded or type(key) not in (str, int):
            raise ValueError(f"the key {key!r} occurs twice, or is not a key")
        decoded[key] = _decode(value, depth + 1, tensors)
    return decoded


# --- the file ----------------------------------------------------------------------------------------------------


def _header(tensors: dict[str, Tensor], structure: str) -> bytes:
    """The first part of a safetensors file. Tensors follow in falling size of their elements, so that each is aligned."""
    # safetensors' own writer makes temporary files that a killed process would leave for ever
    metadata = {
        "format": _FORMAT,
        "version": _VERSION,
        "sha256": _digest(structure, tensors),
        "structure": structure,
    }
    entries: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, tensor in _in_order(tensors):
        end = start + tensor.nbytes
        entries[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _in_order(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    return sorted(tensors.items(), key=lambda item: -item[1].element_size())


def _parts(header: bytes, tensors: dict[str, Tensor]) -> Iterator[bytes | memoryview]:
    yield header
    for _, tensor in _in_order(tensors):
        yield _memory(tensor)


def _memory(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, not copied."""
    if tensor.numel() == 0:  # whose strides may be such that torch refuses the view
        return memoryview(b"")
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _digest(structure: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the structure and of every tensor's name, dtype, shape and bytes."""
    # a line of JSON for the structure and for each tensor, whose shape says how many bytes follow: no two checkpoints
    # give the same stream
    digest = hashlib.sha256(json.dumps(structure).encode() + b"\n")
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), *tensor.shape]).encode() + b"\n")
        digest.update(_memory(tensor))
    return digest.hexdigest()
