"""``raydl plan``: what a run will send, as a table and a figure."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console

from raydl.cli.arguments import key_of, parse_run, split_options
from raydl.cli.tables import table
from raydl.config.parser import parsing
from raydl.core.environment.compat import actions
from raydl.core.environment.extras import check_plots
from raydl.core.errors import SpecError, require, unknown
from raydl.planning.forecast import Circumstances, Figures
from raydl.planning.outline import Outline, of_outline
from raydl.planning.run import of_run
from raydl.run_folder.results.wording import Measure

_OUTLINES = {"parameters", "shape", "scheme"}  # one of which tells an outline from a run
_FORMATS = (".png", ".svg", ".pdf")


def main(argv: list[str]) -> int:
    """Plans what the options describe, and prints it."""
    outlined = any(key_of(token) in _OUTLINES for token in argv)
    parser = _parser(outline=outlined)
    own, others = split_options(argv, {each.dest for each in actions(parser)})
    if outlined and others:
        raise unknown(
            "option of a plan in outline", key_of(others[0]), _names(Outline, Circumstances)
        )
    with parsing("raydl plan"):
        given = parser.parse_args(own)
    circumstances = _make(Circumstances, given)
    if given.output is not None:
        check_plots("raydl plan --output")
        file = Path(given.output)
        sound = file.suffix in _FORMATS and file.parent.is_dir()
        allowed = f"a file in a folder that exists, and end in {', '.join(_FORMATS)}"
        require(sound, "output", given.output, allowed)
    comparison = of_outline(_make(Outline, given)) if outlined else of_run(parse_run(others)[0])
    planned = {name: each.figures(circumstances) for name, each in comparison.forecasts.items()}
    console = Console()
    if given.json:
        print(json.dumps(planned, indent=2))
    else:
        console.print(f"[bold]{comparison.title}[/]\n", highlight=False)
        columns = {
            name.replace("_", " "): _put_in_words(each, circumstances)
            for name, each in planned.items()
        }
        console.print(table(columns))
    if given.output is not None:
        from raydl.planning.figure import plot

        try:
            plot(comparison, circumstances).savefig(given.output)
        except OSError as error:
            raise SpecError(f"output {given.output!r} cannot be written: {error}") from error
        if not given.json:
            console.print(f"\n{given.output}", highlight=False, soft_wrap=True)
    return 0


def _parser(*, outline: bool) -> ArgumentParser:
    parser = ArgumentParser(prog="raydl plan", exit_on_error=False)
    parser.add_argument("--output", type=str)
    parser.add_argument("--json", action="store_true")
    parser.add_class_arguments(Circumstances, None)
    if outline:
        parser.add_class_arguments(Outline, None)
    return parser


def _names(*classes: type) -> list[str]:
    return [field.name for each in classes for field in dataclasses.fields(each)]


def _make(cls: type, given: Any) -> Any:
    return cls(**{name: given[name] for name in _names(cls)})


def _put_in_words(figures: Figures, circumstances: Circumstances) -> Figures:
    """The figures for a table: in words how many workers the phases allow, and a price's unit."""
    shown = dict(figures)
    price = shown.pop("price")
    if circumstances.price:
        shown[f"price ({circumstances.currency})"] = Measure().text("price", price)
    phases = shown.pop("most_workers_by_phase", None)
    if isinstance(phases, dict):
        shown["most_workers"] = _limit(figures["most_workers"])
        if len(set(phases.values())) > 1:
            shown["by phase"] = ", ".join(f"{name} {_limit(each)}" for name, each in phases.items())
    return shown


def _limit(workers: Any) -> str:
    return "no limit" if workers is None else f"{workers:,}"
