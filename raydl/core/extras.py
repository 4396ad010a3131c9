"""Packages that raydl does without, unless something is asked for that needs them."""

from importlib.util import find_spec

from raydl.core.errors import SpecError

_PLOTS = ("matplotlib", "seaborn", "tabulate")
_HUGGINGFACE = ("datasets",)


def has_plots() -> bool:
    """Whether the packages of the extra ``plots`` are installed."""
    return not _missing(_PLOTS)


def check_plots(what: str) -> None:
    """Raises a SpecError if packages are missing that draw.

    Args:
        what: what needs them, as the user called it.
    """
    _check(f"{what} draws", "plots", _PLOTS)


def check_huggingface(what: str) -> None:
    """Raises a SpecError if packages are missing that read Hugging Face's data sets.

    Args:
        what: what needs them, as the user called it.
    """
    _check(f"{what} is read by datasets", "huggingface", _HUGGINGFACE)


def _check(why: str, extra: str, packages: tuple[str, ...]) -> None:
    if missing := _missing(packages):
        raise SpecError(
            f"{why}, but {' and '.join(missing)} cannot be imported; install the extra: python -m "
            f"pip install 'raydl[{extra}]'"
        )


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if find_spec(name) is None]
