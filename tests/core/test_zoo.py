"""Whatever trains in a plain torch loop trains here to the same numbers, or is refused in words."""

import pytest
import torch
from torch import nn

from raydl.algorithms import LocalSGD
from raydl.assembly.trial import try_out
from raydl.core.algorithm import Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.core.task import Task
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.optim import SGD, AdamW, schedule
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.tasks import Classification
from tests.federation import final, seeded, train
from tests.zoo import ZOO, data

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning"),
]
STEPS, BATCH, LR, CONSTANT = 5, 6, 0.05, schedule.Constant()
OPTIMIZERS = {
    "SGD": (SGD(LR, momentum=0), lambda ps: torch.optim.SGD(ps, LR)),
    "momentum and decay": (
        SGD(LR, momentum=0.9, weight_decay=0.1),
        lambda ps: torch.optim.SGD(ps, LR, momentum=0.9, weight_decay=0.1),
    ),
    "AdamW": (
        # Of a gradient that is rounding alone, a small ε would make steps.
        AdamW(LR, eps=1e-3, weight_decay=0.1),
        lambda ps: torch.optim.AdamW(ps, LR, eps=1e-3, weight_decay=0.1),
    ),
}


def made(name: str) -> nn.Module:
    with seeded():
        model = ZOO[name][1]()
        if any(isinstance(each, nn.UninitializedParameter) for each in model.parameters()):
            model(data(ZOO[name][0]).train.inputs[:2])
    return model


def problem_of(name: str, algorithm) -> Problem:
    dataset = data(ZOO[name][0])
    task = try_out(Task(made(name), Classification()), dataset).task
    parts = IID().assign(dataset.train.targets.numpy(), 1, 0)
    return Problem(algorithm.build(Scope(epoch=24)), task, dataset, parts)


def by_torch(name: str, problem: Problem, optimizer) -> nn.Module:
    """A plain loop over the same minibatches."""
    model, plan = made(name).train(), problem.algorithm.plan(state_of(problem))
    steps = optimizer(list(model.parameters()))
    for batch in ClientData(problem.dataset, problem.partition, 0).batches(Work(0, (0,), plan), 0):
        steps.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs).float(), batch.targets).backward()
        steps.step()
    return model


def state_of(problem):
    return problem.algorithm.init(parameters(problem.task.model))


def equal(given, expected, tolerance=1e-4) -> None:
    assert given.keys() == expected.keys()
    for name, leaf in expected.items():
        torch.testing.assert_close(given[name], leaf, rtol=tolerance, atol=tolerance, msg=name)


# Of sparse gradients, torch's other optimizers make no step that could be compared.
TRAINED = [
    (n, each) for n in ZOO for each in OPTIMIZERS if n != "sparse embedding" or each == "SGD"
]


@pytest.mark.parametrize(("name", "optimizer"), TRAINED)
def test_eager(name, optimizer):
    spec, theirs = OPTIMIZERS[optimizer]
    algorithm = LocalSGD(1, spec, CONSTANT, BATCH, STEPS)
    problem = problem_of(name, algorithm)
    given = final(problem, train(problem, LocalRuntime(problem), 1))
    equal(given, parameters(by_torch(name, problem, theirs)), 2e-2 if name == "bfloat16" else 1e-4)


HOOKS = "don't yet support saved tensor hooks"
FUNCTION = "must override the setup_context staticmethod"
STATISTICS = "running statistics change in place"
UNDER_VMAP = {
    "checkpointed": f"Checkpointed cannot train under vmap: .*{HOOKS}",
    "checkpointed, reentrant": FUNCTION,
    "checkpoint_sequential": HOOKS,
    "sometimes used": "data-dependent control flow",
    "BatchNorm": rf"the model's between is a BatchNorm1d, whose {STATISTICS}",
    "BatchNorm without momentum": STATISTICS,
    "BatchNorm of the batch": "would count the samples that pad",
    "BatchNorm2d": STATISTICS,
    "spectral_norm": r"\(in b, a Linear\): Batching rule not implemented",
    "parametrized spectral_norm": r"\(in b.parametrizations.weight.0, a _SpectralNorm\)",
    "LSTM": "the model's r is a LSTM, whose kernels have no rule for vmap",
    "own function": FUNCTION,
    "backward hook": rf"\(in b, a Linear\): .*{FUNCTION}",
    "parameter hook": "gives other grads of b.weight than by itself: it has hooks",
    "sparse embedding": "SparseCPU",
    "embedding with max_norm": "gives other buffers of e.weight",
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", [name for name in ZOO if name not in UNDER_VMAP])
def test_functional(name, optimizer):
    spec, theirs = OPTIMIZERS[optimizer]
    problem = problem_of(name, LocalSGD(1, spec, CONSTANT, BATCH, STEPS))
    given = final(problem, train(problem, LocalRuntime(problem, batched=True), 1))
    equal(given, parameters(by_torch(name, problem, theirs)), 2e-2 if name == "bfloat16" else 1e-4)


@pytest.mark.parametrize(("name", "told"), UNDER_VMAP.items(), ids=UNDER_VMAP)
def test_what_vmap_cannot_do_is_told(name, told):
    problem = problem_of(name, LocalSGD(1, batch_size=BATCH, steps=STEPS, schedule=CONSTANT))
    with pytest.raises(SpecError, match=rf"{told}.*train one client at a time: --runtime seq"):
        LocalRuntime(problem, batched=True)
