"""Data-parallel training in one process: the centralized baseline."""

import pytest
import torch
from torch import nn

from raydl import Model, Run
from raydl.algorithms import DataParallel
from raydl.assembly.assemble import assemble
from raydl.core.algorithm import Plan, Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import IID, Digits
from raydl.data.batches import ClientData
from raydl.optim import LAMB, LARS, SGD
from raydl.optim.schedule import Constant, Cosine
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, mlp, relative_distance, train

SAMPLES = len(digits().train.targets)


def run(spec, epochs=2.0, rounds=3, **options):
    algorithm = spec.build(Scope(samples=epochs * SAMPLES, epoch=SAMPLES))
    problem = federation(algorithm, partition=IID(), clients=1, **options)
    history = train(problem, LocalRuntime(problem), rounds, fraction=1.0)
    return problem, history


def test_it_is_torchs_own_loop():
    spec = DataParallel(SGD(lr=0.1, momentum=0.9, weight_decay=1e-3), Cosine(), batch_size=100)
    problem, history = run(spec)
    steps = [each.local_steps for each in history]
    an_epoch, total = -(-SAMPLES // 100), -(-2 * SAMPLES // 100)
    assert steps == [an_epoch, total - an_epoch, an_epoch]  # the third is past the run's end

    model = mlp(digits())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    whole = Plan(batch_size=100, steps=total, start_step=0)
    for batch in data.batches(Work(0, (0,), whole), 0):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        optimizer.step()
        cosine.step()
    given = problem.algorithm.params(history[1].state)
    assert relative_distance(problem, given, parameters(model)) < 1e-5


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), LARS(lr=1.0, trust=0.02), LAMB(lr=0.01)])
def test_accumulation_is_the_full_batch(optimizer):
    spec = DataParallel(optimizer, batch_size=500)
    whole = run(spec)
    pieces = run(spec, task={"microbatch": 64})
    assert relative_distance(whole[0], final(*pieces), final(*whole)) < 1e-4
    assert whole[1][-1].mean("loss") == pytest.approx(pieces[1][-1].mean("loss"), rel=1e-5)


def test_a_batch_larger_than_the_data_is_all_of_it():
    _, history = run(DataParallel(batch_size=10 * SAMPLES), epochs=3.0, rounds=2)
    assert [each.samples for each in history] == [SAMPLES, SAMPLES]


@pytest.mark.parametrize(("rule", "factor"), [("none", 1), ("linear", 8), ("sqrt", 8**0.5)])
def test_the_rate_grows_with_the_batch(rule, factor):
    spec = DataParallel(SGD(lr=0.01), Constant(), 512, scaling=rule, base_batch=64)
    _, (first, *_) = run(spec, rounds=1)
    assert float(first.metrics["lr"]) == pytest.approx(0.01 * factor)


def test_mistakes():
    with pytest.raises(SpecError, match=r"algorithm.steps is 0; it must be 1 or larger, or null"):
        DataParallel(steps=0)
    with pytest.raises(SpecError, match=r"algorithm.batch_size is 0"):
        DataParallel(batch_size=0)
    with pytest.raises(
        SpecError, match=r"algorithm.scaling is 'cubic'; it must be 'none' or 'linear'"
    ):
        DataParallel(scaling="cubic")
    with pytest.raises(SpecError, match=r"algorithm.steps is an epoch, whose length is open"):
        DataParallel().build()
    with pytest.raises(SpecError, match=r"LARS is given no parameter of two or more"):
        assemble(Run(DataParallel(LARS()), Digits(), model=Model(Bias), epochs=1))
    with pytest.raises(SpecError, match=r"workers of its own"):
        Run(DataParallel(), clients=10)


class Bias(nn.Module):
    """A model without a matrix."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, inputs):
        return self.bias.expand(len(inputs), -1)
