"""Clients whose gradients are corrected, and passes over all that a client has.

What several papers share: a term beside the gradient of each local step, and the mean loss and its
gradient at the parameters that were received.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Client, LocalState, Plan
from raydl.core.grad import Batch, Gradient, Gradients, Metrics
from raydl.core.tree import Params

Term: TypeAlias = Callable[[LocalState, Params, str], Tensor]  # (local, params, name) -> as params


def corrected(client: Client, term: Term) -> Client:
    """A client that adds a term to its gradients; what its ``init`` adds to ``local`` stays there.

    Args:
        client: one that has its parameters in ``local["params"]``.
        term: what is added to the gradient of a parameter, by its name.
    """

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        def with_term(params: Params, batch: Batch) -> Gradients:
            given = gradient(params, batch)
            terms = {name: term(local, params, name) for name in given.grads}
            return given._replace(grads=tree.add(given.grads, terms))

        return kept.step(with_term, local, batch)

    kept = keeping(client)
    return client._replace(step=step)


def keeping(client: Client) -> Client:
    """A client whose steps leave alone what was added to ``local`` beside its own."""

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        after, metrics = client.step(gradient, local, batch)
        return local | after, metrics

    return client._replace(step=step)


def one_pass(plan: Plan) -> Plan:
    """A pass over all of a client's samples, in minibatches of the plan's size."""
    return Plan(plan.batch_size, epochs=1)


def nothing_seen(params: Params) -> LocalState:
    """Sums of `look`, before anything was looked at."""
    return {"grads": tree.zeros_like(params), "loss": torch.zeros(()), "samples": torch.zeros(())}


def look(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
    """Adds a minibatch's gradient and loss, at the parameters in ``local``, to ``local["seen"]``.

    Nothing moves; what the pass did to buffers is forgotten. Its metric is ``initial_loss``.
    """
    grads, _, metrics = gradient(local["params"], batch)
    seen, samples = local["seen"], batch.size
    sums = {name: seen["grads"][name] + samples * grad for name, grad in grads.items()}
    loss = seen["loss"] + samples * metrics["loss"]
    now = {"grads": seen["grads"] | sums, "loss": loss, "samples": seen["samples"] + samples}
    return local | {"seen": now}, {"initial_loss": metrics["loss"]}


def seen_gradient(local: LocalState) -> Params:
    """The gradient of the mean loss over all that was looked at; zero of what has none."""
    seen = local["seen"]
    grads: Params = tree.map(lambda total: total / seen["samples"], seen["grads"])
    return grads


def seen_loss(local: LocalState) -> Tensor:
    """The mean loss over all that was looked at."""
    loss: Tensor = local["seen"]["loss"] / local["seen"]["samples"]
    return loss
