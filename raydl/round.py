"""The training loop: an endless generator of rounds, which needs no Ray.

Whoever iterates decides when to evaluate, to log, to checkpoint and to stop. Everything that the
next round depends on is in the `Round`'s state, the number of the round, and what the runtime's
clients keep.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from time import perf_counter
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Work
from raydl.core.grad import Metrics
from raydl.core.rng import forked, seed_draws
from raydl.core.tree import Tree
from raydl.data.participations.selector import Cohort, Moment, Selector, stream
from raydl.runtimes.runtime import (
    CohortRuntime,
    RoundResult,
    ServerRuntime,
    Traffic,
    star_traffic,
)
from raydl.runtimes.worker.block import join_columns


class NonFiniteError(ArithmeticError):
    """A client's update holds a NaN or an infinity."""


class Round(NamedTuple):
    """What a round did, and the state it left.

    Attributes:
        number: number of the round, from 1.
        state: state of the server, after the round.
        clients: columns of `BlockResult` over the updates: one of each client of the cohort, or as
            many as the round has server steps.
        messages: messages sent in the round, down and up.
        bytes_down: the broadcast's bytes, times the cohort; and the parameters', times those who
            were asked for their losses before the cohort was chosen.
        bytes_up: the bytes of all the clients' messages, and of those losses.
        lost: updates that were lost, see `raydl.runtimes.runtime.Traffic`.
        late: updates that came too late for their step, and were thrown away.
        wall_seconds: seconds of the whole round, as it ran.
        simulated_seconds: seconds of an ideal round with a machine for each client: set-up +
            slowest client + aggregation, of every exchange; or of virtual time, where the runtime
            keeps such.
        metrics: what the server reports.
        selection: state of what chooses the cohorts, after the round; ``{}`` of a mere stream.
    """

    number: int
    state: Tree
    clients: dict[str, Tensor]
    messages: int
    bytes_down: int
    bytes_up: int
    lost: int
    late: int
    wall_seconds: float
    simulated_seconds: float
    metrics: Metrics
    selection: Tree = {}  # noqa: RUF012  # never written to

    @property
    def samples(self) -> int:
        """Samples trained on, each as often as it was."""
        return int(self.clients["samples"].sum())

    @property
    def local_steps(self) -> int:
        """Minibatches trained on."""
        return int(self.clients["steps"].sum())

    def mean(self, metric: str) -> float:
        """A client metric's mean over the samples trained on, where the update was finite.

        Updates of which it is not told count for nothing: those of another server step than the
        one that has it.
        """
        told = (self.clients["finite"] == 1) & ~self.clients[metric].isnan()
        samples = self.clients["samples"][told]
        return float((self.clients[metric][told] * samples).sum() / samples.sum())


def rounds(
    algorithm: Algorithm,
    runtime: CohortRuntime | ServerRuntime,
    state: Tree,
    cohorts: Iterator[Cohort] | Selector,
    start: int = 0,
    on_nonfinite: Literal["fail", "drop"] = "fail",
    selection: Tree | None = None,
) -> Iterator[Round]:
    """Runs an algorithm, round by round, for as long as it is asked to.

    Args:
        algorithm: what to run.
        runtime: where to run it.
        state: state of the server, ``algorithm.init(params)`` for a new run.
        cohorts: the clients of round 0, 1, ...: int64 [cohort] each, from the first round on; or
            what chooses them as the rounds go on.
        start: rounds already done; so many cohorts of a stream are skipped.
        on_nonfinite: whether an update with a NaN or an infinity ends the run or is left out.
        selection: state of what chooses the cohorts, ``Round.selection`` of the last round that is
            done; None for a new run.

    Yields:
        The rounds from ``start + 1`` on.

    Raises:
        NonFiniteError: naming the clients, if ``on_nonfinite`` is ``"fail"``.
        SpecError: if the selector asks for what algorithm or runtime do not give.
    """
    selector = cohorts if isinstance(cohorts, Selector) else stream(cohorts)
    selection = selector.init() if selection is None else selection
    advance = runtime.advance if isinstance(runtime, ServerRuntime) else partial(_advance, runtime)
    for number in count(start):
        began = perf_counter()
        asked = _poll(algorithm, runtime, state, selector, selection, number)
        moment, cohort = asked.moment, selector.choose(selection, asked.moment)
        if cohort is None:
            return
        if selector.opens is not None:
            runtime.wait(selector.opens(selection, moment))
        work = Work(number, tuple(cohort.tolist()), algorithm.plan(state))
        done = advance(algorithm, state, work)
        if on_nonfinite == "fail":
            _check_finite(number + 1, done.clients)
        state = done.state
        selection = selector.told(selection, moment, _repeatable(runtime, done.clients))
        yield Round(
            number=number + 1,
            state=state,
            clients=done.clients,
            **_total([asked.traffic, done.traffic])._asdict(),
            wall_seconds=perf_counter() - began,
            simulated_seconds=asked.seconds + done.seconds,
            metrics=done.metrics,
            selection=selection,
        )


