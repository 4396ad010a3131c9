"""A folder of images, one folder inside for each class, as torchvision has them.

They are read in parallel, and kept as bytes; the command line does the same:

    python examples/images_in_folders.py
    raydl run --data ImageFolder --data.root shapes --data.size 16 --clients 8 --rounds 30
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import raydl
from raydl.algorithms import FedAvg
from raydl.data import ImageFolder, Uniform


def draw_shapes(root: Path, each: int = 150) -> None:
    """Discs and boxes of any color, somewhere on a noisy ground."""
    draws = np.random.default_rng(0)
    for kind in ("box", "disc"):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            image = Image.fromarray(draws.integers(0, 120, (24, 24, 3), dtype=np.uint8))
            left, top = draws.integers(0, 10, 2).tolist()
            corners = (left, top, left + 13, top + 13)
            color = tuple(draws.integers(150, 256, 3).tolist())
            pen = ImageDraw.Draw(image)
            (pen.rectangle if kind == "box" else pen.ellipse)(corners, fill=color)
            image.save(root / kind / f"{number:03}.png")


if __name__ == "__main__":
    draw_shapes(Path("shapes"))
    run = raydl.Run(
        FedAvg(lr=0.05, batch_size=10, epochs=2),
        ImageFolder("shapes", size=16),
        model="LeNet",
        participation=Uniform(1.0),
        clients=8,
        rounds=30,
        runtime="sequential",
    )
    history = raydl.run(run)
    print(f"test accuracy {100 * history.summary['test_accuracy']:.1f} %")
