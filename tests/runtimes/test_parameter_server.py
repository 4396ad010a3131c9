"""A parameter server on real actors: one process's numbers, and what becomes of those who die."""

import threading
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import islice, repeat
from time import sleep

import numpy as np
import pytest
import ray
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import raydl
from raydl import Checkpointing, Model, Run
from raydl.algorithms import EASGD, FedAvg, ParameterServer
from raydl.assembly.assemble import assemble
from raydl.communication import collectives
from raydl.core import tree
from raydl.core.algorithm import Plan, Scope, Update, Work
from raydl.core.errors import Notice, SpecError
from raydl.core.grad import parameters
from raydl.data import IID, Synthetic
from raydl.data.batches import ClientData
from raydl.models import LeNet
from raydl.optim import LARS, SGD, AdamW
from raydl.optim.schedule import Constant, Cosine
from raydl.round import rounds
from raydl.runtimes import ShardedServer
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.parameter_server.layout import make_sharding
from raydl.runtimes.parameter_server.runtime import ShardedServerRuntime
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.worker import Worker
from tests.federation import Killer, federation, final, fingerprints, seeded
from tests.waiting import until

MOMENTUM = SGD(lr=0.01, momentum=0.9)


@contextmanager
def serve(problem, *args, **options):
    server = ShardedServerRuntime(problem, ShardedServer(*args, cpus=1 / 4, **options))
    try:
        yield server
    finally:
        server.close()


def loop(problem, runtime, start=0, state=None):
    if state is None:
        state = problem.algorithm.init(parameters(problem.task.model))
    everyone = repeat(np.arange(len(problem.partition)))
    return rounds(problem.algorithm, runtime, state, everyone, start)


def workers(spec, **options):
    return federation(spec.build(Scope(rounds=3)), partition=IID(), clients=spec.workers, **options)


@pytest.fixture(scope="module")
def lenet():
    """LeNet on small images, 4 workers, 50 steps."""
    data = Synthetic(samples=800, test=100, size=16, channels=3).load()
    with seeded():
        model = LeNet(data.shape, data.classes)
    spec = ParameterServer(4, MOMENTUM, Constant(), batch_size=8, exchanges=25)
    return federation(spec.build(), model, data, IID(), clients=4)


@pytest.fixture(scope="module")
def sequential(lenet):
    return list(islice(loop(lenet, LocalRuntime(lenet)), 2))


