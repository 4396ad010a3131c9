"""``raydl data``: how a data set falls to the clients, and a data set as Parquet."""

import shlex
from pathlib import Path

import numpy as np
from rich.console import Console

from raydl.assembly.assemble import assign, count_clients
from raydl.cli.arguments import take_option
from raydl.cli.tables import partition_table
from raydl.config import options
from raydl.config.dials import dials
from raydl.config.given import title
from raydl.config.run import Run
from raydl.core.errors import SpecError
from raydl.core.extras import check_plots
from raydl.data import label_counts, plot_participation, plot_partition, prepare
from raydl.data.own import load_dataset


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
    if hasattr(spec.participation, "probabilities"):  # an own one may know none
        probabilities = spec.participation.probabilities(spec.population, spec.seed)
        drawn.append(folder / "participation.png")
        letters = _letters(spec, spec.participation)
        caption = f"{title(spec.participation)} participation {letters}"
        plot_participation(probabilities, caption).savefig(drawn[-1])
    console = Console()
    console.print(partition_table(counts, heading))
    console.print("\n" + "\n".join(map(str, drawn)), highlight=False)
    return 0


def _letters(spec: Run, part: object) -> str:
    """The number of clients and the letters of a part: ``(N = 100, α = .5)``."""
    return f"({', '.join(filter(None, [f'N = {spec.population}', dials(part)]))})"


def write(argv: list[str]) -> int:
    """Writes a data set to where ``--data Parquet`` reads it."""
    if not argv or argv[0].startswith("-"):
        raise SpecError(
            "raydl data prepare needs a folder: raydl data prepare URI --data MNIST ..."
        )
    uri, *rest = argv
    prepare(options.parse(rest).data, uri)
    print(f"{uri}\nread it with: raydl run --data Parquet --data.uri {shlex.quote(uri)}")
    return 0
