"""The metric that the trials of a sweep agree on."""

from collections.abc import Iterable, Mapping

from raydl import Run
from raydl.config.options import flatten
from raydl.config.serialize import plain
from raydl.core.errors import SpecError
from raydl.core.task import TaskSpec
from raydl.data import Dataset
from raydl.data.own import load_dataset
from raydl.tasks.usual import usual_task
from tuning.metric import Metric


def common_metric(runs: Iterable[Run], dataset: Dataset | None = None) -> Metric:
    """The metric by which runs can be compared: the best of all their tasks.

    Args:
        runs: that are to be compared.
        dataset: of all of them; None if each has its own, which is loaded where no task is named.

    Raises:
        SpecError: if they have different ones, or a loss that differs.
    """
    tasks = _tasks(runs, dataset)
    metrics = {Metric.of(task): type(task).__name__ for task in tasks.values()}
    metric, *others = metrics
    if others:
        told = ", ".join(
            f"{title} by {each} ({'higher' if each.higher_is_better else 'lower'} is better)"
            for each, title in metrics.items()
        )
        raise SpecError(
            f"no trial would be the best, for their tasks are compared by different metrics: {told}"
            "; do a sweep for each, or give own tasks the same best"
        )
    if metric.name == "loss" and len(tasks) > 1:
        raise SpecError(
            f"no trial would be the best, for they are compared by the loss, which "
            f"{', '.join(_differences(tasks.values()))} changes; do a sweep for each, or give the "
            "task another best"
        )
    return metric


def _tasks(runs: Iterable[Run], dataset: Dataset | None) -> dict[str, TaskSpec]:
    """The different tasks of runs, by what they are as plain settings."""
    different = {}
    for run in runs:
        data = plain("data", run.data) if run.task is None and dataset is None else None
        different[str((plain("task", run.task), data))] = run
    tasks = [
        run.task or usual_task(*(dataset or load_dataset(run.data)).train)
        for run in different.values()
    ]
    return {str(plain("task", task)): task for task in tasks}


def _differences(tasks: Iterable[TaskSpec]) -> list[str]:
    """The fields in which tasks differ."""
    first, *others = (flatten({"task": plain("task", task)}) for task in tasks)
    return sorted({key for each in others for key in _unequal(first, each)})


def _unequal(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