def test_in_one_process_it_is_centralized_sgd_on_the_global_batch(lenet, sequential):
    data = ClientData(lenet.dataset, lenet.partition, lenet.seed)
    work = Work(0, (), Plan(8, steps=50, start_step=0))
    model = lenet.task.model
    start = parameters(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for batches in zip(*(data.batches(work, worker) for worker in range(4)), strict=True):
        optimizer.zero_grad()
        inputs, targets = (torch.cat(parts) for parts in list(zip(*batches, strict=True))[:2])
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    trained = parameters(model)
    model.load_state_dict(start)
    for name, leaf in final(lenet, sequential).items():
        assert float((leaf - trained[name]).norm() / trained[name].norm()) < 1e-5


SCHEMES = ("all_to_all", "tree", "ring")


def all_reducing(rank, start, samples, folder):
    """One of 4 processes that have no server: everybody adds up the gradients, and steps."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=4)
    data, trained = ClientData(*samples), {}
    for scheme in SCHEMES:
        model, reduce = deepcopy(start), getattr(collectives, scheme)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        for batch in data.batches(Work(0, (), Plan(8, steps=50, start_step=0)), rank):
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            grads = [parameter.grad for parameter in model.parameters()]
            flat = parameters_to_vector(grads) / 4
            reduce(flat)
            vector_to_parameters(flat, grads)
            optimizer.step()
            optimizer.zero_grad()
        trained[scheme] = parameters(model)
    if rank == 0:
        torch.save(trained, f"{folder}/trained.pt")
    dist.destroy_process_group()


def test_it_has_the_numbers_of_gradient_all_reduce(lenet, sequential, tmp_path):
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["raydl.communication.collectives"]
    )
    samples = lenet.dataset, lenet.partition, lenet.seed
    arguments = lenet.task.model, samples, str(tmp_path)
    multiprocessing.start_processes(all_reducing, arguments, 4, start_method="forkserver")
    trained = torch.load(tmp_path / "trained.pt")
    for scheme in SCHEMES:
        for name, leaf in final(lenet, sequential).items():
            other = trained[scheme][name]
            assert float((leaf - other).norm() / other.norm()) < 1e-5


@pytest.mark.usefixtures("cluster")
def test_synchronous_it_has_the_numbers_of_one_process_bit_for_bit(lenet, sequential):
    with serve(lenet, 3) as server:
        history = list(islice(loop(lenet, server), 2))
        scores = [
            runtime.evaluate(final(lenet, history), "test")().metrics(lenet.task.spec)
            for runtime in (server, LocalRuntime(lenet))
        ]
    assert fingerprints(history) == fingerprints(sequential)
    assert scores[0] == scores[1]
    for one, other in zip(history, sequential, strict=True):
        assert one.messages == 3 * other.messages
        assert (one.bytes_up, one.bytes_down) == (other.bytes_up, other.bytes_down)
        for name in ("client", "samples", "steps", "loss", "finite"):
            assert torch.equal(one.clients[name], other.clients[name]), name


def replayed(problem, history, consistency):
    """One process that does what the rounds' rows say, in their order: the states by round."""
    algorithm, worker = problem.algorithm, Worker(problem)
    state = algorithm.init(parameters(problem.task.model))
    plan = algorithm.plan(state)
    broadcasts, taken, kept, gathered = [algorithm.broadcast(state)], {}, ClientTable(), []
    for each in history:
        for client, begun in torch.stack([each.clients[k] for k in ("client", "begun")], 1).int():
            client, begun = int(client), int(begun)
            own = plan._replace(start_step=taken.get(client, 0))
            taken[client] = own.start_step + own.steps
            result = worker.train_block(
                Work(begun, (client,), own), broadcasts[begun], kept.gather([client])
            )
            kept.update(result.states)
            message = algorithm.reduce.result(result.accumulator)
            weight = consistency.discount_factor(len(broadcasts) - 1 - begun)
            if weight != 1:
                message = algorithm.discount(message, weight)
            gathered.append(Update(message, int(problem.partition.sizes[client]), client))
            if len(gathered) == consistency.quorum(len(problem.partition)):
                accumulator = algorithm.reduce.zero()
                for update in gathered:
                    accumulator = algorithm.reduce.add(accumulator, update)
                state, _ = algorithm.server(state, algorithm.reduce.result(accumulator))
                broadcasts.append(algorithm.broadcast(state))
                gathered = []
        yield tree.fingerprint(state)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("spec", "consistency", "shards"),
    [
        (ParameterServer(2, AdamW(), Cosine(), 16, exchanges=20), Asynchronous(discount=0.5), 2),
        (ParameterServer(2, MOMENTUM, Cosine(), 16, 2, exchanges=20), Asynchronous(buffer=2), 1),
        (EASGD(3, MOMENTUM, 16, steps=2, exchanges=20), StaleSynchronous(1), 3),
    ],
)
def test_what_came_asynchronously_is_replayed_bit_for_bit(spec, consistency, shards):
    problem = workers(spec)
    with serve(problem, shards, consistency) as server:
        history = list(islice(loop(problem, server), 2))
    assert fingerprints(history) == list(replayed(problem, history, consistency))
    stale = torch.cat([each.clients["staleness"] for each in history])
    assert len(stale) == 2 * 20 * spec.workers
    assert stale.max() > 0
    if consistency.staleness_bound is not None:
        clocks = [0] * 3
        for client in torch.cat([each.clients["client"] for each in history]).int():
            assert clocks[client] - min(clocks) <= consistency.staleness_bound
            clocks[client] += 1


@pytest.mark.usefixtures("cluster")
def test_backup_workers_replay_too():
    problem = workers(ParameterServer(3, MOMENTUM, Constant(), 16, exchanges=20))
    with serve(problem, 2, Synchronous(backup=1)) as server:
        (done,) = islice(loop(problem, server), 1)
    counted = done.clients["staleness"] == 0
    by_step = [
        done.clients["client"][counted & (done.clients["begun"] == step)].int().tolist()
        for step in range(20)
    ]
    assert all(len(each) == 2 for each in by_step)
    assert done.late == int((~counted).sum())
    algorithm, runtime = problem.algorithm, LocalRuntime(problem)
    state = algorithm.init(parameters(problem.task.model))
    for number, clients in enumerate(by_step):
        work = Work(number, tuple(clients), algorithm.plan(state))
        reduced = runtime.map_reduce(algorithm.broadcast(state), work)
        state, _ = algorithm.server(state, algorithm.reduce.result(reduced.accumulator))
    assert tree.fingerprint(done.state) == tree.fingerprint(state)


def joined_again(problem, server):
    """Rounds until one in which every step had every worker."""
    history = []
    rounds = loop(problem, server)

    def complete() -> bool:
        history.append(next(rounds))
        counts = torch.bincount(history[-1].clients["client"].int())
        return server._workers.restarts == 1 and bool((counts == counts[0]).all())

    until(complete)
    return history


