"""From a run's spec to the values that it is made of, with every check that needs them."""

from typing import NamedTuple

import torch

from raydl.core.algorithm import Budget
from raydl.core.errors import SpecError
from raydl.core.grad import Task, cross_entropy, forward, parameters
from raydl.core.tree import Params
from raydl.data.batches import Preparation
from raydl.data.checks import (
    check_augmentation,
    check_dataset,
    check_participation,
    check_partition,
)
from raydl.data.dataset import Dataset
from raydl.data.own import loaded
from raydl.data.partitions import Partition
from raydl.runtimes.problem import Problem
from raydl.runtimes.serving import ParameterServer
from raydl.spec import Model, Run

_USUAL_MODELS = {(1, 28, 28): "MnistCNN", (3, 32, 32): "CifarCNN"}


class Setup(NamedTuple):
    """A run's values: what is to be learned, and the first parameters."""

    problem: Problem
    params: Params


def prepare(run: Run, dataset: Dataset | None = None) -> Setup:
    """Loads the data, deals it to the clients and makes the model.

    The first parameters are those that the model has after ``torch.manual_seed(run.seed)``.

    Args:
        run: the spec.
        dataset: what ``run.data`` loads, if it is at hand already.

    Raises:
        SpecError: if any part of the run does not fit another.
    """
    _check_workers(run)
    dataset = loaded(run.data) if dataset is None else dataset
    check_dataset(dataset)
    partition = assign(run, dataset)
    check_participation(run.participation, run.population, run.seed, run.last_round)
    if run.augmentation is not None:  # refuses what it cannot change
        check_augmentation(run.augmentation, dataset, run.seed)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        module = usual_model(run, dataset).build(dataset.shape, dataset.classes)
    task = Task(module, cross_entropy, run.precision, run.microbatch)
    _check_outputs(task, dataset)
    _check_shards(run, partition)
    problem = Problem(
        algorithm=run.algorithm.build(budget(run, dataset)),
        task=task,
        dataset=dataset,
        partition=partition,
        seed=run.seed,
        augmentation=run.augmentation,
        block_size=run.block_size,
        fan_in=run.fan_in,
    )
    params = parameters(module)
    problem.algorithm.init(params)  # refuses parameters that its optimizer cannot take
    return Setup(problem, params)


def assign(run: Run, dataset: Dataset) -> Partition:
    """How the training samples fall to the run's clients."""
    owners = None if dataset.owners is None else dataset.owners.numpy()
    labels = dataset.train.targets.numpy()
    partition = run.partition.assign(labels, run.population, run.seed, owners)
    check_partition(partition, run.population, len(labels))
    return partition


def budget(run: Run, dataset: Dataset) -> Budget:
    """How long the run is to be, for an algorithm that plans ahead."""
    updates = run.runtime.updates(len(next(run.cohorts())), run.population)
    epoch = len(dataset.train.targets) / updates
    samples = None if run.epochs is None else run.epochs * epoch
    return Budget(run.last_round, samples, epoch, updates)


def usual_model(run: Run, dataset: Dataset) -> Model:
    """The run's model, or if it names none what is usual for such data."""
    return run.model or Model(_USUAL_MODELS.get(dataset.shape, "MLP"))


def _check_workers(run: Run) -> None:
    """Raises a SpecError if a parameter server is to serve clients that come and go."""
    if isinstance(run.runtime, ParameterServer) and run.workers is None:
        raise SpecError(
            "runtime is parameter_server, which serves workers that stay, but "
            f"{type(run.algorithm).__name__} has clients that take turns; choose an algorithm with "
            "workers, such as ParameterServer, EASGD or LocalSGD, or --runtime actors"
        )


def _check_shards(run: Run, partition: Partition) -> None:
    """Raises a SpecError if a worker, whose minibatches are all full, has too few samples."""
    batch, smallest = getattr(run.algorithm, "batch_size", None), int(partition.sizes.min())
    if run.workers is not None and run.workers > 1 and batch is not None and batch > smallest:
        raise SpecError(
            f"algorithm.batch_size is {batch}, but of {run.workers} workers one has {smallest} "
            "samples; take fewer workers or smaller minibatches"
        )


def _check_outputs(task: Task, dataset: Dataset) -> None:
    inputs = Preparation.of(dataset, torch.device("cpu"))(dataset.train.inputs[:2])
    name = type(task.model).__name__
    task.model.eval()
    try:
        with torch.no_grad():
            outputs = forward(task, parameters(task.model), inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise SpecError(
            f"model {name} cannot take the samples of {dataset.name}, of shape {dataset.shape}: "
            f"{error}"
        ) from error
    if outputs.shape[-1] != dataset.classes or len(outputs) != len(inputs):
        raise SpecError(
            f"model {name} gives outputs of shape {tuple(outputs.shape)} for {len(inputs)} samples "
            f"of {dataset.name}; it must give one for each of the {dataset.classes} classes: "
            f"({len(inputs)}, {dataset.classes})"
        )
