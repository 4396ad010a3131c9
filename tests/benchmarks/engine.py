"""What raydl costs on this machine, beside loops without a framework.

    python -m tests.benchmarks.engine [--only W1,W7,startup] [--repeats 5] [--json] [--quick]

W1, W2, W3 and W7 are seconds a round for each runtime, in turn with bare torch loops over the same
minibatches; W4 is the memory and the time of many registered clients; start-up is how long a
newcomer waits; W5 is what it costs that clients keep something. The figures mean something on an
otherwise idle machine only.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import client_state, command, scale, startup, timing
from tests.benchmarks.contenders import WORKERS
from tests.benchmarks.workloads import TIMED


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    parts = {name: partial(_turns, name) for name in TIMED}
    command.run(
        "tests.benchmarks.engine",
        __doc__,
        parts | {"W4": _scale, "W5": _client_state, "startup": _startup},
        arguments,
    )


def _turns(name: str, repeats: int, quick: bool) -> dict[str, Any]:
    with connected(None, WORKERS):
        figures = timing.measure(name, repeats, quick)
        if name == "W2":
            figures["empty_round"] = timing.empty_round(name, 10 * repeats, quick)
        return figures


def _scale(repeats: int, quick: bool) -> dict[str, Any]:
    return scale.measure(*((1000, 50, 3) if quick else (100_000, 1000, 20)))


def _client_state(repeats: int, quick: bool) -> dict[str, Any]:
    return client_state.measure(*((1000, 50, 5) if quick else (100_000, 1000, 100)))


def _startup(repeats: int, quick: bool) -> dict[str, Any]:
    return startup.measure(1 if quick else 3)


if __name__ == "__main__":
    main()
