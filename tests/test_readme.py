"""What the README says was run: its Python, block by block, in one namespace."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_python_in_the_readme_runs(tmp_path, monkeypatch, cluster, capsys):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) == 6
    namespace: dict = {}
    for block in BLOCKS:
        exec(block, namespace)
    assert namespace["history"].summary["val_accuracy"] > 0.5
    assert len(capsys.readouterr().out.splitlines()) == 10


@pytest.mark.parametrize("name", ["fedavg_by_hand", "own_algorithm", "own_data_and_model"])
def test_what_the_readme_links_to_is_there(name):
    assert f"examples/{name}.py" in README.read_text()
    assert (README.parent / "examples" / f"{name}.py").is_file()
