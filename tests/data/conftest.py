import pytest

from raydl.data import MNIST


@pytest.fixture(scope="session")
def mnist(data_root):
    return MNIST(data_root, validation=0).load()
