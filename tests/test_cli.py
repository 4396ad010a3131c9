import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import raydl as package
from raydl.cli.usage import COMMANDS
from raydl.config import options
from tests.command import SMALL, done, raydl, refused, summary


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


LIGHT = """
--help
-h
--version
run --help
run --algorithm DiLoCo --runtime simulated --help
run --help momentum
show --help
predict --help
plot --help
plan --help
data --help
data show --help
data prepare --help
doctor --help
sweep --help
study --help
study list --help
study run --help
--print_completion bash
--complete run --algorithm Fed
"""


@pytest.mark.parametrize("argv", [[], *map(str.split, LIGHT.strip().splitlines())], ids=" ".join)
def test_help_is_light(argv):
    """Without torch, Ray or anything else that takes its time to import."""
    program = (
        "import sys\n"
        "from raydl.cli.main import main\n"
        "try:\n"
        f"    main({argv})\n"
        "except SystemExit as ended:\n"
        "    print(ended.code, *sorted(each for each in sys.modules if '.' not in each))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    *shown, last = out.splitlines()
    code, *modules = last.split()
    assert code == "0"
    assert shown
    heavy = {"torch", "ray", "numpy", "pandas", "pyarrow", "matplotlib", "jsonargparse", "rich"}
    assert heavy.isdisjoint(modules)


@pytest.mark.parametrize("command", ["--help", "run --help"])
def test_who_has_seen_enough_is_told_nothing(command):
    program = [sys.executable, "-m", "raydl", *command.split()]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_version():
    assert done("--version") == f"raydl {package.__version__}\n"


def test_every_command_of_the_help_exists():
    shown = done("--help")
    for name in COMMANDS:
        assert f"  raydl {name} " in shown
        assert "unknown command" not in refused(*name.split(), "--no.such.option", "x")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_takes(name):
    text = done(*name.split(), "--help")
    assert text.startswith(f"usage: raydl {name}")
    for option in COMMANDS[name].options:
        assert f"  {option}" in text
    if COMMANDS[name].of_a_run and name != "run":
        assert "raydl run --help" in text


def test_help_on_a_word():
    text = " ".join(done("run", "--help", "momentum").split())
    for part in (
        "momentum of the clients' SGD",
        "--algorithm.optimizer.momentum [SGD, LARS] momentum, in [0, 1). (float, default: 0.9)",
        "--algorithm SlowMo Local SGD with a slow momentum",
    ):
        assert part in text
    assert "--algorithm.lr " not in text
    assert "'momentm'" in (said := refused("run", "--help", "momentm"))
    assert "did you mean 'momentum'?" in said


def test_help_of_run():
    text = done("run", "--data", "CIFAR100", "--help")
    for part in ("usage: raydl run", "--resume RUN", "--config FILE", "--data.root", "CIFAR100"):
        assert part in text
    assert "--data.split_seed" in text


@pytest.mark.parametrize(
    "argv", [[], ["--algorithm", "DiLoCo", "--optimizer.lr", "0.5", "--name", "a"]]
)
def test_the_printed_config_describes_the_same_run(argv, workplace):
    text = done("run", *argv, "--print_config")
    assert options.from_mapping(yaml.safe_load(text)) == options.parse(argv)
    (workplace / "printed.yaml").write_text(text)
    assert done("run", "--config", "printed.yaml", "--print_config") == text
    assert [each.name for each in workplace.iterdir()] == ["printed.yaml"]


def test_the_config_of_a_run_to_go_on_with(workplace):
    done("run", *SMALL, "--rounds", 2, "--name", "plain")
    text = done("run", "--resume", "plain", "--rounds", 5, "--print_config")
    printed = yaml.safe_load(text)
    assert (printed["storage"], printed["name"], printed["rounds"]) == ("runs", "plain", 5)


def test_what_a_run_says(workplace):
    out = done("run", *SMALL, "--name", "a")
    assert (
        "FedAvg on Digits (Classification, 1,258 samples)\n"
        "MLP with 4,810 parameters, 19.2 kB\n"
        "20 clients, 4 a round, IID (N = 20, C = .2)\n"
        "sequential on cpu, float32\n"
        "in runs/a\n"
    ) in out
    line = r"^round (\d)/6  loss \d\.\d+  validation accuracy \d+\.\d %.* left$"
    assert "".join(re.findall(line, out, re.MULTILINE)) == "123456"
    assert out.startswith("loading the data ...\n")
    written = summary(workplace / "runs/a")
    told = rows(out.partition("\n\n")[2])
    assert told["test accuracy"][0].startswith(f"{100 * written['test_accuracy']:.2f} % after")
    assert told["in"] == ["runs/a", f"(fingerprint {written['fingerprint'][:16]})"]
    assert told["longer"] == ["raydl run --resume runs/a --rounds 12"]
    assert "left out" not in told
    assert len(told) <= 9


def rows(table: str) -> dict[str, list[str]]:
    split = (re.split(r"  +", line.strip()) for line in table.splitlines() if line.strip())
    return {name: figures for name, *figures in split}


def test_data_show(workplace):
    out = done(
        *("data", "show", "--output", "plots", "--partition", "Shards", "--clients", 50),
        *("--participation", "Skewed"),
    )
    table = rows(out)
    assert table["Digits, Shards (N = 50, shards = 2)"] == []
    assert table["samples of a client"] == ["24", "25", "26"]
    assert table["labels of a client"][2] in ("2", "3", "4")
    assert table["samples in all"] == ["1,258"]
    for name in ("partition", "participation"):
        file = workplace / f"plots/{name}.png"
        assert f"plots/{name}.png" in out
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert file.stat().st_size > 10_000


@pytest.mark.parametrize(("participation", "drawn"), [("Daily", True), ("Oort", False)])
def test_data_show_draws_what_is_known_of_who_takes_part(participation, drawn, workplace):
    out = done("data", "show", "--output", "plots", "--participation", participation)
    assert ("plots/participation.png" in out) == drawn
    assert (workplace / "plots/participation.png").exists() == drawn


def test_prepared_data_gives_the_same_run(workplace):
    out = done("data", "prepare", "prepared", "--data", "Synthetic", "--data.samples", 300)
    assert "raydl run --data Prepared --data.uri prepared" in out
    for name, data in {
        "source": ("--data", "Synthetic", "--data.samples", 300),
        "mapped": ("--data", "Prepared", "--data.uri", "prepared"),
    }.items():
        done("run", *SMALL, *data, "--rounds", 2, "--name", name)
    source, mapped = (summary(workplace / f"runs/{each}") for each in ("source", "mapped"))
    assert source["fingerprint"] == mapped["fingerprint"]
    assert source["test_accuracy"] == mapped["test_accuracy"]


def test_prepared_data_is_checked(workplace):
    done("data", "prepare", "prepared", "--data", "Synthetic", "--data.samples", 2000)
    assert "prepared is sound: 3 files" in done("data", "check", "prepared")
    file = workplace / "prepared/train-00000.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (workplace / "prepared/test-00000.arrow").unlink()
    ended = raydl("data", "check", "prepared")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "train-00000.arrow is not what was written",
        "test-00000.arrow is missing",
        "2 of 3 files are damaged; copy prepared anew, or prepare it anew",
    ]
