"""What users have in memory becomes tensors: columns of tables, sequences, names of owners."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from raydl.core.errors import SpecError
from raydl.data import Tensors
from raydl.data.forms.arrays import as_inputs, as_owners, as_targets

FRAME = pd.DataFrame(
    {"age": [30, 40, 50], "height": [1.5, 1.75, 2.0], "smokes": [True, False, True]}
)
SEQUENCES = [[5, 6, 7], [8], [9, 10]]


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME[["age"]],
        FRAME[["smokes"]],
        FRAME.astype({"age": "Int64", "height": "Float32", "smokes": "boolean"}),
        FRAME.astype({"age": "int64[pyarrow]"}),
        FRAME.set_axis(["same"] * 3, axis=1),
    ],
)
def test_a_table_is_features(frame):
    features = as_inputs("x", frame)
    assert features.dtype == torch.float32
    assert np.array_equal(features, frame.to_numpy(np.float32))


def test_a_column_is_what_its_numbers_are():
    assert as_targets("y", FRAME["age"]).tolist() == [30, 40, 50]
    assert as_targets("y", FRAME["age"]).dtype == torch.int64
    assert as_targets("y", FRAME["height"]).dtype == torch.float64
    assert as_targets("y", FRAME[["smokes"]]).dtype == torch.bool
    data = Tensors(FRAME, FRAME["height"], validation=0, test=0).load()
    assert data.shape == (3,)
    assert torch.equal(data.train.targets, torch.tensor([1.5, 1.75, 2.0]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (FRAME.assign(city=["A", "B", "A"]), r"x has columns that are no numbers: 'city' \(str\)"),
        (FRAME.assign(day=pd.Timestamp("2020")), "no numbers: 'day'.*pandas.get_dummies"),
        (FRAME.assign(age=[1, None, None]), r"missing values in its columns 'age' \(2\)"),
        (pd.Series([1.0, None]), "x has 1 missing values"),
        (pd.Series(["A", "B"]), "cannot become a tensor"),
        (FRAME[[]], "without columns"),
    ],
    ids=str,
)
def test_columns_that_are_no_numbers_are_told(given, told):
    with pytest.raises(SpecError, match=told):
        as_inputs("x", given)


@pytest.mark.parametrize(
    "made",
    [
        lambda rows: rows,
        lambda rows: [np.array(row) for row in rows],
        lambda rows: tuple(map(torch.tensor, rows)),
        lambda rows: np.array([np.array(row) for row in rows], dtype=object),
        pd.Series,
    ],
    ids=["lists", "arrays", "tensors", "array of arrays", "Series"],
)
def test_sequences_of_unequal_length_are_padded_as_torch_does(made):
    expected = pad_sequence([*map(torch.tensor, SEQUENCES)], batch_first=True)
    assert torch.equal(as_inputs("x", made(SEQUENCES)), expected)
    assert torch.equal(as_targets("y", made(SEQUENCES)), expected.where(expected > 0, -100))


def test_equal_sequences_in_a_series_are_a_tensor():
    assert as_inputs("x", pd.Series([[1, 2], [3, 4]])).tolist() == [[1, 2], [3, 4]]


def test_sequences_of_vectors_and_empty_ones_are_padded():
    vectors = as_inputs("x", [np.ones((3, 2)), np.ones((1, 2))])
    assert vectors.sum((1, 2)).tolist() == [6, 2]
    assert as_inputs("x", [[1, 2], []]).tolist() == [[1, 2], [0, 0]]
    assert as_inputs("x", [[1, 2], []]).dtype == torch.int64


def test_padded_targets_are_no_classes():
    tokens = [[1, 2, 3], [4, 5], [0], [3, 3]] * 5
    data = Tensors(tokens, tokens).load()
    assert data.classes == 6
    assert data.train.targets.min() == -100
    assert data.train.inputs.min() == 0


def test_owners_may_have_names():
    names = ["b", "a", "c", "b"]
    for given in (names, np.array(names), pd.Series(names), pd.Series(names, dtype="category")):
        assert as_owners("owners", given).tolist() == [1, 0, 2, 1]
    assert as_owners("owners", [7, 5, 7, 5]).tolist() == [7, 5, 7, 5]