class _Asked(NamedTuple):
    """A moment with the answers of those who were polled, and what it took to ask them."""

    moment: Moment
    traffic: Traffic = Traffic(0, 0, 0)
    seconds: float = 0.0


def _poll(
    algorithm: Algorithm,
    runtime: CohortRuntime | ServerRuntime,
    state: Tree,
    selector: Selector,
    selection: Tree,
    number: int,
) -> _Asked:
    """Asks those whom the selector wants to hear of before a round; each answers with its loss."""
    moment = Moment(number, runtime.now)
    if selector.poll is None:
        return _Asked(moment)
    params = algorithm.params(state)
    answers = runtime.survey(params, selector.poll(selection, moment))
    clients, up = len(answers["loss"]), tree.nbytes(answers["loss"])
    traffic = Traffic(2 * clients, clients * tree.nbytes(params), up)
    return _Asked(moment._replace(answers=answers), traffic, float(answers["seconds"].max()))


def _repeatable(
    runtime: CohortRuntime | ServerRuntime, clients: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The clients' columns without what was measured on a clock."""
    if runtime.now is not None:
        return clients
    return {name: each for name, each in clients.items() if name != "seconds"}


def _advance(runtime: CohortRuntime, algorithm: Algorithm, state: Tree, work: Work) -> RoundResult:
    """Does a round: all the steps of the server that it has, one by one."""
    done: list[RoundResult] = []
    for number in runtime.server_steps(work):
        plan = algorithm.plan(state) if done else work.plan
        done.append(server_step(runtime, algorithm, state, Work(number, work.clients, plan)))
        state = done[-1].state
    return RoundResult(
        state,
        join_columns([each.clients for each in done]),
        _total([each.traffic for each in done]),
        sum(each.seconds for each in done),
        done[-1].metrics,
    )


def _total(traffic: Sequence[Traffic]) -> Traffic:
    return Traffic(*map(sum, zip(*traffic, strict=True)))


def server_step(
    runtime: CohortRuntime, algorithm: Algorithm, state: Tree, work: Work
) -> RoundResult:
    """Makes a step of the server: broadcast, local training, reduction, update.

    Args:
        runtime: where the cohort trains.
        algorithm: what is run.
        state: the server's, which is not written to.
        work: the step's number, its cohort, and how long that trains.
    """
    began = perf_counter()
    with forked():
        seed_draws(runtime.seed, work.step, "broadcast")
        broadcast = algorithm.broadcast(state)
    prepared = perf_counter()
    cohort = runtime.map_reduce(broadcast, work)
    returned = perf_counter()
    metrics: Metrics = {}
    if cohort.clients["finite"].any():  # of no updates there is nothing to make a step from
        with forked():
            seed_draws(runtime.seed, work.step, "server")
            state, metrics = algorithm.server(state, algorithm.reduce.result(cohort.accumulator))
    traffic = cohort.traffic or star_traffic(algorithm, broadcast, cohort.clients)
    seconds = cohort.seconds
    if seconds is None:
        slowest = float(cohort.clients["seconds"].max())
        own = (prepared - began) + cohort.merge_seconds + (perf_counter() - returned)
        seconds = slowest + own
    return RoundResult(state, cohort.clients, traffic, seconds, metrics)


def _check_finite(number: int, clients: dict[str, Tensor]) -> None:
    broken = torch.unique(clients["client"][clients["finite"] == 0]).long().tolist()
    if broken:
        named = ", ".join(map(str, broken[:10])) + (", ..." if len(broken) > 10 else "")
        raise NonFiniteError(
            f"round {number}: the update of client {named} holds a NaN or an infinity; lower the "
            "learning rate, look for such numbers in the samples, or leave such updates out with "
            "--on_nonfinite drop"
        )
