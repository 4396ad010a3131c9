"""Processes that share each minibatch train every kind of module as replicas in a plain loop do."""

import copy
import traceback
import warnings

import pytest
import torch
from torch import nn

from raydl.algorithms import DataParallel
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.data.batches import ClientData
from raydl.optim import SGD
from raydl.runtimes.allreduce.runtime import AllReduceProcess as Process
from tests.core.test_zoo import BATCH, CONSTANT, LR, STEPS, equal, made, problem_of, state_of
from tests.federation import final, train
from tests.processes import Processes
from tests.zoo import ZOO

ALGORITHM = DataParallel(SGD(LR, momentum=0.9, weight_decay=0.1), CONSTANT, BATCH, STEPS)
REFUSED = ["checkpointed, reentrant", "embedding with max_norm"]  # see test_fitting
SHARED = [name for name in ZOO if name not in (*REFUSED, "sparse embedding")]


def every_module(problem, runtime, on_round, stop):
    """What comes of each module, or what it raised."""
    outcome = {}
    for name in SHARED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                own = problem_of(name, ALGORITHM)
                outcome[name] = final(own, train(own, Process(own), 1))
            except Exception:
                outcome[name] = traceback.format_exc()
    return outcome


@pytest.fixture(scope="module")
def trained():
    """By the number of processes."""

    def by(size):
        if size not in done:
            runtime = Processes(size)
            done[size] = runtime.launch(problem_of("plain", ALGORITHM), every_module, None, None)
        return done[size]

    done: dict[int, dict] = {}
    return by


def by_replicas(name: str, problem, size: int) -> list[nn.Module]:
    """A loop over replicas, each with a stretch of the minibatch, that average their gradients."""
    replicas = [made(name).train() for _ in range(size)]
    every = [list(each.parameters()) for each in replicas]
    steps = [torch.optim.SGD(own, LR, momentum=0.9, weight_decay=0.1) for own in every]
    plan = problem.algorithm.plan(state_of(problem))
    for batch in ClientData(problem.dataset, problem.partition, 0).batches(Work(0, (0,), plan), 0):
        inputs, targets = (part.chunk(size) for part in batch[:2])
        for rank, model in enumerate(replicas):
            model.zero_grad()
            outputs = model(inputs[rank]).float()
            nn.functional.cross_entropy(outputs, targets[rank]).backward()
        for together in zip(*every, strict=True):
            grads = [each.grad for each in together if each.grad is not None]
            for each in together:
                each.grad = sum(grads).div(size) if grads else None
        for step in steps:
            step.step()
    return replicas


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", SHARED)
def test_it_is_a_loop_over_replicas(trained, name, size):
    given = trained(size)[name]
    assert not isinstance(given, str), given
    problem = problem_of(name, ALGORITHM)
    replicas = by_replicas(name, problem, size)
    expected = copy.deepcopy(parameters(replicas[0]))
    for buffer in expected.keys() - dict(replicas[0].named_parameters()).keys():
        own = [parameters(each)[buffer] for each in replicas]
        expected[buffer] = sum(own) / size
    equal(given, expected, 2e-2 if name == "bfloat16" else 1e-4)
