"""Text, letter by letter: a small transformer learns what comes next in a text of one's own.

Two workers train with AdamW and meet after every eighth step:

    python examples/text.py
"""

import torch

import raydl
from raydl import Model
from raydl.algorithms import LocalSGD
from raydl.data import Tensors
from raydl.optim import AdamW

TEXT = "".join(
    f"{n} green bottles hanging on the wall, and if one fell, {n - 1}. " for n in range(99, 0, -1)
)
LENGTH = 32


def windows(text: str) -> Tensors:
    """Every window of the text and, of each of its letters, the one that comes next."""
    letters = sorted({*text})
    codes = torch.tensor([letters.index(letter) for letter in text])
    cut = codes.unfold(0, LENGTH + 1, 4)
    return Tensors(cut[:, :-1], cut[:, 1:], classes=len(letters))


if __name__ == "__main__":
    algorithm = LocalSGD(2, AdamW(lr=3e-3), batch_size=16, steps=8)
    model = Model("Decoder", {"width": 32, "depth": 2, "heads": 2})
    run = raydl.Run(algorithm, windows(TEXT), model=model, epochs=6, runtime="sequential")
    history = raydl.run(run)
    print(f"test perplexity {history.summary['test_perplexity']:.2f}")
