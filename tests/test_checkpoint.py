import hashlib
import json
import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from raydl.core import tree
from raydl.run_folder import checkpoint
from raydl.run_folder.checkpoint import Checkpoint
from raydl.runtimes.runtime import RuntimeState
from raydl.runtimes.worker.client_states import ClientStates
from raydl.storage import Folder
from tests.federation import by_client
from tests.trees import assert_equal, trees


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(str(tmp_path))


def at(number: int) -> Checkpoint:
    state = {"params": {"w": torch.full((3, 2), float(number))}, "step": torch.tensor(number)}
    return Checkpoint(number, state)


def files(folder: Folder, number: int) -> tuple[Path, Path]:
    place = folder.local / f"checkpoints/{number:06d}"
    return place / "state.safetensors", place / "checkpoint.json"


def same(found: Checkpoint, expected: Checkpoint) -> bool:
    return (
        found.round == expected.round
        and tree.fingerprint(found.state) == tree.fingerprint(expected.state)
        and tree.fingerprint(by_client(found.runtime.clients))
        == tree.fingerprint(by_client(expected.runtime.clients))
    )


def test_of_a_new_run_there_is_none(folder):
    assert checkpoint.newest(folder) is None


def test_everything_comes_back(folder):
    state = {
        "params": {"a.weight": torch.randn(4, 3), "a.bias": torch.zeros(0)},
        "step": torch.tensor(7),
        "half": torch.randn(5).bfloat16(),
        "strided": torch.randn(4, 6)[:, ::2],
        "shared": torch.arange(6.0).expand(2, 6),
    }
    kept = {
        client: {"momentum": torch.randn(4), "rounds": torch.tensor(client)}
        for client in (100_000, 3)
    }
    runtime = RuntimeState(
        ClientStates.stack(kept), {"clock": {"now": torch.tensor(1.5)}, "waiting": {}}
    )
    checkpoint.save(folder, Checkpoint(12, state, runtime), keep=1)
    found = checkpoint.newest(folder)
    assert found.round == 12
    pairs = (found.state, state), (by_client(found.runtime.clients), kept)
    for given_back, expected in (*pairs, (found.runtime.own, runtime.own)):
        assert_equal(given_back, expected)


@given(trees(), trees(), st.lists(st.integers(0, 9), unique=True), trees())
def test_whatever_the_names_everything_comes_back(state, kept, clients, own):
    kept = {} if tree.is_empty(kept) else dict.fromkeys(clients, kept)
    runtime = RuntimeState(ClientStates.stack(kept), own)
    with TemporaryDirectory() as path:
        folder = Folder(path)
        checkpoint.save(folder, Checkpoint(3, state, runtime), keep=1)
        found = checkpoint.newest(folder)
    assert_equal(found.state, state)
    assert_equal(by_client(found.runtime.clients), kept)
    assert_equal(found.runtime.own, own)


def test_what_was_written_client_by_client_is_read(folder):
    kept = {client: {"momentum": torch.randn(4)} for client in (12, 3)}
    before = {"state": {}, "clients": {str(client): each for client, each in kept.items()}}
    content = save(dict(tree.leaves(before)))
    sums = {"state.safetensors": hashlib.sha256(content).hexdigest()}
    place = folder / "checkpoints/000002"
    place.write("state.safetensors", content)
    place.write("checkpoint.json", json.dumps({"round": 2, "sha256": sums}).encode())
    assert_equal(by_client(checkpoint.newest(folder).runtime.clients), kept)


def test_the_last_few_are_kept(folder):
    for number in range(1, 8):
        checkpoint.save(folder, at(number), keep=3)
    assert (folder / "checkpoints").names() == ["000005", "000006", "000007"]


def flip_a_byte(tensors: Path, about: Path) -> None:
    content = bytearray(tensors.read_bytes())
    content[-5] ^= 1
    tensors.write_bytes(content)


def truncate(tensors: Path, about: Path) -> None:
    os.truncate(tensors, tensors.stat().st_size // 2)


def empty(tensors: Path, about: Path) -> None:
    tensors.write_bytes(b"")


def without_json(tensors: Path, about: Path) -> None:
    about.unlink()


def half_of_the_json(tensors: Path, about: Path) -> None:
    os.truncate(about, about.stat().st_size // 2)


def without_tensors(tensors: Path, about: Path) -> None:
    tensors.unlink()


def other_json(tensors: Path, about: Path) -> None:
    about.write_text(json.dumps({"round": 4}))


DAMAGES = [
    flip_a_byte,
    truncate,
    empty,
    without_json,
    half_of_the_json,
    without_tensors,
    other_json,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over_with_a_warning(damage, folder):
    for number in (2, 4):
        checkpoint.save(folder, at(number), keep=3)
    damage(*files(folder, 4))
    with pytest.warns(UserWarning, match=r"checkpoint 000004 .* damaged, what came before"):
        assert same(checkpoint.newest(folder), at(2))


def test_if_all_are_damaged_there_is_none(folder):
    for number in (2, 4):
        checkpoint.save(folder, at(number), keep=3)
        truncate(*files(folder, number))
    with pytest.warns(UserWarning, match="damaged") as warned:
        assert checkpoint.newest(folder) is None
    assert [str(each.message)[:17] for each in warned] == ["checkpoint 000004", "checkpoint 000002"]


def test_a_damaged_one_does_not_push_out_the_sound_ones(folder):
    """A run that goes on from before the damage saves rounds smaller than the damaged one's."""
    for number in (8, 10):
        checkpoint.save(folder, at(number), keep=1 if number == 8 else 2)
    truncate(*files(folder, 10))
    checkpoint.save(folder, at(9), keep=1)
    with pytest.warns(UserWarning, match="000010"):
        assert same(checkpoint.newest(folder), at(9))
    checkpoint.save(folder, at(10), keep=1)
    assert same(checkpoint.newest(folder), at(10))
    assert (folder / "checkpoints").names() == ["000010"]


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_nothing_is_unpickled(dump, folder, tmp_path):
    marker = tmp_path / "executed"
    checkpoint.save(folder, at(2), keep=3)
    checkpoint.save(folder, at(4), keep=3)
    tensors, about = files(folder, 4)
    with tensors.open("wb") as file:
        dump(Malicious(marker), file)
    digest = hashlib.sha256(tensors.read_bytes()).hexdigest()
    about.write_text(json.dumps({"round": 4, "sha256": {tensors.name: digest}}))
    with pytest.warns(UserWarning, match="000004"):
        assert same(checkpoint.newest(folder), at(2))
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.exists()  # it would have
