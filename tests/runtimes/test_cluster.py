import socket
import time
from dataclasses import replace

import pytest
import ray

from raydl.core.errors import SpecError
from raydl.runtimes import Actors, AllReduce, ShardedServer
from raydl.runtimes.ray_cluster.cluster import (
    check_capacity,
    check_listening,
    connected,
    count_gpus,
    gpus_each,
    most_workers,
    reserved_gpus,
)
from raydl.runtimes.ray_cluster.compat import this_node
from tests.command import refused


def test_what_is_connected_already_is_used_and_left_open(cluster):
    here = ray.get_runtime_context().get_node_id()
    with connected("192.0.2.1:6379", cpus=1):
        assert ray.get_runtime_context().get_node_id() == here
    assert ray.is_initialized()


def test_a_machine_too_busy_for_ray_is_told(monkeypatch, tmp_path):
    """As Ray says it, after 30 s: not to be brought about at will."""

    def late(**_):
        raise Exception("The current node timed out during startup. This could happen because")

    options = ("--rounds", 2, "--clients", 10, "--runtime", "actors", "--storage", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("ray.is_initialized", lambda: False)
        patch.setattr("ray.init", late)
        said = refused("run", *options)
    assert said.startswith("raydl: Ray did not start on this machine within the 30 s")
    assert len(said.splitlines()) == 1


def test_a_cluster_holds_so_many_workers(cluster):
    assert count_gpus(None) == 0
    assert most_workers(cpus=0.1, gpus=0) == 40
    assert most_workers(cpus=1, gpus=0) == 4
    assert most_workers(cpus=0.5, gpus=0) == 8
    check_capacity(8, cpus=0.5, gpus=0)
    with pytest.raises(SpecError, match=r"workers is 5, each reserving 1 CPU,.* 4 workers at most"):
        check_capacity(5, cpus=1, gpus=0)
    with pytest.raises(SpecError, match=r"each reserving 0.5 GPU, but the cluster has 0 GPU"):
        check_capacity(1, cpus=1, gpus=0.5)


@pytest.mark.parametrize(
    ("there", "workers", "each"),
    [
        (0, 4, 0),
        (0, None, 0),
        (2, None, 1),
        (2, 1, 1),
        (2, 2, 1),
        (2, 3, 0.5),
        (2, 5, 0.3333),
        (8, 64, 0.125),
        (1, 10, 0.1),
    ],
)
def test_gpus_are_dealt_to_the_workers(there, workers, each):
    gpus = gpus_each(there, workers, shared=True)
    assert gpus == each
    if workers and gpus:  # whole workers fit on each card
        assert there * int(1 / gpus) >= workers
    assert gpus_each(there, workers, shared=False) == (there > 0)


@pytest.mark.parametrize("spec", [Actors(2), AllReduce(2), ShardedServer()])
def test_auto_is_settled_by_what_there_is(cluster, spec, monkeypatch):
    auto = replace(spec, gpus="auto")
    assert auto.settled(2) == spec
    assert spec.settled(2) is spec
    monkeypatch.setattr("raydl.runtimes.ray_cluster.cluster.count_gpus", lambda _: 1)
    gpus = 1.0 if isinstance(spec, AllReduce) else 0.5
    assert reserved_gpus(auto.demand(2)) == gpus
    assert auto.settled(2) == replace(spec, gpus=gpus)
    assert auto.settled(2).device == "cuda"


def test_processes_that_reduce_share_no_gpu():
    with pytest.raises(SpecError, match=r"runtime.gpus is 0.5; it must be a whole number, since N"):
        AllReduce(2, gpus=0.5)


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "no-such-host.invalid:1"):
            began = time.monotonic()
            with pytest.raises(SpecError, match=f"runtime.address is '{address}', but no Ray"):
                check_listening(address)
            assert time.monotonic() - began < 5
        unused.listen()
        check_listening(f"127.0.0.1:{port}")
    check_listening("auto")


def test_an_address_from_the_environment_is_to_be_unset(monkeypatch, tmp_path):
    options = ("--rounds", 2, "--clients", 10, "--runtime", "actors", "--storage", tmp_path)
    with socket.socket() as unused, monkeypatch.context() as patch:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        patch.setattr("ray.is_initialized", lambda: False)
        patch.setenv("RAY_ADDRESS", address)
        said = refused("run", *options)
        named = refused("run", *options, "--runtime.address", address)
    assert said.startswith(f"raydl: RAY_ADDRESS is '{address}', but no Ray cluster answers there")
    assert "or unset it for one on this machine" in said
    assert named.startswith(f"raydl: runtime.address is '{address}'")
    assert "or leave the address out" in named


def test_what_is_private_in_ray_is_still_there(cluster):
    node = this_node()
    assert node.is_head()
    for name in ("raylet", "gcs_server"):
        assert node.all_processes[name][0].process.poll() is None
    assert ":" in node.gcs_address
    assert f"{node.node_ip_address}:{node.node_manager_port}"
