"""What every partition promises, at 10,000 clients, and what each adds to that."""

import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raydl import Run
from raydl.algorithms import LocalSGD
from raydl.assembly.assemble import assemble, count_clients
from raydl.core.errors import SpecError
from raydl.data import (
    IID,
    ClassesPerClient,
    Dirichlet,
    Mixed,
    Natural,
    Pachinko,
    Partition,
    PowerLaw,
    QuantitySkew,
    Shards,
    Tensors,
    label_counts,
)
from raydl.data.checks import check_partition
from raydl.data.partitions.superclasses import CIFAR100

N = 10_000
LABELS = np.random.default_rng(0).integers(0, 10, 100_000)
OWNERS = np.random.default_rng(1).permutation(np.arange(len(LABELS)) % N) * 7
PAIRS = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)  # superclasses of ten classes
SPECS = [
    IID(),
    Shards(),
    Shards(per_client=3),
    ClassesPerClient(per_client=1),
    ClassesPerClient(per_client=2),
    ClassesPerClient(per_client=5),
    Dirichlet(alpha=1.0, min_size=1),
    Dirichlet(alpha=1.0, min_size=1, cap=False),
    QuantitySkew(),
    QuantitySkew(alpha=0.05, min_size=3),
    Natural(),
    Pachinko(superclasses=PAIRS),
    Mixed(superclasses=PAIRS),
    Mixed(iid=0.3, superclasses=PAIRS),
    PowerLaw(per_client=2, sigma=2.0),
]


def few_classes(per_client: int, clients: int, labels: np.ndarray) -> np.ndarray:
    """The counts [clients, classes] of a Labels partition."""
    partition = ClassesPerClient(per_client).assign(labels, clients, 0)
    return label_counts(labels, partition, labels.max() + 1)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_no_sample_twice_and_no_client_empty(spec):
    partition = spec.assign(LABELS, N, 0, OWNERS)
    assert len(partition) == N
    assert partition.indices.dtype == partition.offsets.dtype == np.int64
    assert partition.indices.min() >= 0
    assert partition.indices.max() < len(LABELS)
    assert len(np.unique(partition.indices)) == len(partition.indices)
    assert partition.sizes.min() >= 1
    assert partition.sizes.sum() == len(partition.indices) == len(LABELS)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_labels_and_seed_decide(spec):
    one, same = (spec.assign(LABELS.copy(), N, 3, OWNERS) for _ in range(2))
    other = spec.assign(LABELS, N, 4, OWNERS)
    assert np.array_equal(one.indices, same.indices)
    assert np.array_equal(one.offsets, same.offsets)
    assert np.array_equal(one.indices, other.indices) == isinstance(spec, Natural)


LABELLED = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)
ALWAYS = [IID(), Shards(1), QuantitySkew()]  # as long as there is a sample for each client
DRAWN = st.one_of(
    st.sampled_from(ALWAYS),
    st.builds(Shards, st.integers(1, 4)),
    st.builds(ClassesPerClient, st.integers(1, 5)),
    st.builds(Dirichlet, st.floats(0.05, 50), st.integers(1, 3), st.booleans()),
    st.builds(QuantitySkew, st.floats(0.01, 50), st.integers(1, 5)),
    st.builds(Pachinko, st.floats(0.001, 50), st.floats(0.001, 50), st.just((0, 0, 1, 1, 1))),
    st.builds(Mixed, st.floats(0, 1), st.just((1, 0, 1, 0, 2))),
    st.builds(PowerLaw, st.integers(1, 5), st.floats(0, 5)),
)


