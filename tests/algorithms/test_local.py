"""The laws that tie the local methods to each other and to training on one machine."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np
import pytest
import torch
from torch import nn

from raydl.algorithms import DiLoCo, LocalSGD, SlowMo
from raydl.algorithms.distributed import intervals
from raydl.core import tree
from raydl.core.algorithm import Plan, Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import IID, CropFlip
from raydl.data.batches import ClientData
from raydl.optim import LARS, SGD, AdamW
from raydl.optim.schedule import Constant, Cosine
from raydl.round import rounds
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, mlp, relative_distance

MOMENTUM = SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
TOTAL = 24  # steps of each worker in these runs
BATCH = 20


def workers(spec, model=None, **options):
    """The problem that a method's workers share for ``TOTAL`` steps each."""
    algorithm = spec.build(Scope(samples=TOTAL * spec.batch_size))
    return federation(algorithm, model, partition=IID(), clients=spec.workers, **options)


def run(problem):
    """The rounds that the ``TOTAL`` steps take."""
    state = problem.algorithm.init(parameters(problem.task.model))
    everyone = repeat(np.arange(len(problem.partition)))
    loop = rounds(problem.algorithm, LocalRuntime(problem), state, everyone)
    history = [next(loop)]
    while int(history[-1].state["step"]) < TOTAL:
        history.append(next(loop))
    return history


def distance(problem, expected):
    return relative_distance(problem, final(problem, run(problem)), expected)


def minibatches(problem):
    """The workers' minibatches, for each step a tuple over the workers."""
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    work = Work(0, (), Plan(BATCH, steps=TOTAL, start_step=0))
    each = (data.batches(work, worker) for worker in range(len(problem.partition)))
    return zip(*each, strict=True)


def by_torch(problem, optimizer, factor=lambda step: 1.0):
    """The parameters after training one model by torch on the workers' minibatches together."""
    model = deepcopy(problem.task.model)
    own = optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(own, factor)
    for together in minibatches(problem):
        inputs, targets = (torch.cat(each) for each in list(zip(*together, strict=True))[:2])
        own.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        own.step()
        schedule.step()
    return parameters(model)


def sgd(spec):
    return partial(
        torch.optim.SGD,
        lr=spec.lr,
        momentum=spec.momentum,
        nesterov=spec.nesterov,
        weight_decay=spec.weight_decay,
    )


@pytest.mark.parametrize("steps", [1, 5, TOTAL])
def test_one_worker_is_torchs_sgd_with_a_schedule(steps):
    spec = LocalSGD(1, MOMENTUM, Cosine(), BATCH, steps)
    problem = workers(spec)
    expected = by_torch(problem, sgd(MOMENTUM), Cosine().build(TOTAL))
    assert distance(problem, expected) < 1e-5


def test_one_worker_is_torchs_adamw():
    spec = LocalSGD(1, AdamW(lr=1e-2, weight_decay=0.1), Constant(), BATCH, 5)
    problem = workers(spec)
    adamw = partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1)
    assert distance(problem, by_torch(problem, adamw)) < 1e-5


def test_the_rounds_of_one_worker_change_only_the_rounding():
    """With dropout and augmentation: what is drawn belongs to the step, not to the round."""
    results = []
    for steps in (1, 7, TOTAL):
        spec = LocalSGD(1, MOMENTUM, Cosine(), BATCH, steps)
        problem = workers(spec, mlp(digits(), dropout=0.3), augmentation=CropFlip(1))
        results.append(final(problem, run(problem)))
    assert relative_distance(problem, results[1], results[0]) < 1e-5
    assert relative_distance(problem, results[2], results[0]) < 1e-5


@pytest.mark.parametrize(
    ("optimizer", "at_sync"),
    [(SGD(lr=0.1, momentum=0.0, weight_decay=1e-2), "reset"), (MOMENTUM, "average")],
    ids=["plain", "momentum averaged"],
)
def test_one_local_step_is_sgd_on_the_minibatches_together(optimizer, at_sync):
    problem = workers(LocalSGD(4, optimizer, Constant(), BATCH, 1, at_sync=at_sync))
    assert distance(problem, by_torch(problem, sgd(optimizer))) < 1e-5


@pytest.mark.parametrize("at_sync", ["keep", "reset", "average"])
def test_slowmo_without_its_momentum_is_local_sgd(at_sync):
    fields = (3, MOMENTUM, Cosine(), BATCH, 5, intervals.Fixed(), at_sync)
    local, slow = workers(LocalSGD(*fields)), workers(SlowMo(*fields, 0.0, 1.0))
    assert distance(slow, final(local, run(local))) < 1e-5


def test_diloco_without_its_momentum_is_local_adamw():
    fields = (3, AdamW(lr=1e-3), Cosine(), BATCH, 8)
    local = workers(LocalSGD(*fields))
    outer = workers(DiLoCo(*fields, outer_lr=1.0, outer_momentum=0.0))
    assert distance(outer, final(local, run(local))) < 1e-5


