"""What every algorithm must satisfy, whatever it is: all that are registered, as a run has them.

An algorithm enters by being registered. Its settings are its defaults, made small where it has a
field that makes a run long, and each other value of a field of its own that names its values;
`MORE` adds what can only be said by hand.
"""

import inspect
import random
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache, reduce
from itertools import combinations, islice, pairwise
from math import prod
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn

import raydl
from raydl import Model, Run
from raydl.algorithms.distributed.intervals import QSR, AdaComm, Growing, PostLocal
from raydl.assembly.assemble import assemble
from raydl.caller import untouched
from raydl.config.choices import CHOICES
from raydl.core import tree
from raydl.core.algorithm import Algorithm, Scope, Update, Work
from raydl.core.grad import parameters
from raydl.core.module import complete
from raydl.core.reduce import sole
from raydl.core.tree import Tree
from raydl.data import Digits, Uniform
from raydl.optim import LARS, SGD, AdamW, Yogi
from raydl.optim.schedule import Constant
from raydl.round import Round, server_step
from raydl.run_folder import checkpoint
from raydl.run_folder.checkpoint import Checkpoint
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.local.spec import OneProcess, Sequential
from raydl.runtimes.parameter_server.layout import Sharding
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime, RuntimeState
from raydl.runtimes.worker.client_states import ClientStates
from raydl.storage import Folder
from tests.federation import (
    UNEQUAL,
    by_client,
    digits,
    final,
    fingerprints,
    relative_distance,
    seeded,
    train,
)
from tests.processes import Processes
from tests.trees import assert_equal

SMALL = {"workers": 4, "batch_size": 16, "steps": 3, "fragments": 1, "outer_lr": 0.7, "keep": 0.0}
MOMENTUM = SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
MORE: dict[str, list[dict[str, Any]]] = {
    "FedSGD": [{"lr": 0.3}],
    "FedAvg": [
        {"batch_size": None, "steps": None, "epochs": 3},
        {
            "lr": 0.02,
            "batch_size": 20,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 1e-3,
            "server_lr": 0.7,
            "drop_last": True,
        },
    ],
    "FedProx": [{"mu": 0.5, "momentum": 0.5}],
    "FedNova": [
        {"mu": 0.5},
        {"lr": 0.05, "momentum": 0.5, "steps": None, "epochs": 2, "server_lr": 0.7},
        {"lr": 0.05, "momentum": 0.5, "nesterov": True, "weight_decay": 1e-3},
    ],
    "SCAFFOLD": [{"option": "I", "steps": None, "epochs": 2}, {"steps": None, "epochs": 2}],
    "FedAvgM": [{"server_momentum": 0.5, "server_nesterov": True, "momentum": 0.5}],
    "FedExP": [{"epsilon": 0.1, "server_lr": 0.5}],
    "FedVARP": [{"server_lr": 0.7, "momentum": 0.5}],
    "FedAsync": [{"mixing": 0.8, "mu": 0.1}],
    "HorvitzThompson": [{"normalized": True, "server_lr": 0.7}],
    "DataParallel": [{"optimizer": LARS(lr=1.0, trust=0.02)}],
    "LocalSGD": [
        {"optimizer": MOMENTUM, "interval": each}
        for each in (PostLocal(), Growing(), QSR(alpha=0.1), AdaComm())
    ],
    "HierarchicalLocalSGD": [{"optimizer": MOMENTUM, "every": 2}],
    "SlowMo": [{"at_sync": "reset"}],
    "DiLoCo": [{"optimizer": AdamW(lr=1e-2)}, {"at_sync": "average"}],
    "FedFade": [{"memory": 0.6, "server_lr": 0.7, "momentum": 0.5}],
    "StreamingDiLoCo": [
        {"optimizer": AdamW(lr=1e-2), "steps": 6, "fragments": 3, "keep": 0.5},
        {"optimizer": AdamW(lr=1e-2), "steps": 8, "fragments": 2, "overlap": 3},
    ],
    "ParameterServer": [
        {"optimizer": AdamW(lr=1e-2), "steps": 1},
        {"optimizer": Yogi(lr=1e-2), "schedule": Constant()},
    ],
    "EASGD": [{"optimizer": MOMENTUM, "exchanges": 1, "moving_rate": 0.4}],
}
CLIENTS, EPOCHS, ROUNDS = 12, 5, 3


