import pytest

from raydl.algorithms import FedAsync, FedAvg, FedProx, FedSGD
from raydl.core.algorithm import Plan
from raydl.core.errors import SpecError


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        (FedAvg, {"lr": 0.0}, r"algorithm.lr is 0.0; it must be above 0"),
        (FedAvg, {"lr": float("nan")}, "algorithm.lr is nan"),
        (FedAvg, {"server_lr": -1.0}, r"algorithm.server_lr is -1.0; it must be above 0"),
        (FedAvg, {"batch_size": 0}, "algorithm.batch_size is 0; it must be 1 or larger, or null"),
        (FedAvg, {"epochs": 0}, "algorithm.epochs is 0; it must be 1 or larger"),
        (FedAvg, {"steps": -4}, "algorithm.steps is -4; it must be 1 or larger, or null"),
        (FedAvg, {"momentum": 1.5}, r"momentum is 1.5; it must be in \[0, 1\)"),
        (FedAvg, {"nesterov": True}, "above 0 with nesterov"),
        (FedAvg, {"weight_decay": -1.0}, "weight_decay is -1.0; it must be 0 or larger"),
        (FedSGD, {"lr": -0.1}, "algorithm.lr is -0.1; it must be above 0"),
        (FedProx, {"mu": -0.1}, "algorithm.mu is -0.1; it must be 0 or larger"),
        (FedProx, {"lr": 0.0}, r"algorithm.lr is 0.0; it must be above 0"),
        (FedAsync, {"mixing": 1.5}, r"algorithm.mixing is 1.5; it must be in \(0, 1\]"),
        (FedAsync, {"mu": float("inf")}, "algorithm.mu is inf; it must be 0 or larger"),
        (FedAsync, {"steps": 0}, "algorithm.steps is 0; it must be 1 or larger, or null"),
        (FedSGD, {"send": "letters"}, "must be 'gradients' or 'weights'"),
    ],
)
def test_values_out_of_range(spec, given, message):
    with pytest.raises(SpecError, match=message):
        spec(**given)


@pytest.mark.parametrize(
    ("spec", "plan"),
    [
        (FedSGD(), Plan(None, epochs=1)),
        (FedAvg(batch_size=20, epochs=3), Plan(20, epochs=3)),
        (FedAvg(batch_size=None, steps=4), Plan(None, epochs=5, steps=4)),
    ],
)
def test_how_long_clients_train(spec, plan):
    assert spec.build().plan({}) == plan
