"""The display of a run that suits where the process runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from raydl.callbacks.callback import Callback
from raydl.callbacks.notebook import Notebook, in_notebook


@contextmanager
def displayed(*, progress: bool | None) -> Iterator[list[Callback]]:
    """The callback that shows a run for as long as the block lasts; none if it is not to be seen.

    Args:
        progress: whether it is to be seen; by default in a notebook alone.
    """
    notebook = in_notebook()
    if not (notebook if progress is None else progress):
        yield []
    elif notebook:
        yield [Notebook()]
    else:
        # Draws from Python's generator as it is imported, which must not happen before a run.
        from rich.console import Console

        from raydl.callbacks.terminal import Live

        with Live(Console()) as live:
            yield [live]
