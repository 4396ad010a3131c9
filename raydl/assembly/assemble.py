"""From a run's spec to the values that it is made of, with every check that needs them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from raydl.assembly.compatibility import (
    check_client,
    check_minibatches,
    check_processes,
    check_selection,
)
from raydl.assembly.start import freeze, take_over
from raydl.assembly.trial import try_out
from raydl.config.run import Model, Run
from raydl.core.algorithm import Scope
from raydl.core.environment.stages import enter
from raydl.core.errors import SpecError
from raydl.core.grad import call, parameters
from raydl.core.module import Complete
from raydl.core.rng import forked, seed_draws
from raydl.core.task import Inputs, Task, TaskSpec
from raydl.core.tree import Params
from raydl.data.batches import two_samples
from raydl.data.checks import (
    check_augmentation,
    check_dataset,
    check_participation,
    check_partition,
)
from raydl.data.dataset import Dataset, SampleShape
from raydl.data.gathered import Gathered
from raydl.data.own import load_dataset
from raydl.data.participations.selector import Cohort, first_cohort
from raydl.data.partitions.partition import Partition
from raydl.runtimes.problem import Problem
from raydl.runtimes.worker.batchable import check_batchable
from raydl.tasks.usual import check_targets, usual_task

_USUAL_MODELS: dict[tuple[int, ...], str] = {(1, 28, 28): "MnistCNN", (3, 32, 32): "CifarCNN"}


class Assembled(NamedTuple):
    """A run's values: what is to be learned, and the first parameters."""

    problem: Problem
    params: Params


def assemble(run: Run, dataset: Dataset | None = None, start: Complete | None = None) -> Assembled:
    """Loads the data, deals it to the clients and makes the model.

    The first parameters are those that the model has after ``torch.manual_seed(run.seed)``, or of
    the run that ``run.model.from_`` names.

    Args:
        run: the spec.
        dataset: what ``run.data`` loads, if it is at hand already.
        start: the tensors of the run that is named, which are not looked up here.

    Raises:
        SpecError: if any part of the run does not fit another.
    """
    run.runtime.check_serves(run.algorithm, run.workers)
    if dataset is None:
        enter("loading the data")
        dataset = load_dataset(run.data)
    enter("checking how the parts fit together")
    check_dataset(dataset)
    spec = task_of(run, dataset)
    run = count_clients(run, dataset)
    partition = assign(run, dataset)
    check_participation(run.participation, partition.sizes, run.seed, run.last_round)
    if run.augmentation is not None:  # refuses what it cannot change
        check_augmentation(run.augmentation, dataset, run.seed)
    model, like = usual_model(run, dataset), two_samples(dataset).inputs
    outputs = spec.outputs(dataset.classes, dataset.train.targets)
    make = partial(_make_model, model, dataset.shape, outputs, run.seed, like)
    module = make()
    if start is not None and model.from_ is not None:
        take_over(module, model.from_, start, model.fresh)
    task, hidden = try_out(Task(module, spec, run.precision, run.microbatch), dataset, run.seed)
    _check_shards(run, partition)
    selector = run.selector(partition.sizes)
    scope = scope_of(run, dataset, partition, first_cohort(selector))
    algorithm = run.algorithm.build(scope)
    check_processes(run.runtime, algorithm, task, hidden)
    problem = Problem(
        algorithm=algorithm,
        task=task,
        dataset=dataset,
        partition=partition,
        seed=run.seed,
        augmentation=run.augmentation,
        block_size=run.block_size,
        fan_in=run.fan_in,
        make=make,
    )
    params = parameters(module)
    state = algorithm.init(params)  # refuses parameters that its optimizer cannot take
    check_minibatches(run, problem, algorithm.plan(state))
    if run.runtime.batched:
        check_batchable(problem)
    reported = check_client(problem, state)
    check_selection(run, selector, reported)
    return Assembled(problem, params)


