import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.runtimes.parameter_server.layout import Sharding
from tests.trees import FLOATS, NAMES, assert_equal, tensors

PARAMS = {
    "conv": torch.arange(24.0).view(2, 3, 2, 2),
    "scale": torch.arange(3.0),
    "wide": torch.arange(40.0, dtype=torch.float64).view(5, 8),
}
NAMED = st.dictionaries(NAMES, tensors(FLOATS), min_size=1, max_size=5)


@st.composite
def cut_params(draw):
    """Parameters, and into how many shards they are cut."""
    params = draw(NAMED)
    entries = sum(leaf.numel() for leaf in params.values())
    assume(entries)
    return params, draw(st.integers(1, min(entries, 7)))


@given(cut_params(), st.data())
def test_what_is_cut_is_joined_again(drawn, data):
    params, shards = drawn
    some = data.draw(st.sets(st.sampled_from(sorted(params))), label="a part of the parameters")
    state = {
        "params": params,
        "moments": {"first": tree.scale(params, 2.0), "step": torch.tensor(3)},
        "counts": {name: torch.tensor(at) for at, name in enumerate(sorted(params))},
        "some": {name: params[name] for name in some},
        "none": {},
        "loss": torch.ones(2),
    }
    sharding = Sharding(params, shards)
    parts = sharding.cut(state)
    assert len(parts) == shards
    assert_equal(sharding.join(parts), state)
    for name in state:
        assert_equal(sharding.join([part[name] for part in parts]), state[name])


@given(cut_params())
def test_shards_have_as_many_bytes_up_to_an_entry(drawn):
    params, shards = drawn
    sizes = [tree.nbytes(part) for part in Sharding(params, shards).cut(params)]
    assert sum(sizes) == tree.nbytes(params)
    assert min(sizes) > 0
    entry, share = max(leaf.itemsize for leaf in params.values()), sum(sizes) / shards
    if share > entry:  # else it is some entries for one, and parts of an entry for none
        assert all(abs(size - share) <= entry + 1 for size in sizes)


def test_what_falls_to_one_shard_keeps_its_shape_and_its_memory():
    first, second = Sharding(PARAMS, 2).cut(PARAMS)
    assert first["conv"] is PARAMS["conv"]
    assert first["wide"].dim() == second["wide"].dim() == 1
    assert second["wide"].data_ptr() > PARAMS["wide"].data_ptr()


def test_what_every_shard_has_is_taken_from_the_one_named():
    sharding, state = Sharding(PARAMS, 2), {"params": PARAMS, "loss": torch.ones(2)}
    parts = [
        part | {"loss": torch.tensor(number)} for number, part in enumerate(sharding.cut(state))
    ]
    assert [int(sharding.join(parts, common)["loss"]) for common in (0, 1)] == [0, 1]


@pytest.mark.parametrize("shards", [0, 68])
def test_none_may_be_empty(shards):
    with pytest.raises(SpecError, match=f"runtime.shards is {shards}; .* at most the 67 param"):
        Sharding(PARAMS, shards)
