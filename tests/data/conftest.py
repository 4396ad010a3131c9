import os

import pytest

from raydl.data import MNIST


@pytest.fixture(scope="session")
def data_root() -> str:
    """Real data, laid out as torchvision expects it."""
    root = os.environ.get("RAYDL_DATA_ROOT")
    if root is None:
        pytest.skip("RAYDL_DATA_ROOT does not name a folder with the real data")
    return root


@pytest.fixture(scope="session")
def mnist(data_root):
    return MNIST(data_root, validation=0).load()
