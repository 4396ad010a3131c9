"""Checkpoints: safetensors and JSON with checksums; nothing is ever unpickled.

``checkpoints/NNNNNN/`` holds the state after round NNNNNN, ``best/`` the parameters that did best
on the validation set. ``checkpoint.json`` is written last, and only with it is the checkpoint
there: it says the checksum of the rest.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from raydl.core import tree
from raydl.core.errors import Notice
from raydl.core.tree import Params, Tree
from raydl.runtimes.block import Kept
from raydl.storage import Folder

_TENSORS, _ABOUT = "state.safetensors", "checkpoint.json"
_DAMAGE = (OSError, ValueError, KeyError, SafetensorError)


class Checkpoint(NamedTuple):
    """All that a run goes on from; of the best parameters only those.

    Attributes:
        round: how many rounds are done.
        state: the server's, or the parameters.
        kept: what the clients keep.
    """

    round: int
    state: Tree
    kept: Kept = {}  # noqa: RUF012


def save(folder: Folder, checkpoint: Checkpoint, keep: int) -> None:
    """Writes a checkpoint into a run's folder, and removes all but the newest ``keep``."""
    _write(folder / f"checkpoints/{checkpoint.round:06d}", checkpoint)
    # Those of later rounds are damaged: the run was taken up again from one before them.
    names = filter(str.isdigit, (folder / "checkpoints").names())
    done = [name for name in names if int(name) <= checkpoint.round]
    for old in done[:-keep]:
        folder.remove(f"checkpoints/{old}")


def newest(folder: Folder) -> Checkpoint | None:
    """The newest sound checkpoint of a run; damaged ones are passed over with a warning."""
    for name in reversed((folder / "checkpoints").names()):
        try:
            return _load(folder / f"checkpoints/{name}")
        except _DAMAGE as error:
            warnings.warn(
                f"checkpoint {name} of {folder.uri} is damaged, what came before is used: {error}",
                Notice,
                stacklevel=2,
            )
    return None


class Best:
    """The parameters that did best on the validation set so far.

    Args:
        folder: of the run.
        rows: of the rounds that are done, see `raydl.record.Record`.

    Attributes:
        row: of the round that left them; None before the first score.
        params: themselves; None if a round that is yet to be done again left them.
    """

    def __init__(self, folder: Folder, rows: Sequence[Mapping[str, Any]]) -> None:
        self._place = folder / "best"
        self.row: Mapping[str, Any] | None = None
        self.params: Params | None = None
        for row in rows:
            self._better(row)
        if self.row and self._place.has(_ABOUT):
            with suppress(*_DAMAGE):
                saved = _load(self._place)
                self.params = saved.state if saved.round == self.row["round"] else None
        self._written = self.row

    def offer(self, row: Mapping[str, Any], params: Params) -> None:
        """Takes a round's parameters if they are better than those so far."""
        if self._better(row):
            self.params = params

    def write(self) -> None:
        """Writes them down, unless they are."""
        if self.row is not self._written and self.row and self.params:
            _write(self._place, Checkpoint(self.row["round"], self.params))
            self._written = self.row

    def _better(self, row: Mapping[str, Any]) -> bool:
        accuracy = row["val_accuracy"]
        better = accuracy is not None and (self.row is None or accuracy > self.row["val_accuracy"])
        if better:
            self.row = row
        return better


def _write(place: Folder, checkpoint: Checkpoint) -> None:
    kept = {str(client): each for client, each in checkpoint.kept.items()}
    leaves = tree.leaves({"state": checkpoint.state, "kept": kept})
    tensors = {path: leaf.detach().cpu().clone().contiguous() for path, leaf in leaves}
    content = save_tensors(tensors)
    about = {"round": checkpoint.round, "sha256": {_TENSORS: hashlib.sha256(content).hexdigest()}}
    place.write(_TENSORS, content)
    place.write(_ABOUT, json.dumps(about, indent=2).encode())


def _load(place: Folder) -> Checkpoint:
    about = json.loads(place.read(_ABOUT))
    content = place.read(_TENSORS)
    if hashlib.sha256(content).hexdigest() != about["sha256"][_TENSORS]:
        raise ValueError(f"the checksum of {_TENSORS} is not what {_ABOUT} says")
    everything = tree.from_leaves(load_tensors(content))
    kept = {int(client): each for client, each in everything.get("kept", {}).items()}
    return Checkpoint(about["round"], everything.get("state", {}), kept)
