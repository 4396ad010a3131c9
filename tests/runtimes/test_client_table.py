"""The table of client state is a dictionary by client, whatever is done to it in which order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl import SpecError
from raydl.core import tree
from raydl.runtimes.worker import client_table
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.client_table import ClientTable
from raydl.storage import StorageError
from tests.federation import by_client
from tests.trees import assert_equal, trees

CLIENTS = st.lists(st.integers(0, 30), unique=True, max_size=6)

SOMETHING = trees().filter(lambda like: not tree.is_empty(like))


def drawn(like, number):
    """A tree of the same structure; the same for the same number."""
    draws = torch.Generator().manual_seed(number)
    return tree.map(lambda leaf: torch.randint(2, leaf.shape, generator=draws).to(leaf.dtype), like)


def states_of(kept) -> ClientStates:
    return ClientStates.stack(kept)


@pytest.fixture(params=["memory", "disk"])
def place(request, monkeypatch) -> None:
    if request.param == "disk":
        monkeypatch.setattr(client_table, "_IN_MEMORY", 0)


@pytest.mark.usefixtures("place")
@given(SOMETHING, st.lists(st.tuples(CLIENTS, CLIENTS), max_size=6))
def test_it_is_a_dictionary(like, course):
    table, expected, number = ClientTable(), {}, 0
    for written, asked in course:
        now = {client: drawn(like, (number := number + 1)) for client in written}
        table.update(states_of(now))
        expected |= now
        given_back = table.gather(asked)
        assert given_back.clients.tolist() == [each for each in asked if each in expected]
        assert_equal(
            by_client(given_back), {each: expected[each] for each in given_back.clients.tolist()}
        )
    assert_equal(by_client(table.states()), expected)
    assert_equal(by_client(ClientTable(table.states()).states()), expected)
    assert len(table.states()) == len(expected)


@pytest.mark.usefixtures("place")
def test_what_was_handed_out_is_not_written_to():
    table = ClientTable(states_of({3: torch.ones(2), 1: torch.zeros(2)}))
    held, asked = table.states(), table.gather([1])
    given_in = states_of({1: torch.full((2,), 5.0), 7: torch.full((2,), 7.0)})
    table.update(given_in)
    given_in.columns.zero_()
    assert held.columns.tolist() == [[1, 1], [0, 0]]
    assert asked.columns.tolist() == [[0, 0]]
    assert table.gather([7, 3, 1, 2]).columns.tolist() == [[7, 7], [1, 1], [5, 5]]


def test_nothing_moves_where_nothing_is_held():
    """So a checkpoint needs no memory beside the table's."""
    table = ClientTable(states_of({client: torch.zeros(2) for client in range(4)}))
    memory = table.states().columns.data_ptr()
    table.update(states_of({2: torch.ones(2)}))
    assert table.states().columns.data_ptr() == memory


def test_a_client_has_one_row():
    """Also one that a cohort has twice."""
    table = ClientTable(ClientStates(torch.tensor([4, 2, 4]), torch.ones(3)))
    assert table.states().clients.tolist() == [4, 2]


def test_it_grows_by_doubling():
    table, places = ClientTable(), set()
    for client in range(1000):
        table.update(states_of({client: torch.zeros(2)}))
        places.add(table.states().columns.data_ptr())
    assert len(places) <= 12


def test_another_structure_is_refused():
    with pytest.raises(
        SpecError, match=r"of all clients, but b is not there of one .*float32 \[2\]"
    ):
        states_of({1: {"a": torch.ones(2)}, 2: {"a": torch.ones(2), "b": torch.ones(2)}})
    table = ClientTable(states_of({1: {"a": torch.ones(2)}}))
    with pytest.raises(
        SpecError, match=r"but a is torch.float32 \[2\] of one .*float32 \[3\] of an"
    ):
        table.update(states_of({2: {"a": torch.ones(3)}}))


def test_a_full_disk_is_told_before_it_is_written_to(monkeypatch):
    monkeypatch.setattr(client_table, "_IN_MEMORY", 0)
    wide = torch.zeros(1).expand(1 << 50)
    with pytest.raises(StorageError, match=r"keep takes .* GB by now, but in .*set TMPDIR to a"):
        ClientTable(ClientStates(torch.tensor([0]), wide[None]))


def test_rows_are_found_and_taken():
    states = states_of({5: torch.tensor(5.0), 2: torch.tensor(2.0)})
    assert states.find([2, 3, 5, 2]).tolist() == [1, -1, 0, 1]
    assert states.take(torch.tensor([False, True])).clients.tolist() == [2]
    assert states.map(torch.neg).row(0) == -5
    assert ClientStates.from_tree(states.as_tree()).clients.tolist() == [5, 2]
    assert ClientStates().as_tree() == {}
    assert len(ClientStates.from_tree({})) == len(states_of({})) == 0
