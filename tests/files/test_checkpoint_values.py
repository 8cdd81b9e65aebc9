"""A checkpoint comes back exactly as it was saved; what cannot be stored is refused by its place."""

import enum
import json
import math
import os
import random
from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
import safetensors.torch
import torch
from bitwise import same
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from ravine._files import checkpoint
from ravine._files.checkpoint import load, save
from ravine.errors import StateError

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    *(torch.bool, torch.complex64, torch.complex128),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, dtype):
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (3, 4, 16 * dtype.itemsize), dtype=torch.uint8)
    full = bits.view(dtype)  # any bits, NaN with payloads among them
    tree = {
        "full": full,
        "strided": full.transpose(0, 2),
        "part": full[1, ::2, 3],
        "again": full,
        "one": full[0, 0, 0],
        "empty": full[:0],
        "empty too": full[:, :0].t() if full.dim() == 2 else full[:, :0].transpose(0, 1),
        "expanded": full[0, 0, 0].expand(2, 3),
    }
    path = tmp_path / "c"
    save(path, tree)
    found = load(path)
    assert same(tree, found)
    assert all(t.is_contiguous() for t in found.values())
    assert len({t.untyped_storage().data_ptr() for t in found.values() if t.numel()}) == 6  # each in its own memory
    names = {"full": "full", "empty too": "['empty too']"}
    theirs = safetensors.torch.load_file(path)
    for key, name in names.items():
        expected = torch.view_as_real(tree[key]) if dtype.is_complex else tree[key]
        assert same(expected, theirs[name])


def test_lazily_conjugated_or_negated_tensors_keep_their_value(tmp_path):
    z = torch.tensor([1 + 2j, -3j])
    save(tmp_path / "c", [z.conj(), z.conj().imag, torch._neg_view(torch.ones(2))])
    conjugate, imaginary, negative = load(tmp_path / "c")
    assert negative.tolist() == [-1, -1]
    assert conjugate.tolist() == [1 - 2j, 3j]
    assert imaginary.tolist() == [-2, 3]


def test_every_tensor_is_aligned_in_the_file(tmp_path):
    sizes = {"a": torch.bool, "b": torch.float64, "c": torch.int16, "d": torch.float32}
    save(tmp_path / "c", {name: torch.ones(3, dtype=dtype) for name, dtype in sizes.items()})
    content = (tmp_path / "c").read_bytes()
    first = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:first])
    assert all((first + entries[name]["data_offsets"][0]) % dtype.itemsize == 0 for name, dtype in sizes.items())


