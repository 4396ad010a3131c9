"""LEAF's JSON files: made-up ones, and what is wrong with others."""

import json
from pathlib import Path

import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Leaf, Natural
from raydl.data.text.alphabet import LETTERS
from raydl.data.text.windows import Windows

TEXT = "what is said, letter by letter"  # 30 letters


def write(folder: Path, part: str, name: str, users: dict[str, tuple[list, list]]) -> None:
    (folder / part).mkdir(exist_ok=True)
    written = {
        "users": [*users],
        "num_samples": [99] * len(users),  # of LEAF's test files, too many
        "user_data": {user: {"x": x, "y": y} for user, (x, y) in users.items()},
    }
    (folder / part / f"{name}.json").write_text(json.dumps(written))


def windows(text: str, start: int, stop: int, length: int = 5) -> tuple[list[str], list[str]]:
    places = range(start, stop)
    return [text[at : at + length] for at in places], [text[at + length] for at in places]


def images(*targets: int) -> tuple[list[list[float]], list[int]]:
    return [[each / 100 + pixel / 1000 for pixel in range(784)] for each in targets], [*targets]


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    write(tmp_path, "train", "b", {"bob": windows(TEXT.upper(), 0, 12)})
    write(tmp_path, "train", "a", {"zoe": windows(TEXT, 0, 16), "nil": ([], [])})
    write(tmp_path, "test", "a", {"eve": windows(TEXT, 3, 5), "zoe": windows(TEXT, 20, 25)})
    return tmp_path


def test_strings_are_windows_of_the_text_that_they_overlap_to(plays):
    data = Leaf(str(plays), validation=0).load()
    letters = LETTERS.__getitem__
    assert ["".join(map(letters, each)) for each in data.train.inputs[:].tolist()] == [
        *windows(TEXT, 0, 16)[0],
        *windows(TEXT.upper(), 0, 12)[0],
    ]
    assert [letters(each) for each in data.train.targets] == [
        *windows(TEXT, 0, 16)[1],
        *windows(TEXT.upper(), 0, 12)[1],
    ]
    assert (data.classes, data.shape) == (80, (5,))
    assert isinstance(data.train.inputs, Windows)
    assert len(data.train.inputs.text) == (16 + 4) + (12 + 4)


def test_users_are_clients_in_the_order_of_the_files(plays):
    data = Leaf(str(plays), validation=0).load()
    assert data.owners.tolist() == [0] * 16 + [1] * 12  # zoe, bob
    assert data.test_owners.tolist() == [2] * 2 + [0] * 5  # eve, zoe
    assert Natural().natural_clients(data.owners.numpy()) == 2


def test_of_windows_each_users_last_ones_are_held_out(plays):
    """Of 16 half, with 4 left out between them; of 12 likewise."""
    data = Leaf(str(plays), validation=0.5).load()
    assert torch.equal(
        data.train.inputs[:8], Leaf(str(plays), validation=0).load().train.inputs[:8]
    )
    assert data.owners.tolist() == [0] * 8 + [1] * 6
    assert data.validation_owners.tolist() == [0] * 4 + [1] * 2
    assert data.validation.inputs.starts.tolist() == [12, 13, 14, 15, 30, 31]


def test_lists_of_784_numbers_are_images(tmp_path):
    write(tmp_path, "train", "all", {"f0": images(*[0, 1] * 5), "f1": images(*[2, 0] * 5)})
    write(tmp_path, "test", "all", {"f1": images(4)})
    data = Leaf(str(tmp_path), validation=0.2).load()
    assert data.shape == (1, 28, 28)
    assert data.classes == 5
    assert data.test.inputs[0, 3, 2, 0] == pytest.approx(4 / 100 + (3 * 28 + 2) / 1000)
    assert (len(data.train.targets), len(data.validation.targets)) == (16, 4)
    assert data.test_owners.tolist() == [1]
    both = torch.cat([data.owners, data.validation_owners])
    targets = torch.cat([data.train.targets, data.validation.targets])
    assert both.bincount().tolist() == [10, 10]
    assert set(targets[both == 0].tolist()) == {0, 1}
    assert set(targets[both == 1].tolist()) == {0, 2}
    assert Leaf(str(tmp_path), classes=62).load().classes == 62


def test_other_lists_are_features_and_a_test_may_be_missing(tmp_path):
    write(tmp_path, "train", "all", {"u": ([[0.5, 1.0], [2.0, 3.0]], [1.0, 0.0])})
    data = Leaf(str(tmp_path), validation=0).load()
    assert data.train.inputs.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert data.train.targets.tolist() == [1, 0]
    assert len(data.test.targets) == len(data.test_owners) == 0


@pytest.mark.parametrize(
    ("users", "told"),
    [
        ({"u": ([[1.0]], [])}, r"user 'u' of train/all\.json has x .* lists of as many"),
        ({"u": (["abc", "ab"], ["c", "b"])}, "samples such as 'abc'; all must be strings of one"),
        ({"u": ([[1.0], [1.0, 2.0]], [0, 0])}, "lists of as many numbers"),
        ({"u": ([["no", "numbers"]], [0])}, "has samples such as"),
        ({"u": (["abc"], ["öd"])}, "the target 'öd'; it must be a letter, or a class"),
        ({"u": ([[1.0]], [0.5])}, "the target 0.5"),
        ({"u": ([[1.0]], [-1])}, "the target -1"),
        ({"u": (["äöü"], ["a"])}, "'u' of train/all.json has 3 of its 3 letters outside"),
        (
            {"u": (["abc"], ["d"]), "v": ([[1.0]], [0])},
            "'u' has strings of 3 letters, but 'v' lists of 1 numbers; all must have the same",
        ),
    ],
)
def test_samples_that_are_not_leafs_are_told(users, told, tmp_path):
    write(tmp_path, "train", "all", users)
    with pytest.raises(SpecError, match=told):
        Leaf(str(tmp_path)).load()


@pytest.mark.parametrize(
    "text", ["no JSON", "[1, 2]", '{"users": ["u"]}', '{"users": ["u"], "user_data": {}}', "{}"]
)
def test_json_that_is_not_leafs_is_told(text, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "all.json").write_text(text)
    with pytest.raises(SpecError, match=r"train/all\.json, which is not as LEAF writes it .*'x'"):
        Leaf(str(tmp_path)).load()


def test_a_folder_without_samples_and_too_few_classes_are_told(tmp_path, plays):
    with pytest.raises(SpecError, match=r"no samples in train/\*\.json"):
        Leaf(str(tmp_path / "no")).load()
    with pytest.raises(SpecError, match=r"data\.classes is 3; it must be 73 or more"):
        Leaf(str(plays), classes=3).load()
