"""Tables in files, beside what pandas makes of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from raydl import Run, run
from raydl.algorithms import FedAvg
from raydl.core.errors import SpecError
from raydl.data import Table, Uniform
from raydl.data.batches import Preparation
from tests.command import done, refused, summary

DRAWS = np.random.default_rng(0)
ROOMS = DRAWS.integers(1, 6, 60)
FRAME = pd.DataFrame(
    {
        "rooms": ROOMS,
        "area": 20.0 * ROOMS + DRAWS.normal(size=60),
        "garden": DRAWS.random(60) < 0.5,
        "city": DRAWS.choice(["Bern", "Aarau", "Chur"], 60),
        "agent": [f"agent {number % 7}" for number in range(60)],
        "price": 100.0 * ROOMS + DRAWS.normal(size=60),
    }
)


@pytest.fixture(params=[".csv", ".parquet"])
def write(request, tmp_path):
    """Writes a table to a file of that name."""

    def write_table(frame=FRAME, name="flats"):
        path = tmp_path / f"{name}{request.param}"
        frame.to_csv(path, index=False) if request.param == ".csv" else frame.to_parquet(path)
        return str(path)

    return write_table


def test_columns_become_features(write):
    table = Table(write(), "price", owner="agent", standardize=False, validation=0, test=0)
    kept = table.load()
    expected = pd.get_dummies(FRAME.drop(columns=["price", "agent"]))
    assert np.array_equal(kept.train.inputs, expected.to_numpy(np.float32))
    assert np.array_equal(kept.train.targets, FRAME["price"].to_numpy(np.float32))
    assert np.array_equal(kept.owners, pd.factorize(FRAME["agent"], sort=True)[0])
    assert (kept.name, kept.shape, kept.classes, kept.mean) == ("flats", (6,), None, None)


def test_numbers_are_standardized_by_the_training_rows(write):
    kept = Table(write(), "price", inputs=("city", "rooms", "area", "garden")).load()
    assert [len(each.targets) for each in (kept.train, kept.validation, kept.test)] == [42, 6, 12]
    seen = Preparation.of(kept, torch.device("cpu"))(kept.train.inputs)
    assert torch.allclose(seen[:, 3:5].mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(seen[:, 3:5].std(0, correction=0), torch.ones(2), atol=1e-6)
    assert torch.equal(seen[:, [0, 1, 2, 5]], kept.train.inputs[:, [0, 1, 2, 5]])


@pytest.mark.parametrize(
    ("target", "kind", "expected", "classes"),
    [
        ("city", None, pd.factorize(FRAME["city"], sort=True)[0], 3),
        ("garden", None, FRAME["garden"].to_numpy(int), 2),
        ("rooms", None, ROOMS - 1, 5),
        ("rooms", "numbers", ROOMS.astype(np.float32), None),
        ("garden", "numbers", FRAME["garden"].to_numpy(np.float32), None),
        ("area", "numbers", FRAME["area"].to_numpy(np.float32), None),
        (("area", "price"), None, FRAME[["area", "price"]].to_numpy(np.float32), None),
    ],
)
def test_targets_are_classes_or_numbers(write, target, kind, expected, classes):
    kept = Table(write(), target, kind=kind, validation=0, test=0).load()
    assert np.array_equal(kept.train.targets, expected)
    assert kept.train.targets.dtype == (torch.float32 if classes is None else torch.int64)
    assert kept.classes == classes


def test_an_official_test_set_has_the_same_words(write):
    test = FRAME[FRAME["city"] == "Chur"].drop(columns="agent")
    table = Table(write(), "price", ("city",), "agent", write(test, "test"), validation=0)
    kept = table.load()
    assert len(kept.train.targets) == 60
    assert kept.test.inputs.unique(dim=0).tolist() == [[0, 0, 1]]


def test_a_constant_column_is_left_as_it_is(write):
    kept = Table(write(FRAME.assign(area=3.0)), "price", ("area",)).load()
    assert Preparation.of(kept, torch.device("cpu"))(kept.train.inputs).abs().max() == 0


@pytest.mark.parametrize(
    ("frame", "options", "told"),
    [
        (FRAME, {"target": "prize"}, "unknown column of data.uri 'prize'; did you mean 'price'"),
        (FRAME, {"owner": "agents"}, "unknown column of data.uri 'agents'; did you mean 'agent'"),
        (FRAME, {"inputs": ("room",)}, "unknown column of data.uri 'room'; did you mean 'rooms'"),
        (FRAME.assign(rooms=FRAME["rooms"].where(FRAME.index > 1)), {}, r"columns 'rooms' \(2\)"),
        (FRAME.assign(city=FRAME["city"].where(FRAME.index > 0)), {}, r"columns 'city' \(1\)"),
        (FRAME.assign(price=FRAME["price"].where(FRAME.index > 2)), {}, r"columns 'price' \(3\)"),
        (
            FRAME.assign(day=pd.Timestamp("2020-01-01")),
            {},
            "column 'day' of data.uri is of type",
        ),
        (
            FRAME.assign(id=range(60)),
            {"target": "id"},
            "60 different values in 60 rows .*data.kind",
        ),
        (FRAME, {"target": "city", "kind": "numbers"}, "column 'city' of data.uri is of type"),
        (FRAME[["price"]], {}, r"data.inputs is \[\]; it must be one column or more"),
        (FRAME[:0], {}, "the number of rows in data.uri is 0"),
    ],
)
def test_tables_that_do_not_fit_are_told(write, frame, options, told):
    with pytest.raises(SpecError, match=told):
        Table(**{"uri": write(frame), "target": "price"} | options).load()


def test_more_words_than_can_be_features_are_told(write):
    frame = pd.DataFrame({"name": [f"{number}" for number in range(1001)], "y": 0.5})
    with pytest.raises(SpecError, match="'name' of 1,001 different words, more than 1,000"):
        Table(write(frame.assign(name="n" + frame["name"])), "y").load()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"inputs": ("price", "rooms")}, "data.inputs has 'price', which is data.target"),
        ({"target": ("a", "b"), "kind": "classes"}, "data.kind is 'classes'; it must be numbers"),
        ({"target": ()}, "data.target is"),
        ({"kind": "labels"}, "data.kind is 'labels'; it must be 'classes' or 'numbers'"),
    ],
)
def test_options_that_do_not_fit_are_told(options, told):
    with pytest.raises(SpecError, match=told):
        Table(**{"uri": "x.csv", "target": "price"} | options)


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"a,b\n1,2\n3\n", "odd.csv", "data.uri is .*odd.csv', which cannot be read"),
        (b"nothing", "odd.parquet", "which cannot be read"),
        (b"", "odd.xlsx", "it must be a file .csv or .parquet"),
        (b"a,b,b\n1,2,3\n", "odd.csv", "of different names"),
        (None, "none.csv", "which cannot be read"),
    ],
)
def test_files_that_cannot_be_read_are_told(tmp_path, content, name, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=told):
        Table(str(tmp_path / name), "a").load()


def test_on_the_command_line(tmp_path):
    FRAME.to_csv(tmp_path / "flats.csv", index=False)
    named = ("--data=Table", f"--data.uri={tmp_path / 'flats.csv'}", "--data.target=rooms")
    asked = ("--data.inputs=[area,price]", "--data.owner=agent", "--partition=Natural")
    small = ("--runtime=sequential", "--epochs=20", "--batch_size=5", "--participation.fraction=1")
    done("run", *named, *asked, *small, "--rounds=9", "--storage", tmp_path, "--name=a")
    assert summary(tmp_path / "a")["test_accuracy"] > 0.6
    assert "clients: 7\n" in (tmp_path / "a/run.yaml").read_text()
    assert "(N = 7)" in done("data", "show", *named, *asked, "--output", tmp_path)
    assert "data.target" in refused("run", "--data=Table", "--data.uri=x.csv")


def test_a_price_is_learned_as_a_number(tmp_path):
    FRAME.to_csv(tmp_path / "flats.csv", index=False)
    table = Table(str(tmp_path / "flats.csv"), "price", ("rooms", "area", "city"))
    usual = {"clients": 3, "participation": Uniform(1.0), "rounds": 20, "runtime": "sequential"}
    history = run(Run(FedAvg(lr=1e-4), table, storage=tmp_path, **usual))
    assert history.summary["test_r2"] > 0.9
