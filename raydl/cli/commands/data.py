"""``raydl data``: how a data set falls to the clients; a data set prepared, and checked."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from raydl.assembly.assemble import assign, count_clients
from raydl.cli.arguments import take_option
from raydl.cli.tables import partition_table
from raydl.config import options
from raydl.config.dials import dials
from raydl.config.given import title
from raydl.config.run import Run
from raydl.core.environment.extras import check_plots
from raydl.core.errors import SpecError
from raydl.data import (
    label_counts,
    plot_availability,
    plot_participation,
    plot_partition,
    prepare,
)
from raydl.data.own import load_dataset
from raydl.data.participations.availability import Availability
from raydl.data.prepared.verify import verify
from raydl.data.sources.decoded import DecodedSource
from raydl.run_folder.results.wording import size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DAY, _MOMENTS = 86400.0, 288  # seconds of a day, and how often in it availability is looked at


def show(argv: list[str]) -> int:
    """Prints and draws how labels and sizes fall over the clients."""
    check_plots("raydl data show")
    output, argv = take_option(argv, "--output")
    spec = options.parse(argv)
    dataset = load_dataset(spec.data)
    spec = count_clients(spec, dataset)
    labels, classes = dataset.train.labels(), dataset.classes
    if labels is None or classes is None:  # only the sizes differ then
        labels, classes = np.zeros(len(dataset.train.targets), np.int64), 1
    counts = label_counts(labels, assign(spec, dataset), classes)
    folder = Path(output or ".")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--output {output!r} cannot be made: {error.strerror}") from error
    heading = f"{dataset.name}, {title(spec.partition)} {_letters(spec, spec.partition)}"
    plot_partition(counts, heading).savefig(folder / "partition.png")
    drawn = [folder / "partition.png"]
    if (figure := _draw_participation(spec)) is not None:
        drawn.append(folder / "participation.png")
        figure.savefig(drawn[-1])
    console = Console()
    console.print(partition_table(counts, heading))
    console.print("\n" + "\n".join(map(str, drawn)), highlight=False)
    return 0


def _draw_participation(spec: Run) -> "Figure | None":
    """What is known of who takes part before anything is trained; None if that is nothing."""
    taking, clients = spec.participation, spec.population
    caption = f"{title(taking)} participation {_letters(spec, taking)}"
    if isinstance(taking, Availability):
        presence = taking.presence(clients, spec.seed)
        moments = np.linspace(0, _DAY, _MOMENTS, endpoint=False)
        return plot_availability(np.array([presence.there(at).mean() for at in moments]), caption)
    if hasattr(taking, "probabilities"):
        return plot_participation(taking.probabilities(clients, spec.seed), caption)
    return None


def _letters(spec: Run, part: object) -> str:
    """The number of clients and the letters of a part: ``(N = 100, α = .5)``."""
    return f"({', '.join(filter(None, [f'N = {spec.population}', dials(part)]))})"


def write(argv: list[str]) -> int:
    """Writes a data set to where ``--data Prepared`` maps it."""
    uri, rest = _take_uri(argv, "prepare", "URI --data MNIST ...")
    on_ray, rest = "--ray" in rest, [each for each in rest if each != "--ray"]
    spec = options.parse(rest)
    if not on_ray:
        prepare(spec.data, uri)
    elif isinstance(spec.data, DecodedSource):
        from raydl.assembly.decoding import decode_on_cluster
        from raydl.runtimes.ray_cluster.cluster import connected

        with connected(getattr(spec.runtime, "address", None), os.cpu_count() or 1):
            prepare(spec.data, uri, decode=decode_on_cluster)
    else:
        raise SpecError(
            f"--ray decodes samples on a cluster, but {title(spec.data)} has none to decode; leave "
            "it out, or choose ImageFolder or Table"
        )
    print(f"{uri}\nread it with: raydl run --data Prepared --data.uri {shlex.quote(uri)}")
    return 0


def check(argv: list[str]) -> int:
    """Compares every byte of a prepared folder with what was written; 1 if some differ."""
    uri, rest = _take_uri(argv, "check", "URI")
    if rest:
        raise SpecError(f"raydl data check takes a folder alone, not {' '.join(rest)}")
    faults = 0
    count, nbytes = 0, 0
    for verdict in verify(uri):
        if verdict.fault is not None:
            print(f"{verdict.shard.file} {verdict.fault}")
            faults += 1
        count, nbytes = count + 1, nbytes + verdict.shard.bytes
    if faults:
        print(f"{faults} of {count} files are damaged; copy {uri} anew, or prepare it anew")
        return 1
    print(f"{uri} is sound: {count} files with {size(nbytes)} are what was written")
    return 0


def _take_uri(argv: list[str], command: str, usage: str) -> tuple[str, list[str]]:
    """Parts the folder, which comes first, from the other words."""
    if not argv or argv[0].startswith("-"):
        raise SpecError(f"raydl data {command} needs a folder: raydl data {command} {usage}")
    return argv[0], argv[1:]
