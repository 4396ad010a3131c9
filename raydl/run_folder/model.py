"""The model of a run, made again with its parameters."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import nn

from raydl.config import options
from raydl.core.errors import SpecError, require
from raydl.core.module import restore
from raydl.run_folder import checkpoint
from raydl.run_folder.checkpoint import Checkpoint
from raydl.run_folder.resumption import find_run, read_settings, read_shape
from raydl.storage import Folder

Which: TypeAlias = Literal["last", "best"]  # parameters: the last, or the best in validation


def load(run: str, which: Which = "last", storage: str | None = None) -> nn.Module:
    """The model of a run with its parameters and buffers, in evaluation mode, on the CPU.

    It takes what it was trained on: normalized float32, images as [B, C, H, W], or token ids. To
    samples as they are, normalization is `raydl.predict`'s part.

    Args:
        run: path or URI of the run's folder, or its name in the storage.
        which: the last parameters, or those that did best in validation.
        storage: path or URI of the folder that holds the run's; ``runs`` by default.

    Raises:
        SpecError: if there is no such run or no sound checkpoint in it, or if its model cannot be
            made from what ``run.yaml`` says.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import raydl
        >>> with TemporaryDirectory() as runs:
        ...     run = raydl.Run(rounds=1, clients=10, runtime="sequential", storage=runs, name="a")
        ...     history = raydl.run(run)
        ...     model = raydl.load("a", storage=runs)
        >>> type(model).__name__, model.training
        ('MLP', False)
    """
    return load_from(find_run(run, storage), which)


def load_from(folder: Folder, which: Which = "last") -> nn.Module:
    """The model of the run in a folder, see `load`."""
    saved, (shape, outputs) = read_parameters(folder, which), read_shape(folder)
    try:
        spec = options.from_mapping({"model": read_settings(folder)["model"]}).model
        assert spec is not None
        return remake(partial(spec.build, shape, outputs), saved)
    except SpecError as error:
        raise SpecError(
            f"the model of {folder.uri} cannot be made from its run.yaml: {error}. Make it "
            f"yourself, and give it safetensors.torch.load_file of {folder.uri}/"
            f"{'best' if which == 'best' else f'checkpoints/{saved.round:06d}'}/model.safetensors "
            "by load_state_dict"
        ) from error


def read_parameters(folder: Folder, which: Which) -> Checkpoint:
    """The checkpoint of a run that has its model's tensors.

    Raises:
        SpecError: if there is none that is sound.
    """
    require(which in ("last", "best"), "which", which, "'last' or 'best'")
    saved = (checkpoint.newest if which == "last" else checkpoint.best)(folder)
    if saved is None or not saved.model.state:
        raise SpecError(f"{folder.uri} holds no checkpoint of the {which} parameters with a model")
    return saved


def remake(make: Callable[[], nn.Module], saved: Checkpoint) -> nn.Module:
    """A module with the parameters and buffers of a checkpoint, in evaluation mode."""
    with torch.random.fork_rng():
        model = make()
    restore(model, saved.model)
    return model.eval()
