import pytest

from raydl.core.errors import SpecError, require, unknown


@pytest.mark.parametrize("given", ["FedAgv", "fedavg", "FEDAVG", "Fed Avg"])
def test_unknown_names_the_nearest(given):
    assert str(unknown("algorithm", given, ["FedSGD", "FedAvg"])) == (
        f"unknown algorithm {given!r}; did you mean 'FedAvg'? Allowed: FedAvg, FedSGD"
    )


def test_unknown_without_anything_near():
    message = str(unknown("model", "qqq", ["LeNet"]))
    assert message == "unknown model 'qqq'. Allowed: LeNet"


def test_require_names_what_was_given_and_what_is_allowed():
    require(True, "clients", 3, "1 or larger")
    with pytest.raises(SpecError, match=r"clients is -3; it must be 1 or larger"):
        require(False, "clients", -3, "1 or larger")