@pytest.mark.usefixtures("cluster")
def test_synchronous_it_goes_on_without_a_worker_that_was_killed_and_takes_in_another(tmp_path):
    spec = ParameterServer(3, MOMENTUM, Constant(), 16, exchanges=100)
    problem = workers(spec, augmentation=Killer(tmp_path, 60))
    with serve(problem, 2) as server:
        history = joined_again(problem, server)
    clients = history[0].clients
    by_step = torch.bincount(clients["begun"].int())
    assert len(by_step) == 100
    assert set(by_step.tolist()) <= {2, 3}
    assert by_step.min() == 2  # it went on with the rest
    assert int(history[-1].state["step"]) == 100 * len(history)
    assert history[-1].mean("loss") < history[0].mean("loss")


@pytest.mark.usefixtures("cluster")
def test_asynchronous_it_does_not_notice(tmp_path):
    spec = ParameterServer(3, MOMENTUM, Constant(), 16, exchanges=100)
    problem = workers(spec, augmentation=Killer(tmp_path, 60))
    with serve(problem, 2, Asynchronous()) as server:
        (done,) = islice(loop(problem, server), 1)
        assert server._workers.restarts == 1
    assert 299 <= len(done.clients["client"]) <= 300  # what the dead one had begun to push
    assert int(done.state["step"]) >= 299


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("shards", "consistency"), [(1, Synchronous()), (2, Asynchronous())])
def test_a_shard_that_was_killed_goes_on_from_its_snapshot(shards, consistency):
    problem = workers(ParameterServer(2, MOMENTUM, Constant(), 16, exchanges=300))
    with serve(problem, shards, consistency, snapshot=5) as server:

        def kill():
            while ray.get(server._shards._snapshots.newest.remote(shards - 1)) is None:
                sleep(0.01)
            ray.kill(server._shards.servers.shards[shards - 1])

        killing = threading.Thread(target=kill)
        killing.start()
        with pytest.warns(Notice, match=r"their part of at most \d+ pushes is lost"):
            (done,) = islice(loop(problem, server), 1)
        killing.join()
        lost = done.lost
        assert lost == server.lost
        assert 0 <= lost <= 2 * 5 + 10  # what was on its way when the snapshot was, too
        (after,) = islice(loop(problem, server, 1, done.state), 1)
    steps = 300 if consistency.barrier else 600
    assert int(done.state["step"]) >= steps - lost
    assert after.mean("loss") < done.mean("loss")


@pytest.mark.usefixtures("cluster")
def test_a_run_goes_on_from_a_checkpoint_to_the_same_end(tmp_path):
    algorithm = EASGD(2, MOMENTUM, batch_size=16, steps=2, exchanges=5)
    run = Run(
        algorithm=algorithm,
        model=Model("MLP", {"hidden": [16]}),
        rounds=4,
        storage=str(tmp_path),
        runtime=ShardedServer(shards=1, cpus=0.5),
        checkpoint=Checkpointing(every=2),
    )
    expected = raydl.run(replace(run, name="sequential", runtime=Sequential()))
    raydl.run(replace(run, name="served", rounds=2))
    history = raydl.run(replace(run, name="served"), resume=True)
    assert history.summary["fingerprint"] == expected.summary["fingerprint"]
    same = ["round", "samples", "local_steps", "bytes_up", "bytes_down", "val_accuracy", "clients"]
    assert history.table[same].equals(expected.table[same])


@pytest.mark.parametrize(
    ("optimizer", "shards", "consistency", "told"),
    [
        (SGD(), 2411, Synchronous(), "runtime.shards is 2411; .* at most the 2410 parameters"),
        (LARS(), 2, Synchronous(), "more than one entry of the parameters at a time, as LARS"),
        (SGD(), 1, Synchronous(backup=2), "backup is 2; it must be smaller than .* workers, 2"),
        (SGD(), 1, Asynchronous(buffer=3), "buffer is 3; it must be at most .* workers, 2"),
    ],
)
def test_what_no_server_can_do(optimizer, shards, consistency, told):
    problem = workers(ParameterServer(2, optimizer, Constant(), 16, exchanges=1))
    with pytest.raises(SpecError, match=told):
        make_sharding(problem, shards, consistency)
    with (
        pytest.raises(SpecError, match=told),
        ShardedServer(shards, consistency).open(problem),
    ):
        pass


def test_a_discount_of_what_cannot_count_for_less():
    problem = workers(EASGD(2, exchanges=1))
    with pytest.raises(SpecError, match=r"discount is given, .* such as ParameterServer"):
        make_sharding(problem, 1, Asynchronous(discount=1.0))


def test_clients_that_take_turns_have_no_server():
    with pytest.raises(SpecError, match=r"parameter_server, .* FedAvg has clients that take turns"):
        assemble(Run(algorithm=FedAvg(), runtime=ShardedServer()))
