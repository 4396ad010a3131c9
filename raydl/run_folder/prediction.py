"""What the model of a run says of samples, and how a table of that looks."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from pyarrow import parquet
from torch import Tensor

from raydl.config import options
from raydl.core import tree
from raydl.core.errors import require
from raydl.core.grad import apply
from raydl.core.rng import forked, seed_draws
from raydl.core.task import Inputs, Task
from raydl.data.dataset import Dataset, Split
from raydl.data.forms.arrays import as_inputs
from raydl.data.sources.tensors import as_stored
from raydl.run_folder.model import Which, load_from
from raydl.run_folder.resumption import find_run, read_sample, read_settings
from raydl.run_folder.sample import Sample
from raydl.runtimes.worker.evaluation import AT_ONCE, Score, outputs_of, stretches
from raydl.storage import Folder


class Trained(NamedTuple):
    """A run's model.

    Attributes:
        task: the model with its parameters, in evaluation mode.
        sample: what it was trained on.
        seed: seed of the run, for models that draw in evaluation, too.
    """

    task: Task
    sample: Sample
    seed: int

    @torch.no_grad()
    def outputs(self, inputs: Inputs) -> Iterator[Tensor]:
        """The model's outputs [B, ...] for stored inputs, a few samples at a time."""
        samples = len(next(tree.leaves(inputs))[1])
        for stored, _ in Split(inputs, torch.empty(samples)).pieces(AT_ONCE):
            yield apply(self.task, self.task.model, self.sample.preparation(stored))


def predict(run: str, inputs: Any, which: Which = "last", storage: str | None = None) -> Tensor:
    """A run's model applied to samples as they are; they are normalized here as its data was.

    Args:
        run: path or URI of the run's folder, or its name in the storage.
        inputs: the samples, as `raydl.data.Tensors` takes them, a tensor, an array or lists: images
            [n, C, H, W] of the type and in the units of the run's data, so uint8 where that is
            uint8; features [n, F]; or token ids [n, T].
        which: the last parameters, or those that did best in validation.
        storage: path or URI of the folder that holds the run's; ``runs`` by default.

    Returns:
        The outputs, float32 [n, ...], which of a classifier are logits [n, classes].

    Raises:
        SpecError: as `raydl.load` does, or if the samples are not like those of the run.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import raydl
        >>> with TemporaryDirectory() as runs:
        ...     run = raydl.Run(rounds=5, clients=10, runtime="sequential", storage=runs, name="a")
        ...     history = raydl.run(run)
        ...     images = raydl.data.Digits().load().test.inputs.movedim(-1, 1)
        ...     outputs = raydl.predict("a", images, storage=runs)
        >>> outputs.shape
        torch.Size([359, 10])
    """
    trained = read_trained(find_run(run, storage), which)
    given = as_inputs("inputs", inputs)
    for _, each in tree.leaves(given):
        require(each.ndim > 0, "inputs' shape", tuple(each.shape), "[n, ...]")
    stored = tree.map(as_stored, given)
    trained.sample.check(stored, "inputs")
    return torch.cat([*trained.outputs(stored)])


def read_trained(folder: Folder, which: Which = "last") -> Trained:
    """The model of the run in a folder, and what it was trained on and how.

    Raises:
        SpecError: as `raydl.load` does.
    """
    settings, model = read_settings(folder), load_from(folder, which)
    model.to(memory_format=torch.channels_last)  # as runs score it, to the same digits
    spec = options.from_mapping({"task": settings.get("task", "Classification")}).task
    assert spec is not None
    task = Task(model, spec, settings["precision"])
    return Trained(task, read_sample(folder), settings["seed"])


def write_predictions(
    trained: Trained, dataset: Dataset, split: str, folder: Folder, name: str
) -> Score:
    """Writes what a model says of a split as Parquet, a row for each sample in its order.

    Args:
        trained: the model.
        dataset: its samples, which are normalized as those of the run were.
        split: ``train``, ``validation`` or ``test``.
        folder: where the file is to be.
        name: of the file.

    Returns:
        The score, of the same numbers that the run has of that split.

    Raises:
        SpecError: if there are no samples in the split, or they are not like those of the run.
        StorageError: if the file cannot be written.
    """
    check_data(trained.sample, dataset, split)
    total = Score()
    with folder.writing(name) as stream, ExitStack() as stack:
        writer: parquet.ParquetWriter | None = None
        for scored, table in _predict(trained, dataset, split):
            total += scored
            writer = writer or stack.enter_context(parquet.ParquetWriter(stream, table.schema))
            writer.write_table(table)
    return total


def check_data(sample: Sample, dataset: Dataset, split: str) -> None:
    """Raises a SpecError unless a split has samples, such as a model was trained on."""
    sizes = {name: len(getattr(dataset, name).targets) for name in ("test", "validation", "train")}
    filled = " or ".join(name for name, size in sizes.items() if size)
    require(sizes.get(split, 0) > 0, "split", split, f"{filled}, which {dataset.name} has")
    sample.check(dataset.train.inputs, f"the samples of {dataset.name}")
    if dataset.classes is None or sample.classes is None:
        return
    fewer = f"{sample.classes} or fewer, which the run's model knows"
    require(dataset.classes <= sample.classes, "data's classes", dataset.classes, fewer)


@torch.no_grad()
def _predict(trained: Trained, dataset: Dataset, split: str) -> Iterator[tuple[Score, pa.Table]]:
    """The scores and the tables of the stretches that a run scores a split in."""
    whole: Split = getattr(dataset, split)
    for stretch in stretches(dataset, split):
        part = whole.take(slice(stretch.start, stretch.stop))
        with forked(host=True):
            seed_draws(trained.seed, split, stretch.start, "evaluation", host=True)
            model = partial(apply, trained.task, trained.task.model)
            given = [*outputs_of(trained.task, model, part, trained.sample.preparation)]
        outputs, scores = zip(*given, strict=True)
        found = {"target": part.targets} | trained.task.spec.predictions(torch.cat(outputs))
        table = pa.table({name: _arrow(each) for name, each in found.items()})
        yield sum(scores, Score()), table


def _arrow(column: Tensor) -> pa.Array:
    """A column [n, ...]: of numbers, or of lists of equal length, of such lists, and so on."""
    array = pa.array(column.reshape(-1).numpy())
    for length in reversed(column.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array
