"""Files of tensors in the safetensors format, which go out and come in leaf by leaf.

8 bytes say how long the header is, a JSON that has type, shape and place of each tensor; then come
their numbers. The library of that name holds the whole file in memory beside the tensors.
"""

import hashlib
import json
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch

from raydl.core import tree
from raydl.core.tree import Params
from raydl.storage import Folder

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_PIECE = 4 << 20  # bytes, which are hashed while they are in the processor's cache


def write_tensors(folder: Folder, file: str, tensors: Params) -> str:
    """Writes tensors into a file.

    Returns:
        Its sha256.
    """
    digest, offset = hashlib.sha256(), 0
    header = {}
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # so all are aligned
    for name in names:
        leaf = tensors[name]
        stop = offset + leaf.numel() * leaf.itemsize
        about = {"dtype": _NAMES[leaf.dtype], "shape": list(leaf.shape)}
        header[name] = about | {"data_offsets": [offset, stop]}
        offset = stop
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with folder.writing(file) as stream:
        for piece in (len(head).to_bytes(8, "little"), head):
            digest.update(piece)
            stream.write(piece)
        for name in names:
            for part in _pieces(tree.as_bytes(tensors[name])):
                digest.update(part)
                stream.write(part)
    return digest.hexdigest()


def read_tensors(folder: Folder, file: str, sha256: str) -> Params:
    """Reads the tensors of a file, each into memory of its own.

    Raises:
        ValueError: if it is no such file, or not the one of this sha256.
    """
    digest, tensors = hashlib.sha256(), {}
    with folder.reading(file) as stream:
        size = stream.size()

        def take(length: int) -> bytes:
            if not 0 <= length <= size:
                raise ValueError(f"{file} is cut off")
            content: bytes = stream.read(length)
            digest.update(content)
            return content

        places = _parse(take(int.from_bytes(take(8), "little")), file)
        start = stream.tell()
        for each in places:
            if start + each.begin != stream.tell() or start + each.stop > size:
                raise ValueError(f"{each.name} is not where the header of {file} says")
            tensors[each.name] = leaf = torch.empty(each.shape, dtype=each.dtype)
            for part in _pieces(tree.as_bytes(leaf)):
                stream.readinto(part)
                digest.update(part)
    if digest.hexdigest() != sha256:
        raise ValueError(f"the checksum of {file} is not {sha256}")
    return tensors


class _Place(NamedTuple):
    """Where a tensor lies: bytes [begin, stop) behind the header."""

    begin: int
    stop: int
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def _parse(header: bytes, file: str) -> list[_Place]:
    """The tensors of a file, in the order in which they lie there."""
    try:
        found = json.loads(header)
        found.pop("__metadata__", None)
        places = sorted(
            _Place(begin, stop, name, _DTYPES[about["dtype"]], tuple(about["shape"]))
            for name, about in found.items()
            for begin, stop in [about["data_offsets"]]
        )
        sound = all(
            min(each.shape, default=0) >= 0
            and prod(each.shape) * each.dtype.itemsize == each.stop - each.begin
            for each in places
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} has no header: {error}") from error
    if not sound:
        raise ValueError(f"the tensors of {file} have other sizes than its header says")
    return places


def _pieces(content: torch.Tensor) -> Iterator[memoryview]:
    """The memory of a tensor, uint8 [bytes], in pieces."""
    whole = memoryview(content.numpy())  # type: ignore[arg-type]  # of which NumPy's stubs do not know
    for start in range(0, len(whole), _PIECE):
        yield whole[start : start + _PIECE]