def settings(algorithm: str) -> Iterator[dict[str, Any]]:
    """The settings that an algorithm is tried with."""
    cls = CHOICES["algorithm"][algorithm]
    own, hints = {each.name: each for each in fields(cls)}, get_type_hints(cls)
    small = {name: value for name, value in SMALL.items() if name in own}
    yield small
    if "epochs" in inspect.get_annotations(cls):
        yield small | {"steps": None, "epochs": 2}
    for name, field in own.items():
        if name in inspect.get_annotations(cls) and get_origin(hints[name]) is Literal:
            others = set(get_args(hints[name])) - {field.default}
            yield from (small | {name: value} for value in sorted(others))
    yield from (small | more for more in MORE.get(algorithm, []))


def named(algorithm: str, given: dict[str, Any]) -> str:
    told = (
        f"{name}={type(value).__name__ if is_dataclass(value) else value}"
        for name, value in given.items()
        if SMALL.get(name) != value
    )
    return " ".join([algorithm, *told])


FIRST = [named(algorithm, next(settings(algorithm))) for algorithm in CHOICES["algorithm"]]
SPECS = {
    named(algorithm, given): CHOICES["algorithm"][algorithm](**given)
    for algorithm in CHOICES["algorithm"]
    for given in settings(algorithm)
}


SCOPE = Scope(
    rounds=ROUNDS,
    samples=1e3,
    epoch=1e3,
    updates=4,
    sizes=torch.full((CLIENTS,), 9),
    inclusion=lambda: torch.full((CLIENTS,), 0.6),
)
BUILT = {name: spec.build(SCOPE) for name, spec in SPECS.items()}
ADDITIVE = [name for name, each in BUILT.items() if each.reduce.additive]
ELEMENTWISE = [name for name, each in BUILT.items() if each.elementwise]
WITH_DISCOUNT = [name for name, each in BUILT.items() if each.discount is not None]


def smooth(shape: Sequence[int], classes: int, dropout: float) -> nn.Module:
    """A model without a ReLU, so that rounding stays rounding."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), 32),
        nn.Tanh(),
        nn.Dropout(dropout),
        nn.Linear(32, classes),
    )


@cache
def run_of(name: str, dropout: float) -> Run:
    """The run that a user asks for: of clients that differ, or of the algorithm's own workers."""
    of_clients = {"clients": CLIENTS, "participation": Uniform(0.6), "partition": UNEQUAL}
    return Run(
        SPECS[name],
        Digits(test=0.6),
        model=Model(smooth, {"dropout": dropout}),
        epochs=EPOCHS,
        rounds=ROUNDS,
        runtime="sequential",
        **(of_clients if SPECS[name].workers is None else {}),
    )


@cache
def problem_of(name: str, dropout: float = 0.3) -> Problem:
    return assemble(run_of(name, dropout), digits()).problem


@cache
def sequential(name: str, dropout: float = 0.3) -> tuple[list[Round], ClientStates]:
    """The rounds of a run in one process, and what its clients keep after them."""
    problem = problem_of(name, dropout)
    runtime = LocalRuntime(problem)
    return trained(name, problem, runtime), runtime.state().clients


def trained(name: str, problem: Problem, runtime: Runtime, count=ROUNDS, **options) -> list[Round]:
    """So many rounds, of the cohorts of the run."""
    return train(problem, runtime, count, cohorts=run_of(name, 0.0).cohorts(), **options)


def first_state(problem: Problem) -> Tree:
    return problem.algorithm.init(parameters(problem.task.model))


