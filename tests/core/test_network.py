from math import inf

import pytest

from raydl.communication.cost import all_to_all, gossip, ring, star, tree
from raydl.communication.network import Network

MODEL = 4 * 85_098  # bytes


def test_how_many_clients_a_server_can_serve():
    """1 Gbit/s down, 100 Mbit/s up, 85,098 float32 parameters in 60 s."""
    network = Network(down=1e9, up=1e8)
    most = network.most_workers(lambda clients: star(clients, MODEL), within=60)
    assert most == {"down": 22_033, "up": 2_203}


def test_what_sending_a_model_costs():
    """4,950,544 float32 parameters to 200 clients for 1000 rounds at $0.03 per 2³⁰ bytes."""
    price = Network(price=0.03).cost(star(200, 4 * 4_950_544) * 1000)
    assert round(price, 2) == 110.65


def test_without_a_server_what_the_workers_send_is_paid():
    assert Network(price=1).cost(ring(3, 2**30)) == 4
    assert Network(price=1).cost(star(3, 2**30, 0)) == 3


@pytest.mark.parametrize("exact", [100, 101])
def test_the_largest_number_is_the_last_that_passes(exact):
    """One more does not; on the very limit it does."""
    network = Network(down=8e3, up=8e9)
    most = network.most_workers(lambda clients: star(clients, 10), within=exact / 100)
    assert most["down"] == exact


def test_where_there_is_no_limit_and_where_nobody_can():
    slow, fast = Network(down=8, up=8), Network(down=1e9, up=1e9)
    assert slow.most_workers(lambda n: star(n, 10), within=1) == {"down": 0, "up": 0}
    assert fast.most_workers(lambda n: ring(n, 10), within=1) == {
        "reduce-scatter": None,
        "all-gather": None,
    }
    latent = Network(latency=0.1)
    assert latent.most_workers(lambda n: ring(n, 10), within=1.05)["all-gather"] == 11
    assert latent.most_workers(lambda n: tree(n, 10), within=0.35)["reduce"] == 8


def test_seconds_of_each_scheme():
    network = Network(down=8e6, up=4e6, latency=0.5)  # 1 MB/s to the workers, half of it away
    assert network.seconds(star(4, 10**6)) == pytest.approx(4 + 8 + 2 * 0.5)
    assert network.seconds(star(4, 10**6, servers=4)) == pytest.approx(1 + 2 + 2 * 0.5)
    assert network.seconds(all_to_all(4, 10**6)) == pytest.approx(3 * 2 + 0.5)
    assert network.seconds(tree(5, 10**6)) == pytest.approx(6 * (2 + 0.5))
    assert network.seconds(ring(4, 10**6)) == pytest.approx(6 * (2 / 4 + 0.5))
    assert network.seconds(gossip(9, 10**6, 2)) == pytest.approx(2 * 2 + 0.5)
    assert network.seconds(ring(1, 10**6)) == 0


def test_the_bottleneck_is_where_the_time_goes():
    exchange = star(10, 1000)
    assert Network(down=1e9, up=1e8).bottleneck(exchange) == "server receiving"
    assert Network(down=1e7, up=1e8).bottleneck(exchange) == "server sending"
    home = Network(1e9, 1e9, worker_down=1e8, worker_up=1e7)
    assert home.bottleneck(exchange) == "worker sending"
    assert Network(1e9, 1e9, worker_down=1e6).bottleneck(exchange) == "worker receiving"
    assert Network(latency=1.0).bottleneck(exchange) == "latency"
    assert Network().bottleneck(exchange, computation=10.0) == "computation"
    assert Network(inf, inf).bottleneck(exchange) == "nothing"
    assert Network().bottleneck(ring(4, 1000)) in ("worker sending", "worker receiving")
