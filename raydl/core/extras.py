"""Packages that raydl does without, unless something is to be drawn."""

from importlib.util import find_spec

from raydl.core.errors import SpecError

_PLOTS = ("matplotlib", "seaborn", "tabulate")


def has_plots() -> bool:
    """Whether the packages of the extra ``plots`` are installed."""
    return not _missing()


def check_plots(what: str) -> None:
    """Raises a SpecError if packages are missing that draw.

    Args:
        what: what needs them, as the user called it.
    """
    if missing := _missing():
        raise SpecError(
            f"{what} draws, but {' and '.join(missing)} cannot be imported; install the extra: "
            "python -m pip install 'raydl[plots]'"
        )


def _missing() -> list[str]:
    return [name for name in _PLOTS if find_spec(name) is None]
