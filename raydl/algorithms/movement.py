"""What a client sends of its training: how far its parameters moved, and its buffers as they are.

A server makes steps of the movement. Buffers (running statistics, counters) are no parameters,
along which a larger or a smaller step would mean anything: the server takes their mean.
"""

from raydl.core import tree
from raydl.core.algorithm import Message
from raydl.core.tree import Params


def untrained(buffers: Params, grads: Params) -> Params:
    """What a pass changed by itself, without the parameters that the optimizer steps."""
    return {name: each for name, each in buffers.items() if name not in grads}


def movement(start: Params, params: Params, buffers: Params) -> Message:
    """The message: ``delta`` of the parameters since the start, and ``buffers``.

    Args:
        start: the parameters that the client received.
        params: those that it ends with.
        buffers: those of them that were not trained.
    """
    trained = {name: each for name, each in params.items() if name not in buffers}
    return {"delta": tree.sub(trained, start), "buffers": buffers}


def moved(params: Params, mean: Message, rate: float = 1.0) -> Params:
    """A server's parameters after a step along a mean message, whose buffers they take.

    Args:
        params: those of the server.
        mean: of the messages.
        rate: of the step; buffers make none.
    """
    delta = mean["delta"] if rate == 1 else tree.scale(mean["delta"], rate)
    stepped = {name: tree.add(params[name], step) for name, step in delta.items()}
    buffers: Params = tree.like(mean["buffers"], params)
    return params | stepped | buffers


def discount(sent: Message, factor: float) -> Message:
    """The message of which as much as ``factor`` counts: of its movement alone."""
    return sent | {"delta": tree.scale(sent["delta"], factor)}
