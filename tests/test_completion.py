"""What a shell completes."""

import shutil
import subprocess
import sys

import pytest

from raydl.cli.completion import complete, script
from tests.command import done, refused


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ru", {"run"}),
        ("d", {"data", "doctor"}),
        ("data ", {"show", "prepare"}),
        ("study r", {"run"}),
        ("run --algorithm FedA", {"FedAdagrad", "FedAdam", "FedAsync", "FedAvg", "FedAvgM"}),
        ("run --algorithm fedp", {"FedProx"}),
        ("run --algorithm = FedP", {"FedProx"}),  # as bash splits it
        ("run --algorithm =", {"EASGD"}),
        ("run --algorithm=FedP", {"--algorithm=FedProx"}),  # as zsh does not
        ("run --algorithm DiLoCo --algorithm.outer", {"--algorithm.outer_lr"}),
        ("run --algorithm DiLoCo --optimizer A", {"AdamW", "Adam", "Adagrad"}),
        ("run --algorithm DiLoCo --opt", {"--optimizer", "--optimizer.lr"}),
        ("run --algorithm Nonsense --rou", {"--rounds"}),
        ("run --algorithm.nest", {"--algorithm.nesterov"}),
        ("run --algorithm.nesterov ", {"true", "false"}),
        ("run --print", {"--print_config"}),
        ("run --bat", {"--batch_size"}),
        ("plan --wor", {"--workers", "--worker_up", "--worker_down"}),
        ("sweep --scheduler ", {"none", "asha", "median", "pbt"}),
        ("show --", {"--json", "--storage"}),
        ("predict a --split t", {"test", "train"}),
        ("predict a --wh", {"--which"}),
        ("run --model MLP --model.from_which ", {"last", "best"}),
        ("study run local_steps --scale s", {"smoke", "short"}),
    ],
)
def test_what_follows(line, expected):
    assert set(complete(line.split(" "))) >= expected


@pytest.mark.parametrize("line", ["show ", "run --config ", "run --algorithm.lr ", "nothing "])
def test_where_a_file_or_anything_may_follow(line):
    assert complete(line.split(" ")) == []


def test_another_class_is_not_completed():
    assert complete(["run", "--algorithm", "FedSGD", "--algorithm.mom"]) == []


@pytest.fixture
def bash(tmp_path):
    """The script in bash, with a ``raydl`` of this Python on the path."""
    command = tmp_path / "raydl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m raydl "$@"\n')
    command.chmod(0o755)
    (tmp_path / "completion").write_text(done("--print_completion", "bash"))

    def run(*argv: str) -> str:
        program = [shutil.which("bash"), *argv]
        ended = subprocess.run(program, text=True, capture_output=True, check=True, cwd=tmp_path)
        assert ended.stderr == ""
        return ended.stdout

    return run


def test_bash_takes_the_script_and_completes(bash):
    bash("-n", "completion")
    ask = """
    source ./completion
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _raydl
    printf '%s\\n' "${COMPREPLY[@]}"
    complete -p raydl
    """
    for words, expected in {
        ("./raydl", "run", "--algorithm", "FedP"): ["FedProx"],
        ("./raydl", "run", "--algorithm", "=", "FedP"): ["FedProx"],
        ("./raydl", "run", "--print_c"): ["--print_config"],
        ("./raydl", "data", ""): ["show", "prepare", "check"],
    }.items():
        *found, registered = bash("-c", ask, "bash", *words).splitlines()
        assert found == expected
        assert registered == "complete -o default -F _raydl raydl"


def test_shells():
    assert script(["zsh"]).startswith("#compdef raydl\n")
    assert "Allowed: bash, zsh" in refused("--print_completion", "fish")
    assert "Allowed: bash, zsh" in refused("--print_completion")
