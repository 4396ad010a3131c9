"""Completion of commands, options and names in a shell, which asks ``raydl`` at every tab."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from raydl.cli.usage import COMMANDS, Command
from raydl.config.inventory.contents import inventory
from raydl.config.inventory.help import words_of_a_run
from raydl.config.names import OUTER
from raydl.core.errors import SpecError, unknown

_SCRIPTS = {
    "bash": """\
_raydl() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _raydl raydl
""",
    "zsh": """\
#compdef raydl
_raydl() {
    local -a found
    found=(${(f)"$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#found )) && compadd -a found || _files
}
compdef _raydl raydl
""",
}


def script(argv: Sequence[str]) -> str:
    """What a shell reads to complete ``raydl``.

    Raises:
        SpecError: if there is none for such a shell.
    """
    shell = argv[0] if argv else ""
    if shell not in _SCRIPTS:
        raise unknown("shell", shell, _SCRIPTS)
    return _SCRIPTS[shell]


def complete(words: Sequence[str]) -> list[str]:
    """What the last word can become; nothing where it is a file, or anything.

    Args:
        words: those after ``raydl``, up to the one that is being written. Bash makes three of
            ``--option=value``.
    """
    *before, current = [each for each in words if each != "="] or [""]
    if words and words[-1] == "=":
        before, current = [*before, current], ""
    name = next((each for each in (" ".join(before[:2]), *before[:1]) if each in COMMANDS), None)
    if name is None:
        names = [each.split() for each in COMMANDS]
        follow = [each[len(before)] for each in names if each[: len(before)] == before]
        own = [] if before else ["--help", "--version", "--print_completion"]
        return _begun(current, [*dict.fromkeys(follow), *own])
    command, rest = COMMANDS[name], before[len(name.split()) :]
    options = _options(name, command, rest)
    option, equals, value = current.partition("=")
    if equals:
        return [f"{option}={each}" for each in _begun(value, _values(options, option) or ())]
    if rest and (values := _values(options, rest[-1])) is not None:
        return _begun(current, values)
    if not current and not command.usage.startswith(("[OPTION", "-")):
        return []  # what it needs comes first
    return _begun(current, options) or _begun(current, _short(options))


def _values(options: Mapping[str, list[str] | None], written: str) -> list[str] | None:
    """What may follow an option, which may be written without the name before the dot."""
    inside = (f"--{each}.{written.removeprefix('--')}" for each in OUTER)
    known = next((each for each in (written, *inside) if each in options), None)
    return None if known is None else options[known]


def _short(options: Iterable[str]) -> list[str]:
    """``--batch_size`` for ``--algorithm.batch_size``, where it can mean nothing else."""
    prefixes = tuple(f"--{each}." for each in OUTER)
    short = ["--" + each.partition(".")[2] for each in options if each.startswith(prefixes)]
    return [each for each in short if short.count(each) == 1]


def _options(name: str, command: Command, argv: Sequence[str]) -> dict[str, list[str] | None]:
    """The options of a command, each with the words that it may be; None where no value follows."""
    options: dict[str, list[str] | None] = {"--help": None}
    for written in command.options:
        option, _, value = written.partition(" ")
        options[option] = [] if value else None
    for group in inventory().commands.get(name, ()):
        options |= {f"--{each.name}": each.values for each in group.options}
    if command.of_a_run:
        for given in (argv, argv[:-1], []):  # the end may lack its value, or the name be none
            with suppress(SpecError):
                words = words_of_a_run(given)
                options |= {f"--{each}": values for each, values in words.items()}
                break
    return options


def _begun(current: str, words: Iterable[str]) -> list[str]:
    return [each for each in words if each.lower().startswith(current.lower())]
