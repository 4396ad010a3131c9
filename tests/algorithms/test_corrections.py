"""What corrects a client's steps: where each is another algorithm, and what each keeps."""

from dataclasses import replace

import pytest
import torch
from scipy.optimize import minimize

from raydl import SpecError
from raydl.algorithms import (
    AFL,
    SCAFFOLD,
    FedAvg,
    FedDyn,
    FedProx,
    FedSGD,
    Mime,
    MimeLite,
    QFedAvg,
)
from raydl.algorithms.federated.afl import onto_simplex
from raydl.core import tree
from raydl.core.algorithm import Scope
from raydl.core.grad import parameters
from raydl.data import IID, Dataset, Natural, Tensors
from raydl.optim import SGD, Adam
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, relative_distance, train

LOCAL = {"lr": 0.05, "batch_size": 16, "epochs": 2}
EQUAL = {"partition": IID(), "clients": 4}  # of which the digits give each one as many


def built(spec, clients, **options):
    scope = Scope(sizes=torch.full((clients,), 100))
    return federation(spec.build(scope), clients=clients, **options)


def went(spec, count=3, clients=4, fraction=1.0, **options):
    """The problem, the rounds, and what the clients keep after them."""
    problem = built(spec, clients, **{"partition": IID()} | options)
    runtime = LocalRuntime(problem)
    history = train(problem, runtime, count, fraction=fraction)
    return problem, history, runtime.state().clients


def mean_of_kept(kept, name, clients):
    """The mean over all clients, those included that keep nothing yet."""
    return tree.map(lambda column: column.sum(0) / clients, kept.columns[name])


def assert_near(problem, given, expected, tolerance=1e-5):
    assert relative_distance(problem, given, expected) < tolerance


