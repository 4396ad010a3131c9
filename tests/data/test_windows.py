"""Windows of a text against the same windows stored."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import raydl
from raydl import Model, Run
from raydl.core.algorithm import Plan
from raydl.data import Dataset, Natural, Prepared, Split, prepare
from raydl.data.batches import two_samples
from raydl.data.text.windows import Text, Windows
from raydl.runtimes import Batched, Sequential
from tests.federation import federation, final, fingerprints, keeping, train

LENGTH, LETTERS = 6, 9
TOKENS = np.random.default_rng(0).integers(1, LETTERS - 1, 130, dtype=np.uint8)
TOKENS[[50, 87]] = 0, LETTERS - 1  # the smallest and the largest once each
TEXT = Text(TOKENS)
STARTS = torch.tensor([3, 4, 5, 90, 40, 47, 48, 82, 100, 124])
STORED = torch.from_numpy(TOKENS.astype(np.int64))[STARTS[:, None] + torch.arange(LENGTH)]


def bag(shape, classes) -> nn.Module:
    """What letters in their places say together: [B, T] to [B, classes]."""
    head = nn.Linear(3 * shape[0], classes)
    return nn.Sequential(nn.Embedding(classes, 3), nn.Flatten(), head)


@pytest.fixture
def windows() -> Windows:
    return Windows(TEXT, STARTS, LENGTH)


def whole(*, stored: bool, each: bool = False) -> Dataset:
    """80 windows of 4 owners to train on, 20 of validation and 20 of the test."""

    def split(start: int, stop: int) -> Split:
        starts = torch.arange(start, stop)
        inputs = Windows(TEXT, starts, LENGTH)
        after = torch.from_numpy(TOKENS[starts + LENGTH].astype(np.int64))
        targets = Windows(TEXT, starts + 1, LENGTH) if each else after
        return (
            Split(inputs, targets).map(lambda held: held[:]) if stored else Split(inputs, targets)
        )

    parts = (split(*ends) for ends in ((0, 80), (80, 100), (100, 120)))
    return Dataset("letters", *parts, LETTERS, owners=torch.arange(80) % 4)


@pytest.mark.parametrize(
    "key", [0, -1, slice(2, 5), slice(5, 2), slice(None), slice(0, 9, 2), torch.tensor([7, 0, 7])]
)
def test_what_is_indexed_is_gathered(windows, key):
    assert torch.equal(windows[key], STORED[key])
    assert windows[key].dtype == torch.int64
    assert type(windows[key]) is torch.Tensor


def test_it_looks_like_the_tensor(windows):
    assert windows.shape == STORED.shape
    assert (windows.dtype, windows.ndim, len(windows)) == (torch.int64, 2, 10)
    for extreme in ("min", "max"):
        assert getattr(windows, extreme)() == getattr(STORED, extreme)()
        place = int(getattr(windows, f"arg{extreme}")())
        assert STORED.flatten()[place] == getattr(STORED, extreme)()
    held = STORED[windows.extreme_samples()]
    assert (held[0].min(), held[1].max()) == (STORED.min(), STORED.max())
    assert torch.equal(windows.part(torch.tensor([4, 1]))[:], STORED[[4, 1]])
    assert np.array_equal(windows.numpy(), STORED.numpy())


def test_what_would_gather_all_of_it_is_refused(windows):
    with pytest.raises(TypeError, match="take some of them"):
        windows.sum()
    with pytest.raises(IndexError):
        windows[10]
    with pytest.raises(IndexError):
        windows[torch.tensor([10])]


def test_splits_that_are_sent_together_share_the_text(windows):
    long = Text(np.zeros(100_000, np.uint8))
    splits = [Windows(long, torch.arange(5), 80) for _ in range(3)]
    sent = pickle.dumps(splits)
    assert len(sent) < 110_000
    arrived = pickle.loads(sent)
    assert arrived[0].text is arrived[2].text
    assert torch.equal(pickle.loads(pickle.dumps(windows))[:], STORED)


def test_what_arrives_is_gathered_from_memory_that_must_not_be_written_to(windows):
    """As Ray has it: arrays travel beside the pickle, and lie read-only in the object store."""
    buffers: list[pickle.PickleBuffer] = []
    sent = pickle.dumps(windows, protocol=5, buffer_callback=buffers.append)
    assert [each.raw().nbytes for each in buffers] == [TOKENS.nbytes, STARTS.nbytes]
    arrived = pickle.loads(sent, buffers=[bytes(each.raw()) for each in buffers])
    assert not arrived.text.tokens.flags.writeable
    assert torch.equal(arrived[:], STORED)


def test_two_samples_hold_the_smallest_and_the_largest_letter():
    for dataset in (whole(stored=False), whole(stored=True)):
        inputs = two_samples(dataset).inputs
        assert (inputs.min(), inputs.max()) == (0, LETTERS - 1)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize(
    ("runtime", "model"),
    [(Sequential(), Model("CharLSTM", {"hidden": 8})), (Batched(), Model("Decoder", {"width": 8}))],
    ids=["sequential", "batched"],
)
def test_a_run_on_windows_has_the_numbers_of_one_on_what_is_stored(each, runtime, model, tmp_path):
    if model.factory == "CharLSTM":
        model = replace(model, options={**model.options, "last": not each})
    elif not each:
        model = Model(bag)
    ends = [
        raydl.run(
            Run(
                partition=Natural(),
                model=model,
                runtime=runtime,
                rounds=2,
                storage=str(tmp_path),
            ),
            dataset=whole(stored=stored, each=each),
        ).summary
        for stored in (False, True)
    ]
    for name in ("fingerprint", "val_loss", "test_loss", "test_accuracy"):
        assert ends[0][name] == ends[1][name]


def test_a_runtime_gives_the_same_numbers(runtime):
    """On actors the text lies in the object store."""
    ends = []
    for stored in (False, True):
        dataset = whole(stored=stored)
        algorithm = keeping(Plan(16, epochs=2), lr=0.02)
        torch.manual_seed(0)
        model = bag(dataset.shape, LETTERS)
        problem = federation(algorithm, model, dataset, block_size=3)
        opened = runtime(problem)
        history = train(problem, opened, 2)
        params, spec = final(problem, history), problem.task.spec
        scores = [opened.evaluate(params, part)().metrics(spec) for part in ("train", "test")]
        ends.append((fingerprints(history), scores))
    assert ends[0] == ends[1]


def test_they_can_be_prepared(tmp_path):
    dataset = replace(whole(stored=False), test_owners=torch.arange(20) % 4)
    prepare(dataset, str(tmp_path))
    mapped = Prepared(str(tmp_path)).load()
    assert torch.equal(mapped.train.inputs[:], dataset.train.inputs[:])
    assert torch.equal(mapped.owners, dataset.owners)
    assert torch.equal(mapped.test_owners, dataset.test_owners)
    assert mapped.validation_owners is None


def test_a_run_on_roles_is_resumed(tmp_path):
    run = Run(
        data=lambda: whole(stored=False),
        partition=Natural(),
        runtime=Sequential(),
        rounds=1,
        storage=str(tmp_path),
        name="a",
    )
    raydl.run(run)
    again = raydl.run(replace(run, rounds=2), resume="auto")
    straight = raydl.run(replace(run, rounds=2, name="b"))
    assert again.summary["fingerprint"] == straight.summary["fingerprint"]
