from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import cloudpickle
import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.core.spec import OneOf, Spec


class Mode(StrEnum):
    FAST = "fast"


@dataclass(frozen=True)
class Inner(Spec, field="outer.inner"):
    depth: int = 1

    def make(self) -> int:
        return self.depth


@dataclass(frozen=True)
class ServerOptimizer(Spec, field="outer"):
    rate: float = 0.5
    count: int | None = None
    flag: bool = False
    word: str = "word"
    mode: Literal["fast", "slow"] = "slow"
    pair: tuple[float, float] = (0.0, 1.0)
    several: tuple[int, ...] = ()
    number_or_range: int | str | None = None
    inner: Annotated[object, OneOf("make", Inner)] = Inner()

    def __post_init__(self) -> None:
        assert type(self.rate) is float  # the kinds are there before the checks
        if self.rate < 0:
            raise SpecError("negative")


class Case(NamedTuple):
    field: str
    given: object
    kept: object


@pytest.mark.parametrize(
    "case",
    [
        Case("rate", np.float32(0.25), 0.25),
        Case("rate", torch.tensor(0.25), 0.25),
        Case("rate", 1, 1.0),
        Case("rate", np.int64(2), 2.0),
        Case("count", 5.0, 5),
        Case("count", np.array(7), 7),
        Case("flag", np.bool_(True), True),
        Case("word", Path("a/b"), "a/b"),
        Case("word", np.str_("x"), "x"),
        Case("mode", np.str_("fast"), "fast"),
        Case("mode", Mode.FAST, "fast"),
        Case("pair", [1, np.float64(2)], (1.0, 2.0)),
        Case("several", np.arange(3), (0, 1, 2)),
        Case("number_or_range", np.int32(4), 4),
        Case("number_or_range", "1..4", "1..4"),
        Case("inner", "INNER", Inner()),
    ],
    ids=str,
)
def test_what_is_given_is_brought_to_the_kind(case):
    kept = getattr(ServerOptimizer(**{case.field: case.given}), case.field)
    assert kept == case.kept
    assert type(kept) is type(case.kept)
    if isinstance(kept, tuple):
        assert [type(each) for each in kept] == [type(each) for each in case.kept]


@pytest.mark.parametrize(
    ("field", "given", "told"),
    [
        ("rate", "0.1", "outer.rate is '0.1'; it must be float"),
        ("rate", True, "outer.rate is True; it must be float"),
        ("rate", None, "outer.rate is None; it must be float"),
        ("rate", 10**400, "it must be float"),
        ("rate", torch.zeros(2), r"a torch.Tensor of shape \(2,\)"),
        ("count", 2.5, "outer.count is 2.5; it must be int or null"),
        ("count", False, "outer.count is False; it must be int or null"),
        ("flag", 1, "outer.flag is 1; it must be bool"),
        ("word", 3, "outer.word is 3; it must be str"),
        ("mode", "slwo", "it must be 'fast' or 'slow'"),
        ("pair", (1.0,), "it must be a list of 2 numbers"),
        ("pair", "ab", "it must be a list of 2 numbers"),
        ("several", (1, "2"), "it must be a list of int"),
        ("inner", "Iner", "unknown outer.inner 'Iner'; did you mean 'Inner'"),
        ("inner", Inner, "it must be one of Inner, .* or an object with the method make"),
        ("inner", 3, "outer.inner is 3"),
    ],
)
def test_everything_else_is_refused_by_the_name_of_the_field(field, given, told):
    with pytest.raises(SpecError, match=told):
        ServerOptimizer(**{field: given})


def test_a_subclass_of_the_users_has_its_kinds_for_nothing():
    @dataclass(frozen=True)
    class Own(ServerOptimizer):
        own: float = 0.0

        def __post_init__(self) -> None:
            assert type(self.own) is float
            super().__post_init__()

    assert Own(own=np.int64(3), count=2.0).count == 2
    with pytest.raises(SpecError, match=r"outer\.own is 'x'; it must be float"):
        Own(own="x")
    with pytest.raises(SpecError, match="negative"):
        Own(rate=-1)
    there = cloudpickle.loads(cloudpickle.dumps(Own))  # by value, as Ray sends it
    with pytest.raises(SpecError, match=r"outer\.own is 'x'"):
        there(own="x")


def test_fields_that_are_not_given_are_left_alone():
    @dataclass(frozen=True)
    class Own(ServerOptimizer):
        factor: InitVar[int] = 2
        made: int = field(init=False)

        def __post_init__(self, factor: int) -> None:
            object.__setattr__(self, "made", factor * self.count)

    assert Own(count=3.0).made == 6


def test_values_without_fields_to_compare_stay_what_they_are():
    assert ServerOptimizer() == ServerOptimizer()
    assert ServerOptimizer() != ServerOptimizer(rate=1.0)
    assert hash(ServerOptimizer()) == hash(ServerOptimizer())
