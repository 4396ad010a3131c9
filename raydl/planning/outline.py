"""The plan of a run in outline: so many parameters on so many workers, by each scheme."""

from dataclasses import dataclass
from typing import Literal

import torch

from raydl.communication.cost import Communication, message_bytes
from raydl.config.run import Model
from raydl.core.errors import SpecError, require, unknown
from raydl.core.grad import parameters
from raydl.planning.forecast import Comparison, Forecast, schemes

SCHEMES = tuple(schemes(0, 0, 0))
_BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16}
_RING = 2.0  # neighbours


@dataclass(frozen=True)
class Outline:
    """A run in outline.

    Args:
        parameters: number of parameters of the model.
        model: name of a model, in their place, for samples of a shape and so many classes.
        shape: shape of one sample, such as [3,32,32].
        classes: number of classes that the model tells apart.
        scheme: scheme of exchange: star (parameter server, federated), all_to_all, tree, ring or
            gossip (D-PSGD); all of them by default.
        workers: number of workers (N), or clients.
        cohort: number of them that take part in a round; all by default.
        servers: servers over which the parameters are cut in a star (S).
        degree: neighbours of a worker in gossip, on average; 2 by default, as in a ring.
        rounds: number of rounds; 1 by default.
        steps: steps that each worker takes in all, in place of rounds.
        local_steps: local steps of a round (J).
        dtype: type of the parameters.
        bits: bits of a value that a worker sends, if it is quantized. A tree and a ring pass sums
            on, which neither this nor density makes smaller.
        density: fraction of the values that a worker sends, each with its index, if not all.
        last: scheme by which all workers average once, after the rounds.
    """

    parameters: int | None = None
    model: str | None = None
    shape: tuple[int, ...] | None = None
    classes: int | None = None
    scheme: str | None = None
    workers: int = 8
    cohort: int | None = None
    servers: int = 1
    degree: float | None = None
    rounds: int | None = None
    steps: int | None = None
    local_steps: int = 1
    dtype: Literal["float64", "float32", "float16", "bfloat16"] = "float32"
    bits: int | None = None
    density: float = 1.0
    last: str | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "classes", "workers", "rounds", "steps", "local_steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or larger")
        fits = self.cohort is None or 1 <= self.cohort <= self.workers
        require(fits, "cohort", self.cohort, f"from 1 to {self.workers}, the workers")
        others = (self.cohort or self.workers) - 1
        fits = self.degree is None or 0 <= self.degree <= others
        require(fits, "degree", self.degree, f"from 0 to {others}, the others of a round")
        either = self.rounds is None or self.steps is None
        require(either, "steps", self.steps, "left out where rounds are given")
        require(self.dtype in _BITS, "dtype", self.dtype, ", ".join(_BITS))
        for field in ("scheme", "last"):
            name = getattr(self, field)
            if name is not None and name not in SCHEMES:
                raise unknown(field, name, SCHEMES)
        if (self.parameters is None) == (self.model is None):
            raise SpecError(
                "a plan in outline needs the model's size: either --parameters, or --model with "
                "--shape and --classes. The plan of a run needs none of them, and no --scheme"
            )

    def size(self) -> int:
        """The parameters of the model.

        Raises:
            SpecError: if the model cannot be made.
        """
        if self.model is None:
            return int(self.parameters or 0)
        if self.shape is None or self.classes is None:
            raise SpecError(
                f"model is {self.model!r}; to plan in outline, give --shape and --classes with it"
            )
        with torch.device("meta"):
            module = Model(self.model).build(self.shape, self.classes)
        return sum(leaf.numel() for leaf in parameters(module).values())


def of_outline(outline: Outline) -> Comparison:
    """What a run in outline sends, by each scheme or by its own.

    Raises:
        SpecError: if there are more servers than parameters, or the model cannot be made.
    """
    size, bits = outline.size(), _BITS[outline.dtype]
    require(1 <= outline.servers <= size, "servers", outline.servers, f"from 1 to {size}")
    ways = schemes(
        down=message_bytes(size, bits),
        up=message_bytes(size, bits if outline.bits is None else outline.bits, outline.density),
        summed=message_bytes(size, bits),
        servers=outline.servers,
        degree=_RING if outline.degree is None else outline.degree,
    )
    rounds = outline.rounds or -(-(outline.steps or 1) // outline.local_steps)
    workers = outline.cohort or outline.workers
    after = ways[outline.last](outline.workers) if outline.last else Communication()
    forecasts = {
        name: Forecast(
            workers=workers,
            scheme=ways[name],
            rounds=rounds,
            local_steps=outline.steps or rounds * outline.local_steps,
            total=ways[name](workers) * rounds + after,
        )
        for name in ([outline.scheme] if outline.scheme else SCHEMES)
    }
    return Comparison(f"{size:,} × {outline.dtype}", forecasts, ways)
