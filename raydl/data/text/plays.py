"""Plays as text files: who speaks, and what.

Two forms are read. In ``.txt`` a speech begins after an empty line, with its role's name and a
colon in a line of their own. In ``.md``, Markdown, a role's name stands in a line of its own in
bold, headings begin with ``#``, and stage directions are in italics.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from raydl.core.errors import SpecError


class Role(NamedTuple):
    """A character of a play: the client of a federation.

    Attributes:
        play: name of the file.
        name: in capitals.
    """

    play: str
    name: str


class Speech(NamedTuple):
    """What a role says at a time, line by line."""

    role: str
    lines: list[str]


_FEWEST_LINES = 3  # of a role: published work leaves those out that have fewer
_BOLD = re.compile(r"\*\*(.+?)\*\*\s*")
_DIRECTION = re.compile(r"([_*])[^_*]*\1")  # a line, or a paragraph, all in italics
_ASIDE = re.compile(r"[_*]*\s*\[[^\]]*\]\s*[_*]+")  # [Aside], in italics, beside what is said


def read_roles(root: Path) -> dict[Role, str]:
    """The text of each role of the plays in a folder, in the order in which they first speak.

    Lines are joined, and runs of white space become one space. Roles of two lines or fewer are
    left out.

    Args:
        root: folder with ``*.txt`` and ``*.md``, at any depth.

    Raises:
        SpecError: if it has none, or none of them is a play.
    """
    files = sorted(each for each in root.rglob("*") if each.suffix in _FORMS and each.is_file())
    if not files:
        there = "does not exist" if not root.exists() else "has no *.txt and no *.md"
        raise SpecError(
            f"data.root is {str(root)!r}, which {there}; it must be a folder with the text of plays"
        )
    lines: dict[Role, list[str]] = {}
    for file in files:
        for speech in _FORMS[file.suffix](_read(file)):
            lines.setdefault(Role(file.stem, speech.role.upper()), []).extend(speech.lines)
    if not lines:
        raise SpecError(
            f"data.root is {str(root)!r}, but nobody speaks in its {len(files)} files, such as "
            f"{files[0].name}; in a *.txt a speech begins after an empty line with a line 'NAME:', "
            "in a *.md with a line '**NAME**'"
        )
    return {
        role: re.sub(r"\s+", " ", "\n".join(own))
        for role, own in lines.items()
        if len(own) >= _FEWEST_LINES
    }


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"data.root has {file.name}, which is no text in UTF-8: {error}") from error


def _plain_speeches(text: str) -> Iterator[Speech]:
    """Speeches of a play whose paragraphs begin with a line ``Name:``."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        name, _, rest = paragraph.strip("\n").partition("\n")
        if name.endswith(":"):
            yield Speech(name[:-1].strip(), [each for each in rest.split("\n") if each.strip()])


def _markdown_speeches(text: str) -> Iterator[Speech]:
    """Speeches of a play in Markdown; one goes on after a stage direction."""
    role = None
    text = re.sub(r"\\(.)", r"\1", text).replace("—", "--")
    for paragraph in re.split(r"\n[ \t]*\n", text):
        first, _, rest = paragraph.strip("\n").partition("\n")
        if first.startswith("#"):
            role = None
            continue
        if (named := _BOLD.match(first)) is not None:
            role = named[1].strip()
            rest = f"{first[named.end() :]}\n{rest}"
        else:
            rest = f"{first}\n{rest}"
        if role is not None and not _DIRECTION.fullmatch(rest.strip()):
            yield Speech(role, [*_said(_ASIDE.sub("", rest))])


def _said(speech: str) -> Iterator[str]:
    """The lines of a speech without stage directions and marks of italics."""
    for line in map(str.strip, speech.split("\n")):
        if not _DIRECTION.fullmatch(line) and (plain := re.sub("[_*]", "", line)):
            yield plain


_FORMS: Mapping[str, Callable[[str], Iterator[Speech]]] = {
    ".txt": _plain_speeches,
    ".md": _markdown_speeches,
}
