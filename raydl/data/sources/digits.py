"""scikit-learn's digits."""

from dataclasses import dataclass
from importlib.metadata import distribution

import numpy as np
import torch

from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_stratified


@dataclass(frozen=True)
class Digits(Source):
    """1,797 handwritten digits of 8 × 8 pixels, inside scikit-learn: needs no network.

    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.

    Args:
        validation: fraction of the samples held out for validation, stratified by label.
        test: fraction of the samples held out as the test set, stratified by label.
        split_seed: seed of the choice of the held-out samples.
    """

    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)

    def load(self) -> Dataset:
        """Reads the digits out of the installed scikit-learn."""
        # The file, not sklearn.datasets.load_digits: importing that takes seconds.
        installed = distribution("scikit-learn")
        file = installed.locate_file("sklearn/datasets/data/digits.csv.gz")
        table = np.loadtxt(str(file), delimiter=",", dtype=np.uint8)
        inputs = torch.from_numpy(table[:, :64].reshape(-1, 8, 8, 1))
        every = Split(inputs, torch.from_numpy(table[:, 64].astype(np.int64)))
        mean, std = torch.tensor([4.8842]), torch.tensor([6.0168])
        whole = Dataset("Digits", every, every.none(), every.none(), 10, mean, std)
        return split_stratified(whole, self.validation, self.test, self.split_seed)
