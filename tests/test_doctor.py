"""What the doctor says of real faults, each in words and with what to do."""

import socket
import time

import pytest
import ray

from raydl import Run
from raydl.cli.commands import doctor
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.auto import Auto
from tests.command import done, raydl

SEQUENTIAL = ("doctor", "--runtime", "sequential")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs packages that consist of their metadata, by name and what they require."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, version: str, *required: str) -> None:
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {each}" for each in required]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")

    return install


def test_nothing_is_wrong(tmp_path):
    out = done(*SEQUENTIAL, "--storage", tmp_path / "runs")
    first, *rest = (line.split(maxsplit=2) for line in out.splitlines() if "note" not in line)
    assert first[:2] == ["installation", "ok"]
    assert f"ray {ray.__version__}" in first[2]
    assert rest == [
        ["cluster", "ok", "Sequential needs none"],
        ["storage", "ok", f"{tmp_path}/runs can be written to"],
        ["data", "ok", "Digits: 1,258 training samples of shape (1, 8, 8)"],
    ]


def test_every_fault_is_told(tmp_path):
    (tmp_path / "file").touch()
    ended = raydl(
        *(*SEQUENTIAL, "--storage", tmp_path / "file/runs"),
        *("--data", "CIFAR100", "--data.root", tmp_path),
    )
    assert ended.code == 1
    _, storage, data = (line for line in ended.out.splitlines() if "installation" not in line)
    assert storage.startswith(f"storage       fault  storage '{tmp_path}/file/runs' cannot be writ")
    assert storage.endswith("; name another folder")
    assert f"there is no folder {tmp_path}/cifar-100-python; set it to the folder that" in data
    assert not (tmp_path / "cifar-100-python").exists()


def test_data_that_cannot_be_read(tmp_path):
    ended = raydl(*SEQUENTIAL, "--storage", tmp_path, "--data", "Prepared", "--data.uri", tmp_path)
    assert ended.code == 1
    assert f"data          fault  data.uri is '{tmp_path}'" in ended.out


def test_what_is_missing_or_too_old(package):
    package("tool", "1.0", "lib>=2", "absent", 'other; python_version < "3"')
    package("lib", "1.5")
    (finding,) = doctor.installation("tool")
    assert finding.state == "fault"
    assert finding.text == (
        "lib is 1.5, but must be >=2; absent is missing. "
        "Install it with: python -m pip install 'tool'"
    )
    (finding,) = doctor.installation("no-such-package")
    assert "no-such-package is not installed" in finding.text


def test_a_missing_extra_is_a_note(package):
    package("tool", "1.0", "lib", 'lib[server]>=1; extra == "cluster"')
    package("lib", "1.5", 'absent>=3; extra == "server"')
    sound, finding = doctor.installation("tool")
    assert (sound.state, finding.state) == ("ok", "note")
    assert "no jobs, dashboard or metrics (absent is missing)" in finding.text
    assert finding.text.endswith("python -m pip install 'tool[cluster]'")
    package("absent", "3.1")
    assert [each.state for each in doctor.installation("tool")] == ["ok"]


def examined(**runtime) -> list[doctor.Finding]:
    return list(doctor.cluster(Run(runtime=Actors(**runtime)), patience=60))


def test_a_cluster_that_answers(cluster_address):
    note, sound = examined(address=cluster_address)
    assert (note.state, sound.state) == ("note", "ok")
    assert "it asks for no token" in note.text
    assert sound.text == "1 node with 4 CPU, 0 GPU"
    short, *_ = examined(address=cluster_address, workers=5)
    assert short.state == "note"
    assert "runtime.workers is 5" in short.text
    assert short.text.endswith("the others begin when the cluster has grown")


def test_an_address_where_no_ray_answers():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*mute.getsockname())
        for runtime in (Actors(address=address), Auto(address=address)):
            (fault,) = doctor.cluster(Run(runtime=runtime))
            assert fault.state == "fault"
            assert f"runtime.address is '{address}', but no Ray cluster answers" in fault.text
        mute.listen()
        began = time.monotonic()
        (fault,) = doctor.cluster(Run(runtime=Actors(address=address)), patience=3)
        assert time.monotonic() - began < 10
    assert fault.state == "fault"
    assert f"no Ray cluster answered at {address} within 3 s" in fault.text


def test_a_cluster_too_small_and_of_other_versions():
    report = {
        "here": {"ray": "2.60.0", "torch": "2.15.0"},
        "nodes": {
            "10.0.0.1:1": {"versions": {"ray": "2.60.0", "torch": "2.15.0"}},
            "10.0.0.2:1": {"versions": {"ray": "2.60.0", "torch": "2.14.0"}},
            "10.0.0.3:1": {"versions": {"ray": "2.60.0"}},
        },
        "resources": {"CPU": 12.0, "GPU": 0.5},
        "shortage": "too few CPUs",
        "grows": False,
        "token": True,
    }
    *faults, sound = doctor.diagnose(report)
    assert [each.text.partition(",")[0] for each in faults] == [
        "too few CPUs",
        "node 10.0.0.2:1 has torch 2.14.0",
        "node 10.0.0.3:1 has torch missing",
    ]
    assert all(each.state == "fault" for each in faults)
    assert sound.text == "3 nodes with 12 CPU, 0.5 GPU"