def assign(run: Run, dataset: Dataset) -> Partition:
    """How the training samples fall to the run's clients."""
    owners = None if dataset.owners is None else dataset.owners.numpy()
    targets = dataset.train.targets
    # Sequences that are not in memory are as large as the inputs, and read by who looks into them.
    labels: Any = targets if isinstance(targets, Gathered) else targets.numpy()
    partition = run.partition.assign(labels, run.population, run.seed, owners)
    check_partition(partition, run.population, len(labels))
    return partition


def count_clients(run: Run, dataset: Dataset) -> Run:
    """The run with a number of clients, if it leaves that to its partition and the data's owners.

    Natural has a client for each owner.
    """
    natural = getattr(run.partition, "natural_clients", None)
    if natural is None or dataset.owners is None or (run.clients or run.workers) is not None:
        return run
    return replace(run, clients=natural(dataset.owners.numpy()))


def scope_of(run: Run, dataset: Dataset, partition: Partition, cohort: Cohort) -> Scope:
    """What the run's algorithm is built for; the cohort is that of the first round."""
    updates = run.runtime.updates(len(cohort), run.population)
    epoch = len(dataset.train.targets) / updates
    samples = None if run.epochs is None else run.epochs * epoch
    sizes = torch.from_numpy(partition.sizes)
    return Scope(run.last_round, samples, epoch, updates, sizes, _inclusion(run))


def _inclusion(run: Run) -> Callable[[], Tensor] | None:
    """What finds out how probable it is for each client to take part, see `Scope`."""
    if run.workers is not None:
        return partial(torch.ones, run.workers, dtype=torch.float64)
    own = getattr(run.participation, "inclusion", None)
    return own and (lambda: torch.as_tensor(own(run.population, run.seed), dtype=torch.float64))


def task_of(run: Run, dataset: Dataset) -> TaskSpec:
    """The run's task, or if it names none what is usual for such data.

    Raises:
        SpecError: if the targets cannot be learned by it.
    """
    spec = run.task or usual_task(*dataset.train)
    check_targets(spec, dataset)
    return spec


def usual_model(run: Run, dataset: Dataset) -> Model:
    """The run's model, or if it names none what is usual for such data.

    Raises:
        SpecError: if no model is.
    """
    if run.model is not None:
        return run.model
    if isinstance(dataset.shape, dict):
        raise SpecError(
            f"the samples of {dataset.name} are dictionaries with {', '.join(dataset.shape)}, for "
            "which no model is usual; give --model one that takes them as keyword arguments"
        )
    if _predicts_tokens(dataset):
        return Model("CharLSTM", {"last": dataset.train.targets.ndim == 1})
    return Model(_USUAL_MODELS.get(dataset.shape, "MLP"))


def _predicts_tokens(dataset: Dataset) -> bool:
    """Whether samples are sequences of tokens, and classes such tokens, too."""
    inputs, classes = dataset.train.inputs, dataset.classes
    if not isinstance(inputs, Tensor) or inputs.dtype != torch.int64 or inputs.ndim != 2:
        return False
    return classes is not None and int(inputs.max()) < classes


def _check_shards(run: Run, partition: Partition) -> None:
    """Raises a SpecError if a worker, whose minibatches are all full, has too few samples."""
    batch, smallest = getattr(run.algorithm, "batch_size", None), int(partition.sizes.min())
    if run.workers is not None and run.workers > 1 and batch is not None and batch > smallest:
        raise SpecError(
            f"algorithm.batch_size is {batch}, but of {run.workers} workers one has {smallest} "
            "samples; take fewer workers or smaller minibatches"
        )


def _make_model(
    model: Model, shape: SampleShape, classes: int | None, seed: int, like: Inputs
) -> nn.Module:
    """The module, with the first parameters of a seed; lazy ones are made for such inputs."""
    with forked(host=True), torch.random.fork_rng():
        seed_draws(seed, host=True)  # Python's and numpy's
        torch.manual_seed(seed)
        module = model.build(shape, classes)
        if any(isinstance(each, UninitializedParameter) for each in module.parameters()):
            with torch.no_grad():
                call(module.eval(), like)
    freeze(module, model.frozen)
    return module
