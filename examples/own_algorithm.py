"""An algorithm of one's own: signSGD with majority vote, in the three parts that every one has.

Each client sends the sign of its gradient, and the server steps by the sign of their mean: one bit
for each parameter would do. J. Bernstein et al., "signSGD with Majority Vote is Communication
Efficient and Fault Tolerant", ICLR 2019.

The same file runs everywhere:

    python examples/own_algorithm.py
    PYTHONPATH=examples raydl run --algorithm own_algorithm:SignSGD --algorithm.lr 0.003
"""

from dataclasses import dataclass
from operator import itemgetter

import raydl
from raydl.core import tree
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, Client, Plan, Scope
from raydl.core.reduce import mean
from raydl.runtimes.local.spec import Sequential


@dataclass(frozen=True)
class SignSGD:
    """Gradient descent by the majority's sign.

    Args:
        lr: what each parameter moves by in a round.
    """

    lr: float = 0.003

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with this rate, whatever the length of the run."""

        def step(gradient, local, batch):
            grads, _, metrics = gradient(local["params"], batch)
            return local | {"sign": tree.map(lambda g: g.sign(), grads)}, metrics

        def server(state, votes):
            steps = tree.map(lambda vote: self.lr * vote.sign(), votes)
            return {"params": tree.sub(state["params"], steps)}, {}

        return Algorithm(
            init=lambda params: {"params": params},
            params=itemgetter("params"),
            plan=lambda state: Plan(batch_size=None, epochs=1),
            broadcast=itemgetter("params"),
            client=Client(
                init=lambda params, kept: {"params": params},
                step=step,
                final=lambda params, local: (local["sign"], {}),
            ),
            reduce=mean(),
            server=server,
        )


if __name__ == "__main__":
    history = raydl.run(raydl.Run(algorithm=SignSGD(), rounds=100, runtime=Sequential()))
    print(f"test accuracy {100 * history.summary['test_accuracy']:.1f} %")
