"""What an exchange among workers costs: messages, bytes and steps, in closed form.

An exchange ends with every worker knowing the sum (or, of gossip, a mean with its neighbours) of
the workers' vectors. Of n workers and a vector of k bytes,

    scheme        messages    steps         sent in all   sent by a worker    sent by a server
    star          2 n s       2             2 k n         k                   k n / s
    all to all    n (n − 1)   1             k n (n − 1)   k (n − 1)
    tree          2 (n − 1)   2 ⌈log₂ n⌉    2 k (n − 1)   k ⌈log₂ n⌉ (root)
    ring          2 n (n − 1) 2 (n − 1)     2 k (n − 1)   2 k (n − 1) / n
    gossip        n d         1             k n d         k d

where the star's s servers hold a shard of k / s each, and d is the average degree of the graph that
the neighbours gossip on. `raydl.communication.network` says what that takes and costs.

R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in
MPICH", International Journal of High Performance Computing Applications, 2005; P. Patarasuk,
X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", Journal of Parallel
and Distributed Computing, 2009.
"""

from dataclasses import dataclass
from typing import NamedTuple

from raydl.core.errors import require

_INDEX_BITS = 32  # that say where a value belongs which is sent without its neighbours


class Load(NamedTuple):
    """The bytes that one party sends and receives."""

    sent: float = 0
    received: float = 0


class Phase(NamedTuple):
    """Steps of one kind, one after another.

    Attributes:
        name: of what is done in it.
        steps: how many; in each of them all its messages are under way at once.
        worker: the most that a worker sends, and the most that one receives, in one step.
        server: the most that a server sends and receives in one step.
    """

    name: str
    steps: int
    worker: Load
    server: Load = Load()


@dataclass(frozen=True)
class Communication:
    """What is sent; ``a + b`` is one exchange after the other, ``a * times`` one again and again.

    Args:
        messages: how many.
        bytes_down: that the workers receive, all of them together.
        bytes_up: that the workers send, all of them together.
        bytes_sent: by whomever.
        bytes_paid: what the servers send, or where there is none the workers: what comes into a
            data centre costs nothing at the usual providers.
        worker: what the busiest worker sends and receives.
        server: what a server sends and receives, if there is one.
        phases: what is done, in order.
    """

    messages: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    bytes_sent: int = 0
    bytes_paid: int = 0
    worker: Load = Load()
    server: Load = Load()
    phases: tuple[Phase, ...] = ()

    def __add__(self, other: "Communication") -> "Communication":
        return Communication(
            self.messages + other.messages,
            self.bytes_down + other.bytes_down,
            self.bytes_up + other.bytes_up,
            self.bytes_sent + other.bytes_sent,
            self.bytes_paid + other.bytes_paid,
            _sum(self.worker, other.worker),
            _sum(self.server, other.server),
            self.phases + other.phases,
        )

    def __mul__(self, times: int) -> "Communication":
        return Communication(
            self.messages * times,
            self.bytes_down * times,
            self.bytes_up * times,
            self.bytes_sent * times,
            self.bytes_paid * times,
            Load(*(each * times for each in self.worker)),
            Load(*(each * times for each in self.server)),
            tuple(each._replace(steps=each.steps * times) for each in self.phases),
        )

    @property
    def steps(self) -> int:
        """How many, one after another."""
        return sum(phase.steps for phase in self.phases)


def star(workers: int, down: int, up: int | None = None, servers: int = 1) -> Communication:
    """A synchronous parameter server, or a federated round: to all the workers, and back.

    Args:
        workers: that take part.
        down: bytes of what the servers send to each worker, over all shards.
        up: bytes of what each worker sends back; as many by default.
        servers: over which the vector is cut; each worker talks to all of them.
    """
    _check(workers)
    require(servers >= 1, "servers", servers, "1 or larger")
    up = down if up is None else up
    served = Load(workers * down / servers, workers * up / servers)
    return Communication(
        messages=2 * workers * servers,
        bytes_down=workers * down,
        bytes_up=workers * up,
        bytes_sent=workers * (down + up),
        bytes_paid=workers * down,
        worker=Load(up, down),
        server=served,
        phases=(
            Phase("down", 1, Load(received=down), Load(sent=served.sent)),
            Phase("up", 1, Load(sent=up), Load(received=served.received)),
        ),
    )


