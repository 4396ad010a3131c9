"""The command line: what `COMMANDS` lists.

Nothing heavy is imported before it is known to be needed: ``raydl --help`` answers at once.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from raydl.cli.completion import complete, script
from raydl.cli.usage import COMMANDS, HELP, help_of, overview
from raydl.core.errors import SpecError, unknown


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0 if done, 2 for a user's mistake, 128 + signal if interrupted."""
    words = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if "" not in sys.path:  # as `python -m raydl` does: package.module:name may lie here
        sys.path.insert(0, "")
    try:
        code = _dispatch(words)
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


def _dispatch(words: list[str]) -> int:
    first, *rest = words
    if first in (*HELP, "help"):
        print(overview(), end="")
    elif first == "--version":
        from raydl import __version__

        print(f"raydl {__version__}")
    elif first == "--print_completion":
        print(script(rest), end="")
    elif first == "--complete":  # what the script asks
        print("\n".join(complete(rest)))
    else:
        return _command(words)
    return 0


def _command(words: list[str]) -> int:
    families = {name.split()[0] for name in COMMANDS if " " in name}
    length = 2 if words[0] in families else 1
    name, rest = " ".join(words[:length]), words[length:]
    if words[0] in families and (any(each in HELP for each in words[1:2])):
        members = [each for each in COMMANDS if each.startswith(f"{words[0]} ")]
        print("\n".join(help_of(each, ["--help"]) for each in members), end="")
        return 0
    if name not in COMMANDS:
        raise unknown("command", name, [*COMMANDS, "--help"])
    if any(each in HELP for each in rest):
        print(help_of(name, rest), end="")
        return 0
    module, _, function = COMMANDS[name].target.partition(":")
    with _told("loading torch and Ray ..."):
        command = getattr(import_module(module), function)
    return int(command(rest))


@contextmanager
def _told(text: str) -> Iterator[None]:
    """Shows a person what takes its time, for as long as it does."""
    person = sys.stderr.isatty()
    if person:
        print(text, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if person:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
