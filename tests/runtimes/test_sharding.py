import pytest
import torch

from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.runtimes.sharding import Sharding

PARAMS = {
    "conv": torch.arange(24.0).view(2, 3, 2, 2),
    "scale": torch.arange(3.0),
    "wide": torch.arange(40.0, dtype=torch.float64).view(5, 8),
}
STATE = {
    "params": PARAMS,
    "moments": {"first": tree.scale(PARAMS, 2.0), "step": torch.tensor(3)},
    "some": {"scale": torch.ones(3)},
    "none": {},
    "loss": torch.ones(2),
}


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 67])
def test_what_is_cut_is_joined_again(shards):
    sharding = Sharding(PARAMS, shards)
    parts = sharding.cut(STATE)
    assert len(parts) == shards
    joined = sharding.join(parts)
    expected, given = dict(tree.leaves(STATE)), dict(tree.leaves(joined))
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[path], expected[path]) for path in given)


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_shards_have_as_many_bytes(shards):
    sizes = [tree.nbytes(part) for part in Sharding(PARAMS, shards).cut(PARAMS)]
    assert sum(sizes) == tree.nbytes(PARAMS)
    assert max(sizes) - min(sizes) <= 16  # two entries of 8 bytes


def test_what_falls_to_one_shard_keeps_its_shape_and_its_memory():
    first, second = Sharding(PARAMS, 2).cut(PARAMS)
    assert first["conv"] is PARAMS["conv"]
    assert first["wide"].dim() == second["wide"].dim() == 1
    assert second["wide"].data_ptr() > PARAMS["wide"].data_ptr()


def test_what_every_shard_has_is_taken_from_the_one_named():
    sharding = Sharding(PARAMS, 2)
    parts = [
        part | {"loss": torch.tensor(number)} for number, part in enumerate(sharding.cut(STATE))
    ]
    assert [int(sharding.join(parts, common)["loss"]) for common in (0, 1)] == [0, 1]


@pytest.mark.parametrize("shards", [0, 68])
def test_none_may_be_empty(shards):
    with pytest.raises(SpecError, match=f"runtime.shards is {shards}; .* at most the 67 param"):
        Sharding(PARAMS, shards)
