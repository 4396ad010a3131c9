import itertools

import pytest
import torch

from raydl.core.rng import fold_in, generator, seed_draws, uniform


@pytest.mark.parametrize(
    ("path", "seed"),
    [
        ((0,), 2_631_537_505_891_389_924),
        ((0, 3, 17, "order"), 2_139_149_953_180_415_527),
        ((10, 0, 99_999, "dropout"), 1_912_389_616_366_051_281),
    ],
)
def test_seeds_never_change(path, seed):
    assert fold_in(*path) == seed


def test_distinct_paths_have_distinct_seeds():
    paths = itertools.product(range(2), range(50), range(100), ("order", "dropout"))
    seeds = {fold_in(*path) for path in paths}
    assert len(seeds) == 2 * 50 * 100 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_neighbouring_numbers_do_not_run_together():
    assert len({fold_in(0, 1, 23), fold_in(0, 12, 3), fold_in(0, 123), fold_in(0, "1", 23)}) == 4


def test_generator_draws_what_its_seed_says():
    expected = torch.Generator().manual_seed(fold_in(5, 1, "order"))
    drawn = torch.randperm(10, generator=generator(5, 1, "order"))
    assert torch.equal(drawn, torch.randperm(10, generator=expected))


def test_uniform_numbers_are_uniform_and_never_0_or_1(monkeypatch):
    drawn = torch.tensor([uniform(0, number, "u") for number in range(20_000)]).double()
    counts = torch.histc(drawn, 20, 0, 1)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 50  # χ² of 19 degrees, beyond 99.98 %
    for extreme in (0, 2**63 - 1):
        monkeypatch.setattr("raydl.core.rng.fold_in", lambda *path, extreme=extreme: extreme)
        assert 0 < uniform(0) < 1


def test_seed_draws_decides_what_dropout_draws():
    def drop(*path):
        seed_draws(0, *path)
        return torch.nn.functional.dropout(torch.ones(100))

    with torch.random.fork_rng([]):
        assert torch.equal(drop(1, 2, "dropout"), drop(1, 2, "dropout"))
        assert not torch.equal(drop(1, 2, "dropout"), drop(1, 3, "dropout"))
