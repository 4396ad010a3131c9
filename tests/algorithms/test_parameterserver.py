"""A parameter server's algorithms in one process: plain torch's numbers, and each other's."""

from itertools import islice, repeat

import numpy as np
import pytest
import torch
from torch import nn

from raydl.algorithms import EASGD, ParameterServer
from raydl.core import tree
from raydl.core.algorithm import Plan, Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.optim import LARS, SGD, Adam, AdamW
from raydl.optim.schedule import Constant, Cosine
from raydl.round import rounds
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, fingerprints, mlp, relative_distance

BATCH, STEPS = 20, 12


def workers(spec):
    algorithm = spec.build(Scope(samples=STEPS * BATCH))
    return federation(algorithm, partition=IID(), clients=spec.workers)


def run(problem, count):
    state = problem.algorithm.init(parameters(problem.task.model))
    everyone = repeat(np.arange(len(problem.partition)))
    loop = rounds(problem.algorithm, LocalRuntime(problem), state, everyone)
    return list(islice(loop, count))


def minibatches(problem, steps=STEPS):
    """The workers' minibatches, for each step a tuple over the workers."""
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    work = Work(0, (), Plan(BATCH, steps=steps, start_step=0))
    each = (data.batches(work, worker) for worker in range(len(problem.partition)))
    return zip(*each, strict=True)


def gradient(model, params, batch):
    """The gradient by plain torch."""
    model.load_state_dict(params)
    model.zero_grad()
    nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
    return {name: each.grad.clone() for name, each in model.named_parameters()}


@pytest.mark.parametrize(
    ("spec", "make"),
    [
        (SGD(0.05, 0.9, True, 1e-3), lambda p: torch.optim.SGD(p, 0.05, 0.9, 0, 1e-3, True)),
        (AdamW(0.01), lambda p: torch.optim.AdamW(p, 0.01)),
    ],
)
def test_with_one_step_it_is_training_on_the_global_batch(spec, make):
    server = ParameterServer(3, spec, Cosine(), BATCH, exchanges=STEPS)
    problem = workers(server)
    model = mlp(digits())
    optimizer = make(model.parameters())
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for batches in minibatches(problem):
        inputs, targets = (torch.cat(parts) for parts in list(zip(*batches, strict=True))[:2])
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        rates.step()
    (history,) = run(problem, 1)
    assert relative_distance(problem, final(problem, [history]), parameters(model)) < 1e-5


def test_with_more_steps_it_pushes_the_sum_of_the_gradients_on_its_way():
    spec = ParameterServer(2, Adam(0.1), Constant(), BATCH, steps=3, exchanges=STEPS // 3)
    problem, model = workers(spec), mlp(digits())
    params, state = parameters(model), Adam(0.1).rule().init(parameters(model))
    steps = list(minibatches(problem))
    for at in range(0, STEPS, 3):
        sums = []
        for worker in range(2):
            own, pushed = params, tree.zeros_like(params)
            for batches in steps[at : at + 3]:
                grads = gradient(model, own, batches[worker])
                own = tree.sub(own, tree.scale(grads, 0.1))
                pushed = tree.add(pushed, grads)
            sums.append(pushed)
        mean = tree.scale(tree.add(*sums), 0.5)
        params, state = Adam(0.1).rule().update(params, mean, state, 0.1)
    assert relative_distance(problem, final(problem, run(problem, 1)), params) < 1e-5


def test_easgd_is_the_papers():
    spec = EASGD(2, SGD(0.05, 0.9), BATCH, steps=3, moving_rate=0.3, exchanges=2)
    problem, model = workers(spec), mlp(digits())
    center = parameters(model)
    own = [center, center]
    rule = SGD(0.05, 0.9).rule()
    inner = [rule.init(center) for _ in own]
    for number, batches in enumerate(minibatches(problem), 1):
        for k, batch in enumerate(batches):
            own[k], inner[k] = rule.update(own[k], gradient(model, own[k], batch), inner[k], 0.05)
        if number % 3 == 0:
            pulls = [tree.scale(tree.sub(each, center), 0.3) for each in own]
            own = [tree.sub(each, pull) for each, pull in zip(own, pulls, strict=True)]
            center = tree.add(center, tree.add(*pulls))
    history = run(problem, STEPS // 6)
    assert relative_distance(problem, final(problem, history), center) < 1e-5


def test_a_round_of_several_exchanges_is_as_many_rounds():
    once, often = (
        run(workers(ParameterServer(3, SGD(), Cosine(), BATCH, exchanges=n)), STEPS // n)
        for n in (1, 4)
    )
    assert fingerprints(often) == fingerprints(once)[3::4]
    together, alone = often[0], once[:4]
    for total in ("messages", "bytes_up", "bytes_down", "samples", "local_steps"):
        assert getattr(together, total) == sum(getattr(each, total) for each in alone)
    for column in ("client", "loss"):
        expected = torch.cat([each.clients[column] for each in alone])
        assert torch.equal(together.clients[column], expected)
    assert together.simulated_seconds < together.wall_seconds


def test_the_schedule_follows_the_workers_steps_even_if_some_pushes_are_missing():
    algorithm = ParameterServer(4, SGD(lr=1.0), Cosine(), 10, exchanges=1).build(Scope(rounds=8))
    state = algorithm.init({"w": torch.zeros(2)})
    push = {"grads": {"w": torch.ones(2)}, "buffers": {}, "pushes": torch.tensor(2.0)}
    rates = []
    for _ in range(8):
        state, metrics = algorithm.server(state, push)
        rates.append(float(metrics["lr"]))
    expected = [(1 + np.cos(np.pi * step / 2 / 8)) / 2 for step in range(8)]
    assert rates == pytest.approx(expected)


def test_only_some_optimizers_can_be_cut_into_shards():
    specs = [SGD(), AdamW(), Adam(), LARS()]
    cut = [ParameterServer(2, each, Constant(), exchanges=1).build().elementwise for each in specs]
    assert cut == [True, True, True, False]


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        (ParameterServer, {"workers": 0}, "algorithm.workers is 0; it must be 1 or larger"),
        (ParameterServer, {"exchanges": 0}, "algorithm.exchanges is 0"),
        (EASGD, {"moving_rate": 1.0}, "algorithm.moving_rate is 1.0; it must be above 0"),
        (EASGD, {"steps": 0}, "algorithm.steps is 0"),
    ],
)
def test_values_out_of_range(spec, given, message):
    with pytest.raises(SpecError, match=message):
        spec(**given)


def test_what_follows_a_length_that_is_open():
    with pytest.raises(SpecError, match=r"algorithm.exchanges is an epoch, whose length is open"):
        EASGD().build()
    with pytest.raises(SpecError, match=r"algorithm.schedule follows .* --epochs or --rounds"):
        ParameterServer(exchanges=1).build()