def distance(problem: Problem, history: list[Round], expected: list[Round]) -> float:
    return relative_distance(problem, final(problem, history), final(problem, expected))


def updates(name: str, count: int) -> list[Update]:
    """What clients send in different rounds: an algorithm may have a single one."""
    problem = problem_of(name)
    alone = problem.algorithm._replace(reduce=sole())
    runtime = LocalRuntime(replace(problem, algorithm=alone))
    states = [first_state(problem), *(each.state for each in sequential(name)[0])]
    found = []
    for number in range(count):
        state, client = states[number % len(states)], number % len(problem.partition)
        work = Work(number, (client,), problem.algorithm.plan(state))
        message = runtime.map_reduce(problem.algorithm.broadcast(state), work).accumulator
        found.append(Update(message, int(problem.partition.sizes[client]), client))
    return found


def assert_close(given: Tree, expected: Tree) -> None:
    """Up to rounding, each leaf by its own size."""
    given, expected = dict(tree.leaves(given)), dict(tree.leaves(expected))
    assert given.keys() == expected.keys()
    for path, leaf in given.items():
        own = expected[path].double()
        assert (leaf.double() - own).norm() <= 1e-5 * own.norm(), path


@pytest.fixture(params=SPECS)
def name(request):
    return request.param


def test_the_first_parameters_are_the_models(name):
    problem = problem_of(name)
    params = parameters(problem.task.model)
    assert_equal(problem.algorithm.params(problem.algorithm.init(params)), params)


def test_it_learns(name):
    problem, (history, kept) = problem_of(name, 0.0), sequential(name, 0.0)
    runtime = LocalRuntime(problem)
    runtime.restore(RuntimeState(kept))
    later = trained(name, problem, runtime, 9, start=ROUNDS, state=history[-1].state)
    assert later[-1].mean("loss") < 0.8 * history[0].mean("loss")


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(name):
    problem, (history, kept) = problem_of(name), sequential(name)
    with seeded(99):  # the user's own draws have no part in it
        runtime = LocalRuntime(problem)
        assert fingerprints(trained(name, problem, runtime)) == fingerprints(history)
    assert_equal(by_client(runtime.state().clients), by_client(kept))
    other = replace(problem, seed=problem.seed + 1)
    assert fingerprints(trained(name, other, LocalRuntime(other), 1)) != fingerprints(history[:1])


def test_state_survives_a_checkpoint(name, tmp_path):
    problem, folder, first = problem_of(name), Folder(str(tmp_path)), LocalRuntime(problem_of(name))
    half = trained(name, problem, first, 2)
    whole = complete(problem.task.model, final(problem, half))
    checkpoint.save(folder, Checkpoint(2, half[-1].state, first.state(), whole), keep=1)
    saved, second = checkpoint.newest(folder), LocalRuntime(problem)
    second.restore(saved.runtime)
    rest = trained(name, problem, second, ROUNDS - 2, start=saved.round, state=saved.state)
    history, kept = sequential(name)
    assert fingerprints(half + rest) == fingerprints(history)
    assert [each.number for each in rest] == [3]
    assert_equal(by_client(second.state().clients), by_client(kept))


def test_earlier_states_are_not_written_to(name):
    problem = problem_of(name)
    runtime, state, held = LocalRuntime(problem), first_state(problem), []
    states, before = [state], [tree.fingerprint(state)]
    for number in range(ROUNDS):
        (done,) = trained(name, problem, runtime, 1, start=number, state=states[-1])
        held.append(runtime.state().clients)
        states += [held[-1].as_tree(), done.state]
        before += map(tree.fingerprint, states[-2:])
    assert [tree.fingerprint(each) for each in states] == before