def movements(local, starts):
    """The workers' mean movement in one round of local SGD from each of the parameters."""
    runtime = LocalRuntime(local)
    for number, params in enumerate(starts):
        state = local.algorithm.init(params) | {"step": torch.tensor(6 * number)}
        work = Work(number, (0, 1, 2), local.algorithm.plan(state))
        reduced = runtime.map_reduce(local.algorithm.broadcast(state), work)
        yield local.algorithm.reduce.result(reduced.accumulator)["delta"]


def test_slowmo_as_the_paper_has_it():
    beta, alpha = 0.7, 0.8
    fields = (3, MOMENTUM, Cosine(), BATCH, 6, intervals.Fixed(), "reset")
    slow = workers(SlowMo(*fields, beta, alpha))
    x, u = parameters(slow.task.model), None
    starts = [x, *(final(slow, [each]) for each in run(slow))]
    for number, delta in enumerate(movements(workers(LocalSGD(*fields)), starts[:-1])):
        rate = MOMENTUM.lr * float(Cosine().build(TOTAL)(6 * number))
        moved = tree.scale(delta, -1 / rate)
        u = moved if u is None else tree.add(tree.scale(u, beta), moved)
        x = tree.sub(x, tree.scale(u, alpha * rate))
        assert relative_distance(slow, starts[number + 1], x) < 1e-4


def test_diloco_is_torchs_nesterov_on_the_movements():
    fields = (3, MOMENTUM, Constant(), BATCH, 6, intervals.Fixed(), "reset")
    outer = workers(DiLoCo(*fields, outer_lr=0.7, outer_momentum=0.9))
    x = parameters(outer.task.model)
    starts = [x, *(final(outer, [each]) for each in run(outer))]
    optimizer = torch.optim.SGD(list(x.values()), lr=0.7, momentum=0.9, nesterov=True)
    for number, delta in enumerate(movements(workers(LocalSGD(*fields)), starts[:-1])):
        for name, each in x.items():
            each.grad = -delta[name]
        optimizer.step()
        assert relative_distance(outer, starts[number + 1], x) < 1e-4


METHODS = {
    "LocalSGD": LocalSGD(3, MOMENTUM, Cosine(), BATCH, 5),
    "average": LocalSGD(3, MOMENTUM, Cosine(), BATCH, 5, at_sync="average"),
    "SlowMo": SlowMo(3, MOMENTUM, Cosine(), BATCH, 5, at_sync="reset"),
    "DiLoCo": DiLoCo(3, AdamW(lr=1e-2), Cosine(), BATCH, 4),
    "AdaComm": LocalSGD(3, MOMENTUM, Constant(), BATCH, 8, intervals.AdaComm()),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_worker_takes_the_steps_of_the_run(method):
    history = run(workers(method))
    assert sum(each.local_steps for each in history) == 3 * TOTAL
    assert sum(each.samples for each in history) == 3 * TOTAL * BATCH


def test_what_becomes_of_the_momentum_matters():
    reset, keep, average = (
        workers(LocalSGD(3, MOMENTUM, Constant(), BATCH, 5, at_sync=each))
        for each in ("reset", "keep", "average")
    )
    expected = final(keep, run(keep))
    assert distance(reset, expected) > 0.01
    assert distance(average, expected) > 0.001
    sent = {each: run(each)[0].bytes_up for each in (reset, keep, average)}
    parameters_only = 3 * tree.nbytes(expected)
    assert sent[reset] == sent[keep] == parameters_only + 3 * 4  # and a loss
    assert sent[average] == 2 * parameters_only + 3 * 4


def test_an_optimizer_that_finds_nothing_to_adapt_is_refused():
    algorithm = LocalSGD(2, LARS(), batch_size=BATCH).build(Scope(samples=TOTAL * BATCH))
    with pytest.raises(SpecError, match="LARS"):
        algorithm.init({"scale": torch.ones(3), "shift": torch.zeros(3)})


@pytest.mark.parametrize("method", [SlowMo(slow_lr=0.5), DiLoCo(outer_lr=0.5)], ids=type)
def test_running_statistics_are_averaged_whatever_the_outer_step(method):
    model = mlp(digits())
    model.insert(2, nn.BatchNorm1d(32))
    after = {}
    for name, spec in {"flat": LocalSGD(), "outer": method}.items():
        spec = replace(spec, workers=3, optimizer=MOMENTUM, batch_size=BATCH, steps=8)
        problem = workers(spec, deepcopy(model))
        after[name] = final(problem, run(problem)[:1])
    for name in ("2.running_mean", "2.running_var"):
        torch.testing.assert_close(after["outer"][name], after["flat"][name])
    assert not torch.allclose(after["outer"]["1.weight"], after["flat"]["1.weight"])
