"""Whether model, algorithm and runtime fit each other: told before any work."""

from raydl.assembly.trial import trains_on_one
from raydl.config.choices import name_of
from raydl.config.run import Run
from raydl.core.algorithm import Algorithm, Message, Plan, Update
from raydl.core.errors import SpecError
from raydl.core.grad import Metrics, eager
from raydl.core.rng import forked, seed_draws
from raydl.core.task import Task
from raydl.core.tree import Tree
from raydl.data.batches import two_samples
from raydl.data.participations.selector import Selector, unreported
from raydl.runtimes.problem import Problem
from raydl.runtimes.spec import RuntimeSpec
from raydl.runtimes.worker.client_states import check_client_state


def check_processes(
    runtime: RuntimeSpec, algorithm: Algorithm, task: Task, hidden: list[str]
) -> None:
    """Raises a SpecError if processes cannot share the model's minibatches.

    Args:
        runtime: where the run is to be.
        algorithm: what runs there.
        task: whose model it is.
        hidden: parameters whose gradient comes from inside of another backward pass.
    """
    group = runtime.group()
    if group is None or algorithm.hook is None or group.most == 1:
        return
    if hidden:
        raise SpecError(
            f"the gradient of the model's {hidden[0]} comes from inside of another backward pass, "
            "as reentrant activation checkpointing has it, which processes that share minibatches "
            "cannot follow; set use_reentrant=False, or train in one: --runtime sequential"
        )
    if task.rewritten:
        raise SpecError(
            f"the model writes to its parameter {min(task.rewritten)} in forward, as an embedding "
            "with max_norm does, so that processes that share minibatches would drift apart; train "
            "in one: --runtime sequential"
        )


def check_minibatches(run: Run, problem: Problem, plan: Plan) -> None:
    """Raises a SpecError if a model that cannot train on a single sample is given one."""
    sizes = problem.partition.sizes.tolist()
    leaving = {size for size in set(sizes) if 1 in _sizes(run, problem, plan.sizes(size))}
    ones = [(client, size) for client, size in enumerate(sizes) if size in leaving]
    if not ones or (reason := trains_on_one(problem.task, problem.dataset)) is None:
        return
    client, size = ones[0]
    mends = [
        "another --algorithm.batch_size",
        "a model that normalizes each sample by itself, such as with GroupNorm",
    ]
    if run.microbatch:
        mends.insert(0, "another --microbatch")
    dropped = _sizes(run, problem, plan._replace(drop_last=True).sizes(size))
    if hasattr(run.algorithm, "drop_last") and 1 not in dropped:
        mends.insert(0, "to leave it out (--algorithm.drop_last true)")
    who = f"client {client} and {len(ones) - 1} others have" if ones[1:] else f"client {client} has"
    pieces = f", in pieces of {run.microbatch}" if run.microbatch else ""
    raise SpecError(
        f"model {type(problem.task.model).__name__} cannot train on a minibatch of one sample "
        f"({reason}), but {who} one: of {size} samples in minibatches of {plan.batch(size)}"
        f"{pieces}; choose {', '.join(mends[:-1])}, or {mends[-1]}"
    )


def _sizes(run: Run, problem: Problem, minibatches: set[int]) -> set[int]:
    """The numbers of samples that go through the model at once."""
    sizes = set(minibatches)
    group = run.runtime.group()
    if group is not None and problem.algorithm.hook is not None:
        most = group.most or 1
        sizes = {size // most for size in sizes} | {-(-size // most) for size in sizes}
    if run.microbatch:
        pieces = {size % run.microbatch for size in sizes if size > run.microbatch}
        sizes = {min(size, run.microbatch) for size in sizes} | pieces
    return sizes


def check_client(problem: Problem, state: Tree) -> Metrics:
    """What a client reports of a minibatch, if what it keeps has one structure in all rounds.

    Raises:
        SpecError: if that changes.
    """
    algorithm = problem.algorithm
    others = algorithm.plan(state).server_steps - 1 if algorithm.lockstep else 0
    problem.task.model.train()
    with forked(host=True):
        seed_draws(problem.seed, "trial", host=True)
        message, reported = _try_client(problem, state)
        for _ in range(others):
            sent = algorithm.reduce.add(algorithm.reduce.zero(), Update(message, 2, 0))
            state, _ = algorithm.server(state, algorithm.reduce.result(sent))
            message, more = _try_client(problem, state)
            reported |= more
    return reported


def _try_client(problem: Problem, state: Tree) -> tuple[Message, Metrics]:
    """What a client that takes part twice sends at last, and reports."""
    client, gradient = problem.algorithm.client, eager(problem.task)
    received = client.receive(problem.algorithm.broadcast(state), 0)
    kept = client.initial_state(received)
    reported: Metrics = {}
    for _ in range(2):
        local = client.init(received, kept)
        for step in client.steps:
            local, metrics = step(gradient, local, two_samples(problem.dataset))
            reported |= metrics
        before, (message, kept) = kept, client.final(received, local)
        check_client_state(before, kept)
    return message, reported


def check_selection(run: Run, selector: Selector, reported: Metrics) -> None:
    """Raises a SpecError unless a selector can be told, and ask, what it needs.

    Args:
        run: whose cohorts it chooses.
        selector: the selector.
        reported: what the algorithm's clients report.
    """
    for metric in sorted(selector.needs - reported.keys()):
        raise unreported(metric)
    if selector.poll is not None and not run.runtime.surveys:
        raise SpecError(
            f"{type(run.participation).__name__} asks clients for their losses before a round, "
            f"which --runtime {name_of('runtime', type(run.runtime))} cannot; choose sequential, "
            "batched or actors, or a participation that goes by what was reported, such as "
            "PowerOfChoice with --participation.variant rpow-d"
        )
