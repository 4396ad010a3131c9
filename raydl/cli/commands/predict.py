"""``raydl predict``: what a run's model says of the samples of a data set."""

import json
import sys
from dataclasses import dataclass
from typing import Literal

from jsonargparse import ArgumentParser
from rich.console import Console

from raydl.cli.arguments import key_of, split_options, take_option
from raydl.cli.tables import table
from raydl.config import options
from raydl.config.given import title
from raydl.config.parser import parsing
from raydl.core.environment.compat import actions
from raydl.core.environment.extras import has_plots
from raydl.core.errors import SpecError
from raydl.data.checks import check_dataset
from raydl.data.dataset import Source
from raydl.data.own import load_dataset
from raydl.run_folder.model import Which
from raydl.run_folder.prediction import read_trained, write_predictions
from raydl.run_folder.record import score_columns
from raydl.run_folder.results.pictures import draw_predictions
from raydl.run_folder.resumption import find_run, only_in_python, read_settings
from raydl.storage import Folder, StorageError


@dataclass(frozen=True)
class Prediction:
    """What is predicted, by which parameters, and where it is written.

    Args:
        which: parameters of the run: the last ones, or those that did best in validation.
        split: part of the data.
        output: Parquet file to write, a path or a URI; predictions/DATA-WHICH-SPLIT.parquet in the
            run's folder by default.
    """

    which: Which = "last"
    split: Literal["test", "validation", "train"] = "test"
    output: str | None = None


def main(argv: list[str]) -> int:
    """Writes the predictions, and prints what they score; 1 if they cannot be written."""
    if not argv or argv[0].startswith("-"):
        raise SpecError("raydl predict needs a run: raydl predict RUN [--split validation] ...")
    named, *words = argv
    storage, words = take_option([each for each in words if each != "--json"], "--storage")
    asked, others = _parse(words)
    folder = find_run(named, storage)
    source = _parse_data(folder, others)
    dataset = load_dataset(source)
    check_dataset(dataset)
    trained = read_trained(folder, asked.which)
    usual = folder / f"predictions/{title(source)}-{asked.which}-{asked.split}.parquet"
    file = usual if asked.output is None else Folder(asked.output, "output")
    into = Folder(file.parent, "output")
    into.make()
    try:
        score = write_predictions(trained, dataset, asked.split, into, file.name)
    except StorageError as error:
        print(f"raydl: {error}", file=sys.stderr)
        return 1
    name = "val" if asked.split == "validation" else asked.split
    found = {"samples": score.samples, **score_columns(trained.task.spec, {name: score})}
    drawn = None
    if has_plots():
        about = f"{folder.name}, {asked.which}, on {dataset.name}: {asked.split}"
        picture = f"{file.name.removesuffix('.parquet')}.png"
        drawn = draw_predictions(into, picture, trained.task.spec, score, about)
    if "--json" in argv:
        print(json.dumps(found | {"output": file.uri, "figure": drawn}, indent=2))
        return 0
    console = Console()
    console.print(table({"": found}))
    console.print()
    for uri in filter(None, [file.uri, drawn]):
        console.print(uri, highlight=False, soft_wrap=True)
    return 0


def _parse(words: list[str]) -> tuple[Prediction, list[str]]:
    """What is asked for, and all other options."""
    parser = ArgumentParser(prog="raydl predict", exit_on_error=False)
    parser.add_class_arguments(Prediction, None)
    own, others = split_options(words, {each.dest for each in actions(parser)})
    with parsing("raydl predict"):
        return Prediction(**vars(parser.parse_args(own))), others


def _parse_data(folder: Folder, words: list[str]) -> Source:
    """The run's data, or those that options name."""
    data = {"data": read_settings(folder)["data"]}
    if only_in_python(data):
        if "data" not in map(key_of, words):
            raise SpecError(
                f"the data of {folder.uri} was given in Python, where no option can name it; name "
                "a data set with --data, or call raydl.predict(run, inputs)"
            )
        data = {}
    return options.parse(words, data).data
