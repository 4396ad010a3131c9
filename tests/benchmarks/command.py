"""What the benchmarks' commands have in common: options, one process for each part, the output."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeAlias

from tests.benchmarks import machine, report

Part: TypeAlias = Callable[[int, bool], dict[str, Any]]  # (repeats, quick) -> figures


def run(
    name: str, about: str | None, parts: Mapping[str, Part], arguments: Sequence[str] | None
) -> None:
    """Measures those of the parts that are asked for, and prints the figures.

    Args:
        name: of the module that is the command.
        about: what ``--help`` says of it.
        parts: what there is to measure.
        arguments: of the command line.
    """
    options = _parse(name, about, list(parts), arguments)
    figures: dict[str, Any] = {"machine": machine.brief()}
    for part in options.only:
        print(f"measuring {part} ...", file=sys.stderr)
        figures[part] = _alone(parts[part], options.repeats, options.quick)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        report.show(figures)


def _alone(part: Part, repeats: int, quick: bool) -> dict[str, Any]:
    """Measures in a process of its own, so that no part inherits another's memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(part, repeats, quick).result()


def _parse(
    name: str, about: str | None, parts: list[str], arguments: Sequence[str] | None
) -> argparse.Namespace:
    def chosen(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(parts):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(parts)}")
        return text.split(",")

    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument(
        "--only", type=chosen, default=parts, help=f"some of {','.join(parts)}; all by default"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser.parse_args(arguments)
