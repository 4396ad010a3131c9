"""What the studies share: the data, the network, the arithmetic, and their tables.

CIFAR-100 with a tenth of the training set held out for validation, stratified; `CifarCNN`
(815,332 parameters); random crops and flips; bfloat16; one thread a run. Settings are chosen on the
validation set, and the test accuracy is that of the parameters at the end of the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from raydl import Checkpointing, Evaluation, Model, Run
from raydl.algorithms import FedAvg
from raydl.data import CIFAR100, CropFlip, Synthetic
from raydl.runtimes.local.spec import Sequential
from tuning.output import TableRow, drawing, markdown
from tuning.studies.study import Results, Setting, choose_best

NAME = "CIFAR-100"
MADE_UP = Synthetic(samples=320, test=64, size=16, channels=3)
_SYMBOLS = {"workers": "K", "steps": "J", "classes": "N_c"}
_SCORED = 100  # times that a run of many rounds is scored


def base(setting: Setting, epochs: int | None) -> Run:
    """A run without an algorithm and a name; at the scale ``smoke``, on small made-up images."""
    return Run(
        data=MADE_UP if setting.smoke else CIFAR100(root=setting.root),
        model=Model("CifarCNN"),
        augmentation=CropFlip(),
        runtime=Sequential(),
        epochs=epochs,
        seed=1,
        precision="bf16",
        checkpoint=Checkpointing(keep=1),
        storage=setting.storage,
    )


def federated(setting: Setting, lr: float, steps: int, rounds: int) -> Run:
    """The `base` with FedAvg: K = 100 clients, C = .1, B = 64, no schedule; without a name.

    Args:
        setting: of the study; at the scale ``smoke`` there are 20 clients.
        lr: the clients' learning rate.
        steps: minibatches that each of them takes in a round (J).
        rounds: how many.
    """
    return replace(
        base(setting, None),
        algorithm=FedAvg(lr=lr, batch_size=64, steps=steps),
        clients=20 if setting.smoke else 100,
        rounds=rounds,
        evaluation=Evaluation(every=max(1, rounds // _SCORED)),
    )


def accuracies(row: Mapping[Any, Any]) -> TableRow:
    """The accuracies of a run in percent; NaN if it diverged."""
    return {
        "validation, %": 100 * row["val_accuracy"],
        "test, %": 100 * row["test_accuracy"],
    }


def best_rates(runs: pd.DataFrame, by: Sequence[str], length: str) -> str:
    """Two tables: the runs at their best rates, with what they cost, and every rate.

    Args:
        runs: a row for each run.
        by: the settings that a rate is chosen for, see `chosen`.
        length: of the runs, such as ``5 epochs``.

    Returns:
        Markdown.
    """
    rows = [
        {
            **{_SYMBOLS.get(name, name): row[name] for name in by},
            "lr": row["lr"],
            "rates tried": row["rates"],
            **accuracies(row),
            "± over seeds": 100 * row["test_std"],
            "seeds": row["seeds"],
            "samples": row["samples"],
            "messages": row["messages"],
            "sent down, MB": row["bytes_down"] / 1e6,
            "sent up, MB": row["bytes_up"] / 1e6,
            "wall seconds": round(row["wall_seconds"], 0),
        }
        for row in choose_best(runs, by).to_dict("records")
    ]
    forms = ("",) * len(by) + (".4g", "", ".2f", ".2f", ".2f", "", "", "", ",.1f", ",.1f", ".0f")
    first = runs[runs["seed"] == runs["seed"].iloc[0]]
    every = 100 * first.set_index([*by, "lr"])["val_accuracy"].unstack("lr", sort=False)
    every = every.sort_index(axis="columns").rename(columns="lr {:g}".format).reset_index()
    return (
        f"## The best rate in validation, after {length}\n\n"
        f"{markdown(pd.DataFrame(rows), forms)}\n\n"
        "## Validation accuracy in percent, of every rate that did not diverge\n\n"
        f"{markdown(every.rename(columns=_SYMBOLS))}\n\n"
    )


def draw_rounds(results: Results, by: Sequence[str], title: str, file: Path) -> None:
    """Plots the validation accuracy over the rounds of the runs at their best rates.

    Args:
        results: of the study.
        by: the settings that a rate is chosen for, see `chosen`.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    best = choose_best(results.runs, by)
    named = {name: _SYMBOLS.get(name, name) for name in dict.fromkeys([*by, "lr"])}
    best["label"] = [
        ", ".join(f"{symbol} {row[name]}" for name, symbol in named.items())
        for row in best.to_dict("records")
    ]
    scored = results.rounds.merge(best[["name", "label"]], on="name")
    with drawing(file, width=8, title=title) as [axes]:
        if len(scored):
            scored["accuracy"] = 100 * scored["val_accuracy"]
            sns.lineplot(scored, x="round", y="accuracy", hue="label", ax=axes)
            axes.legend(title=None)
        axes.set(xlabel="rounds", ylabel="validation accuracy, %", ylim=(0, None))
        axes.grid(alpha=0.3)
