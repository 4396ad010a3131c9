"""The workloads that are timed: a model, an algorithm, and data made from a seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import nn

from raydl.algorithms import FedAvg
from raydl.core.algorithm import Work
from raydl.core.task import Precision, Task
from raydl.data import IID, Dataset, Partition, Split, Synthetic, Tensors, Uniform
from raydl.data.text.windows import Text, Windows
from raydl.models import CharLSTM, CifarCNN, MnistCNN, Softmax
from raydl.runtimes.problem import Problem
from raydl.tasks import Classification

SEED = 0


@dataclass(frozen=True)
class Workload:
    """What is trained, by how many clients, on what.

    Args:
        title: what the table says of it.
        data: makes the data set.
        model: makes the model, of a sample's shape and the number of classes.
        algorithm: what is run.
        clients: registered clients (N).
        fraction: of the clients that take part in a round (C).
        precisions: that are timed; the bare loop in the first is what everything is compared to.
        turn: rounds that one contender runs before it is the next one's turn.
        batched: whether raydl's vmap over clients takes turns, too.
    """

    title: str
    data: Callable[[], Dataset]
    model: Callable[[Sequence[int], int], nn.Module]
    algorithm: FedAvg
    clients: int
    fraction: float = 0.1
    precisions: tuple[Precision, ...] = ("float32", "bf16")
    turn: int = 1
    batched: bool = True


@dataclass(frozen=True)
class Prepared:
    """A workload with its data made, its clients given theirs, and its cohorts drawn.

    Args:
        workload: what this is.
        dataset: the samples.
        partition: who has which.
        model: whose parameters every contender starts from.
        work: the cohorts of round 0, 1, ...
    """

    workload: Workload
    dataset: Dataset
    partition: Partition
    model: nn.Module
    work: list[Work]

    def problem(self, precision: Precision = "float32") -> Problem:
        """What raydl's runtimes are built from."""
        return Problem(
            self.workload.algorithm.build(),
            Task(self.model, Classification(), precision),
            self.dataset,
            self.partition,
            SEED,
        )

    def cohorts(self) -> list[np.ndarray]:
        """The cohorts alone."""
        return [np.array(work.clients) for work in self.work]


def prepare(workload: Workload, rounds: int) -> Prepared:
    """Makes all that the contenders share, for so many rounds."""
    dataset = workload.data()
    partition = IID().assign(dataset.train.targets.numpy(), workload.clients, SEED)
    torch.manual_seed(SEED)
    model = workload.model(dataset.shape, dataset.classes)
    algorithm = workload.algorithm.build()
    plan = algorithm.plan({})
    cohorts = Uniform(workload.fraction).cohorts(workload.clients, SEED)
    work = [
        Work(number, tuple(cohort.tolist()), plan)
        for number, cohort in enumerate(islice(cohorts, rounds))
    ]
    return Prepared(workload, dataset, partition, model, work)


def images(samples: int, size: int, channels: int, classes: int) -> Dataset:
    """Images as bytes, all of them to train on."""
    return Synthetic(samples, 0, classes, size, channels, validation=0).load()


def _features(samples: int, width: int, classes: int) -> Dataset:
    """Normalized features, float32; a random linear rule gives the classes."""
    draws = torch.Generator().manual_seed(SEED)
    inputs = torch.randn(samples, width, generator=draws)
    targets = (inputs @ torch.randn(width, classes, generator=draws)).argmax(1)
    return Tensors(inputs, targets, classes=classes, validation=0, test=0).load()


def _letters(windows: int, length: int) -> Dataset:
    """Windows of a made-up text, and the letter behind each."""
    text = np.random.default_rng(SEED).integers(0, 80, windows + length, dtype=np.uint8)
    starts = torch.arange(windows)
    targets = torch.from_numpy(text[length:].astype(np.int64))
    train = Split(Windows(Text(text), starts, length), targets)
    return Dataset("letters", train, train.none(), train.none(), 80)


def _has_bf16_lstm() -> bool:
    """Whether this processor has an LSTM in bfloat16."""
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(8, 8)(torch.zeros(2, 1, 8))
    except RuntimeError:
        return False
    return True


def mnist_cnn(quick: bool) -> Workload:
    """W1: one pass over 600 images of each of 10 clients."""
    clients, samples, batch = (20, 20, 10) if quick else (100, 600, 100)
    return Workload(
        f"MNIST CNN, N={clients}, C=.1, E=1, B={batch}, {samples} samples a client",
        partial(images, clients * samples, 28, 1, 10),
        MnistCNN,
        FedAvg(lr=0.01, batch_size=batch, epochs=1),
        clients,
    )


def softmax(quick: bool) -> Workload:
    """W2: so little work for each client that everything else shows."""
    clients, width = (100, 16) if quick else (1000, 784)
    return Workload(
        f"softmax regression on {width} features, N={clients}, C=.1, E=1, B=20, 60 samples each",
        partial(_features, clients * 60, width, 10),
        Softmax,
        FedAvg(lr=0.1, batch_size=20, epochs=1),
        clients,
        precisions=("float32",),
        turn=1 if quick else 10,
    )


def cifar_cnn(quick: bool) -> Workload:
    """W3: four minibatches of each of 10 clients."""
    clients, samples, batch = (20, 20, 10) if quick else (100, 500, 64)
    steps = 1 if quick else 4
    return Workload(
        f"CIFAR CNN, K={clients}, C=.1, J={steps}, B={batch}",
        partial(images, clients * samples, 32, 3, 100),
        CifarCNN,
        FedAvg(lr=0.01, batch_size=batch, steps=steps),
        clients,
    )


def char_lstm(quick: bool) -> Workload:
    """W7: four minibatches of windows of each of 10 clients, gathered from a text."""
    clients, samples, batch, length = (20, 20, 10, 12) if quick else (100, 500, 64, 80)
    steps = 1 if quick else 4
    return Workload(
        f"CharLSTM on windows of {length}, K={clients}, C=.1, J={steps}, B={batch}",
        partial(_letters, clients * samples, length),
        partial(CharLSTM, hidden=16 if quick else 256, last=True),
        FedAvg(lr=0.5, batch_size=batch, steps=steps),
        clients,
        precisions=("float32", "bf16") if _has_bf16_lstm() else ("float32",),
        batched=False,  # raydl refuses an LSTM under vmap
    )


TIMED = {"W1": mnist_cnn, "W2": softmax, "W3": cifar_cnn, "W7": char_lstm}
