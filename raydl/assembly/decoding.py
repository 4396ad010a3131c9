"""The samples of a source decoded on a cluster, by Ray Data."""

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayTaskError
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.runtimes.ray_cluster.transport import as_tensor

_BLOCKS = 1000  # of Ray Data at most, each of some pieces: its own work for each is not nothing


def decode_on_cluster(
    decode: Callable[[Any], Iterable[Tensor]], pieces: Sequence[Any]
) -> Iterator[Tensor]:
    """Decodes pieces wherever there is room, and yields their samples here, in order.

    Ray Data holds back pieces while there are many samples that nobody has taken yet, so that they
    stay within its object store. Ray must be connected.

    Args:
        decode: gives the samples of a piece in batches; it travels to the nodes.
        pieces: what is decoded apart.

    Raises:
        SpecError: if a piece cannot be decoded.
    """

    def run(rows: Any) -> Iterator[Any]:
        for row in rows["piece"]:
            for samples in decode(pickle.loads(row)):
                yield {"samples": samples.numpy()}

    rows = [{"piece": pickle.dumps(piece)} for piece in pieces]
    with ray.data.DataContext.current(_in_order()):
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
        decoded = data.map_batches(run, batch_size=1)
    try:
        with _silence():
            for batch in decoded.iter_batches(batch_size=None, batch_format="numpy"):
                yield as_tensor(np.asarray(batch["samples"]))
    except RayTaskError as error:
        if isinstance(error.cause, SpecError):  # to which Ray Data adds lines of its own
            raise SpecError(str(error.cause).partition("\n")[0]) from None
        raise


def _in_order() -> Any:
    """Ray Data's settings, but that it keeps the order and passes errors on as they are."""
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.raise_original_map_exception = True
    return context


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps Ray Data from telling on the console how it goes on."""
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
