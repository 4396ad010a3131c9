"""A field that names several classes, of an algorithm that is made here."""

import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest
import yaml

from raydl import Run, SpecError
from raydl.algorithms import FedAvg
from raydl.config import options, selection
from raydl.config.choices import CHOICES, METHODS
from raydl.config.given import choice
from raydl.config.inventory.describe import all_options
from raydl.config.inventory.help import help_text
from raydl.core.spec import EachOf, OneOf, Spec
from raydl.optim.schedule import Constant, Cosine


@dataclass(frozen=True)
class TopK(Spec, field="algorithm.transforms"):
    """The largest entries alone.

    Args:
        k: how many.
        schedule: of their number.
    """

    k: int = 1
    schedule: object = Constant()

    def transform(self) -> None: ...


@dataclass(frozen=True)
class ClipNoise(Spec, field="algorithm.transforms"):
    """A bounded norm, and noise.

    Args:
        bound: of the norm.
    """

    bound: float = 1.0

    def transform(self) -> None: ...


@dataclass(frozen=True)
class Compressed(FedAvg):
    """FedAvg that sends less.

    Args:
        transforms: of what is sent, one after another.
    """

    transforms: Annotated[tuple[Any, ...], EachOf(OneOf("transform", TopK, ClipNoise))] = (
        TopK(k=3),
    )


NAME = f"{__name__}:Compressed"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    classes = {"TopK": TopK, "ClipNoise": ClipNoise}
    monkeypatch.setitem(CHOICES, "algorithm.transforms", classes)
    schedules = {"Constant": Constant, "Cosine": Cosine}
    monkeypatch.setitem(CHOICES, "algorithm.transforms.schedule", schedules)
    assert NAME.partition(":")[0] in sys.modules


def transforms(argv: str = "", settings: object = None) -> tuple:
    file = {"algorithm": {"name": NAME} | ({} if settings is None else {"transforms": settings})}
    run = options.parse(argv.split(), file)
    assert options.from_mapping(yaml.safe_load(yaml.safe_dump(options.to_mapping(run)))) == run
    return run.algorithm.transforms


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("", (TopK(3),)),
        ("--transforms none", ()),
        ("--transforms ClipNoise", (ClipNoise(),)),
        ("--transforms topk,ClipNoise", (TopK(3), ClipNoise())),
        ("--transforms ClipNoise --transforms TopK", (ClipNoise(), TopK())),
        ("--algorithm.transforms=[TopK,TopK]", (TopK(3), TopK())),
        ("--transforms TopK,ClipNoise --transforms.1.bound 2", (TopK(3), ClipNoise(2.0))),
        ("--transforms TopK,TopK --transforms.0.k=9 --transforms.1.k 8", (TopK(9), TopK(8))),
        ("--transforms.0 ClipNoise --transforms.0.bound 2", (ClipNoise(2.0),)),
        (
            "--transforms.0.schedule Cosine --transforms.0.schedule.warmup 0.5",
            (TopK(3, Cosine(0.5)),),
        ),
    ],
)
def test_on_the_command_line(argv, expected):
    assert transforms(argv) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ()),
        ("TopK,ClipNoise", (TopK(), ClipNoise())),
        (["TopK", {"name": "ClipNoise", "bound": 4}], (TopK(), ClipNoise(4.0))),
        (
            [{"name": "TopK", "schedule": {"name": "Cosine", "warmup": 0.5}}],
            (TopK(1, Cosine(0.5)),),
        ),
    ],
)
def test_in_yaml(settings, expected):
    assert transforms(settings=settings) == expected


