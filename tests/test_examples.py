"""Every example runs, and does what it says."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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


def test_scaffold_in_forty_lines_has_the_numbers_of_the_library(printed):
    said = printed("client_state")
    assert float(re.search(r"largest difference of a parameter: (\S+)", said)[1]) < 1e-5
    assert float(re.search(r"test accuracy (\S+) %", said)[1]) > 80


def test_biases_are_where_the_closed_forms_say_and_cured(printed):
    *cured, seldom = re.split(r"\n(?=\S)", printed("biases"))
    for said, methods in zip([*cured, seldom], (5, 2, 3), strict=True):
        optimum, stays, *ended = map(float, re.findall(r"-?\d\.\d{3}", said))
        names = re.findall(r"\n  (\S+)", said)
        assert len(names) == methods
        near = 0.15 if said == seldom else 0.01  # of one client a round, w goes to and fro
        for name, at in zip(names, ended, strict=True):
            expected = stays if name in ("FedAvg", "MimeLite") else optimum
            assert at == pytest.approx(expected, abs=near), name


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("own_algorithm", 90),
        ("own_data_and_model", 97),
        ("images_in_folders", 90),
        ("fine_tuning", 85),
        ("hugging_face", 80),
    ],
)
def test_it_learns(printed, name, least):
    reached = re.search(r"test accuracy (\S+) %", printed(name))
    assert float(reached[1]) > least


@pytest.mark.parametrize(
    ("name", "metric", "least", "most"),
    [
        ("table", "test rmse", 0.045, 0.1),  # the noise is .05
        ("text", "test perplexity", 1, 2),
        ("own_task", "test coverage", 85, 95),  # of 90
    ],
)
def test_it_learns_what_is_no_class(printed, name, metric, least, most):
    reached = re.search(rf"{metric} ([\d.]+)", printed(name))
    assert least < float(reached[1]) < most


@pytest.mark.usefixtures("cluster")
def test_a_parameter_server_by_hand_and_the_librarys(printed):
    said = printed("parameter_server")
    assert "800 pushes" in said
    reached = [float(each) for each in re.findall(r"test accuracy (\S+) %", said)]
    assert len(reached) == 2
    assert min(reached) > 85


def test_the_notebook(tmp_path):
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    resources = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    (told,) = (each.text for each in outputs if each.output_type == "stream")
    assert float(re.match(r"right: ([\d.]+)% of 359 images", told)[1]) > 85
    assert sum("image/png" in each.get("data", ()) for each in outputs) == 2
