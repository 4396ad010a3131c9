"""Where an algorithm runs: each runtime runs any algorithm, with the same numbers.

runtime           what every runtime does
problem           what is to be learned, and how a cohort is cut into blocks
spec              what a runtime is to the command line
auto              the runtime that is chosen by measuring
local             one process: sequential, batched
actors            Ray actors
allreduce         processes that add up their results, under Ray Train
parameter_server  workers around a server in shards
simulated         workers under a virtual clock

Under them: ``worker``, what one process does; ``ray_cluster``, the cluster and what passes through
it; ``asynchrony``, servers that do not wait for all.
"""

from typing import TYPE_CHECKING

from raydl.core.environment.lazy import lazily

if TYPE_CHECKING:
    from raydl.runtimes.actors.spec import Actors
    from raydl.runtimes.allreduce.spec import AllReduce
    from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
    from raydl.runtimes.auto import Auto
    from raydl.runtimes.local.spec import Batched, Sequential
    from raydl.runtimes.parameter_server.spec import ShardedServer
    from raydl.runtimes.simulated.compute_time import Exponential, Lognormal, Measured
    from raydl.runtimes.simulated.spec import Simulated

__all__ = [
    "Actors",
    "AllReduce",
    "Asynchronous",
    "Auto",
    "Batched",
    "Exponential",
    "Lognormal",
    "Measured",
    "Sequential",
    "ShardedServer",
    "Simulated",
    "StaleSynchronous",
    "Synchronous",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "actors.spec": ("Actors",),
        "allreduce.spec": ("AllReduce",),
        "asynchrony.consistency": ("Asynchronous", "StaleSynchronous", "Synchronous"),
        "auto": ("Auto",),
        "local.spec": ("Batched", "Sequential"),
        "parameter_server.spec": ("ShardedServer",),
        "simulated.compute_time": ("Exponential", "Lognormal", "Measured"),
        "simulated.spec": ("Simulated",),
    },
)
