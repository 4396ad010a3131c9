"""Message passing: one machine, gradient all-reduce, a parameter server and FedAvg, on CIFAR-10.

LeNet, SGD at rate .01 with momentum .9, a global batch of 100, 3 epochs, seed 42; and FedAvg with
4 clients, 5 rounds of 1 epoch, B = 32, iid and with labels by Dirichlet(.1).

The processes of the all-reduce share the minibatches of the one machine: both end with the same
parameters, up to rounding. So do the parameter server's workers on actors, and one process that
takes their minibatches in turn: each worker has its own quarter of the samples, and with it other
minibatches than the one machine.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from raydl import Checkpointing, Model, Run
from raydl.algorithms import DataParallel, FedAvg, ParameterServer
from raydl.assembly.assemble import assign
from raydl.communication.cost import message_bytes
from raydl.core.algorithm import AlgorithmSpec
from raydl.core.grad import parameters
from raydl.data import CIFAR10, IID, Dirichlet, Synthetic, Uniform
from raydl.data.figures import label_counts, plot_partition
from raydl.data.partitions.partition import PartitionSpec
from raydl.optim import SGD
from raydl.optim.schedule import Constant
from raydl.planning.forecast import schemes
from raydl.run_folder import checkpoint
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.parameter_server.spec import ShardedServer as Served
from raydl.runtimes.spec import RuntimeSpec
from raydl.storage import Folder
from tuning.output import drawing, markdown
from tuning.studies.cifar100.protocol import accuracies
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Scale, Setting, Study

MODEL = Model("LeNet")
OPTIMIZER, BATCH = SGD(lr=0.01, momentum=0.9), 100
SAME = {  # who ends with whose parameters
    "all-reduce": "centralized",
    "parameter server": "parameter server, in one process",
}
EPOCHS: dict[Scale, int] = {"smoke": 1, "short": 1, "full": 3}
ROUNDS: dict[Scale, int] = {"smoke": 1, "short": 2, "full": 5}


def message_passing(setting: Setting) -> Study:
    """One machine, all-reduce, parameter server and FedAvg: equal parameters, labels, traffic."""
    smoke, epochs, rounds = setting.smoke, EPOCHS[setting.scale], ROUNDS[setting.scale]
    workers = 2 if smoke else 4
    made_up = Synthetic(samples=444, test=64, size=16, channels=3)
    base = Run(
        data=made_up if smoke else CIFAR10(root=setting.root),
        model=MODEL,
        seed=42,
        checkpoint=Checkpointing(keep=1),
        storage=setting.storage,
    )
    alone = DataParallel(OPTIMIZER, Constant(), BATCH)
    served = ParameterServer(workers, OPTIMIZER, Constant(), BATCH // workers)
    averaged = FedAvg(0.01, batch_size=32, epochs=1, momentum=0.9)
    schemed: dict[str, tuple[AlgorithmSpec, RuntimeSpec]] = {
        "centralized": (alone, Sequential()),
        "all-reduce": (alone, AllReduce(workers)),
        "parameter server": (served, Served()),
        "parameter server, in one process": (served, Sequential()),
    }
    cells = [
        _cell(replace(base, epochs=epochs, algorithm=algorithm, runtime=runtime), name, workers)
        for name, (algorithm, runtime) in schemed.items()
    ]
    federated = replace(
        base,
        algorithm=averaged,
        clients=4,
        participation=Uniform(1.0),
        rounds=rounds,
        runtime=Sequential(),
    )
    partitions: dict[str, PartitionSpec] = {
        "FedAvg, iid": IID(),
        "FedAvg, Dirichlet": Dirichlet(0.1, min_size=10),
    }
    cells += [
        _cell(replace(federated, partition=partition), name, 4)
        for name, partition in partitions.items()
    ]
    length = f"{epochs} epochs, or {rounds} rounds"
    vector = _vector_bytes((3, 16, 16) if smoke else (3, 32, 32))

    def report(results: Results) -> str:
        title = f"## After {length}\n\n{markdown(_runs(results, setting.storage), _FORMS)}\n\n"
        traffic = "## Traffic by the planner, and as counted, MB\n\n"
        return title + traffic + f"{markdown(_traffic(results.runs, vector))}\n\n"

    def draw(results: Results, folder: Path) -> None:
        draw_labels(cells[-1].run, setting.title("CIFAR-10", "Dirichlet(.1)"), folder)
        title = setting.title("LeNet on CIFAR-10", length)
        draw_traffic(results.runs, vector, title, folder / "traffic.png")

    return Study(cells, report, draw, ["scheme"], setting.seeds)


def _cell(run: Run, name: str, workers: int) -> Cell:
    called = name.replace(", ", "-").replace(" ", "-")
    exchanged = {"rounds": run.rounds} if run.rounds else {"rounds": int(run.epochs or 0)}
    settings: dict[str, str | int | float] = {
        "scheme": name,
        "workers": 1 if name == "centralized" else workers,
    }
    return Cell(replace(run, name=called), settings | exchanged)


def _vector_bytes(shape: tuple[int, ...]) -> int:
    """Of a message that holds the parameters, for images of such a shape."""
    built = parameters(MODEL.build(shape, 10))
    return message_bytes(sum(each.numel() for each in built.values()))


_FORMS = ("", "", "", "", ".2f", ".2f", "", "", "", ".1e", ".1f")


def _runs(results: Results, storage: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "scheme": row["scheme"],
                "workers": row["workers"],
                "seed": row["seed"],
                "local steps": row["local_steps"],
                **accuracies(row),
                "messages": row["messages"],
                "samples": row["samples"],
                "same parameters as": SAME.get(row["scheme"]),
                "furthest apart": _apart(row["name"], row["scheme"], storage),
                "wall seconds": row["wall_seconds"],
            }
            for row in results.runs.to_dict("records")
        ]
    )


def _apart(name: str, scheme: str, storage: str) -> float | None:
    """How far any parameter of a run lies from that of the one which it should end with.

    None if there is no such run, or one of the two was brought without its checkpoint.
    """
    if scheme not in SAME:
        return None
    own, other = (each.replace(", ", "-").replace(" ", "-") for each in (scheme, SAME[scheme]))
    found = [
        checkpoint.newest(Folder(storage) / run) for run in (name, name.replace(own, other, 1))
    ]
    if any(each is None for each in found):
        return None
    one, two = (each.state["params"] for each in found if each is not None)
    return max(float((one[key] - two[key]).abs().max()) for key in one)


def _traffic(runs: pd.DataFrame, vector: int) -> pd.DataFrame:
    """What S exchanges of gradients, or R rounds, send by each scheme; P bytes, N workers.

    A star is a parameter server, 2 N P S, or FedAvg, 2 N P R; see `raydl.communication.cost`.
    """
    rows = []
    for row in _seed_42(runs).to_dict("records"):
        if row["workers"] == 1 or "one process" in row["scheme"]:
            continue
        exchanges = _exchanges(runs, row["scheme"])
        ways = schemes(vector, vector, summed=vector)
        sent = {
            name: (ways[name](row["workers"]) * exchanges).bytes_sent / 1e6
            for name in ("star", "all_to_all", "tree", "ring")
        }
        counted = (row["bytes_down"] + row["bytes_up"]) / 1e6
        told = {"scheme": row["scheme"], "N": row["workers"], "exchanges": exchanges, **sent}
        # torch's DDP sends the gradients of an all-reduce, and counts nothing.
        rows.append(told | {"counted": None if row["scheme"] == "all-reduce" else counted})
    return pd.DataFrame(rows)


def _seed_42(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["seed"] == 42]


def _exchanges(runs: pd.DataFrame, scheme: str) -> int:
    """S, the steps of the server or of the all-reduce; or R, the rounds of FedAvg."""
    first = _seed_42(runs)
    row = first[first["scheme"] == scheme].iloc[0]
    if scheme.startswith("FedAvg"):
        return int(row["rounds"])
    own = scheme.startswith("parameter server")  # whose steps are counted on every worker
    steps: float = row["local_steps"] / (row["workers"] if own else 1)
    return round(steps)


def draw_labels(run: Run, title: str, folder: Path) -> None:
    """Plots the labels of each client as stacked bars, into ``labels.png``.

    Args:
        run: whose clients they are.
        title: of the figure.
        folder: where.
    """
    data = run.data.load()
    assert data.classes is not None
    labels = np.asarray(data.train.targets)
    counts = label_counts(labels, assign(run, data), data.classes)
    plot_partition(counts, title).savefig(folder / "labels.png", format="png")


def draw_traffic(runs: pd.DataFrame, vector: int, title: str, file: Path) -> None:
    """Plots what is sent in all over the number of workers, a line for each scheme.

    Args:
        runs: a row for each run.
        vector: bytes of the parameters.
        title: of the figure.
        file: PNG to write.
    """
    there = set(_seed_42(runs)["scheme"])
    workers = np.array([2, 4, 8, 16, 32, 64])
    ways = schemes(vector, vector, summed=vector)
    with drawing(file, title=title) as [axes]:
        for scheme, way in (
            ("all-reduce", "ring"),
            ("parameter server", "star"),
            ("FedAvg, iid", "star"),
        ):
            if scheme in there:
                times = _exchanges(runs, scheme)
                sent = [(ways[way](count) * times).bytes_sent / 1e6 for count in workers.tolist()]
                axes.plot(workers, sent, marker="o", label=f"{scheme} ({way}): {times:,} exchanges")
                axes.legend()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(xlabel="workers N", ylabel="sent in all, MB")
        axes.grid(alpha=0.3)
