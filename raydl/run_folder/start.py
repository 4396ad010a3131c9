"""The run that the first parameters of another one are taken from."""

from raydl.config.run import Run
from raydl.run_folder import checkpoint
from raydl.run_folder.checkpoint import Checkpoint
from raydl.run_folder.model import read_parameters
from raydl.run_folder.resumption import find_run
from raydl.storage import Folder


def read_start(run: Run, folder: Folder, *, resumed: bool) -> Checkpoint | None:
    """The model that a run begins with, if ``run.model.from_`` names that of another.

    A run that is resumed has a copy in its own folder, so that the other one may go on, or be gone.

    Args:
        run: the spec.
        folder: folder of the run.
        resumed: whether it has begun before.

    Raises:
        SpecError: if there is no such run, or nothing sound in it.
    """
    if run.model is None or run.model.from_ is None:
        return None
    own = checkpoint.start(folder) if resumed else None
    return own or read_parameters(find_run(run.model.from_, run.storage), run.model.from_which)
