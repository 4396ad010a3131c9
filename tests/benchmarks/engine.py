"""What raydl costs on this machine, beside loops without a framework.

    python -m tests.benchmarks.engine [--only W1,W2,W3,W4,startup] [--repeats 5] [--json] [--quick]

W1, W2 and W3 are seconds a round for each runtime, in turn with bare torch loops over the same
minibatches; W4 is the memory and the time of many registered clients; start-up is how long a
newcomer waits. The figures mean something on an otherwise idle machine only.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from raydl.runtimes.cluster import connected
from tests.benchmarks import machine, report, scale, startup, timing
from tests.benchmarks.contenders import WORKERS
from tests.benchmarks.workloads import TIMED

_PARTS = (*TIMED, "W4", "startup")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    options = _parse(arguments)
    figures: dict[str, Any] = {"machine": machine.describe()}
    for part in options.only:
        print(f"measuring {part} ...", file=sys.stderr)
        figures[part] = _alone(_measure, part, options.repeats, options.quick)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        report.show(figures)


def _measure(part: str, repeats: int, quick: bool) -> dict[str, Any]:
    if part == "startup":
        return startup.measure(1 if quick else 3)
    if part == "W4":
        return scale.measure(*((1000, 50, 3) if quick else (100_000, 1000, 20)))
    with connected(None, WORKERS):
        figures = timing.measure(part, repeats, quick)
        if part == "W2":
            figures["empty_round"] = timing.empty_round(part, 10 * repeats, quick)
        return figures


def _alone(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Runs a measurement in a process of its own, so that none inherits another's memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.engine", description=__doc__)
    parser.add_argument(
        "--only", type=_parts, default=_PARTS, help=f"some of {','.join(_PARTS)}; all by default"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contender")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser.parse_args(arguments)


def _parts(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(_PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(_PARTS)}")
    return chosen


if __name__ == "__main__":
    main()
