from typing import Protocol

import pytest
import torch
from torch import nn

from raydl.core.environment import compat


def test_a_tensors_version_counts_what_is_written_to_it():
    tensor = torch.zeros(2)
    before = compat.version(tensor)
    tensor.add_(1)
    assert compat.version(tensor) == before + 1


def test_a_module_reads_its_buffers_where_they_are_kept():
    module, other = nn.BatchNorm1d(2), torch.ones(2)
    compat.own_buffers(module)["running_mean"] = other
    assert module.running_mean is other


def test_a_module_reads_its_parameters_where_they_are_kept():
    module, other = nn.Linear(2, 2), torch.ones(2, 2)
    compat.own_parameters(module)["weight"] = other
    assert module.weight is other


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_parameter_shows_its_hooks(register):
    parameter = nn.Parameter(torch.zeros(2))
    assert not compat.has_hooks(parameter)
    getattr(parameter, register)(lambda grad: None)
    assert compat.has_hooks(parameter)


@pytest.mark.parametrize("transform", [torch.vmap, torch.func.grad])
def test_it_shows_whether_a_transform_is_at_work(transform):
    seen = []

    def look(x):
        seen.append(compat.are_transforms_active())
        return x.sum()

    look(torch.ones(2))
    transform(look)(torch.ones(2))
    look(torch.ones(2))
    assert seen == [False, True, False]


@pytest.mark.parametrize(
    ("name", "others", "scalars", "expected"),
    [
        ("add", [1], {}, 5.0),
        ("add_", [[torch.tensor(2.0)]], {"alpha": 3}, 10.0),
        ("mul_", [0.5], {}, 2.0),
        ("mul_", [[torch.tensor(2.0)]], {}, 8.0),
        ("reciprocal_", [], {}, 0.25),
        ("sqrt", [], {}, 2.0),
        ("norm", [2], {"dtype": torch.float32}, 4.0),
        ("lerp_", [[torch.tensor(8.0)], 0.25], {}, 5.0),
        ("addcmul_", [[torch.tensor(2.0)], [torch.tensor(3.0)]], {"value": 0.5}, 7.0),
        ("addcdiv_", [[torch.tensor(6.0)], [torch.tensor(3.0)]], {}, 6.0),
    ],
)
def test_an_operation_on_lists_is_there(name, others, scalars, expected):
    tensors = [torch.tensor(4.0)]
    given = compat.foreach(name)(tensors, *others, **scalars)
    assert (tensors if name.endswith("_") else given)[0].item() == expected


def test_it_tells_a_protocol_from_its_implementations():
    class Asked(Protocol):
        def answer(self) -> int: ...

    class Given(Asked):
        def answer(self) -> int:
            return 1

    assert compat.is_protocol(Asked)
    assert not compat.is_protocol(Given)
    assert not compat.is_protocol(int)
