"""SCAFFOLD twice: in forty lines, with what clients keep, and as the library has it. Equal numbers.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", 2020.
"""

from dataclasses import dataclass

import torch

import raydl
from raydl import Run
from raydl.algorithms import SCAFFOLD
from raydl.core import tree
from raydl.core.algorithm import Algorithm, Client, Plan, Scope
from raydl.core.reduce import mean
from raydl.data import ClassesPerClient


@dataclass(frozen=True)
class OwnScaffold:
    """Any frozen dataclass with ``build`` is an algorithm."""

    lr: float = 0.05
    steps: int = 10
    cohort: int = 10

    def build(self, scope: Scope) -> Algorithm:
        """The server's part; the model of this example has no buffers."""

        def server(state, sent):
            share = self.cohort / scope.clients
            return {
                "x": tree.add(state["x"], sent["move"]),
                "c": tree.add(state["c"], tree.scale(sent["change"], share)),
            }, {}

        return Algorithm(
            init=lambda params: {"x": params, "c": tree.zeros_like(params)},
            params=lambda state: state["x"],
            plan=lambda state: Plan(batch_size=10, steps=self.steps),
            broadcast=lambda state: state,
            client=Client(
                self._begin, self._step, self._end, lambda sent: tree.zeros_like(sent["c"])
            ),
            reduce=mean(by_samples=False),
            server=server,
        )

    def _begin(self, sent, kept):
        return {"w": sent["x"], "correction": tree.sub(sent["c"], kept)}

    def _step(self, gradient, local, batch):
        grads, _, metrics = gradient(local["w"], batch)
        direction = tree.add(grads, local["correction"])
        return local | {"w": tree.sub(local["w"], tree.scale(direction, self.lr))}, metrics

    def _end(self, sent, local):
        move, kept = tree.sub(local["w"], sent["x"]), tree.sub(sent["c"], local["correction"])
        now = tree.scale(
            tree.add(tree.scale(move, 1 / self.lr / self.steps), local["correction"]), -1
        )
        return {"move": move, "change": tree.sub(now, kept)}, now


if __name__ == "__main__":
    torch.set_num_threads(1)
    shared = {"partition": ClassesPerClient(1), "rounds": 30, "runtime": "batched"}
    own = raydl.run(Run(OwnScaffold(), **shared))
    library = raydl.run(Run(SCAFFOLD(lr=0.05, steps=10), **shared))
    apart = max((own.params[name] - each).abs().max() for name, each in library.params.items())
    print(f"test accuracy {100 * own.summary['test_accuracy']:.2f} %")
    print(f"largest difference of a parameter: {apart:.1e}")
