"""LEAF's JSON files: users, and the samples of each."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError, brief, require
from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_stratified
from raydl.data.text import alphabet
from raydl.data.text.position import divide
from raydl.data.text.windows import Text, Windows

_PIXELS = 784  # numbers of a sample of FEMNIST, 28 × 28


class _User(NamedTuple):
    """What a file has of a user.

    Attributes:
        name: as the file has it.
        inputs: tokens uint8 [n, T] of strings, or float32 [n, F] of lists of numbers.
        targets: classes, int64 [n].
    """

    name: str
    inputs: npt.NDArray[Any]
    targets: npt.NDArray[np.int64]

    @property
    def kind(self) -> str:
        """What its samples are, in words."""
        many = self.inputs.shape[1]
        what = "strings of {} letters" if self.is_text else "lists of {} numbers"
        return what.format(many)

    @property
    def is_text(self) -> bool:
        return self.inputs.dtype == np.uint8


@dataclass(frozen=True)
class Leaf(Source):
    """What LEAF's scripts write: ``train/*.json`` and ``test/*.json``, users with their samples.

    S. Caldas et al., "LEAF: A Benchmark for Federated Settings", arXiv:1812.01097, 2018. Strings of
    equal length, as its Shakespeare has, become tokens of its 80 letters, kept as windows of the
    text that they overlap to; lists of 784 numbers, as its FEMNIST has, images of 28 × 28 pixels;
    other lists of numbers features. Users are clients, with ``--partition Natural``, in the order
    of the files by name; those of the test alone come after the others.

    Args:
        root: folder with ``train`` and ``test``.
        classes: number of classes; the largest target + 1 if not given, or 80 of strings.
        validation: fraction of the training samples held out for validation, stratified by class;
            of strings, which overlap, each user's last ones.
        split_seed: seed of the choice of the held-out samples.
    """

    root: str
    classes: int | None = None
    validation: float = 0.1
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.validation)

    def load(self) -> Dataset:
        """Reads all files, one at a time.

        Raises:
            SpecError: if there are none, or one is not as LEAF writes them.
        """
        root = Path(self.root).expanduser()
        train, test = ([*_read_users(root / part)] for part in ("train", "test"))
        if not train:
            raise SpecError(
                f"data.root is {self.root!r}, which has no samples in train/*.json; it must be the "
                "folder in which LEAF's preprocess.sh leaves train and test"
            )
        odd = next((each for each in train + test if each.kind != train[0].kind), None)
        if odd is not None:
            raise SpecError(
                f"data.root is {self.root!r}, where user {train[0].name!r} has {train[0].kind}, "
                f"but {odd.name!r} {odd.kind}; all must have the same"
            )
        every = _as_split(train)
        held_out = _as_split(test) if test else every.none()
        numbers = {name: at for at, name in enumerate(dict.fromkeys(u.name for u in train + test))}
        whole = Dataset(
            "LEAF",
            every,
            every.none(),
            held_out,
            self._classes(every, held_out, is_text=train[0].is_text),
            owners=_owners(train, numbers),
            test_owners=_owners(test, numbers),
        )
        if train[0].is_text:
            return _split_by_position(whole, [len(each.targets) for each in train], self.validation)
        return split_stratified(whole, self.validation, split_seed=self.split_seed)

    def _classes(self, *splits: Split, is_text: bool) -> int:
        most = max(int(each.targets.max()) for each in splits if len(each.targets)) + 1
        classes = self.classes or (alphabet.SIZE if is_text else most)
        require(classes >= most, "data.classes", classes, f"{most} or more: a target is {most - 1}")
        return classes


def _read_users(folder: Path) -> Iterator[_User]:
    """The users of a folder's files that have samples."""
    for file in sorted(folder.glob("*.json")):
        try:
            found = json.loads(file.read_text())
            users = [(str(name), found["user_data"][name]) for name in found["users"]]
            samples = [(name, each["x"], each["y"]) for name, each in users]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"data.root has {folder.name}/{file.name}, which is not as LEAF writes it "
                f"({type(error).__name__}: {error}); it must be JSON with 'users', a list of "
                "names, and 'user_data' with 'x' and 'y', lists of equal length, for each of them"
            ) from error
        for name, inputs, targets in samples:
            whose = f"user {name!r} of {folder.name}/{file.name}"
            _check_lists(whose, inputs, targets)
            if inputs:  # the counts in num_samples are those before the gap was left out
                yield _User(name, _as_array(whose, inputs), _as_classes(whose, targets))