@pytest.mark.parametrize("name", FIRST)
def test_the_caller_is_left_alone(name, tmp_path):
    """The user's own draws, and torch's threads."""

    def drawn() -> list[float]:
        return [float(torch.rand(())), float(np.random.random()), random.random()]

    def seed() -> None:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)

    run = replace(run_of(name, 0.3), rounds=1, storage=str(tmp_path), name="run")
    threads = torch.get_num_threads()
    with untouched():
        seed()
        expected = drawn()
        seed()
        torch.set_num_threads(threads + 1)
        raydl.run(run, dataset=digits())
        assert drawn() == expected
        assert torch.get_num_threads() == threads + 1


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("size", [3, 100])
def test_the_cut_into_blocks_changes_only_the_rounding(name, size):
    problem = replace(problem_of(name), block_size=size)
    cut, whole = trained(name, problem, LocalRuntime(problem)), sequential(name)[0]
    assert distance(problem, cut, whole) < 1e-5


@pytest.mark.parametrize("name", FIRST)
def test_the_order_of_the_cohort_changes_only_the_rounding(name):
    problem, everyone = problem_of(name), np.arange(len(problem_of(name).partition))
    forward, backward = (
        train(problem, LocalRuntime(problem), 1, cohorts=[clients])
        for clients in (everyone, everyone[::-1].copy())
    )
    assert distance(problem, backward, forward) < 1e-5


@pytest.mark.parametrize("name", FIRST)
def test_microbatches_change_only_the_rounding(name):
    whole = problem_of(name, 0.0)
    pieces = replace(whole, task=whole.task._replace(microbatch=9))
    given, expected = trained(name, pieces, LocalRuntime(pieces)), sequential(name, 0.0)[0]
    assert distance(whole, given, expected) < 1e-4
    losses = [[each.clients["loss"].tolist() for each in rounds] for rounds in (given, expected)]
    assert losses[0] != losses[1]  # the minibatches were cut


def test_what_is_planned_is_what_is_done(name):
    problem, (history, _) = problem_of(name), sequential(name)
    algorithm, sizes = problem.algorithm, problem.partition.sizes.tolist()
    runtime, state = LocalRuntime(problem), first_state(problem)
    for cohort, done in zip(run_of(name, 0.3).cohorts(), history, strict=False):
        work = Work(done.number - 1, tuple(cohort.tolist()), algorithm.plan(state))
        plans = []
        for number in runtime.server_steps(work):
            plans.append(algorithm.plan(state))
            step = Work(number, work.clients, plans[-1])
            state = server_step(runtime, algorithm, state, step).state
        each = [(plan, sizes[client]) for plan in plans for client in work.clients]
        columns = done.clients
        assert columns["client"].tolist() == cohort.tolist() * len(plans)
        assert columns["samples"].tolist() == [plan.trained_samples(size) for plan, size in each]
        assert columns["steps"].tolist() == [plan.local_steps(size) for plan, size in each]
        assert (columns["finite"] == 1).all()


@pytest.mark.parametrize("name", WITH_DISCOUNT)
def test_what_is_stale_counts_for_a_part(name):
    """Of a message m, what counts by a factor a is scaled by a, and all else is left as it is."""
    (update,) = updates(name, 1)
    message, discount = update.message, problem_of(name).algorithm.discount
    assert_equal(discount(message, 1.0), message)
    without = dict(tree.leaves(discount(message, 0.0)))
    leaves = dict(tree.leaves(message))
    counting = {path for path, leaf in leaves.items() if leaf.any() and not without[path].any()}
    assert counting
    for factor in (0.0, 0.3, 0.5):
        expected = {
            path: leaf * (factor if path in counting else 1) for path, leaf in leaves.items()
        }
        assert_equal(discount(message, factor), tree.from_leaves(expected))


