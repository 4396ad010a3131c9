"""Files of tensors: what safetensors reads and writes, in memory that is needed once."""

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from raydl.run_folder.tensor_file import read_tensors, write_tensors
from raydl.storage import Folder
from tests.trees import NAMES, assert_equal, tensors

DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Folder:
    return Folder(str(tmp_path_factory.mktemp("files")))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@given(st.dictionaries(NAMES, tensors(), max_size=4))
def test_safetensors_reads_what_is_written_and_the_other_way_round(folder, given_tensors):
    digest = write_tensors(folder, "ours", given_tensors)
    assert digest == sha256(folder.read("ours"))
    assert_equal(load(folder.read("ours")), given_tensors)
    assert_equal(read_tensors(folder, "ours", digest), given_tensors)
    plain = {name: leaf.resolve_conj().contiguous() for name, leaf in given_tensors.items()}
    folder.write("theirs", save(plain, {"format": "pt"}))
    assert_equal(read_tensors(folder, "theirs", sha256(folder.read("theirs"))), given_tensors)


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_every_type(folder, dtype):
    leaf = torch.tensor([0.0, 1.0, 2.0]).to(dtype)
    digest = write_tensors(folder, "typed", {"leaf": leaf})
    for found in (load(folder.read("typed")), read_tensors(folder, "typed", digest)):
        assert found["leaf"].dtype == dtype
        assert torch.equal(found["leaf"].to(torch.complex64), leaf.to(torch.complex64))


def test_more_than_a_piece(folder):
    leaf = torch.arange(3 << 20)
    digest = write_tensors(folder, "long", {"leaf": leaf})
    assert digest == sha256(folder.read("long"))
    assert torch.equal(read_tensors(folder, "long", digest)["leaf"], leaf)


def header(**about: object) -> bytes:
    content = json.dumps({"leaf": about}).encode()
    return len(content).to_bytes(8, "little") + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\xff" * 20,
        header(dtype="F32", shape=[2], data_offsets=[0, 8]) + bytes(7),
        header(dtype="F32", shape=[2], data_offsets=[0, 4]) + bytes(8),
        header(dtype="F32", shape=[1 << 60], data_offsets=[0, 4 << 60]),
        header(dtype="F32", shape=[-2], data_offsets=[0, -8]),
        header(dtype="F32", shape=[1], data_offsets=[4, 8]) + bytes(8),
        header(dtype="object", shape=[1], data_offsets=[0, 4]) + bytes(4),
        header(dtype="F32", shape=["1"], data_offsets=[0, 4]) + bytes(4),
        header(dtype="F32", shape=[1]),
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_what_is_no_such_file_is_refused(folder, content):
    folder.write("damaged", content)
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(folder, "damaged", sha256(content))


def test_another_checksum_is_refused(folder):
    write_tensors(folder, "other", {"leaf": torch.ones(2)})
    with pytest.raises(ValueError, match="checksum"):
        read_tensors(folder, "other", sha256(b""))
