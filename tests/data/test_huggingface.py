"""Hugging Face's data sets, from memory and from disk."""

import sys

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from raydl import Run
from raydl.core.errors import SpecError
from raydl.data import HuggingFace
from raydl.data.own import load_dataset
from tests.command import done, summary

ROWS = {
    "ids": [[1, 2, 3], [4], [5, 6]] * 10,
    "length": [3, 1, 2] * 10,
    "score": [0.5, 1.5, 2.5] * 10,
    "label": [0, 1, 2] * 10,
    "user": ["u2", "u1", "u3"] * 10,
}
DATA = datasets.Dataset.from_dict(ROWS)
PARTS = datasets.DatasetDict(
    train=DATA, validation=DATA.select(range(4)), test=DATA.select(range(5)).remove_columns("user")
)

OTHER = datasets.Dataset.from_dict({"ids": ["words"], "label": [0]})


def sizes(data):
    return [len(each.targets) for each in (data.train, data.validation, data.test)]


def test_columns_are_inputs_by_name():
    data = HuggingFace(DATA, owner="user", validation=0, test=0).load()
    assert data.shape == {"ids": (3,), "length": (), "score": ()}
    assert data.train.inputs["ids"][:3].tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    assert data.train.inputs["score"].dtype == torch.float32
    assert data.train.targets.tolist() == ROWS["label"]
    assert data.owners.tolist() == [1, 0, 2] * 10
    assert data.classes == 3


def test_one_column_is_the_input_itself():
    data = HuggingFace(DATA, "score", ("ids",)).load()
    assert data.shape == (3,)
    assert data.train.inputs.dtype == torch.int64
    assert (data.classes, data.train.targets.dtype) == (None, torch.float32)
    assert sizes(data) == [21, 3, 6]


def test_parts_are_those_that_there_are():
    assert sizes(HuggingFace(PARTS, inputs=("ids",), owner="user").load()) == [30, 4, 5]
    del (parts := datasets.DatasetDict(PARTS))["validation"]
    data = HuggingFace(parts, inputs=("ids",), owner="user", validation=0.2).load()
    assert sizes(data) == [24, 6, 5]
    assert torch.equal(data.owners, torch.tensor([-1, 1, 0, 2])[data.train.targets + 1])


@pytest.mark.parametrize("form", ["numpy", "torch", None])
@pytest.mark.parametrize("processes", [0, 2])
def test_formats_and_processes_make_no_difference(form, processes):
    expected = HuggingFace(DATA, inputs=("ids", "score")).load()
    given = HuggingFace(DATA.with_format(form), inputs=("ids", "score"), processes=processes).load()
    for name, each in expected.train.inputs.items():
        assert torch.equal(given.train.inputs[name], each)


def test_images_and_the_names_of_classes():
    pixels = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])}
    )
    rows = {"image": [Image.fromarray(each) for each in pixels], "label": ["a", "b"] * 3}
    data = datasets.Dataset.from_dict(rows, features)
    kept = load_dataset(Run(data=data).data)
    assert (kept.shape, kept.classes) == ((3, 4, 5), 3)
    whole = HuggingFace(data, validation=0, test=0).load()
    assert np.array_equal(whole.train.inputs, pixels)


def test_a_folder_on_the_command_line(tmp_path):
    PARTS.save_to_disk(tmp_path / "rows")
    named = ("--data=HuggingFace", f"--data.dataset={tmp_path / 'rows'}", "--data.inputs=[score]")
    asked = ("--data.owner=user", "--partition=Natural", "--model=tests.data.test_huggingface:net")
    done(
        "run",
        *named,
        *asked,
        "--runtime=sequential",
        "--rounds=2",
        "--storage",
        tmp_path,
        "--name=a",
    )
    assert summary(tmp_path / "a")["rounds"] == 2
    assert "clients: 3\n" in (tmp_path / "a/run.yaml").read_text()


def net(classes):
    return torch.nn.Sequential(torch.nn.Unflatten(0, (-1, 1)), torch.nn.Linear(1, classes))


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (DATA, {"target": "labels"}, "unknown column of data.dataset 'labels'; did you mean 'labe"),
        (DATA, {"inputs": ("id",)}, "unknown column of data.dataset 'id'; did you mean 'ids'"),
        (DATA, {"owner": "users"}, "unknown column of data.dataset 'users'; did you mean 'user'"),
        (
            DATA,
            {},
            r"column 'user' holds words; make numbers of them, by map\(...\) by a tokenizer",
        ),
        (DATA, {"target": "user"}, r"column 'user' holds words; .* class_encode_column\('user'\)"),
        (DATA.select_columns("label"), {}, r"data.inputs is \[\]; it must be one column or more"),
        ("gone", {}, "data.dataset is 'gone', which cannot be read"),
        ("hf://rows", {}, "it must be the path of a folder on this machine"),
        (datasets.DatasetDict(test=DATA), {}, r"the parts of data.dataset is \['test'\]"),
        (ROWS, {}, "data.dataset is .*; it must be a datasets.Dataset"),
        (
            datasets.DatasetDict(train=DATA, test=OTHER),
            {"inputs": ("ids",)},
            "the parts of data.dataset have columns that differ",
        ),
        (DATA, {"inputs": ()}, r"data.inputs is \(\)"),
        (DATA.select([]), {"inputs": ("ids",)}, "data.dataset's training rows is 0"),
    ],
)
def test_what_does_not_fit_is_told(given, options, told):
    with pytest.raises(SpecError, match=told):
        HuggingFace(given, **options).load()


def test_the_extra_is_named_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SpecError, match=r"pip install 'raydl\[huggingface\]'"):
        HuggingFace(str(tmp_path)).load()
