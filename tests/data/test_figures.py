import numpy as np
import pytest

from raydl.data import (
    IID,
    ClassesPerClient,
    Dirichlet,
    Partition,
    Skewed,
    label_counts,
    plot_availability,
    plot_participation,
    plot_partition,
)

LABELS = np.random.default_rng(0).integers(0, 10, 20_000)


def png(figure) -> np.ndarray:
    """The pixels of a figure as drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_label_counts_are_those_of_each_client():
    partition = Dirichlet().assign(LABELS, 20, 0)
    counts = label_counts(LABELS, partition, 12)
    assert counts.shape == (20, 12)
    for client, own in enumerate(partition):
        assert counts[client].tolist() == np.bincount(LABELS[own], minlength=12).tolist()


def test_label_counts_of_a_client_without_samples():
    partition = Partition.cut(np.array([2, 0]), np.array([0, 2]))
    assert label_counts(np.array([1, 0, 1]), partition, 2).tolist() == [[0, 0], [0, 2]]


def test_bars_stack_to_the_counts():
    counts = label_counts(LABELS, Dirichlet().assign(LABELS, 20, 0), 10)
    figure = plot_partition(counts, "title")
    bars, sizes = figure.axes[:2]
    drawn = [[bar.vertices[:, 1] for bar in label.get_paths()] for label in bars.collections]
    bottoms, tops = np.min(drawn, axis=2).T, np.max(drawn, axis=2).T
    assert np.array_equal(tops - bottoms, counts)
    assert np.array_equal(bottoms[:, 1:], tops[:, :-1])
    assert np.array_equal(tops[:, -1], counts.sum(axis=1))
    assert sum(bar.get_height() for bar in sizes.patches) == 20
    assert figure.get_suptitle() == "title"
    assert [text.get_text() for text in bars.get_legend().get_texts()] == list("9876543210")


@pytest.mark.parametrize("clients", [101, 1234, 10_000])
def test_many_clients_make_a_map_of_shares(clients):
    counts = label_counts(LABELS, IID().assign(LABELS, clients, 0), 10)
    shares, sizes = plot_partition(counts, "title").axes[:2]
    image = shares.images[0].get_array()
    assert image.shape == (10, min(clients, 500))
    assert np.allclose(image.sum(axis=0), 1)
    assert sum(bar.get_height() for bar in sizes.patches) == clients


def test_participation_falls_from_the_likeliest():
    probabilities = Skewed().probabilities(100, 0)
    axes = plot_participation(probabilities, "title").axes[0]
    values = axes.patches[0].get_data().values
    assert np.array_equal(values, np.sort(probabilities)[::-1])


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plot_partition(np.ones((1, 1), int), "one client"),
        lambda: plot_partition(
            label_counts(LABELS, ClassesPerClient(3).assign(LABELS, 100, 0), 100), "many"
        ),
        lambda: plot_partition(np.eye(300, 10, dtype=int), "some clients empty"),
        lambda: plot_participation(np.ones(1), "one client"),
        lambda: plot_participation(Skewed(gamma=1e-4).probabilities(2000, 0), "skewed"),
        lambda: plot_availability(np.linspace(0, 1, 24), "a day"),
    ],
    ids=["one", "classes", "empty", "alone", "skewed", "day"],
)
def test_every_figure_can_be_drawn(figure):
    pixels = png(figure())
    assert pixels.std() > 0
    assert pixels.shape[2] == 4


def test_sizes_that_differ_by_orders_of_magnitude_are_drawn_by_their_logarithm():
    sizes = np.random.default_rng(0).lognormal(7, 2, 1180).astype(np.int64) + 2
    histogram = plot_partition(sizes[:, None], "title").axes[1]
    assert histogram.get_xscale() == "log"
    assert sum(bar.get_height() for bar in histogram.patches) == 1180
    assert sum(bar.get_height() > 0 for bar in histogram.patches) > 20
