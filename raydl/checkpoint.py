"""Checkpoints: safetensors and JSON with checksums; nothing is ever unpickled.

``checkpoints/NNNNNN/`` holds the state after round NNNNNN. ``checkpoint.json`` is written last, and
only with it is the checkpoint there: it says the checksum of the rest.
"""

import hashlib
import json
import warnings
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from raydl.core import tree
from raydl.core.tree import Tree
from raydl.runtimes.block import Kept
from raydl.storage import Folder

_TENSORS, _ABOUT = "state.safetensors", "checkpoint.json"


class Checkpoint(NamedTuple):
    """All that a run goes on from.

    Attributes:
        round: how many rounds are done.
        state: the server's.
        kept: what the clients keep.
    """

    round: int
    state: Tree
    kept: Kept


def save(folder: Folder, checkpoint: Checkpoint, keep: int) -> None:
    """Writes a checkpoint into a run's folder, and removes all but the newest ``keep``."""
    kept = {str(client): each for client, each in checkpoint.kept.items()}
    leaves = tree.leaves({"state": checkpoint.state, "kept": kept})
    tensors = {path: leaf.detach().cpu().clone().contiguous() for path, leaf in leaves}
    content = save_tensors(tensors)
    place = f"checkpoints/{checkpoint.round:06d}"
    about = {"round": checkpoint.round, "sha256": {_TENSORS: hashlib.sha256(content).hexdigest()}}
    folder.write(f"{place}/{_TENSORS}", content)
    folder.write(f"{place}/{_ABOUT}", json.dumps(about, indent=2).encode())
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
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warnings.warn(
                f"checkpoint {name} of {folder.uri} is damaged, what came before is used: {error}",
                stacklevel=2,
            )
    return None


def _load(place: Folder) -> Checkpoint:
    about = json.loads(place.read(_ABOUT))
    content = place.read(_TENSORS)
    if hashlib.sha256(content).hexdigest() != about["sha256"][_TENSORS]:
        raise ValueError(f"the checksum of {_TENSORS} is not what {_ABOUT} says")
    everything = tree.from_leaves(load_tensors(content))
    kept = {int(client): each for client, each in everything.get("kept", {}).items()}
    return Checkpoint(about["round"], everything.get("state", {}), kept)