@given(DRAWN, LABELLED, st.integers(1, 12), st.integers(0, 9))
def test_what_every_partition_promises(spec, labels, clients, seed):
    assume(clients <= len(labels))
    try:
        parts = spec.assign(labels, clients, seed)
    except SpecError:
        assert spec not in ALWAYS
        return
    check_partition(parts, clients, len(labels))
    assert len(np.unique(parts.indices)) == len(parts.indices) == parts.sizes.sum()
    assert parts.sizes.min() >= getattr(spec, "min_size", 1)
    if isinstance(spec, ClassesPerClient):
        assert all(len(np.unique(labels[own])) == spec.per_client for own in parts)
        assert parts.sizes.max() <= max(spec.per_client, np.ceil(1.1 * len(labels) / clients))
    elif not isinstance(spec, PowerLaw):  # of which fewer clients than classes may leave one out
        assert len(parts.indices) == len(labels)
    again = spec.assign(labels.copy(), clients, seed)
    assert np.array_equal(again.indices, parts.indices)
    assert np.array_equal(again.offsets, parts.offsets)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30).map(np.array))
def test_natural_gives_each_owner_its_own(owners):
    distinct = sorted(set(owners.tolist()))
    parts = Natural().assign(np.zeros(len(owners), np.int64), len(distinct), 0, owners)
    assert len(parts) == len(distinct)
    for owner, own in zip(distinct, parts, strict=True):
        assert own.tolist() == np.flatnonzero(owners == owner).tolist()


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("clients", [0, len(LABELS) + 1])
def test_as_many_clients_as_samples_at_most(spec, clients):
    with pytest.raises(SpecError, match=f"clients is {clients}"):
        spec.assign(LABELS, clients, 0, OWNERS)


def test_a_partition_is_a_sequence_of_views():
    partition = Partition.cut(np.array([4, 2, 0, 1]), np.array([1, 0, 3]))
    assert [each.tolist() for each in partition] == [[4], [], [2, 0, 1]]
    assert partition.sizes.tolist() == [1, 0, 3]
    assert partition[2].base is partition.indices
    for client in (-1, 3):
        with pytest.raises(IndexError):
            partition[client]


@pytest.mark.parametrize(("n", "clients"), [(60_000, 100), (1003, 10), (100_000, 9_999)])
def test_iid_is_a_permutation_cut_evenly(n, clients):
    partition = IID().assign(np.zeros(n, np.int64), clients, 10)
    reference = np.array_split(np.random.default_rng(10).permutation(n), clients)
    assert all(map(np.array_equal, partition, reference))


@pytest.mark.parametrize(("n", "clients"), [(60_000, 100), (1003, 10)])
def test_shards_are_dealt_as_in_the_paper(n, clients):
    labels = LABELS[:n]
    shards = np.array_split(np.argsort(labels, kind="stable"), 2 * clients)
    dealt = np.random.default_rng(10).permutation(2 * clients)
    partition = Shards().assign(labels, clients, 10)
    for client, own in enumerate(partition):
        first, second = dealt[2 * client : 2 * client + 2]
        assert np.array_equal(own, np.concatenate([shards[first], shards[second]]))


@pytest.mark.parametrize("per_client", [1, 5, 10, 50, 100])
def test_labels_of_balanced_classes_come_out_even(per_client):
    labels = np.random.default_rng(0).permutation(np.arange(50_000) % 100)
    counts = few_classes(per_client, 100, labels)
    assert ((counts > 0).sum(axis=1) == per_client).all()
    assert ((counts > 0).sum(axis=0) == per_client).all()
    assert (counts.sum(axis=1) == 500).all()


@pytest.mark.parametrize("clients", [10, 100, 1000, N])
@pytest.mark.parametrize("per_client", [1, 2, 5])
def test_labels_of_random_classes_come_out_nearly_even(clients, per_client):
    counts = few_classes(per_client, clients, LABELS)
    share = len(LABELS) / clients
    holders = (counts > 0).sum(axis=0)
    assert ((counts > 0).sum(axis=1) == per_client).all()
    assert np.abs(holders * 10 / (per_client * clients) - 1).max() < 0.05
    assert np.abs(counts.sum(axis=1) - share).max() <= max(1, 0.05 * share)


