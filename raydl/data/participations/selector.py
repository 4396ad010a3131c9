"""Selectors: cohorts that follow from what was told of the rounds before, as pure functions.

A selector is to participation what an algorithm is to training: a value of functions from a state
to a state, which is a tree of tensors, so that a checkpoint holds it and a resumed run goes on with
the very cohorts. What is drawn is folded from (seed, round). How long something took on a clock
never has a say: seconds are only those of virtual time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.algorithm import Work
from raydl.core.errors import SpecError
from raydl.core.rng import fold_in
from raydl.core.spec import Spec
from raydl.core.tree import Tree

Cohort: TypeAlias = npt.NDArray[np.int64]  # distinct client ids, int64 [cohort]
Columns: TypeAlias = Mapping[str, Tensor]  # of clients, by name: float64 [clients] each

_T = TypeVar("_T")


class Moment(NamedTuple):
    """A round that is about to begin, for which a cohort is chosen.

    Attributes:
        round: its number, from 0.
        now: seconds of virtual time since the run began; None where none is kept.
        answers: columns ``client``, ``samples`` and ``loss`` of those who were polled.
    """

    round: int
    now: float | None = None
    answers: Columns = {}  # noqa: RUF012  # never written to


class Selector(NamedTuple):
    """Who takes part in each round.

    Attributes:
        init: () -> the state before the first round.
        choose: (state, moment) -> the cohort; None from a stream that has ended.
        told: (state, moment, columns) -> the state after the round. The columns are of its updates:
            ``client``, ``samples``, ``steps``, ``finite`` (1 or 0), the metrics of training such as
            ``loss``, and ``seconds`` in virtual time alone.
        poll: (state, moment) -> whose losses at the server's parameters are asked for before the
            cohort is chosen, and of which samples, by the plan of the work: all of them, or a
            minibatch. None if nobody is asked.
        opens: (state, moment) -> the virtual second before which nobody of the cohort begins; None
            if everybody is there at any time.
        needs: names of the metrics that ``told`` looks at, which the algorithm must report.
    """

    init: Callable[[], Tree]
    choose: Callable[[Tree, Moment], Cohort | None]
    told: Callable[[Tree, Moment, Columns], Tree] = lambda state, moment, columns: state
    poll: Callable[[Tree, Moment], Work] | None = None
    opens: Callable[[Tree, Moment], float] | None = None
    needs: frozenset[str] = frozenset()


class SelectorSpec(Spec, ABC, field="participation"):
    """A spec of cohorts that follow from what was trained: which clients take part in each round.

    An own one need not be a subclass: an object with ``selector`` is one.
    """

    @abstractmethod
    def selector(self, sizes: npt.NDArray[np.int64], seed: int) -> Selector:
        """The selector for a federation.

        Args:
            sizes: samples of each of its clients (nₖ), int64 [clients].
            seed: seed of the run.

        Raises:
            SpecError: if there are too few clients, or others that it cannot choose from.
        """


def stream(cohorts: Iterable[Cohort]) -> Selector:
    """The selector of cohorts that are known from the seed, of which those done are skipped.

    It holds the place in them, so each round is to be asked for once, in order.
    """
    numbered = enumerate(cohorts)

    def choose(_state: Tree, moment: Moment) -> Cohort | None:
        return next((cohort for number, cohort in numbered if number == moment.round), None)

    return Selector(init=dict, choose=choose)


def counted(selector: Selector, clients: int) -> Selector:
    """The selector, whose state says as well who of all the clients has taken part."""

    def told(state: Tree, moment: Moment, columns: Columns) -> Tree:
        reached = state["reached"].clone()
        reached[columns["client"].long()] = True
        return {"reached": reached, "own": selector.told(state["own"], moment, columns)}

    def inside(function: Callable[[Tree, Moment], _T]) -> Callable[[Tree, Moment], _T]:
        return lambda state, moment: function(state["own"], moment)

    return selector._replace(
        init=lambda: {"reached": torch.zeros(clients, dtype=torch.bool), "own": selector.init()},
        choose=inside(selector.choose),
        told=told,
        poll=selector.poll and inside(selector.poll),
        opens=selector.opens and inside(selector.opens),
    )


def share_reached(state: Tree) -> float | None:
    """The share of all clients that took part so far; None of a selector that is not `counted`."""
    return float(state["reached"].double().mean()) if "reached" in state else None


def first_cohort(selector: Selector) -> Cohort:
    """The cohort of the first round, where everybody who is polled says the same."""
    state, moment = selector.init(), Moment(0)
    if selector.poll is not None:
        clients = torch.tensor(selector.poll(state, moment).clients, dtype=torch.float64)
        same = torch.ones_like(clients)
        moment = moment._replace(answers={"client": clients, "samples": same, "loss": same})
    cohort = selector.choose(state, moment)
    assert cohort is not None
    return cohort


def draws(seed: int, moment: Moment) -> np.random.Generator:
    """The generator of what is drawn for a round."""
    return np.random.default_rng(fold_in(seed, moment.round, "participation"))


def remembering(metric: str, clients: int) -> dict[str, Any]:
    """The parts of a `Selector` whose state is what each client last said of a metric.

    The state is ``{metric: float64 [clients]}``, infinite of those who never took part.
    """

    def told(state: Tree, _moment: Moment, columns: Columns) -> Tree:
        who, values = reported(columns, metric)
        known = state[metric].numpy().copy()
        known[who] = values
        return {metric: torch.from_numpy(known)}

    return {
        "init": lambda: {metric: torch.full((clients,), torch.inf, dtype=torch.float64)},
        "told": told,
        "needs": frozenset({metric}),
    }


def reported(columns: Columns, metric: str) -> tuple[Cohort, npt.NDArray[np.float64]]:
    """The clients whose updates were finite, int64 [k], and what they say of a metric, [k].

    Raises:
        SpecError: if the algorithm reports no such metric.
    """
    if not len(columns["client"]):
        return np.empty(0, np.int64), np.empty(0)
    if metric not in columns:
        raise unreported(metric)
    clients, values = columns["client"].long().numpy(), columns[metric].numpy()
    sound = (columns["finite"].numpy() == 1) & np.isfinite(values)
    return clients[sound], values[sound]


def unreported(metric: str) -> SpecError:
    """The error for a selector that needs a metric which the algorithm's clients do not report."""
    return SpecError(
        f"the participation chooses clients by their {metric}, which the algorithm's clients do "
        f"not report; choose another --participation, such as Uniform, or report {metric!r} in the "
        "metrics of the client's step"
    )
