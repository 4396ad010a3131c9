"""FedAsync: the server's parameters mixed with the mean of the clients'."""

import torch

from raydl.algorithms import FedAsync
from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import federation, final, train


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


def test_fedasync_mixes_the_mean_of_the_clients_models():
    problem = federation(FedAsync(mixing=0.25, steps=3).build())
    (each,) = run(problem, 1)
    start, models = parameters(problem.task.model), []
    for client in each.clients["client"].long().tolist():
        alone = LocalRuntime(problem).map_reduce(
            start, Work(0, (client,), problem.algorithm.plan(each.state))
        )
        models.append(problem.algorithm.reduce.result(alone.accumulator)["params"])
    average = tree.map(lambda *leaves: torch.stack(leaves).mean(0), *models)
    expected = tree.map(lambda x, w: 0.75 * x + 0.25 * w, start, average)
    torch.testing.assert_close(final(problem, [each]), expected)