def test_labels_mixes_classes_freely():
    labels = np.arange(50_000) % 100
    together = {tuple(np.flatnonzero(row)) for row in few_classes(5, 100, labels)}
    assert len(together) > 90


def test_labels_serves_large_classes_with_more_clients():
    labels = np.repeat([0, 1, 2], [7000, 2000, 1000])
    counts = few_classes(1, 10, labels)
    assert (counts > 0).sum(axis=0).tolist() == [7, 2, 1]
    assert (counts.sum(axis=1) == 1000).all()


def test_labels_keeps_few_holders_near_the_equal_share():
    counts = few_classes(1, 15, np.arange(15_000) % 10)  # 5 of 10 classes have one holder only
    assert counts.sum(axis=1).max() == 1100


def test_labels_with_fewer_places_than_classes():
    counts = few_classes(2, 10, np.arange(10_000) % 100)
    assert (counts > 0).sum() == 20
    assert (counts > 0).sum(axis=0).max() == 1


def test_dirichlet_shares_vary_as_the_distribution():
    labels = np.repeat(np.arange(4000), 100)
    partition = Dirichlet(alpha=0.5, min_size=1, cap=False).assign(labels, 2, 0)
    shares = label_counts(labels, partition, 4000) / 100
    variance = 1 / (4 * (2 * 0.5 + 1))  # of Beta(α, α)
    assert abs(shares[0].mean() - 0.5) < 0.03
    assert abs(shares[0].var() / variance - 1) < 0.1


@pytest.mark.parametrize("clients", [4, 10, 100])
def test_dirichlet_keeps_its_minimum_and_its_cap(clients):
    partition = Dirichlet().assign(LABELS, clients, 0)
    assert partition.sizes.min() >= 10
    # What lies above the share came with the one class that crossed it.
    assert partition.sizes.max() <= len(LABELS) / clients + np.bincount(LABELS).max()


def test_dirichlet_gives_a_full_client_nothing_more():
    labels = np.repeat([0, 1, 2], [9000, 500, 500])
    counts = label_counts(labels, Dirichlet(min_size=1).assign(labels, 3, 5), 3)
    full = counts[:, 0] >= len(labels) / 3
    assert full.any()
    assert counts[full, 1:].sum() == 0


def test_dirichlet_nears_iid_as_alpha_grows():
    partition = Dirichlet(alpha=1e6).assign(LABELS, 10, 0)
    counts = label_counts(LABELS, partition, 10)
    assert np.abs(counts / (np.bincount(LABELS) / 10) - 1).max() < 0.01


@pytest.mark.parametrize(
    ("clients", "alpha", "min_size"), [(N, 0.1, 1), (1000, 0.1, 10), (N, 1, 9)]
)
def test_dirichlet_says_what_would_do(clients, alpha, min_size):
    with pytest.raises(SpecError, match="Try ") as raised:
        Dirichlet(alpha, min_size).assign(LABELS, clients, 0)
    advice = str(raised.value).split("Try ")[1].split(", or ")[-2]
    better = dict(pairwise(advice.split()))
    alpha, min_size = float(better["alpha"]), int(better.get("min_size", min_size))
    assert Dirichlet(alpha, min_size).assign(LABELS, clients, 0).sizes.min() >= min_size


@pytest.mark.parametrize("alpha", [0.05, 0.5, 5.0])
def test_quantity_sizes_vary_as_the_distribution(alpha):
    n, clients = 2_000_000, 10_000
    sizes = QuantitySkew(alpha).assign(np.zeros(n, np.int64), clients, 0).sizes
    variance = (1 / clients) * (1 - 1 / clients) / (alpha * clients + 1)
    assert abs((sizes / n).var() / variance - 1) < 0.1


def test_quantity_leaves_labels_alone():
    partition = QuantitySkew().assign(LABELS, 10, 0)
    counts = label_counts(LABELS, partition, 10)
    shares = counts / partition.sizes[:, None]
    large = partition.sizes > 2000
    assert large.any()
    assert np.abs(shares[large] - 0.1).max() < 0.03


