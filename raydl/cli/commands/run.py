"""``raydl run``: a run with its progress, and what to do with it afterwards."""

import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from rich.console import Console

from raydl.callbacks.terminal import Live
from raydl.cli.arguments import parse_run
from raydl.config.options import to_mapping
from raydl.config.run import Run
from raydl.core.errors import Notice
from raydl.round import NonFiniteError
from raydl.run_folder.results.outcome import outcome
from raydl.runtimes.ray_cluster.liveness import exiting
from raydl.runtimes.runtime import ClusterError
from raydl.signals import Interrupted
from raydl.storage import StorageError
from raydl.training import run
from raydl.training_loop import History

_PRINT = "--print_config"


def main(argv: list[str]) -> int:
    """Does the run that the options describe; 1 if it fails, 128 + signal if it is stopped."""
    spec, resume = parse_run([each for each in argv if each != _PRINT])
    if _PRINT in argv:
        print(yaml.safe_dump(to_mapping(spec), sort_keys=False, allow_unicode=True), end="")
        return 0
    console = Console()
    live = Live(console)

    def last_words(error: Exception) -> None:
        live.stop()
        further = f"; go on with: raydl run --resume {shlex.quote(live.path)}" if live.path else ""
        print(f"raydl: {error}{further}", file=sys.stderr)

    try:
        with live, _noticed(), exiting(last_words):
            history = run(spec, resume=resume, callback=live)
    except Interrupted as stopped:
        console.print(
            f"\n{stopped}\ngo on with: raydl run --resume {shlex.quote(stopped.path)}",
            soft_wrap=True,
            highlight=False,
        )
        return stopped.code
    except NonFiniteError as error:
        print(f"raydl: {error}", file=sys.stderr)
        return 1
    except (ClusterError, StorageError) as error:
        print("; ".join([f"raydl: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 1
    console.print(_closing(history, spec), soft_wrap=True, highlight=False, markup=False)
    return 0


def _closing(history: History, spec: Run) -> str:
    """What came of the run, and what can be done with it."""
    path = shlex.quote(history.path)
    longer = f"--rounds {2 * history.summary['rounds']}"
    if spec.epochs is not None:
        longer = f"--epochs {2 * spec.epochs:g}"
    lines = outcome(history.summary) | {
        "in": f"{history.path}  (fingerprint {history.summary['fingerprint'][:16]})",
        "next": f"raydl show {path} ...  |  raydl plot {path} ...  |  tensorboard --logdir {path}",
        "longer": f"raydl run --resume {path} {longer}",
    }
    width = max(map(len, lines)) + 2
    return "\n" + "\n".join(f"{name:{width}}{text}" for name, text in lines.items())


@contextmanager
def _noticed() -> Iterator[None]:
    """Prints notices without the place in the code, each time they are given."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **how: Any) -> None:
            if issubclass(category, Notice):
                print(f"raydl: {message}", file=sys.stderr)
            else:
                usual(message, category, *where, **how)

        warnings.showwarning = show
        yield