@pytest.mark.parametrize("shards", [2, 5])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_server_can_be_cut_where_it_says_so(name, shards):
    """Shards that each hold a part of the parameters end up with their part of the step."""
    problem, (history, _) = problem_of(name), sequential(name)
    algorithm, state = problem.algorithm, history[1].state
    layout = Sharding(parameters(problem.task.model), shards)

    def step(state: Tree, sent: Sequence[Update]) -> Tree:
        return algorithm.server(state, algorithm.reduce.result(folded(algorithm, sent)))[0]

    sent = updates(name, 3)
    parts = zip(*(layout.cut(each.message) for each in sent), strict=True)
    stepped = [
        step(own, [each._replace(message=part) for each, part in zip(sent, each_part, strict=True)])
        for own, each_part in zip(layout.cut(state), parts, strict=True)
    ]
    whole = step(state, sent)
    assert_equal(layout.join(stepped), whole)
    broadcasts = [algorithm.broadcast(each) for each in stepped]
    assert_equal(layout.join(broadcasts), algorithm.broadcast(whole))


def folded(algorithm: Algorithm, sent: Sequence[Update]) -> Tree:
    accumulator = algorithm.reduce.zero()
    for update in sent:
        accumulator = algorithm.reduce.add(accumulator, update)
    return accumulator


def test_the_reduction_is_a_monoid(name):
    """Blocks may be of any size, and be merged in any grouping, as long as they stay in order."""
    algorithm, sent = problem_of(name).algorithm, updates(name, 5)
    before = [tree.fingerprint(each.message) for each in sent]
    merge, zero = algorithm.reduce.merge, algorithm.reduce.zero
    whole = algorithm.reduce.result(folded(algorithm, sent))
    for count in range(len(sent)):
        for cuts in combinations(range(1, len(sent)), count):
            blocks = [sent[a:b] for a, b in pairwise([0, *cuts, len(sent)])]
            from_left = reduce(merge, (folded(algorithm, block) for block in blocks), zero())
            from_right = zero()
            for block in reversed(blocks):
                from_right = merge(folded(algorithm, block), from_right)
            for given in (from_left, from_right):
                assert_close(algorithm.reduce.result(given), whole)
    assert [tree.fingerprint(each.message) for each in sent] == before


@pytest.mark.parametrize("name", ADDITIVE)
def test_what_an_all_reduce_may_form_is_merged_by_adding(name):
    algorithm, sent = problem_of(name).algorithm, updates(name, 4)
    one, other = folded(algorithm, sent[:2]), folded(algorithm, sent[2:])
    leaves, others = dict(tree.leaves(one)), dict(tree.leaves(other))
    added = {
        path: leaves.get(path, 0) + others.get(path, 0) for path in leaves.keys() | others.keys()
    }
    assert_equal(algorithm.reduce.merge(one, other), tree.from_leaves(added))


IN_ONE_PROCESS = {
    name: cls()
    for name, cls in CHOICES["runtime"].items()
    if issubclass(cls, OneProcess) and cls is not Sequential
}


@pytest.mark.parametrize("runtime", IN_ONE_PROCESS)
def test_runtimes_in_one_process_have_the_same_numbers(name, runtime):
    """Bit for bit, but for a vmap."""
    spec, problem = IN_ONE_PROCESS[runtime], problem_of(name, 0.0)
    with spec.open(problem) as opened:
        given = trained(name, problem, opened)
    expected, _ = sequential(name, 0.0)
    if spec.batched:
        assert distance(problem, given, expected) < 1e-4
    else:
        assert fingerprints(given) == fingerprints(expected)
    for one, other in zip(given, expected, strict=True):
        for column in ("client", "samples", "steps", "bytes_up", "finite"):
            assert torch.equal(one.clients[column], other.clients[column])
        losses = one.clients["loss"], other.clients["loss"]
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", ADDITIVE)
def test_processes_that_add_up_have_the_numbers_of_one(name):
    """Up to rounding: each adds up its own clients, or its part of every minibatch, first."""
    problem = problem_of(name, 0.0)
    cohorts = list(islice(run_of(name, 0.0).cohorts(), 2))

    def course(problem, runtime, rounded, stop):
        return final(problem, train(problem, runtime, len(cohorts), cohorts=cohorts))

    given = Processes(workers=2).launch(problem, course, None, None)
    expected = final(problem, sequential(name, 0.0)[0][:2])
    assert relative_distance(problem, given, expected) < 1e-4