def test_sequences_have_no_label_to_sort_by():
    targets = np.zeros((100, 5), np.int64)
    assert IID().assign(targets, 10, 0).sizes.tolist() == [10] * 10
    for spec in (Shards(), ClassesPerClient(), Dirichlet()):
        with pytest.raises(SpecError, match="one label for each sample"):
            spec.assign(targets, 10, 0)


def test_targets_that_are_numbers_have_no_classes_but_an_order():
    targets = np.random.default_rng(0).random(100).astype(np.float32)
    for spec in (ClassesPerClient(), Dirichlet()):
        with pytest.raises(
            SpecError, match="needs a class of each sample, but the targets are num"
        ):
            spec.assign(targets, 10, 0)
    parts = Shards(1).assign(targets, 4, 0)
    spans = sorted((targets[own].min(), targets[own].max()) for own in parts)
    assert all(high < low for (_, high), (low, _) in pairwise(spans))


def test_a_run_has_as_many_clients_as_there_are_owners():
    owners = [f"writer {number % 7}" for number in range(50)]
    data = Tensors(np.zeros((50, 3)), np.arange(50) % 2, owners=owners, validation=0, test=0).load()
    natural = Run(partition="Natural")
    assert count_clients(natural, data).clients == 7
    assert assemble(natural, data).problem.partition.sizes.tolist() == [8] + [7] * 6
    unchanged = [
        Run(),
        replace(natural, clients=5),
        replace(natural, algorithm=LocalSGD(workers=3)),
    ]
    for run in unchanged:
        assert count_clients(run, data) == run
    assert count_clients(natural, replace(data, owners=None)) == natural


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Shards(0), "1 or larger"),
        (lambda: ClassesPerClient(0), "1 or larger"),
        (lambda: Dirichlet(alpha=0), "above 0"),
        (lambda: Dirichlet(min_size=0), "1 or larger"),
        (lambda: QuantitySkew(alpha=-1), "above 0"),
        (lambda: QuantitySkew(min_size=0), "1 or larger"),
        (lambda: Shards(11).assign(LABELS, N, 0), "at most 10"),
        (lambda: ClassesPerClient(11).assign(LABELS, 100, 0), "at most 10, the number of classes"),
        (lambda: ClassesPerClient(8).assign(LABELS, 20_000, 0), "at most 5 with 20000 clients"),
        (lambda: Dirichlet(min_size=11).assign(LABELS, N, 0), "at most 10"),
        (lambda: QuantitySkew(min_size=11).assign(LABELS, N, 0), "at most 10"),
        (lambda: Natural().assign(LABELS, N, 0), "names no owners"),
        (lambda: Natural().assign(LABELS, 99, 0, OWNERS), "10000, the number of natural"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(SpecError, match=said):
        wrong()


def counts_of(spec, labels, clients, seed=0):
    return label_counts(labels, spec.assign(labels, clients, seed), labels.max() + 1)


def test_pachinko_draws_few_superclasses_and_all_their_classes():
    """The first clients, before any class runs out: superclasses from θ, classes nearly equal."""
    labels = np.repeat(np.arange(100), 500)
    counts = counts_of(Pachinko(), labels, 500)
    assert (counts.sum(axis=1) == 100).all()
    assert (counts.sum(axis=0) == 500).all()
    of_superclass = np.zeros((500, 20), np.int64)
    np.add.at(of_superclass.T, np.array(CIFAR100), counts.T)
    first = of_superclass[:100] / 100
    # For Dirichlet(.1) over 20, E Σ θ² = (α + 1) / (20 α + 1); a draw of 100 adds (1 − Σ θ²) / 100.
    expected = 1.1 / 3 + (1 - 1.1 / 3) / 100
    assert (first**2).sum(axis=1).mean() == pytest.approx(expected, abs=0.05)
    main = first.argmax(axis=1)
    inside = [counts[k, np.array(CIFAR100) == s] for k, s in enumerate(main) if first[k, s] > 0.8]
    assert np.mean([(each > 0).all() for each in inside]) > 0.9  # Dirichlet(10): none is missing


@pytest.mark.parametrize(("alpha", "beta"), [(1e-3, 10.0), (1e-3, 1e-3), (1e6, 1e6)])
def test_pachinko_gives_everything_away_at_any_concentration(alpha, beta):
    labels = np.repeat(np.arange(10), [1, 200, 3, 40, 5, 60, 7, 80, 9, 100])
    counts = counts_of(Pachinko(alpha, beta, PAIRS), labels, 7)
    assert (counts.sum(axis=0) == np.bincount(labels)).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_mixed_clients_of_other_superclasses_share_no_class():
    counts = counts_of(Mixed(superclasses=PAIRS), LABELS, 50)
    of_pair = counts.reshape(50, 5, 2).sum(axis=2)
    assert ((of_pair > 0).sum(axis=1) == 1).all()
    assert ((of_pair > 0).sum(axis=0) == 10).all()


def test_mixed_has_its_share_of_all_classes():
    labels = np.repeat(np.arange(10), 1000)
    counts = counts_of(Mixed(iid=0.4, superclasses=PAIRS), labels, 20)
    of_pair = counts.reshape(20, 5, 2).sum(axis=2) / counts.sum(axis=1, keepdims=True)
    assert of_pair.max(axis=1).mean() == pytest.approx(0.6 + 0.4 / 5, abs=0.02)
    sizes = counts_of(Mixed(iid=1.0, superclasses=PAIRS), labels, 20).sum(axis=1)
    assert (sizes == 500).all()


def test_power_law_gives_neighbouring_classes_and_lognormal_sizes():
    labels = np.repeat(np.arange(10), 4000)
    counts = counts_of(PowerLaw(sigma=1.0), labels, 200)
    assert (counts.sum(axis=0) == 4000).all()
    for client, own in enumerate(counts):
        assert set(np.flatnonzero(own)) == {(client + each) % 10 for each in range(5)}
    assert np.log(counts.sum(axis=1)).std() == pytest.approx(1, abs=0.15)
    assert np.ptp(counts_of(PowerLaw(sigma=0), labels, 200).sum(axis=1)) <= 5


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Pachinko(alpha=0), "alpha is 0.0; it must be above 0"),
        (lambda: Pachinko(superclasses=(0, 2)), "from 0 on without a gap"),
        (
            lambda: Pachinko().assign(LABELS, 10, 0),
            "10 classes up to 9; set partition.superclasses",
        ),
        (lambda: Mixed().assign(LABELS, 10, 0), "which are CIFAR-100's by default"),
        (lambda: Mixed(superclasses=(0, 1)).assign(LABELS, 10, 0), "given for 2"),
        (lambda: Mixed(superclasses=PAIRS).assign(LABELS, 4, 0), "clients is 4; it must be 5 or"),
        (lambda: Mixed(iid=1.5), "a fraction in"),
        (lambda: PowerLaw(per_client=11).assign(LABELS, 10, 0), "at most 10, the number of"),
        (lambda: PowerLaw(2).assign(np.arange(40) % 4, 30, 0), "have a class of 10 samples"),
        (lambda: PowerLaw(sigma=-1), "sigma is -1"),
    ],
)
def test_what_cannot_be_divided_by_superclasses_is_told(wrong, told):
    with pytest.raises(SpecError, match=told):
        wrong()


def test_the_superclasses_are_those_of_the_published_files(data_root):
    file = Path(data_root) / "cifar-100-python" / "train"
    published = pickle.loads(file.read_bytes(), encoding="latin1")
    found = dict(zip(published["fine_labels"], published["coarse_labels"], strict=True))
    assert tuple(found[each] for each in range(100)) == CIFAR100