def _check_lists(whose: str, inputs: Any, targets: Any) -> None:
    if not (isinstance(inputs, list) and isinstance(targets, list) and len(inputs) == len(targets)):
        raise SpecError(
            f"{whose} has x {brief(inputs)} and y {brief(targets)}; they must be lists of as many"
        )


def _as_array(whose: str, inputs: Sequence[Any]) -> npt.NDArray[Any]:
    """Samples as `_User` has them."""
    if all(isinstance(each, str) for each in inputs) and len({*map(len, inputs)}) == 1:
        return alphabet.encode("".join(inputs), whose).reshape(len(inputs), -1)
    try:
        numbers = np.array(inputs, np.float32)
        if numbers.ndim == 2:
            return numbers
    except (TypeError, ValueError):
        pass  # no numbers, or not as many in each
    raise SpecError(
        f"{whose} has samples such as {brief(inputs[0])}; all must be strings of one length, or "
        "lists of as many numbers. Of LEAF's data sets these are Shakespeare, FEMNIST and Synthetic"
    )


def _as_classes(whose: str, targets: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Letters by their number in the alphabet; or whole numbers as they are."""
    if all(isinstance(each, str) and len(each) == 1 for each in targets):
        return alphabet.encode("".join(targets), f"what {whose} is to predict").astype(np.int64)
    wrong = [each for each in targets if not isinstance(each, int | float) or each % 1 or each < 0]
    if wrong:
        raise SpecError(
            f"{whose} has the target {brief(wrong[0])}; it must be a letter, or a class: a whole "
            "number, 0 or larger"
        )
    return np.array(targets).astype(np.int64)


def _as_split(users: Sequence[_User]) -> Split:
    inputs = np.concatenate([each.inputs for each in users])
    targets = torch.from_numpy(np.concatenate([each.targets for each in users]))
    if users[0].is_text:
        return Split(_as_windows(inputs), targets)
    stored = torch.from_numpy(inputs)
    return Split(stored.reshape(-1, 28, 28, 1) if stored.shape[1] == _PIXELS else stored, targets)


def _as_windows(tokens: npt.NDArray[np.uint8]) -> Windows:
    """Samples [n, T] as windows of a text, without what each shares with the one before it."""
    length = tokens.shape[1]
    moved_by_one = (tokens[1:, :-1] == tokens[:-1, 1:]).all(1)
    new = np.ones(tokens.shape, np.bool_)
    new[1:][moved_by_one, :-1] = False
    starts = np.cumsum(new.sum(1)) - length
    return Windows(Text(tokens[new]), torch.from_numpy(starts), length)


def _owners(users: Sequence[_User], numbers: dict[str, int]) -> Tensor:
    """The number of the user of each sample, int64 [n]."""
    sizes = torch.tensor([len(each.targets) for each in users], dtype=torch.int64)
    own = torch.tensor([numbers[each.name] for each in users], dtype=torch.int64)
    return own.repeat_interleave(sizes)


def _split_by_position(whole: Dataset, sizes: list[int], validation: float) -> Dataset:
    """Each user's last windows held out, and between them and the others those that overlap."""
    windows, owners = whole.train.inputs, whole.owners
    assert isinstance(windows, Windows)
    assert owners is not None
    parts = divide(np.array(sizes), validation, 0.0, windows.shape[1] - 1)
    train, held = torch.from_numpy(parts.train), torch.from_numpy(parts.validation)
    splits = (Split(windows.part(each), whole.train.targets[each]) for each in (train, held))
    first, second = splits
    return replace(
        whole, train=first, validation=second, owners=owners[train], validation_owners=owners[held]
    )