def all_to_all(workers: int, nbytes: int) -> Communication:
    """Every worker sends its vector to every other."""
    return _among(workers, nbytes, workers * (workers - 1), "all to all", workers - 1)


def gossip(workers: int, nbytes: int, degree: float) -> Communication:
    """Every worker sends its vector to its neighbours, as D-PSGD does in a step.

    X. Lian, C. Zhang, H. Zhang, C. Hsieh, W. Zhang, J. Liu, "Can Decentralized Algorithms
    Outperform Centralized Algorithms?", NIPS 2017.

    Args:
        workers: nodes of the graph.
        nbytes: of the vector.
        degree: neighbours of a node, on average, as which the load of a worker is counted.
    """
    most = f"a number from 0 to {workers - 1}, the other workers"
    require(0 <= degree <= max(0, workers - 1), "degree", degree, most)
    return _among(workers, nbytes, round(workers * degree), "gossip", degree)


def tree(workers: int, nbytes: int) -> Communication:
    """A binomial tree: sums go up to its root, and the whole sum down again."""
    _check(workers)
    depth = (workers - 1).bit_length()  # ⌈log₂ n⌉
    total = 2 * (workers - 1)
    step = Load(nbytes, nbytes)
    return _peers(
        total,
        total * nbytes,
        Load(depth * nbytes, depth * nbytes),
        Phase("reduce", depth, step),
        Phase("broadcast", depth, step),
    )


def ring(workers: int, nbytes: int, calls: int = 1) -> Communication:
    """A ring: n − 1 steps that add up 1 / n of the vector each, and n − 1 that pass sums on.

    No message of a vector of fewer elements than workers is left out: some are empty.

    Args:
        workers: on the ring.
        nbytes: of the vector, or of several together.
        calls: how many vectors they are, reduced one after another.
    """
    _check(workers)
    steps = workers - 1
    part = Load(nbytes / workers / calls, nbytes / workers / calls)
    return _peers(
        2 * steps * workers * calls,
        2 * steps * nbytes,
        Load(2 * steps * nbytes / workers, 2 * steps * nbytes / workers),
        Phase("reduce-scatter", calls * steps, part),
        Phase("all-gather", calls * steps, part),
    )


def message_bytes(parameters: int, bits: int = 32, density: float = 1.0) -> int:
    """The bytes of a message: round(density · parameters) values of some bits, at least one.

    Args:
        parameters: number of parameters of the model.
        bits: of each value; fewer than 32 for half precision or a quantized one.
        density: fraction of the values that are sent; below 1 each has an index of 32 bits.
    """
    require(parameters >= 1, "parameters", parameters, "1 or larger")
    require(1 <= bits <= 64, "bits", bits, "from 1 to 64")
    require(0 < density <= 1, "density", density, "in (0, 1]")
    each = bits if density == 1 else bits + _INDEX_BITS
    return -(-max(1, round(density * parameters)) * each // 8)


def _among(workers: int, nbytes: int, messages: int, name: str, peers: float) -> Communication:
    """One step in which workers send the whole vector to some of their peers."""
    _check(workers)
    own = Load(peers * nbytes, peers * nbytes)
    return _peers(messages, messages * nbytes, own, Phase(name, min(messages, 1), own))


def _peers(messages: int, nbytes: int, worker: Load, *phases: Phase) -> Communication:
    """An exchange without a server: whatever one worker sends, another one receives."""
    return Communication(messages, nbytes, nbytes, nbytes, nbytes, worker, Load(), phases)


def _sum(a: Load, b: Load) -> Load:
    return Load(a.sent + b.sent, a.received + b.received)


def _check(workers: int) -> None:
    require(workers >= 1, "workers", workers, "1 or larger")
