"""A Hugging Face data set, with named columns: two inputs by the names of the model's arguments.

Clinics are the clients, and one of the columns says whose a row is:

    python examples/hugging_face.py
"""

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn

import raydl
from raydl.algorithms import FedAvg
from raydl.data import HuggingFace


def visits(rows: int = 3000) -> Dataset:
    """Visits to clinics: what was measured, what was said, and whether they come again."""
    draws = np.random.default_rng(0)
    measured = draws.normal(size=(rows, 3)).astype(np.float32)
    words = draws.integers(0, 20, (rows, 6))
    again = (measured.sum(1) + (words < 5).sum(1) - 1.5 > 0).astype(int)
    columns = {"measured": measured.tolist(), "words": words.tolist(), "again": again.tolist()}
    return Dataset.from_dict(columns | {"clinic": draws.integers(0, 12, rows).tolist()})


class Both(nn.Module):
    """A layer over the numbers, an embedding of the words, and one layer over both."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.numbers, self.embedding = nn.Linear(3, 8), nn.Embedding(20, 8)
        self.out = nn.Linear(16, classes)

    def forward(self, measured: Tensor, words: Tensor) -> Tensor:
        """Logits [B, classes] of numbers [B, 3] and words [B, 6]."""
        both = torch.cat([self.numbers(measured), self.embedding(words).mean(1)], 1)
        return self.out(both.relu())


if __name__ == "__main__":
    data = HuggingFace(visits(), target="again", inputs=("measured", "words"), owner="clinic")
    algorithm = FedAvg(lr=0.2, batch_size=16, epochs=2)
    run = raydl.Run(algorithm, data, "Natural", model=Both, runtime="sequential", rounds=30)
    history = raydl.run(run)
    print(f"test accuracy {100 * history.summary['test_accuracy']:.1f} %")