@pytest.mark.parametrize(
    ("spec", "same", "clients", "rounds"),
    [
        (SCAFFOLD(**LOCAL), FedAvg(**LOCAL), 4, 1),
        (SCAFFOLD(**LOCAL, option="I"), FedAvg(**LOCAL), 4, 1),
        (SCAFFOLD(**LOCAL), FedAvg(**LOCAL), 1, 3),
        (FedDyn(**LOCAL, alpha=0.3), FedProx(**LOCAL, mu=0.3), 4, 1),
        (QFedAvg(**LOCAL, q=0), FedAvg(**LOCAL), 4, 3),
        (MimeLite(SGD(0.05, momentum=0), 16, 2), FedAvg(**LOCAL), 4, 3),
        (Mime(SGD(0.05), None, 4), MimeLite(SGD(0.05), None, 4), 1, 3),
        (AFL(0.1, mixture_lr=0), FedSGD(0.1), 4, 1),
    ],
    ids=[
        *("first round", "first round, I", "one client", "FedProx", "q = 0", "plain SGD"),
        *("nothing to correct", "uniform"),
    ],
)
def test_one_is_the_other(spec, same, clients, rounds):
    whole = digits()
    equal = slice(0, len(whole.train.targets) // clients * clients)
    dataset = replace(whole, train=whole.train.take(equal))  # as many samples for each client
    problem, history, _ = went(spec, rounds, clients, dataset=dataset)
    other, expected, _ = went(same, rounds, clients, dataset=dataset)
    assert_near(problem, final(problem, history), final(other, expected))


@pytest.mark.parametrize("option", ["I", "II"])
def test_scaffolds_control_is_the_mean_of_its_clients(option):
    problem, history, kept = went(SCAFFOLD(**LOCAL, option=option), clients=8, fraction=0.5)
    assert 4 < len(kept) <= 8
    assert_near(problem, history[-1].state["control"], mean_of_kept(kept, "control", 8))


def test_feddyns_h_is_the_mean_of_its_clients():
    problem, history, kept = went(FedDyn(**LOCAL), clients=8, fraction=0.5)
    assert_near(problem, history[-1].state["h"], mean_of_kept(kept, "h", 8))


def test_feddyns_clients_begin_further_on():
    problem, (done,), _ = went(FedDyn(**LOCAL), 1, clients=8, fraction=0.5)
    first = parameters(problem.task.model)
    moved = tree.sub(done.state["params"], first)
    assert_near(problem, tree.sub(done.state["begun"], first), tree.scale(moved, 1 + 4 / 8))


@pytest.mark.parametrize("optimizer", [SGD(0.05, 0.9), Adam(0.01)])
@pytest.mark.parametrize(("algorithm", "clients"), [(MimeLite, 1), (Mime, 1), (Mime, 4)])
def test_one_step_is_the_optimizers(algorithm, clients, optimizer):
    """Of all samples at once: Mime's clients all make the same one."""
    problem, history, _ = went(algorithm(optimizer, None, 1), clients=clients)
    whole = built(FedSGD(1.0), clients, partition=IID())
    params, rule = parameters(problem.task.model), optimizer.rule()
    state = rule.init(params)
    for _ in range(3):
        (after,) = train(whole, LocalRuntime(whole), 1, state={"params": params}, fraction=1.0)
        grads = tree.sub(params, after.state["params"])
        params, state = rule.update(params, grads, state, optimizer.lr)
    assert_near(problem, final(problem, history), params, 1e-4)


def test_qfedavg_by_hand():
    """From the movements and the losses of the clients."""
    q, clients = 2.0, 3
    problem, (done,), _ = went(QFedAvg(**LOCAL, q=q), 1, clients)
    first, fair, moves, sizes = parameters(problem.task.model), [], [], []
    for client in range(clients):
        alone = built(FedAvg(**LOCAL), clients, partition=IID())
        (after,) = train(alone, LocalRuntime(alone), 1, cohorts=[torch.tensor([client])])
        moves.append(tree.scale(tree.sub(first, after.state["params"]), 1 / LOCAL["lr"]))
        loss = float(done.clients["initial_loss"][client])
        square = sum(float(leaf.square().sum()) for _, leaf in tree.leaves(moves[-1]))
        fair.append(loss**q)
        sizes.append(q * loss ** (q - 1) * square + loss**q / LOCAL["lr"])
    step = tree.map(
        lambda *leaves: sum(weight * leaf for weight, leaf in zip(fair, leaves, strict=True)),
        *moves,
    )
    expected = tree.sub(first, tree.scale(step, 1 / sum(sizes)))
    assert_near(problem, done.state["params"], expected, 1e-4)


def test_the_projection_is_the_nearest_point():
    point = torch.tensor([0.9, -0.2, 0.5, 0.1], dtype=torch.float64)
    simplex = {"type": "eq", "fun": lambda each: each.sum() - 1}
    found = minimize(
        lambda each: ((each - point.numpy()) ** 2).sum(),
        [0.25] * 4,
        bounds=[(0, 1)] * 4,
        constraints=simplex,
    )
    torch.testing.assert_close(onto_simplex(point), torch.from_numpy(found.x), atol=1e-6, rtol=0)
    torch.testing.assert_close(onto_simplex(onto_simplex(point)), onto_simplex(point))


def test_afl_leans_to_the_clients_with_high_loss():
    _, history, _ = went(AFL(0.1, mixture_lr=0.05), 4, clients=5)
    mixture, losses = history[-1].state["mixture"], torch.zeros(5, dtype=torch.float64)
    for each in history:
        losses[each.clients["client"].long()] += each.clients["loss"]
    assert float(mixture.sum()) == pytest.approx(1)
    assert mixture.argmax() == losses.argmax()


CURVATURE, OPTIMUM = torch.tensor([0.5, 1.0, 2.0, 4.0]), torch.tensor([3.0, -1.0, 2.0, 0.5])
LR, STEPS = 0.05, 4


def parabolas() -> Dataset:
    """Each client has the loss a (w − b)²: a sample √a with the target √a b."""
    inputs = CURVATURE.sqrt().unsqueeze(1)
    targets = CURVATURE.sqrt() * OPTIMUM
    owners = torch.arange(4)
    return Tensors(inputs, targets, owners=owners, validation=0, test=0).load()


def fixed_point() -> float:
    """Where FedAvg stays: client k goes 1 − (1 − 2 η a)^J of its way to its own optimum."""
    way = 1 - (1 - 2 * LR * CURVATURE) ** STEPS
    return float((way * OPTIMUM).sum() / way.sum())


LEAST = float((CURVATURE * OPTIMUM).sum() / CURVATURE.sum())  # of the mean loss
QUADRATIC = {"lr": LR, "batch_size": None, "steps": STEPS}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (FedAvg(**QUADRATIC), fixed_point()),
        (SCAFFOLD(**QUADRATIC), LEAST),
        (SCAFFOLD(**QUADRATIC, option="I"), LEAST),
        (FedDyn(**QUADRATIC, alpha=0.5), LEAST),
        (MimeLite(SGD(LR, 0), None, steps=STEPS), fixed_point()),
        (Mime(SGD(LR, 0), None, steps=STEPS), LEAST),
        (FedSGD(LR), LEAST),
    ],
    ids=["FedAvg", "SCAFFOLD", "SCAFFOLD I", "FedDyn", "MimeLite", "Mime", "FedSGD"],
)
def test_where_clients_with_different_optima_lead(spec, expected):
    """FedAvg to a point of its own; where drift is corrected, to the optimum of the mean loss."""
    assert abs(fixed_point() - LEAST) > 0.05
    model = torch.nn.Linear(1, 1, bias=False)
    _, history, _ = went(spec, 300, dataset=parabolas(), partition=Natural(), model=model)
    assert float(history[-1].state["params"]["weight"]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SCAFFOLD(momentum=0.9), "algorithm.momentum is 0.9; it must be 0: with local"),
        (lambda: SCAFFOLD(option="III"), "algorithm.option"),
        (lambda: FedDyn(alpha=0), "algorithm.alpha is 0.0; it must be above 0"),
        (lambda: FedDyn(server_lr=0.5), "algorithm.server_lr is 0.5; it must be 1"),
        (lambda: QFedAvg(q=-1), "algorithm.q is -1.0; it must be 0 or larger"),
        (lambda: AFL(mixture_lr=-1), "algorithm.mixture_lr"),
        (lambda: MimeLite(steps=0), "algorithm.steps is 0"),
        (lambda: SCAFFOLD().build(), "SCAFFOLD needs the number of clients"),
    ],
)
def test_what_is_refused(make, told):
    with pytest.raises(SpecError, match=told):
        make()
