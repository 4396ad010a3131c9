"""The closed forms, against counts on graphs, published exercises and each other."""

from math import ceil, log2

import networkx as nx
import pytest

from raydl.communication import cost
from raydl.communication.cost import Load, all_to_all, gossip, message_bytes, ring, star, tree
from raydl.core.errors import SpecError

GRADIENTS = 62_006  # of LeNet
WORKERS = (1, 2, 3, 4, 5, 8, 13, 64)


@pytest.mark.parametrize("n", WORKERS)
@pytest.mark.parametrize("s", [1, 2, 4])
def test_the_table_of_a_steps_traffic(n, s):
    """K gradients, n workers, s servers."""
    k = GRADIENTS
    assert all_to_all(n, k).bytes_sent == k * n * (n - 1)
    server = star(n, k, servers=s)
    assert server.worker == Load(k, k)
    assert server.server == Load(k * n / s, k * n / s)
    assert ring(n, k).worker == Load(2 * k * (n - 1) / n, 2 * k * (n - 1) / n)


@pytest.mark.parametrize("n", WORKERS)
def test_parameter_server_and_federated_send_2np_in_a_step_or_a_round(n):
    steps, rounds = 100, 5
    assert (star(n, GRADIENTS) * steps).bytes_sent == 2 * n * GRADIENTS * steps
    assert (star(n, GRADIENTS) * rounds).bytes_sent == 2 * n * GRADIENTS * rounds


@pytest.mark.parametrize("n", WORKERS)
def test_steps(n):
    parted = ring(n, GRADIENTS)
    assert parted.steps == 2 * (n - 1)
    assert all(phase.worker.sent == GRADIENTS / n for phase in parted.phases)
    assert tree(n, GRADIENTS).steps == 2 * ceil(log2(n))
    assert all_to_all(n, GRADIENTS).steps == (n > 1)


@pytest.mark.parametrize("n", WORKERS)
@pytest.mark.parametrize("scheme", [all_to_all, tree, ring])
def test_what_is_sent_is_received(n, scheme):
    """No sum of n vectors that everybody learns can do with less than 2 (n - 1) of them."""
    exchange = scheme(n, GRADIENTS)
    assert exchange.bytes_up == exchange.bytes_down == exchange.bytes_sent
    assert exchange.bytes_sent >= 2 * (n - 1) * GRADIENTS or n == 1


@pytest.mark.parametrize(
    ("graph", "degree"),
    [(nx.cycle_graph(9), 2), (nx.random_regular_graph(8, 128, seed=0), 8), (nx.star_graph(4), 1.6)],
    ids=["cycle", "regular", "star"],
)
def test_gossip_sends_a_message_along_each_edge_both_ways(graph, degree):
    exchange = gossip(len(graph), 10, degree)
    assert exchange.messages == graph.to_directed().number_of_edges()
    assert exchange.bytes_sent == 10 * exchange.messages
    assert exchange.worker == Load(10 * degree, 10 * degree)


def test_gossip_on_the_complete_graph_is_all_to_all():
    assert gossip(7, 10, 6).messages == all_to_all(7, 10).messages


def test_decentralized_sgd_that_ends_with_an_all_reduce():
    """128 nodes of average degree 8, 50 steps, then every node to every other."""
    exchange = gossip(128, 4, 8) * 50 + all_to_all(128, 4)
    assert exchange.messages == 50 * 128 * 8 + 128 * 127 == 67_456
    assert exchange.bytes_sent == 4 * 67_456
    assert exchange.steps == 51
    assert exchange.worker == Load(4 * (50 * 8 + 127), 4 * (50 * 8 + 127))


def test_a_sum_of_exchanges_is_their_repetition():
    for exchange in (star(3, 100, 50, servers=2), tree(5, 100), ring(4, 100)):
        twice = exchange + exchange
        repeated = exchange * 2
        assert twice.steps == repeated.steps
        for name in ("messages", "bytes_down", "bytes_up", "bytes_sent", "bytes_paid"):
            assert getattr(twice, name) == getattr(repeated, name) == 2 * getattr(exchange, name)
        assert (twice.worker, twice.server) == (repeated.worker, repeated.server)


def test_a_vector_in_pieces_takes_more_steps_and_no_more_bytes():
    whole, cut = ring(4, 1000), ring(4, 1000, calls=5)
    assert (cut.messages, cut.steps) == (5 * whole.messages, 5 * whole.steps)
    assert (cut.bytes_sent, cut.worker) == (whole.bytes_sent, whole.worker)


def test_a_federated_round_that_sends_less_than_it_receives():
    exchange = star(10, down=400, up=100)
    assert (exchange.bytes_down, exchange.bytes_up, exchange.bytes_paid) == (4000, 1000, 4000)
    assert (exchange.worker, exchange.server) == (Load(100, 400), Load(4000, 1000))
    assert exchange.messages == 20


def test_message_bytes():
    assert message_bytes(GRADIENTS) == 4 * GRADIENTS
    assert message_bytes(GRADIENTS, bits=16) == 2 * GRADIENTS
    assert message_bytes(9, bits=1) == 2  # nine bits
    assert message_bytes(1000, density=0.01) == 10 * (4 + 4)
    assert message_bytes(3, density=0.01) == 8


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: star(0, 1), "workers is 0"),
        (lambda: ring(0, 1), "workers is 0"),
        (lambda: tree(-1, 1), "workers is -1"),
        (lambda: all_to_all(0, 1), "workers is 0"),
        (lambda: star(3, 1, servers=0), "servers is 0"),
        (lambda: gossip(3, 1, 2.5), "degree is 2.5; it must be a number from 0 to 2"),
        (lambda: gossip(3, 1, -1), "degree is -1"),
        (lambda: cost.message_bytes(0), "parameters is 0"),
        (lambda: cost.message_bytes(3, bits=65), "bits is 65"),
        (lambda: cost.message_bytes(3, density=0), "density is 0"),
    ],
)
def test_mistakes(call, told):
    with pytest.raises(SpecError, match=told):
        call()