def test_dotted_settings_and_options_change_what_a_file_lists():
    run = options.from_mapping(
        {
            "algorithm": NAME,
            "algorithm.transforms": ["TopK", "ClipNoise"],
            "algorithm.transforms.1.bound": 4,
        }
    )
    assert run.algorithm.transforms == (TopK(), ClipNoise(4.0))
    changed = options.change(run, {"algorithm.transforms.0.k": 5})
    assert changed.algorithm == replace(run.algorithm, transforms=(TopK(5), ClipNoise(4.0)))
    swapped = options.change(run, {"algorithm.transforms": ["ClipNoise", "TopK"]})
    assert swapped.algorithm.transforms == (ClipNoise(), TopK())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("--transforms TopK,Clip", "unknown algorithm.transforms 'Clip'; did you mean 'ClipNoise'"),
        ("--transforms.1.k 3", "did you mean 'algorithm.transforms.0.k'"),
        ("--transforms.0.kk 3", "did you mean 'algorithm.transforms.0.k'"),
        ("--transforms.0.k many", "algorithm.transforms.0.k is 'many'; it must be int"),
        ("--transforms", "needs a name: TopK, ClipNoise"),
        ("--transforms.1.schedule Cosine", "unknown field 'algorithm.transforms.1.schedule'"),
        ("--transforms.1 TopK", "unknown field 'algorithm.transforms.1'"),
    ],
)
def test_mistakes(argv, told):
    with pytest.raises(SpecError) as error:
        transforms(argv)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"name": "TopK", "2": {"k": 1}},
            "transforms.2 is given, but algorithm.transforms names 1",
        ),
        ([{"k": 1}], "transforms.0 is {'k': 1}; it must have a name: TopK, ClipNoise"),
        (3, "algorithm.transforms is 3; it must be a list, or names such as A,B"),
    ],
)
def test_mistakes_in_yaml(settings, told):
    with pytest.raises(SpecError) as error:
        transforms(settings=settings)
    assert told in str(error.value)


@dataclass(frozen=True)
class Transformed(Run):
    """A run that names a list itself."""

    transforms: Annotated[tuple[Any, ...], EachOf(choice("transforms"))] = ()


def test_a_list_that_the_run_itself_names(monkeypatch):
    for module in (options, selection):
        monkeypatch.setattr(module, "Run", Transformed)
    monkeypatch.setitem(CHOICES, "transforms", CHOICES["algorithm.transforms"])
    monkeypatch.setitem(CHOICES, "transforms.schedule", CHOICES["algorithm.transforms.schedule"])
    monkeypatch.setitem(METHODS, "transforms", "transform")
    run = options.parse(["--transforms", "TopK,ClipNoise", "--transforms.0.k", "4"])
    assert run == Transformed(transforms=(TopK(4), ClipNoise()))
    assert options.from_mapping(yaml.safe_load(yaml.safe_dump(options.to_mapping(run)))) == run
    assert options.parse([]) == Transformed()
    assert Transformed(transforms="clipnoise,TopK").transforms == (ClipNoise(), TopK())
    with pytest.raises(SpecError, match="transforms is 3; it must be a list, or names such as A,B"):
        Transformed(transforms=3)


def test_from_python():
    assert Compressed(transforms="TopK,ClipNoise").transforms == (TopK(), ClipNoise())
    assert Compressed(transforms=[TopK(2), "clipnoise"]).transforms == (TopK(2), ClipNoise())
    with pytest.raises(SpecError, match=r"algorithm\.transforms is 3; it must be a list, or names"):
        Compressed(transforms=3)
    with pytest.raises(SpecError, match=r"unknown algorithm\.transforms\.1 'Top'"):
        Compressed(transforms=["TopK", "Top"])
    assert Run(algorithm=Compressed()).algorithm.transforms == (TopK(3),)


def test_help_shows_the_options_of_each_element(monkeypatch):
    monkeypatch.setitem(CHOICES["algorithm"], "Compressed", Compressed)
    held = all_options()
    monkeypatch.setattr("raydl.config.inventory.help.inventory", lambda: held)
    shown = " ".join(help_text(["--algorithm", "compressed"]).split())
    assert (
        "--algorithm.transforms NAME,... of what is sent, one after another (here: TopK)" in shown
    )
    assert "--algorithm.transforms.0.k how many. (int, default: 3)" in shown
    shown = help_text(["--algorithm", "compressed", "--transforms", "ClipNoise,TopK"])
    assert "--algorithm.transforms.0.bound" in shown
    assert "--algorithm.transforms.1.k" in shown
