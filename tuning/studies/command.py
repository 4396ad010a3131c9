"""``raydl study list`` and ``raydl study run STUDY``."""

import sys
from dataclasses import dataclass
from inspect import getdoc

from jsonargparse import ArgumentParser
from rich.console import Console

from raydl.config.parser import parsing
from raydl.core.environment.extras import check_plots
from raydl.core.errors import SpecError, unknown
from raydl.signals import Interrupted
from tuning.studies.registry import STUDIES
from tuning.studies.study import Scale, Setting, carry_out


@dataclass(frozen=True)
class Data:
    """Where the real data is.

    Args:
        root: folder that holds it as torchvision lays it out; downloaded if it is not there.
    """

    root: str = "data"


def show_studies(argv: list[str]) -> int:
    """Prints which studies there are."""
    if argv:
        raise SpecError(f"raydl study list takes no options, but {' '.join(argv)} is given")
    for name, study in STUDIES.items():
        print(f"{name:16}{(getdoc(study) or '').splitlines()[0]}")
    return 0


def run_study(argv: list[str]) -> int:
    """Does the study that the options describe; 128 + signal if it is stopped."""
    parser = ArgumentParser(prog="raydl study run", exit_on_error=False)
    parser.add_function_arguments(run, as_positional=True)
    with parsing("raydl study run"):
        given = parser.instantiate(parser.parse_args(argv))
    try:
        run(**vars(given))
    except Interrupted as stopped:
        print(f"{stopped}; the same command goes on with the study", file=sys.stderr)
        return stopped.code
    return 0


def run(
    study: str,
    scale: Scale = "short",
    data: Data = Data(),
    output: str | None = None,
    processes: int = 1,
) -> None:
    """Does a study, or goes on with it: every run that has its row in results.csv is left out.

    Args:
        study: one of those that ``raydl study list`` shows.
        scale: size of the study: full is the published protocol, with several seeds; short is a
            part of it that fits into hours; smoke takes seconds, on made-up data.
        data: where the real data is.
        output: folder of the runs, the tables and the plots; runs/STUDY-SCALE by default.
        processes: number of runs that are done at the same time.
    """
    if study not in STUDIES:
        raise unknown("study", study, STUDIES)
    check_plots("a study")
    setting = Setting(scale, data.root, output or f"runs/{study}-{scale}")
    carry_out(STUDIES[study](setting), setting, processes, Console())
