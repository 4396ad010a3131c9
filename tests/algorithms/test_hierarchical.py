"""Hierarchical local SGD: the laws that tie it to local SGD, and a loop of torch's own."""

from copy import deepcopy
from itertools import islice, repeat

import numpy as np
import pytest
import torch
from torch import nn

from raydl.algorithms import HierarchicalLocalSGD, LocalSGD
from raydl.core.algorithm import Plan, Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.optim import SGD
from raydl.optim.schedule import Constant
from raydl.round import rounds
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import federation, final, relative_distance

OPTIMIZER = SGD(lr=0.05, momentum=0.9)
WORKERS, BATCH, TOTAL = 4, 20, 24


def trained(spec, batched=False):
    """The problem and its parameters after ``TOTAL`` steps of each worker."""
    algorithm = spec.build(Scope(samples=TOTAL * BATCH))
    problem = federation(algorithm, partition=IID(), clients=WORKERS)
    state = algorithm.init(parameters(problem.task.model))
    loop = rounds(
        algorithm, LocalRuntime(problem, batched=batched), state, repeat(np.arange(WORKERS))
    )
    history = list(islice(loop, TOTAL // spec.steps))
    assert sum(each.local_steps for each in history) == WORKERS * TOTAL
    return problem, final(problem, history), history


def hierarchical(steps, groups, every):
    return HierarchicalLocalSGD(
        WORKERS, OPTIMIZER, Constant(), BATCH, steps, groups=groups, every=every
    )


def flat(steps):
    return LocalSGD(WORKERS, OPTIMIZER, Constant(), BATCH, steps)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (hierarchical(4, groups=1, every=3), flat(4)),
        (hierarchical(4, groups=2, every=1), flat(4)),
        (hierarchical(4, groups=WORKERS, every=3), flat(12)),
    ],
    ids=["one group", "groups that average every time", "groups of one worker"],
)
def test_it_is_local_sgd(given, same):
    problem, params, _ = trained(given)
    assert relative_distance(problem, params, trained(same)[1]) < 1e-5


@pytest.mark.parametrize("batched", [False, True])
def test_against_a_loop_of_torchs_own(batched):
    problem, params, history = trained(hierarchical(3, groups=2, every=4), batched)
    models = [deepcopy(problem.task.model) for _ in range(WORKERS)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9) for each in models]
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    work = Work(0, (), Plan(BATCH, steps=TOTAL, start_step=0))
    streams = [data.batches(work, worker) for worker in range(WORKERS)]
    for step in range(1, TOTAL + 1):
        for model, optimizer, stream in zip(models, optimizers, streams, strict=True):
            batch = next(stream)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            optimizer.step()
        if step % 12 == 0:
            average(models)
        elif step % 3 == 0:
            average(models[:2])
            average(models[2:])
    assert relative_distance(problem, params, parameters(models[0])) < 1e-5
    # A worker receives what its own group has: the parameters, and the number of the step.
    sent = sum(each.numel() * each.element_size() for each in parameters(models[0]).values())
    assert history[0].bytes_down == WORKERS * (sent + 8)


@torch.no_grad()
def average(models):
    for leaves in zip(*(each.parameters() for each in models), strict=True):
        mean = torch.stack(leaves).mean(0)
        for leaf in leaves:
            leaf.copy_(mean)


def test_mistakes():
    with pytest.raises(SpecError, match=r"algorithm.groups is 3; it must be a divisor of the 4 wo"):
        hierarchical(4, groups=3, every=1)
    with pytest.raises(SpecError, match=r"algorithm.every is 0; it must be 1 or larger"):
        hierarchical(4, groups=2, every=0)
