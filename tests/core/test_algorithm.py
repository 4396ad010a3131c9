import pytest

from raydl.core.algorithm import Plan, Work


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_blocks_are_consecutive_clients_and_together_the_cohort(size):
    work = Work(4, (7, 3, 9, 1, 0, 2, 8, 6, 5, 4), Plan(10))
    blocks = list(work.blocks(size))
    assert sum((block.clients for block in blocks), ()) == work.clients
    assert all(len(block.clients) == size for block in blocks[:-1])
    assert all(block._replace(clients=work.clients) == work for block in blocks)
