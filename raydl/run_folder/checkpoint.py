"""Checkpoints: safetensors and JSON with checksums; nothing is ever unpickled.

``checkpoints/NNNNNN/`` holds the state after round NNNNNN, ``best/`` the parameters that did best
on the validation set, ``start/`` those of another run that this one began with. In
``model.safetensors`` the model is complete, as ``load_state_dict`` takes it; ``state.safetensors``
is all else: the server's state, the runtime's, and what clients keep, a tensor for each leaf of it,
which is written from where it lies, all of it each time. ``checkpoint.json`` is written last, and
only with it is the checkpoint there: it says the checksums of the others, and which leaves of the
state the model has.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from raydl.core import tree
from raydl.core.errors import Notice, SpecError
from raydl.core.module import Complete, complete
from raydl.core.task import TaskSpec
from raydl.core.tree import Params, Tree
from raydl.run_folder.tensor_file import read_tensors, write_tensors
from raydl.runtimes.runtime import RuntimeState
from raydl.runtimes.worker.client_states import ClientStates
from raydl.storage import Folder

_STATE, _MODEL, _ABOUT = "state.safetensors", "model.safetensors", "checkpoint.json"
_DAMAGE = (OSError, ValueError, KeyError)


class Checkpoint(NamedTuple):
    """All that a run goes on from; of the best parameters only those.

    Attributes:
        round: how many rounds are done.
        state: the server's, or the parameters.
        runtime: what its runtime must have: client state, and its own.
        model: the model's tensors, with the state's parameters.
        selection: state of what chooses the cohorts; None in those of before there was any.
    """

    round: int
    state: Tree
    runtime: RuntimeState = RuntimeState()
    model: Complete = Complete({}, {})
    selection: Tree | None = None


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


def best(folder: Folder) -> Checkpoint | None:
    """The parameters of a run that did best in validation; None if there are none, or damaged."""
    try:
        return _load(folder / "best")
    except _DAMAGE:
        return None


def save_start(folder: Folder, taken: Checkpoint) -> None:
    """Writes the model of another run's checkpoint down as what a run begins with."""
    _write(folder / "start", Checkpoint(taken.round, {}, model=taken.model))


def start(folder: Folder) -> Checkpoint | None:
    """The model that a run began with, if that was another run's.

    Raises:
        SpecError: if it is damaged.
    """
    place = folder / "start"
    if not place.has(_ABOUT):
        return None
    try:
        return _load(place)
    except _DAMAGE as error:
        raise SpecError(
            f"{place.uri}, which the run began with, is damaged: {error}; begin a new run with "
            "another --name"
        ) from error


class Best:
    """The parameters that did best on the validation set so far.

    Args:
        folder: folder of the run.
        rows: of the rounds that are done, see `raydl.run_folder.record.Record`.
        spec: task, which says by which metric one is better.

    Attributes:
        row: of the round that left them; None before the first score.
        params: themselves; None if a round that is yet to be done again left them.
    """

    def __init__(self, folder: Folder, rows: Sequence[Mapping[str, Any]], spec: TaskSpec) -> None:
        self._place, self._spec = folder / "best", spec
        self.row: Mapping[str, Any] | None = None
        self.params: Params | None = None
        for row in rows:
            self._better(row)
        if self.row and self._place.has(_ABOUT):
            with suppress(*_DAMAGE):
                saved = _load(self._place)
                self.params = saved.state if saved.round == self.row["round"] else None
        self._written: Mapping[str, Any] | None = self.row

    @property
    def column(self) -> str:
        """The column of a row that says how good it is."""
        return f"val_{self._spec.best}"

    def offer(self, row: Mapping[str, Any], params: Params) -> None:
        """Takes a round's parameters if they are better than those so far."""
        if self._better(row):
            self.params = params

    def write(self, model: nn.Module) -> None:
        """Writes them down, unless they are; ``model`` is whose parameters they are."""
        if self.row is not self._written and self.row and self.params:
            whole = complete(model, self.params)
            saved = Checkpoint(self.row["round"], self.params, model=whole)
            _write(self._place, saved)
            self._written = self.row

    def _better(self, row: Mapping[str, Any]) -> bool:
        value = row.get(self.column)
        if value is None or value != value:  # NaN is better than nothing
            return False
        if self.row is not None:
            best = self.row[self.column]
            if not (value > best if self._spec.higher_is_better else value < best):
                return False
        self.row = row
        return True


def _write(place: Folder, checkpoint: Checkpoint) -> None:
    model, transient = checkpoint.model
    parts = {
        "state": checkpoint.state,
        "client_states": checkpoint.runtime.clients.as_tree(),
        "runtime": checkpoint.runtime.own,
        "transient": transient,
    }
    if checkpoint.selection is not None:
        parts["selection"] = checkpoint.selection
    leaves = dict(tree.leaves(parts))
    of_model = {
        path: name
        for path, leaf in leaves.items()
        if (name := tree.unescape(path.rpartition("/")[2])) in model and _same(leaf, model[name])
    }
    own = {path: leaf for path, leaf in leaves.items() if path not in of_model}
    contents = {_STATE: own} | ({_MODEL: model} if model else {})
    sums = {file: write_tensors(place, file, tensors) for file, tensors in contents.items()}
    about = {"round": checkpoint.round, "sha256": sums, "of_model": of_model}
    place.write(_ABOUT, json.dumps(about, indent=2).encode())


def _same(leaf: Tensor, other: Tensor) -> bool:
    alike = (leaf.dtype, leaf.shape) == (other.dtype, other.shape)
    return alike and torch.equal(leaf.detach().cpu(), other)


def _load(place: Folder) -> Checkpoint:
    about = json.loads(place.read(_ABOUT))
    tensors: dict[str, Params] = {_MODEL: {}}
    for file, sha256 in about["sha256"].items():
        tensors[file] = read_tensors(place, file, sha256)
    model = tensors[_MODEL]
    of_model = {path: model[name] for path, name in about.get("of_model", {}).items()}
    everything = tree.from_leaves(tensors[_STATE] | of_model)
    clients = ClientStates.from_tree(everything.get("client_states"))
    if before := everything.get("clients"):  # up to 2026, client by client
        clients = ClientStates.stack({int(client): each for client, each in before.items()})
    runtime = RuntimeState(clients, everything.get("runtime", {}))
    whole = Complete(model, everything.get("transient", {}))
    state, selection = everything.get("state", {}), everything.get("selection")
    return Checkpoint(about["round"], state, runtime, whole, selection)
