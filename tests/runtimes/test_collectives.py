"""All-reduce on point-to-point messages: torch's sums, and the closed forms' messages and bytes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from raydl.communication import collectives, cost
from raydl.communication.collectives import Sent
from raydl.communication.cost import Communication

LENGTHS = (0, 1, 3, 1000, 1_000_003)  # the last is larger than what a socket buffers
SCHEMES = ("all_to_all", "tree", "ring")
DTYPES = (torch.float32, torch.int64)


def member(rank: int, size: int, folder: str) -> None:
    """One process of a group: writes down its results, what it sent, and torch's own sums."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    pair = dist.new_group(sorted({0, size - 1}))
    found = {}
    for length in LENGTHS:
        for dtype in DTYPES:
            own = summand(rank, length, dtype)
            reduced = own.clone()
            dist.all_reduce(reduced)
            found["torch", length, dtype] = reduced
            for scheme in SCHEMES:
                flat = own.clone()
                sent = getattr(collectives, scheme)(flat)
                found[scheme, length, dtype] = flat, tuple(sent)
    if rank in (0, size - 1):
        for scheme in SCHEMES:
            flat = summand(rank, 10, torch.int64)
            getattr(collectives, scheme)(flat, pair)
            found["pair", scheme] = flat
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def summand(rank: int, length: int, dtype: torch.dtype) -> torch.Tensor:
    draws = torch.Generator().manual_seed(rank)
    return torch.empty(length).normal_(0, 1000, generator=draws).to(dtype)


@pytest.fixture(scope="module", params=[1, 2, 3, 4, 5])
def group(request, tmp_path_factory) -> list[dict]:
    """What each process of a group found."""
    folder = tmp_path_factory.mktemp("group")
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["raydl.communication.collectives"]
    )
    multiprocessing.start_processes(
        member, (request.param, str(folder)), request.param, start_method="forkserver"
    )
    return [load(folder / f"{rank}.pt") for rank in range(request.param)]


def load(file: Path) -> dict:
    return torch.load(file)


def closed_form(scheme: str, size: int, flat: torch.Tensor) -> Communication:
    return getattr(cost, scheme)(size, flat.nbytes)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_sum_is_that_of_torch_and_the_same_bits_everywhere(group, scheme, length):
    for dtype in DTYPES:
        results = [found[scheme, length, dtype][0] for found in group]
        # With integers nothing is rounded; floats are added up in another order.
        torch.testing.assert_close(
            results[0],
            group[0]["torch", length, dtype],
            rtol=1e-6,
            atol=1e-3 if dtype.is_floating_point else 0,
        )
        assert all(torch.equal(each, results[0]) for each in results[1:])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_sent_is_what_the_closed_form_says(group, scheme, length):
    for dtype in DTYPES:
        flat = group[0][scheme, length, dtype][0]
        expected = closed_form(scheme, len(group), flat)
        sent = [Sent(*found[scheme, length, dtype][1]) for found in group]
        assert sum(each.messages for each in sent) == expected.messages
        assert sum(each.nbytes for each in sent) == expected.bytes_up
        assert max(each.steps for each in sent) == expected.steps
        rounding = 2 * flat.element_size() if scheme == "ring" else 0  # of parts that are unequal
        busiest = max(each.nbytes for each in sent)
        assert abs(busiest - expected.worker.sent) <= rounding


def test_a_group_of_some_of_the_processes(group):
    whole = sum(summand(rank, 10, torch.int64) for rank in {0, len(group) - 1})
    for scheme in SCHEMES:
        for rank in {0, len(group) - 1}:
            assert torch.equal(group[rank]["pair", scheme], whole)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("given", [torch.zeros(2, 2), torch.zeros(4)[::2]], ids=["2d", "strided"])
def test_a_tensor_that_is_not_flat_is_refused(scheme, given):
    with pytest.raises(ValueError, match="it must be flat and contiguous"):
        getattr(collectives, scheme)(given)
