"""``python -m tuning list`` and ``python -m tuning run STUDY``."""

import sys
from dataclasses import dataclass
from inspect import getdoc

from jsonargparse import auto_cli
from rich.console import Console

from raydl.core.errors import SpecError, unknown
from raydl.interrupt import Interrupted
from tuning.registry import STUDIES
from tuning.study import Scale, Setting, carry_out


@dataclass(frozen=True)
class Data:
    """Where the real data is.

    Args:
        root: folder that holds it as torchvision lays it out; downloaded if it is not there.
    """

    root: str = "data"


def show() -> None:
    """Says which studies there are."""
    for name, study in STUDIES.items():
        print(f"{name:16}{(getdoc(study) or '').splitlines()[0]}")


def run(
    study: str,
    scale: Scale = "short",
    data: Data = Data(),
    output: str | None = None,
    processes: int = 1,
) -> None:
    """Does a study, or goes on with it: every run that has its row in results.csv is left out.

    Args:
        study: one of those that ``python -m tuning list`` shows.
        scale: full is the published protocol, with several seeds; short is a part of it that fits
            into hours; smoke takes seconds, on made-up images.
        data: where the real data is.
        output: folder of the runs, the tables and the plots; runs/STUDY-SCALE by default.
        processes: so many runs are done at the same time.
    """
    if study not in STUDIES:
        raise unknown("study", study, STUDIES)
    setting = Setting(scale, data.root, output or f"runs/{study}-{scale}")
    carry_out(STUDIES[study](setting), setting, processes, Console())


def main(argv: list[str] | None = None) -> None:
    """Does what the command line says.

    A mistake of the user is told in one line and ends with 2; a signal ends with 128 + its number.
    """
    try:
        auto_cli({"list": show, "run": run}, args=argv)
    except SpecError as error:
        print(f"tuning: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(f"{stopped}; the same command goes on with the study", file=sys.stderr)
        sys.exit(stopped.code)


if __name__ == "__main__":
    main()
