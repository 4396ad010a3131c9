"""The command line: ``raydl run``, ``show``, ``plan``, ``data`` and ``doctor``.

Nothing heavy is imported before it is known to be needed: ``raydl --help`` answers at once.
"""

import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from raydl.core.errors import SpecError, unknown

_HELP = """\
raydl: distributed and federated learning on Ray

  raydl run [OPTION ...]          train; without options, 100 clients on scikit-learn's digits
  raydl run --help                every option, with its meaning and default
  raydl run --resume RUN          go on with an interrupted run, to the very same numbers
  raydl show RUN ... [--json]     print and compare finished runs
  raydl plan [OPTION ...]         what a run will send, how long that takes, what it costs
  raydl data show [OPTION ...]    how labels and sizes fall over the clients, as a table and a PNG
  raydl data prepare URI [OPTION ...]
                                  write a data set as Parquet, to be read with --data Parquet
  raydl doctor [OPTION ...]       whether installation, cluster, storage and data are in order
  raydl --version

RUN is a run's folder, or its name in --storage (default: runs). Options are dotted fields of the
run, as in --algorithm FedAvg --algorithm.lr 0.1 --data CIFAR100 --runtime.workers 2; --config FILE
reads them from YAML.
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0 if done, 2 for a user's mistake, 128 + signal if interrupted."""
    command, *rest = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if "" not in sys.path:  # as `python -m raydl` does: package.module:name may lie here
        sys.path.insert(0, "")
    try:
        code = _dispatch(command, rest)
        sys.stdout.flush()
        sys.exit(code)
    except SpecError as error:
        print(f"raydl: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        if _is_read():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:  # before there was a round to finish, or for the second time
        sys.exit(130)


def _is_read() -> bool:
    """Whether somebody reads the output; ``head`` has gone when it has seen enough."""
    errors = select.poll()
    errors.register(sys.stdout, 0)  # of an error it tells unasked
    return not errors.poll(0)


def _dispatch(command: str, rest: list[str]) -> int:
    if command in ("--help", "-h", "help"):
        print(_HELP, end="")
    elif command == "--version":
        from raydl import __version__

        print(f"raydl {__version__}")
    elif command == "run":
        from raydl.commands import run

        return run.main(rest)
    elif command == "show":
        from raydl.commands import show

        return show.main(rest)
    elif command == "plan":
        from raydl.commands import plan

        return plan.main(rest)
    elif command == "doctor":
        from raydl.commands import doctor

        return doctor.main(rest)
    elif command == "data" and rest[:1] in (["show"], ["prepare"]):
        from raydl.commands import data

        return data.show(rest[1:]) if rest[0] == "show" else data.write(rest[1:])
    else:
        given = " ".join([command, *rest[:1]]) if command == "data" else command
        commands = ["run", "show", "plan", "data show", "data prepare", "doctor", "--help"]
        raise unknown("command", given, commands)
    return 0