keys = st.text(max_size=4) | st.integers() | st.sampled_from(["tensor", "dict", "tuple", "__metadata__", "a.b", "[0]"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(st.characters(), max_size=4)
    | st.binary(max_size=4)
)
tensors = st.builds(
    lambda shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(0, 9),
)
arrays = st.builds(
    lambda shape, dtype: np.arange(math.prod(shape)).reshape(shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(["f8", "f4", "f2", "i8", "u4", "u2", "?", "c16"]),
)
trees = st.recursive(
    scalars | tensors | arrays,
    lambda t: st.lists(t, max_size=3) | st.lists(t, max_size=3).map(tuple) | st.dictionaries(keys, t, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees)
@example({"tensor": "a", "a": {"dict": [["tensor", "a"]]}, "t": [{"float": "nan"}, {"tuple": []}, "\ud800"]})
@example({"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1), "a['b']": torch.ones(2), "tree": torch.ones(3)})
@example({"__metadata__": torch.ones(1), "0": torch.ones(2), 0: torch.ones(3), "[0]": torch.ones(4)})
@example([np.array([]), np.ones((0, 3)), np.ones((3, 0)).T])
@example([{0: torch.ones(1)}, {"0": torch.ones(2)}, [torch.ones(3)]])
def test_any_tree_comes_back_with_its_types_and_order(tmp_path, tree):
    path = tmp_path / "c"
    save(path, tree)
    assert same(tree, load(path))


def test_what_trainings_keep_comes_back(tmp_path):
    model = torch.nn.Sequential(torch.nn.LSTM(3, 4, num_layers=2), torch.nn.BatchNorm1d(4))
    for dtype in (torch.bfloat16, torch.float32):
        assert comes_back(tmp_path, model.to(dtype).state_dict())
    random.gauss(0, 1)
    np.random.standard_normal()
    kept = {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}
    generator = np.random.default_rng(3).bit_generator.state  # integers of 128 bits
    assert comes_back(tmp_path, {**kept, "generator": generator})
    expected = random.random(), np.random.random(), torch.rand(1).item()
    save(tmp_path / "c", kept)
    found = load(tmp_path / "c")
    random.setstate(found["python"])
    np.random.set_state(found["numpy"])
    torch.set_rng_state(found["torch"])
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected


SCHEDULES = {
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda n: 0.9**n),
    "step": lambda o: lr_scheduler.MultiStepLR(o, [2, 2, 3]),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o),
    "warm": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[2]
    ),
}


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedulers_and_optimizers_go_on_from_what_comes_back(tmp_path, name):
    def begin():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, amsgrad=True)
        return model, optimizer, SCHEDULES[name](optimizer)

    def go(model, optimizer, schedule):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
            schedule.step(*([1.0] if name == "plateau" else []))

    run = begin()
    go(*run)
    kept = [part.state_dict() for part in run]
    assert comes_back(tmp_path, plainly(kept))
    save(tmp_path / "c", kept)
    go(*run)
    other = begin()
    for part, state in zip(other, load(tmp_path / "c"), strict=True):
        part.load_state_dict(state)
    go(*other)
    assert same(plainly([part.state_dict() for part in run]), plainly([part.state_dict() for part in other]))


def plainly(tree):
    if isinstance(tree, dict):
        return {key: plainly(value) for key, value in tree.items()}
    return type(tree)(map(plainly, tree)) if isinstance(tree, list | tuple) else tree


def comes_back(tmp_path, tree):
    save(tmp_path / "c", tree)
    return same(plainly(tree), load(tmp_path / "c"))


def test_special_kinds_of_plain_things_come_back_plain(tmp_path):
    class Level(enum.IntEnum):
        HIGH = 3

    tree = {
        "ordered": OrderedDict(b=1, a=2),
        "default": defaultdict(list, x=[]),
        "counter": Counter([30, 80, 80]),
        "named": namedtuple("Point", "x y")(1, 2.0),
        "size": torch.Size([2, 3]),
        "version": torch.__version__,
        "level": Level.HIGH,
        "scalars": [np.float32(0.1), np.int8(-3), np.bool_(True), np.float64("-inf"), np.str_("x")],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "readonly": np.broadcast_to(np.float32(1), (2, 2)),
    }
    save(tmp_path / "c", tree)
    assert same(
        {
            "ordered": {"b": 1, "a": 2},
            "default": {"x": []},
            "counter": {30: 1, 80: 2},
            "named": (1, 2.0),
            "size": (2, 3),
            "version": str(torch.__version__),
            "level": 3,
            "scalars": [float(np.float32(0.1)), -3, True, -math.inf, "x"],
            "parameter": torch.ones(2),
            "readonly": np.ones((2, 2), np.float32),
        },
        load(tmp_path / "c"),
    )


def itself():
    tree = {}
    tree["a"] = [tree]
    return tree


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"schedule": {"lr_lambdas": [len]}}, r"^schedule\.lr_lambdas\[0\] is a builtin_function_or_method, which"),
        ({"a b": {3: ({1},)}}, r"^\['a b'\]\[3\]\[0\] is a set"),
        (object(), "^The tree is an object"),
        ({"a": {(1, 2): 0}}, r"^a is a dict with the key \(1, 2\).* a key is text or an integer"),
        ({True: 0}, "^The tree is a dict with the key True"),
        ({"a": 1j}, "^a is a complex"),
        ({"a": np.complex64(1)}, "^a is a complex"),
        ({"a": np.array(["x"])}, "^a is an array of <U1"),
        ({"a": np.array([None])}, "^a is an array of object"),
        ({"a": np.ones(1, ">f4")}, "^a is an array of >f4"),
        ({"a": torch.eye(2).to_sparse()}, "^a is a Tensor of layout torch.sparse_coo"),
        ({"a": torch.ones(1, device="meta")}, "^a is a Tensor of layout torch.strided on meta"),
        ({"a": torch.ones(1).as_subclass(type("Other", (torch.Tensor,), {}))}, "^a is an Other"),
        ({"a": torch.ones(1).to(torch.float8_e5m2fnuz)}, "^a is a tensor of torch.float8_e5m2fnuz"),
        ({"a": 1 << 5000}, "^a is an integer of 5001 bits"),
        (itself(), r"^a\[0\]\.a.* or contains itself"),
    ],
)
def test_what_cannot_be_kept_is_named_by_its_place_and_nothing_is_written(tmp_path, tree, message):
    save(tmp_path / "c", 1)
    with pytest.raises(StateError, match=message):
        save(tmp_path / "c", tree)
    assert os.listdir(tmp_path) == ["c"]
    assert load(tmp_path / "c") == 1


def test_more_text_than_a_file_can_be_read_with_is_refused_when_it_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_LARGEST_HEADER", 10_000)
    save(tmp_path / "c", "x" * 9_000)
    with pytest.raises(StateError, match=r"c: everything but the tensors takes 10,\d+ bytes.*as tensors"):
        save(tmp_path / "c", "x" * 10_000)
    assert load(tmp_path / "c") == "x" * 9_000


def test_the_limit_is_the_one_of_safetensors(tmp_path):
    text = json.dumps({"__metadata__": {}}).encode()
    for size, message in [(checkpoint._LARGEST_HEADER, None), (checkpoint._LARGEST_HEADER + 8, "header too large")]:
        with open(tmp_path / "c", "wb") as file:
            file.write(size.to_bytes(8, "little") + text.ljust(size))
        if message is None:
            assert safetensors.torch.load_file(tmp_path / "c") == {}
        else:
            with pytest.raises(safetensors.SafetensorError, match=message):
                safetensors.torch.load_file(tmp_path / "c")


def test_tensors_go_to_the_device_that_is_asked_for(tmp_path):
    save(tmp_path / "c", {"a": [(torch.ones(2),)], "n": np.ones(2)})
    found = load(tmp_path / "c", "meta")
    assert found["a"][0][0].device.type == "meta"
    assert isinstance(found["n"], np.ndarray)
    if not torch.cuda.is_available():
        with pytest.raises((AssertionError, RuntimeError), match="(?i)cuda"):  # torch's own words, no talk of damage
            load(tmp_path / "c", "cuda")


def test_what_was_loaded_is_no_longer_tied_to_the_file(tmp_path):
    path = tmp_path / "c"
    save(path, torch.arange(100_000))
    found = load(path)
    with open(path, "r+b") as file:
        file.seek(-400_000, os.SEEK_END)
        file.write(b"\xff" * 400_000)
    assert torch.equal(found, torch.arange(100_000))
    os.truncate(path, 10)
    assert int(found.sum()) == 4_999_950_000
