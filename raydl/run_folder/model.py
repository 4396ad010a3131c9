"""The model of a run, made again from its folder."""

from typing import Literal

import torch
from torch import nn

from raydl.config import options
from raydl.core.errors import SpecError, require
from raydl.core.module import restore
from raydl.run_folder import checkpoint
from raydl.storage import find_folder


def load(
    run: str, which: Literal["last", "best"] = "last", storage: str | None = None
) -> nn.Module:
    """The model of a run with its parameters and buffers, in evaluation mode, on the CPU.

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
    require(which in ("last", "best"), "which", which, "'last' or 'best'")
    folder = find_folder("run", str(run), storage, "run.yaml")
    written = options.from_yaml(folder.read("run.yaml").decode(), f"{folder.uri}/run.yaml")
    saved = (checkpoint.newest if which == "last" else checkpoint.best)(folder)
    if saved is None or not saved.model.state or "sample" not in written:
        raise SpecError(f"{folder.uri} holds no checkpoint of the {which} parameters with a model")
    try:
        spec = options.from_mapping({"model": written["model"]}).model
        assert spec is not None
        with torch.random.fork_rng():
            model = spec.build(written["sample"]["shape"], written["sample"]["classes"])
    except SpecError as error:
        raise SpecError(
            f"the model of {folder.uri} cannot be made from its run.yaml: {error}. Make it "
            f"yourself, and give it safetensors.torch.load_file of {folder.uri}/"
            f"{'best' if which == 'best' else f'checkpoints/{saved.round:06d}'}/model.safetensors "
            "by load_state_dict"
        ) from error
    restore(model, saved.model)
    return model.eval()
