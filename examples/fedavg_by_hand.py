"""FedAvg twice: by hand, as the paper's pseudocode has it, and as one line of raydl. Equal numbers.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", 2017.
"""

from itertools import islice

import torch
from torch.nn.functional import cross_entropy

import raydl
from raydl.core.algorithm import Plan
from raydl.core.rng import generator
from raydl.data import IID, Digits, Uniform
from raydl.data.batches import minibatches, passes
from raydl.models import MLP
from raydl.runtimes.local.spec import Sequential

CLIENTS, ROUNDS, LR, SEED = 100, 10, 0.1, 0
PLAN = Plan(batch_size=10, epochs=5)


def by_hand() -> torch.nn.Module:
    """The server's and the clients' side of FedAvg, in plain torch."""
    digits = Digits().load()
    inputs = ((digits.train.inputs - digits.mean) / digits.std).flatten(1)
    targets = digits.train.targets
    shards = IID().assign(targets.numpy(), CLIENTS, SEED)
    torch.manual_seed(SEED)
    server, client = MLP(digits.shape, 10), MLP(digits.shape, 10)

    for number, cohort in enumerate(islice(Uniform(0.1).cohorts(CLIENTS, SEED), ROUNDS)):
        average = [torch.zeros_like(weight) for weight in server.parameters()]
        total = sum(len(shards[k]) for k in cohort)
        for k in cohort.tolist():
            client.load_state_dict(server.state_dict())
            optimizer = torch.optim.SGD(client.parameters(), LR)
            orders = passes(len(shards[k]), generator(SEED, number, k, "order"))
            for chosen in minibatches(len(shards[k]), PLAN, orders):
                samples = torch.from_numpy(shards[k])[chosen]
                optimizer.zero_grad()
                cross_entropy(client(inputs[samples]), targets[samples]).backward()
                optimizer.step()
            for sum_, weight in zip(average, client.parameters(), strict=True):
                sum_.add_(weight.detach() * len(shards[k]) / total)
        for weight, mean in zip(server.parameters(), average, strict=True):
            weight.data = mean
    return server


def by_raydl() -> raydl.History:
    """The same; only the runtime is named besides, because ten small rounds need no Ray."""
    return raydl.run(raydl.Run(rounds=ROUNDS, runtime=Sequential(), seed=SEED))


if __name__ == "__main__":
    hand, history = by_hand(), by_raydl()
    difference = max(
        (weight - history.params[name]).abs().max().item()
        for name, weight in hand.named_parameters()
    )
    print(history.table[["round", "messages", "bytes_up", "train_loss", "val_accuracy"]])
    print(f"largest difference of a parameter: {difference:.1e}")
