"""A damaged or forged checkpoint is refused with an error that names the file."""

import json
import math
import pickle

import pytest
import safetensors.torch
import torch
from bitwise import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ravine._files import checkpoint
from ravine._files.checkpoint import load, save
from ravine.errors import DataError

SAMPLE = {"w": torch.arange(6.0).reshape(2, 3), "n": [1, 2.5, "text", None, math.nan], "e": torch.ones(0, 2)}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "c"
    save(path, SAMPLE)
    return path.read_bytes()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path, sample, data):
    bit = data.draw(st.integers(0, 8 * len(sample) - 1))
    damaged = bytearray(sample)
    damaged[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "flipped"
    path.write_bytes(damaged)
    try:
        found, said = load(path), str(path)
    except DataError as error:
        found, said = SAMPLE, str(error)
    assert same(SAMPLE, found)
    assert str(path) in said


def test_a_file_cut_short_or_grown_anywhere_is_noticed(tmp_path, sample):
    path = tmp_path / "short"
    for length in range(0, len(sample), 3):
        path.write_bytes(sample[:length])
        with pytest.raises(DataError, match=r"short is damaged.*use an older one"):
            load(path)
    for tail in (b"\0", b"x" * 1000):
        path.write_bytes(sample + tail)
        with pytest.raises(DataError, match="short is damaged"):
            load(path)


def test_zeros_where_blocks_were_lost_are_noticed(tmp_path, sample):
    path = tmp_path / "zeros"
    for first in (0, 8, 200, len(sample) - 24):
        path.write_bytes(sample[:first].ljust(len(sample), b"\0"))
        with pytest.raises(DataError, match="zeros is damaged"):
            load(path)


def test_what_is_no_checkpoint_is_said(tmp_path):
    with pytest.raises(DataError, match="There is no checkpoint .*missing"):
        load(tmp_path / "missing")
    with pytest.raises(DataError, match="There is no checkpoint"):
        load(tmp_path)
    plain = tmp_path / "plain"
    safetensors.torch.save_file({"a": torch.ones(1)}, plain)
    with pytest.raises(DataError, match="plain is not a checkpoint that Ravine wrote.*load_state_dict"):
        load(plain)
    evil = tmp_path / "evil"
    evil.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match="evil is damaged"):
        load(evil)
    for new in (True, False):
        torch.save({"a": torch.ones(1)}, evil, _use_new_zipfile_serialization=new)
        with pytest.raises(DataError, match=r"evil was written by torch.save.*load_state_dict\(torch.load\("):
            load(evil)


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    save(tmp_path / "c", 1)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(DataError, match="c cannot be read: Permission denied"):
        load(tmp_path / "c")


def forged(path, structure, tensors, changes=()):
    """A file with a right checksum, written by safetensors itself."""
    metadata = {"format": "ravine checkpoint", "version": "1", "structure": structure}
    metadata |= {"sha256": checkpoint._digest(structure, tensors), **dict(changes)}
    safetensors.torch.save_file(tensors, path, {k: v for k, v in metadata.items() if v is not None})


def test_another_version_is_said(tmp_path):
    path = tmp_path / "c"
    forged(path, "[1]", {})
    assert load(path) == [1]
    for version in ("2", None):
        forged(path, "[1]", {}, {"version": version})
        with pytest.raises(DataError, match=rf"c is a checkpoint of version {version!r}; this Ravine reads 1"):
            load(path)
    for missing in ("sha256", "structure"):
        forged(path, "[1]", {}, {missing: None})
        with pytest.raises(DataError, match="c is damaged"):
            load(path)


@pytest.mark.parametrize(
    "structure",
    [
        "[" * 1_000_000,
        "[" * 5000 + "]" * 5000,
        '{"tuple":[' * 150 + "]}" * 150,
        '{"array":' * 5000 + "1" + "}" * 5000,
        "9" * 10_000,
        '{"tensor":"b"}',
        '[{"tensor":"a"},{"tensor":"a"}]',
        '[{"tensor":"a"},{"complex":"c"},{"tensor":"d"}]',
        '[{"complex":"a"}]',
        '{"tensor":["a"]}',
        '{"array":1}',
        '{"array":{"tensor":"bf"}}',
        "{}",
        '{"dict":[],"tuple":[]}',
        '{"dict":[["k",1],["k",2]]}',
        '{"dict":[[true,1]]}',
        '{"dict":[[[],1]]}',
        '{"dict":[["k"]]}',
        '{"dict":5}',
        '{"dict":{"ab":1}}',
        '{"tuple":5}',
        '{"tuple":"ab"}',
        '{"tuple":{"dict":[]}}',
        '{"float":"1.5"}',
        '{"float":["nan"]}',
        '{"bytes":"&AAAA"}',
        '{"bytes":"é"}',
        '{"bytes":3}',
        '{"object":"os.system"}',
        '{"__reduce__":["os.system","true"]}',
        "",
        "nonsense",
        "\ufeff[]",
    ],
)
def test_a_file_made_to_do_harm_is_refused(tmp_path, structure):
    path = tmp_path / "c"
    tensors = {"a": torch.ones(2, 3), "bf": torch.ones(1, dtype=torch.bfloat16)}
    # no tensor that nothing refers to: that alone would be refused
    forged(path, structure, {name: t for name, t in tensors.items() if f'"{name}"' in structure})
    with pytest.raises(DataError, match="c is damaged"):
        load(path)


def test_a_tensor_that_nothing_refers_to_is_damage(tmp_path):
    forged(tmp_path / "c", "[]", {"a": torch.ones(2)})
    with pytest.raises(DataError, match="c is damaged .*nothing refers to the tensor 'a'"):
        load(tmp_path / "c")


@pytest.mark.parametrize(
    ("entries", "data"),
    [
        ({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}, b""),
        ({"a": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}}, b""),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"),
        ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, b"1234"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234"),
        ({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        ({"a": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}, b"1234"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
    ],
)  # fmt: skip
def test_a_header_made_to_do_harm_is_refused(tmp_path, entries, data):
    path = tmp_path / "c"
    metadata = {"format": "ravine checkpoint", "version": "1", "sha256": "0" * 64, "structure": '{"tensor":"a"}'}
    text = json.dumps({"__metadata__": metadata, **entries}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(DataError, match="c is damaged"):
        load(path)


def test_a_checksum_covers_names_dtypes_and_shapes(tmp_path):
    a, b = torch.arange(6.0), torch.ones(1)
    digests = {
        checkpoint._digest(structure, tensors)
        for structure, tensors in [
            ("x", {"a": a, "b": b}),
            ("y", {"a": a, "b": b}),
            ("x", {"a": a, "c": b}),
            ("x", {"a": a.reshape(2, 3), "b": b}),
            ("x", {"a": a.reshape(3, 2), "b": b}),
            ("x", {"a": a.view(torch.int32), "b": b}),
            ("x", {"a": a + 1, "b": b}),
            ("x", {"a": b, "b": a}),
        ]
    }
    assert len(digests) == 8
