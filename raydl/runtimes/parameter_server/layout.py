"""The parameters over the shards of a server: cut by bytes into stretches, and joined again."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.core.grad import parameters
from raydl.core.tree import Params, Tree
from raydl.runtimes.asynchrony.consistency import Consistency
from raydl.runtimes.problem import Problem


class Piece(NamedTuple):
    """What a shard holds of one parameter: entries [start, stop) of it, flattened."""

    start: int
    stop: int
    shape: tuple[int, ...]  # as the shard has it: the parameter's own if it has all of it


class Sharding:
    """How the parameters, in the order of their names, are cut over shards of as many bytes.

    Trees are cut and joined with them: any dictionary in a tree that has parameters' names and
    shapes (gradients, moments, running statistics) is cut in the same places; where it has a number
    for each of them (steps), that goes with the parameter; and all else, such as the server's count
    of steps, goes to every shard. A parameter at a border is flattened; one that falls
    to a single shard keeps its shape.

    Args:
        params: parameters of the model.
        shards: number of shards (S).

    Raises:
        SpecError: if some shard would be left with nothing.
    """

    def __init__(self, params: Params, shards: int) -> None:
        entries = sum(leaf.numel() for leaf in params.values())
        allowed = f"1 or larger, and at most the {entries} parameters"
        require(1 <= shards <= entries, "runtime.shards", shards, allowed)
        self.shapes = {name: tuple(leaf.shape) for name, leaf in params.items()}
        borders = _borders(params, shards, entries)
        self.shards = [_pieces(params, *border, last=border == borders[-1]) for border in borders]

    def cut(self, value: Tree) -> list[Tree]:
        """What each shard has of a tree; views of it where that can be."""

        def part(node: Tree, pieces: dict[str, Piece]) -> Tree:
            if not isinstance(node, dict):
                return node
            if not _fits(node, self.shapes):
                return {name: part(child, pieces) for name, child in node.items()}
            return {
                name: node[name].reshape(-1)[piece.start : piece.stop].view(piece.shape)
                if piece.shape != self.shapes[name] and node[name].dim()
                else node[name]
                for name, piece in pieces.items()
                if name in node
            }

        return [part(value, pieces) for pieces in self.shards]

    def join(self, parts: Sequence[Tree], common: int = 0) -> Tree:
        """The tree that was cut into ``parts``, views of them where that can be.

        Args:
            parts: of the shards, in their order.
            common: the shard whose copy is taken of what every shard has.
        """
        first = parts[common]
        if not isinstance(first, dict):
            return first
        shapes = [{name: each.shape for name, each in pieces.items()} for pieces in self.shards]
        if not all(map(_fits, parts, shapes)):
            return {name: self.join([part[name] for part in parts], common) for name in first}
        held: dict[str, list[Tensor]] = {}
        for part in parts:
            for name, leaf in part.items():
                held.setdefault(name, []).append(leaf)
        return {
            name: torch.cat(leaves).view(self.shapes[name])
            if len(leaves) > 1 and leaves[0].dim()
            else leaves[0]
            for name, leaves in held.items()
        }


def make_sharding(problem: Problem, shards: int, consistency: Consistency) -> Sharding:
    """How a problem's parameters are cut over the shards.

    Raises:
        SpecError: if they cannot be, or if the consistency never lets a step happen.
    """
    consistency.quorum(len(problem.partition))
    if problem.algorithm.discount is None and consistency.discount_factor(1) != 1:
        raise SpecError(
            "runtime.consistency.discount is given, but the algorithm's messages cannot be made to "
            "count for less; set it to 0, or choose an algorithm such as ParameterServer"
        )
    if shards > 1 and not problem.algorithm.elementwise:
        raise SpecError(
            f"runtime.shards is {shards}, but the algorithm's server looks at more than one entry "
            "of the parameters at a time, as LARS and LAMB do with a tensor's norm; leave "
            "runtime.shards at 1, or choose another optimizer"
        )
    return Sharding(parameters(problem.task.model), shards)


def _fits(node: Tree, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a dictionary is by parameter: parts of them of these shapes, or a number for each."""
    return isinstance(node, dict) and all(
        isinstance(leaf, Tensor) and name in shapes and tuple(leaf.shape) in ((), shapes[name])
        for name, leaf in node.items()
    )


def _borders(params: Params, shards: int, entries: int) -> list[tuple[int, int]]:
    """The stretches of the shards, in entries: even in bytes, and none empty."""
    leaves = [leaf for _, leaf in sorted(params.items())]
    ends = [0, *accumulate(leaf.numel() for leaf in leaves)]
    ends_bytes = [0, *accumulate(leaf.numel() * leaf.element_size() for leaf in leaves)]
    borders = [0]
    for shard in range(1, shards):
        goal = shard * ends_bytes[-1] // shards
        at = min(bisect_right(ends_bytes, goal) - 1, len(leaves) - 1)
        border = ends[at] + (goal - ends_bytes[at]) // leaves[at].element_size()
        borders.append(min(max(border, borders[-1] + 1), entries - (shards - shard)))
    return list(zip(borders, [*borders[1:], entries], strict=True))


def _pieces(params: Params, start: int, stop: int, *, last: bool) -> dict[str, Piece]:
    pieces, passed = {}, 0
    for name, leaf in sorted(params.items()):
        own = max(start - passed, 0), min(stop - passed, leaf.numel())
        empty = not leaf.numel() and start <= passed and (passed < stop or last)
        if own[0] < own[1] or empty:
            whole = own == (0, leaf.numel())
            pieces[name] = Piece(*own, tuple(leaf.shape) if whole else (own[1] - own[0],))
        passed += leaf.numel()
    return pieces
