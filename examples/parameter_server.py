"""A parameter server in plain Ray: workers push gradients, and pull what the server made of them.

One actor holds the parameters and applies each gradient as it comes, so nobody waits for anybody.
raydl's own server is this and more: parts of the parameters on several actors, a step when all are
there or a bound on how far apart they may be, and a stand-in for whoever dies. It runs, too.
"""

import ray
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import raydl
from raydl.algorithms import ParameterServer
from raydl.data import Digits
from raydl.models import MLP
from raydl.optim import SGD
from raydl.runtimes import ShardedServer
from raydl.runtimes.asynchrony.consistency import Asynchronous
from raydl.runtimes.ray_cluster.cluster import connected

WORKERS, STEPS, BATCH, LR = 2, 400, 32, 0.05


@ray.remote(num_cpus=0)
class Server:
    """Holds the parameters."""

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params
        self.pushes = 0

    def push(self, grads: list[Tensor]) -> list[Tensor]:
        """Makes a step along the gradients; the answer is a pull of what came of it."""
        self.params = [w - LR * g for w, g in zip(self.params, grads, strict=True)]
        self.pushes += 1
        return self.params

    def pull(self) -> tuple[list[Tensor], int]:
        """The parameters, and how many pushes they are made of."""
        return self.params, self.pushes


@ray.remote
def work(worker: int, server: ray.actor.ActorHandle) -> None:
    """Trains on every so many-th of the samples."""
    torch.set_num_threads(1)
    inputs, targets = samples("train")
    inputs, targets = inputs[worker::WORKERS], targets[worker::WORKERS]
    model, draws = MLP((1, 8, 8), 10), torch.Generator().manual_seed(worker)
    params, _ = ray.get(server.pull.remote())
    for _ in range(STEPS):
        fill(model, params)
        chosen = torch.randint(len(targets), (BATCH,), generator=draws)
        loss = cross_entropy(model(inputs[chosen]), targets[chosen])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        params = ray.get(server.push.remote(list(grads)))


def fill(model: nn.Module, params: list[Tensor]) -> None:
    """Gives the model these parameters."""
    for own, given in zip(model.parameters(), params, strict=True):
        own.data = given.clone()  # what Ray hands over lies in its own, read-only memory


def samples(split: str) -> tuple[Tensor, Tensor]:
    """The digits' inputs [samples, 1, 8, 8] and targets."""
    digits = Digits().load()
    inputs, targets = getattr(digits, split)
    return ((inputs - digits.mean) / digits.std).movedim(-1, 1), targets


def by_hand() -> float:
    """The accuracy after all workers have pushed all their gradients to the server above."""
    model = MLP((1, 8, 8), 10)
    server = Server.remote([each.detach() for each in model.parameters()])
    ray.get([work.remote(worker, server) for worker in range(WORKERS)])
    params, pushes = ray.get(server.pull.remote())
    fill(model, params)
    inputs, targets = samples("test")
    print(f"{pushes} pushes")
    return float((model(inputs).argmax(1) == targets).float().mean())


def by_raydl() -> float:
    """The same with raydl, here with two shards; and with a run's folder, checkpoints, resume."""
    algorithm = ParameterServer(WORKERS, SGD(LR, momentum=0.0), batch_size=BATCH, exchanges=STEPS)
    runtime = ShardedServer(shards=2, consistency=Asynchronous())
    history = raydl.run(raydl.Run(algorithm=algorithm, runtime=runtime, rounds=1))
    return float(history.summary["test_accuracy"])


if __name__ == "__main__":
    with connected(None, cpus=WORKERS):
        print(f"by hand: test accuracy {100 * by_hand():.1f} %")
        print(f"by raydl: test accuracy {100 * by_raydl():.1f} %")
