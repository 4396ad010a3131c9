import inspect

import pytest
import torch

from raydl import optim
from raydl.algorithms import DataParallel
from raydl.core.errors import SpecError


@pytest.mark.parametrize("cls", optim.OPTIMIZERS)
def test_what_is_exported_under_a_papers_name_is_an_algorithms_optimizer(cls):
    assert getattr(optim, cls.__name__) is cls
    assert DataParallel(optimizer=getattr(optim, cls.__name__)()).optimizer == cls()


@pytest.mark.parametrize("cls", optim.OPTIMIZERS)
def test_a_spec_has_a_rule_of_its_name_beside_it(cls):
    module = inspect.getmodule(cls)
    rule = getattr(optim, cls.__name__.lower())
    assert inspect.getmodule(rule) is module


@pytest.mark.parametrize("cls", [optim.TorchLARS, optim.TorchLAMB])
def test_a_torch_optimizer_is_no_algorithms_optimizer(cls):
    with pytest.raises(SpecError, match=r"algorithm\.optimizer .* must be one of SGD"):
        DataParallel(optimizer=cls([torch.ones(2, 2)], lr=0.1))


@pytest.mark.parametrize("cls", optim.OPTIMIZERS)
def test_a_rate_that_is_not_above_0_is_refused(cls):
    with pytest.raises(SpecError, match=r"optimizer\.lr is 0\.0"):
        cls(lr=0)
