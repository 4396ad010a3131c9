"""Modules drawn at random, of any depth, frozen, tied and with state, beside torch's own loop."""

import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from raydl.algorithms import LocalSGD
from raydl.assembly.trial import try_out
from raydl.core.algorithm import Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.core.task import Task
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.optim import SGD, schedule
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.tasks import Classification
from tests.core.test_zoo import equal
from tests.federation import final, seeded, train
from tests.zoo import C, F, data

WIDTH, DATA = 6, data("features")


class Counting(nn.Module):
    """Scales by how often it was passed, in a buffer that it writes to or reassigns."""

    def __init__(self, reassigns):
        super().__init__()
        self.reassigns = reassigns
        self.register_buffer("passes", torch.tensor(0, dtype=torch.int32))

    def forward(self, x):
        if self.training and self.reassigns:
            self.passes = self.passes + 1
        elif self.training:
            self.passes += 1
        return x * (1 + 0.1 * self.passes)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


LEAVES = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "without bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "tanh": nn.Tanh,
    "GELU": nn.GELU,
    "LayerNorm": lambda: nn.LayerNorm(WIDTH),
    "GroupNorm": lambda: nn.GroupNorm(2, WIDTH),
    "BatchNorm": lambda: nn.BatchNorm1d(WIDTH),
    "cumulative": lambda: nn.BatchNorm1d(WIDTH, momentum=None),
    "counting": lambda: Counting(False),
    "reassigning": lambda: Counting(True),
    "idle": lambda: nn.ParameterList([torch.ones(3)]),
}
KINDS = st.recursive(
    st.sampled_from(sorted(LEAVES)), lambda inner: st.lists(inner, max_size=3), max_leaves=8
)


class Net(nn.Module):
    def __init__(self, layers, tied, frozen):
        super().__init__()
        self.first, self.last = nn.Linear(F, WIDTH), nn.Linear(WIDTH, C)
        self.layers = nn.ModuleList(map(build, layers))
        square = [each for each in self.modules() if type(each) is nn.Linear][2:]
        for one, other in zip(square, square[1:] if tied else [], strict=False):
            other.weight = one.weight
        every = [each for each in self.parameters() if each is not self.last.weight]
        for at in frozen:
            every[at % len(every)].requires_grad_(False)

    def forward(self, x):
        x = self.first(x.double())
        for each in self.layers:
            x = x if isinstance(each, nn.ParameterList) else each(x)
        return self.last(x)


def build(kind):
    if isinstance(kind, str):
        return LEAVES[kind]()
    inner = [each for each in map(build, kind) if not isinstance(each, nn.ParameterList)]
    return Residual(*inner)


@settings(max_examples=60, suppress_health_check=HealthCheck)
@example([[], [], [[], ["LayerNorm", "BatchNorm"]], []], False, [], 0.0, 0.0)
@given(
    layers=st.lists(KINDS, max_size=4),
    tied=st.booleans(),
    frozen=st.lists(st.integers(0, 30), max_size=4),
    momentum=st.sampled_from([0.0, 0.9]),
    decay=st.sampled_from([0.0, 0.1]),
)
def test_a_few_steps_are_torchs(layers, tied, frozen, momentum, decay):
    def made():
        # Of float32's rounding, steps through norms of next to nothing would make another run.
        with seeded():
            return Net(layers, tied, frozen).double()

    spec = SGD(0.05, momentum, weight_decay=decay)
    algorithm = LocalSGD(1, spec, schedule.Constant(), batch_size=6, steps=3)
    parts = IID().assign(DATA.train.targets.numpy(), 1, 0)
    task = try_out(Task(made(), Classification()), DATA).task
    problem = Problem(algorithm.build(Scope(epoch=24)), task, DATA, parts)
    plan = problem.algorithm.plan(problem.algorithm.init(parameters(task.model)))

    model = made().train()
    steps = torch.optim.SGD(model.parameters(), 0.05, momentum, weight_decay=decay)
    for batch in ClientData(DATA, parts, 0).batches(Work(0, (0,), plan), 0):
        steps.zero_grad()
        nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
        steps.step()
    equal(final(problem, train(problem, LocalRuntime(problem), 1)), parameters(model))

    normalized = any(isinstance(each, nn.BatchNorm1d) for each in model.modules())
    try:
        batched = LocalRuntime(problem, batched=True)
    except SpecError:
        assert normalized
    else:
        assert not normalized
        equal(final(problem, train(problem, batched, 1)), parameters(model))
