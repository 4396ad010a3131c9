"""A run's figures as metrics of Ray, which every node serves to Prometheus.

They are named ``ray_raydl_...`` there, with the run's name as a tag, and of its task's own metric
that one's name as well; clusters/grafana.json shows them. Without Ray's metrics agent, which
``ray[default]`` brings, they go nowhere.

All are gauges: a run's counts are totals that its checkpoints keep, so that a run that is resumed,
in this process or in another one, goes on where it was.
"""

from collections.abc import Mapping

from ray.util.metrics import Gauge

# By metric, the column of a run's rows and what it says.
FIGURES = {
    "raydl_rounds": ("round", "Rounds done."),
    "raydl_samples": ("samples", "Samples trained on, each as often as it was."),
    "raydl_bytes_down": ("bytes_down", "Bytes sent from the server to clients."),
    "raydl_bytes_up": ("bytes_up", "Bytes sent from clients to the server."),
    "raydl_train_loss": ("train_loss", "Mean loss over the samples of the last round."),
    "raydl_val_accuracy": ("val_accuracy", "Accuracy on the validation set, of 1."),
    "raydl_test_accuracy": ("test_accuracy", "Accuracy on the test set, of 1."),
    "raydl_workers": ("workers", "Workers of the run that are up."),
    "raydl_retries": ("retries", "Workers that were lost, and their work run again by others."),
}
# By metric, the split that the best metric of the run's task is of, and what it says.
OF_TASK = {
    "raydl_val_metric": ("val", "The metric of the run's task, on the validation set."),
    "raydl_test_metric": ("test", "The metric of the run's task, on the test set."),
}


class PrometheusGauges:
    """The metrics of the run that this process drives.

    Args:
        best: name of the metric by which models of the run's task are compared.
    """

    def __init__(self, best: str) -> None:
        self._gauges: list[tuple[Gauge, str, dict[str, str]]] = [
            (Gauge(name, about, tag_keys=("run",)), column, {})
            for name, (column, about) in FIGURES.items()
        ]
        self._gauges += [
            (Gauge(name, about, tag_keys=("run", "metric")), f"{split}_{best}", {"metric": best})
            for name, (split, about) in OF_TASK.items()
        ]

    def report(
        self, run: str, row: Mapping[str, float | None], workers: int, retries: int | None = None
    ) -> None:
        """Reports a round.

        Args:
            run: name of the run.
            row: row of the round, see `raydl.run_folder.record`.
            workers: that the run has now.
            retries: workers that were replaced since this process drives the run; None if it does
                not know.
        """
        figures = {**row, "workers": workers, "retries": retries}
        for gauge, column, tags in self._gauges:
            value = figures.get(column)
            if value is not None:
                gauge.set(value, {"run": run, **tags})
