"""The list of all options: the file says what the code takes, and all of it has a meaning."""

import re
from itertools import chain

import pytest

from raydl.config.choices import CHOICES
from raydl.config.inventory.contents import FILE, inventory, text
from raydl.config.inventory.describe import all_options
from raydl.config.inventory.help import words_of_a_run

EVERY = [
    (f"{field}={name}", each)
    for field, choice in inventory().choices.items()
    for name, each in choice.classes.items()
]


def test_the_file_is_what_the_code_says():
    """If an option was meant to change: python -m raydl.config.inventory."""
    assert text(all_options()) == FILE.read_text()


def test_the_file_is_read_as_it_is_written():
    assert inventory() == all_options()
    assert {field: [*each.classes] for field, each in inventory().choices.items()} == {
        field: [*each] for field, each in CHOICES.items()
    }


@pytest.mark.parametrize(("name", "component"), EVERY, ids=[name for name, _ in EVERY])
def test_every_class_and_every_option_has_a_meaning(name, component):
    assert component.summary
    assert [each.name for each in component.options if not each.help] == []


def test_what_is_chosen_decides_which_options_there_are():
    plain, local = words_of_a_run([]), words_of_a_run(["--algorithm", "localsgd"])
    assert plain["algorithm"] == [*CHOICES["algorithm"]]
    assert plain["augmentation"] == ["CropFlip", "Transforms", "none"]
    assert plain["precision"] == ["float32", "bf16"]
    assert "algorithm.optimizer" not in plain
    assert local["algorithm.optimizer"] == [*CHOICES["algorithm.optimizer"]]
    assert local["algorithm.optimizer.nesterov"] == ["true", "false"]
    assert words_of_a_run(["--algorithm", "EASGD"]).keys() >= {"runtime.shards"}


def test_every_meaning_begins_with_what_the_option_is():
    """So that it can be read alone, in the help and in a search."""
    begins = re.compile(
        r"(of|that|which|who|when|where|how|what|for|in|to|as|by|with|at|so|the|a)\b"
    )
    every = inventory()
    meanings = [choice.help for choice in every.choices.values()]
    for component in (every.run, *(each for _, each in EVERY), *chain(*every.commands.values())):
        meanings += [each.help for each in component.options]
    assert len(meanings) > 150
    assert [each for each in meanings if begins.match(each)] == []
