"""A run's figures arrive where Prometheus fetches them, and the dashboard asks for those."""

import json
import re
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
import ray

from raydl import Callback, Run, run
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.ray_cluster.prometheus import FIGURES, OF_TASK
from tests.command import titled
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("cluster")
DASHBOARD = Path(__file__).parents[2] / "clusters/grafana.json"


class Killer(Callback):
    """Kills the worker after the first round."""

    def on_round(self, row):
        if row["round"] == 1:
            for process in titled(psutil.Process(), "ray::BlockActor"):
                process.kill()


def scraped(name: str) -> dict[str, float]:
    """The metrics of a run that the node serves now."""
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urlopen(address, timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = (re.fullmatch(rf'ray_(raydl_\w+){{.*run="{name}".*}} (\S+)', line) for line in lines)
    return {each[1]: float(each[2]) for each in found if each}


def scraped_once(name: str, rounds: int) -> dict[str, float]:
    """The metrics as soon as so many rounds are told of; Ray passes them on every 10 s."""
    found: dict[str, float] = {}

    def told() -> bool:
        with suppress(URLError):  # the node's agent is only starting
            found.update(scraped(name))
        return found.get("raydl_rounds") == rounds

    until(told)
    return found


def test_a_node_serves_the_figures_of_a_run(tmp_path):
    spec = Run(
        runtime=Actors(workers=1), clients=10, rounds=3, storage=str(tmp_path), name="watched"
    )
    history = run(spec, callback=Killer())
    last = history.table.iloc[-1]
    found = scraped_once("watched", 3)
    assert found == {
        "raydl_workers": 1,
        "raydl_rounds": 3,
        "raydl_samples": last["samples"],
        "raydl_bytes_down": last["bytes_down"],
        "raydl_bytes_up": last["bytes_up"],
        "raydl_train_loss": pytest.approx(last["train_loss"]),
        "raydl_val_accuracy": pytest.approx(last["val_accuracy"]),
        "raydl_val_metric": pytest.approx(last["val_accuracy"]),
        "raydl_retries": 1,
    }


def test_the_dashboard_shows_every_figure_and_no_other():
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"ray_(raydl_\w+)", " ".join(queries)))
    assert asked == {*FIGURES, *OF_TASK}
    assert all('{run=~"$run"}' in query for query in queries)
    assert "run" in {each["name"] for each in dashboard["templating"]["list"]}
