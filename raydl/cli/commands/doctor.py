"""``raydl doctor``: what a run would miss, in words: of installation, cluster, storage, data.

Nothing heavy is imported before the installation is known to be sound, since the doctor is also
asked where something is missing.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from packaging.requirements import Requirement

from raydl.core.errors import SpecError

if TYPE_CHECKING:
    from raydl.config.run import Run

_SHOWN = ("raydl", "ray", "torch", "torchvision")
_EXTRAS = {"cluster": "no jobs, dashboard or metrics", "plots": "no figures, studies or sweeps"}


def main(argv: list[str]) -> int:
    """Prints what is found; 1 if there is a fault."""
    if not _print_findings(installation()):
        return 1
    from raydl.cli.arguments import parse_run

    return 0 if _print_findings(examine(parse_run(argv)[0])) else 1


class Finding(NamedTuple):
    """What was found of one subject.

    Attributes:
        subject: installation, cluster, storage or data.
        state: ok; note, for what works but could be better; fault, for what does not work.
        text: what was found, and what to do about it.
    """

    subject: Literal["installation", "cluster", "storage", "data"]
    state: Literal["ok", "note", "fault"]
    text: str


def installation(package: str = "raydl") -> Iterator[Finding]:
    """Whether a package has all that it and its extras require."""
    try:
        lacking = list(_lacking(Requirement(package)))
    except PackageNotFoundError:
        text = f"{package} is not installed; run `python -m pip install -e .` in its folder"
        yield Finding("installation", "fault", text)
        return
    if lacking:
        yield Finding("installation", "fault", f"{'; '.join(lacking)}. {_install(package)}")
    else:
        shown = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
        yield Finding("installation", "ok", f"{shown}, Python {sys.version.split()[0]}")
    for extra, without in _EXTRAS.items():
        wanted = f"{package}[{extra}]"
        if absent := [each for each in _lacking(Requirement(wanted)) if each not in lacking]:
            text = (
                f"the extra {extra!r} is not complete: {without} ({'; '.join(absent)}). "
                f"{_install(wanted)}"
            )
            yield Finding("installation", "note", text)


def _install(what: str) -> str:
    return f"Install it with: python -m pip install '{what}'"


def _lacking(wanted: Requirement) -> Iterator[str]:
    """What a package and the extras that are wanted of it require, and do not find.

    Raises:
        PackageNotFoundError: if the package itself is not there.
    """
    for line in requires(wanted.name) or ():
        needed = Requirement(line)
        extras = ("", *wanted.extras)
        if needed.marker and not any(needed.marker.evaluate({"extra": each}) for each in extras):
            continue
        try:
            found = version(needed.name)
            if not needed.specifier.contains(found, prereleases=True):
                yield f"{needed.name} is {found}, but must be {needed.specifier}"
            if needed.extras:
                yield from _lacking(needed)
        except PackageNotFoundError:
            yield f"{needed.name} is missing"


def cluster(run: "Run", patience: float = 90) -> Iterator[Finding]:
    """Whether the run's cluster answers, holds its workers, and has the same versions everywhere.

    Args:
        run: whose runtime names the cluster; where it names none, Ray is started on this machine.
        patience: seconds in which the cluster has to answer.
    """
    demand = run.runtime.demand(run.workers)
    if demand is None:
        yield Finding("cluster", "ok", f"{type(run.runtime).__name__} needs none")
        return
    # In a process of its own, which can be ended: Ray waits for some clusters without an end.
    asked = json.dumps(demand._asdict())
    command = [sys.executable, "-m", "raydl.runtimes.ray_cluster.inventory", asked]
    try:
        ended = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        where = f"at {demand.address}" if demand.address else "on this machine"
        text = (
            f"no Ray cluster answered {where} within {patience:g} s; see what `ray status` says on "
            "its head, and that no firewall is between it and this machine"
        )
        yield Finding("cluster", "fault", text)
        return
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        yield Finding("cluster", "fault", f"{reason}. {_TOKEN}")
        return
    yield from diagnose(json.loads(ended.stdout.splitlines()[-1]))


_TOKEN = (
    "If the cluster asks for a token, set RAY_AUTH_MODE=token here, with the token in "
    "~/.ray/auth_token or RAY_AUTH_TOKEN"
)


def diagnose(report: dict[str, Any]) -> Iterator[Finding]:
    """What a report of `raydl.runtimes.ray_cluster.inventory` says."""
    if report["shortage"] and report["grows"]:
        text = f"{report['shortage']}. As it is, the others begin when the cluster has grown"
        yield Finding("cluster", "note", text)
    elif report["shortage"]:
        yield Finding("cluster", "fault", report["shortage"])
    nodes, here = report["nodes"], report["here"]
    for name, node in nodes.items():
        for package, wanted in here.items():
            found = node["versions"].get(package)
            if found != wanted:
                text = (
                    f"node {name} has {package} {found or 'missing'}, and this machine {wanted}; "
                    "install the same everywhere, such as clusters/constraints.txt"
                )
                yield Finding("cluster", "fault", text)
    if not report["token"]:
        text = (
            "it asks for no token: whoever reaches its ports can run programs on it. Start it "
            "with RAY_AUTH_MODE=token, see clusters/README.md"
        )
        yield Finding("cluster", "note", text)
    total = ", ".join(f"{amount:g} {name}" for name, amount in report["resources"].items())
    yield Finding("cluster", "ok", f"{len(nodes)} node{'s'[: len(nodes) != 1]} with {total}")


def storage(run: "Run") -> Iterator[Finding]:
    """Whether runs can be written down where the run says."""
    from raydl.storage import Folder

    folder = Folder(run.storage)
    folder.make()
    yield Finding("storage", "ok", f"{folder.uri} can be written to")
    demand = run.runtime.demand(run.workers)
    if folder.local and demand is not None and demand.address:
        text = (
            f"storage {run.storage!r} is a folder of this machine; unless the cluster's nodes have "
            "it, too, name one that they share, or a URI such as s3://bucket/runs"
        )
        yield Finding("storage", "note", text)


def data(run: "Run") -> Iterator[Finding]:
    """Whether the run's data is there and sound; nothing is downloaded."""
    from raydl.data.own import load_dataset
    from raydl.data.sources.vision import TorchvisionSource

    if isinstance(run.data, TorchvisionSource):
        place = Path(run.data.root).expanduser() / run.data.folder
        if not place.is_dir():
            text = (
                f"data.root is {run.data.root!r}, but there is no folder {place}; set it to the "
                f"folder that holds {run.data.folder}, or have the first run download it"
            )
            yield Finding("data", "fault", text)
            return
    dataset = load_dataset(run.data)
    samples = len(dataset.train.targets)
    text = f"{dataset.name}: {samples:,} training samples of shape {dataset.shape}"
    yield Finding("data", "ok", text)


def examine(run: "Run") -> Iterator[Finding]:
    """Examines the run's cluster, storage and data, one after the other."""
    examinations: tuple[tuple[Any, Callable[[Run], Iterator[Finding]]], ...] = (
        ("cluster", cluster),
        ("storage", storage),
        ("data", data),
    )
    for subject, examination in examinations:
        try:
            yield from examination(run)
        except SpecError as error:
            yield Finding(subject, "fault", str(error))


def _print_findings(findings: Iterable[Finding]) -> bool:
    """Prints the findings as they come, and says whether there was no fault."""
    sound = True
    for subject, state, text in findings:
        print(f"{subject:<12}  {state:<5}  {text}")
        sound &= state != "fault"
    return sound
