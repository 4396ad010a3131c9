"""Fine-tuning: a head for new classes on a body that was trained elsewhere, and is frozen.

The body learns the digits 0 to 4; then clients who only have 5 to 9 train the last layer, which is
all that they send.

    python examples/fine_tuning.py
"""

import raydl
from raydl import Model
from raydl.algorithms import FedAvg
from raydl.data import Digits, Tensors

DIGITS = Digits(validation=0, test=0).load().train


def half(first: int) -> Tensors:
    """Five of the digits, as classes 0 to 4."""
    chosen = (DIGITS.targets >= first) & (DIGITS.targets < first + 5)
    return Tensors(DIGITS.inputs[chosen].movedim(-1, 1), DIGITS.targets[chosen] - first)


if __name__ == "__main__":
    algorithm = FedAvg(lr=0.05, batch_size=16, epochs=2)
    plain = {"clients": 10, "rounds": 20, "runtime": "sequential"}
    raydl.run(raydl.Run(algorithm, half(0), model="MLP", name="body", **plain))

    body = raydl.load("runs/body")
    head = [name for name, _ in body.named_parameters()][-2:]
    frozen = [name for name, _ in body.named_parameters()][:-2]
    model = Model("MLP", from_="runs/body", fresh=head, frozen=frozen)
    history = raydl.run(raydl.Run(algorithm, half(5), model=model, name="head", **plain))
    sent, whole = history.summary["parameters"], sum(each.numel() for each in body.parameters())
    print(f"test accuracy {100 * history.summary['test_accuracy']:.1f} %")
    print(f"parameters {sent:,} of {whole:,} were trained and sent")
