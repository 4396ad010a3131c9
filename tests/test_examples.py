"""Every example runs, and does what it says."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> str:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_fedavg_by_hand_has_the_numbers_of_the_library(printed):
    difference = re.search(r"largest difference of a parameter: (\S+)", printed("fedavg_by_hand"))
    assert float(difference[1]) < 1e-6


@pytest.mark.parametrize(("name", "accuracy"), [("own_algorithm", 90), ("own_data_and_model", 97)])
def test_it_learns(printed, name, accuracy):
    reached = re.search(r"test accuracy (\S+) %", printed(name))
    assert float(reached[1]) > accuracy


@pytest.mark.usefixtures("cluster")
def test_a_parameter_server_by_hand_and_the_librarys(printed):
    said = printed("parameter_server")
    assert "800 pushes" in said
    reached = [float(each) for each in re.findall(r"test accuracy (\S+) %", said)]
    assert len(reached) == 2
    assert min(reached) > 85
