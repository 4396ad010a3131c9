"""What parameter servers cost on this machine.

    python -m tests.benchmarks.parameter_server [--only simulated] [--json] [--quick]

``simulated`` is the clock of the runtime of that name, without any training: 1,000 workers that
take 1,000 steps each. The figures mean something on an otherwise idle machine only.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import machine, virtual_time


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    options = _parse(arguments)
    figures: dict[str, Any] = {"machine": machine.describe()}
    for part in options.only:
        print(f"measuring {part} ...", file=sys.stderr)
        figures[part] = _PARTS[part](options.quick)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        console = Console()
        console.print(machine.summary(figures["machine"]))
        for part in options.only:
            console.print(_TABLES[part](figures[part]))


def _simulated(quick: bool) -> dict[str, Any]:
    return virtual_time.measure(*((20, 5) if quick else (1000, 1000)))


def _simulated_table(measured: dict[str, Any]) -> Table:
    title = f"Virtual time: {measured['workers']:,} workers × {measured['steps']:,} steps"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("events", "seconds", "events a second", "virtual seconds"):
        table.add_column(name, justify="right")
    for row in measured["cases"]:
        table.add_row(
            row["name"],
            f"{row['events']:,}",
            f"{row['seconds']:.1f}",
            f"{row['events_a_second']:,.0f}",
            f"{row['virtual_seconds']:.1f}",
        )
    return table


_PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {"simulated": _simulated}
_TABLES: dict[str, Callable[[dict[str, Any]], Table]] = {"simulated": _simulated_table}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.parameter_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", type=_parts, default=[*_PARTS], help=f"some of {','.join(_PARTS)}; all by default"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    return parser.parse_args(arguments)


def _parts(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(_PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(_PARTS)}")
    return chosen


if __name__ == "__main__":
    main()
