"""The command line: ``raydl run``, ``show``, ``plan``, ``data`` and ``doctor``.

Nothing heavy is imported before it is known to be needed: ``raydl --help`` answers at once.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from raydl.core.errors import Notice, SpecError, unknown

if TYPE_CHECKING:
    from raydl.doctor import Finding
    from raydl.spec import Run
    from raydl.storage import Folder

_HELP = """\
raydl: distributed and federated learning on Ray

  raydl run [OPTION ...]          train; without options, 100 clients on scikit-learn's digits
  raydl run --help                every option, with its meaning and default
  raydl run --resume RUN          go on with an interrupted run, to the very same numbers
  raydl show RUN ... [--json]     print and compare finished runs
  raydl plan [OPTION ...]         what a run will send, how long that takes, what it costs
  raydl data show [OPTION ...]    how labels and sizes fall over the clients, as a table and a PNG
  raydl data prepare URI [OPTION ...]
                                  write a data set as Parquet, to be read with --data Parquet
  raydl doctor [OPTION ...]       whether installation, cluster, storage and data are in order
  raydl --version

RUN is a run's folder, or its name in --storage (default: runs). Options are dotted fields of the
run, as in --algorithm FedAvg --algorithm.lr 0.1 --data CIFAR100 --runtime.workers 2; --config FILE
reads them from YAML.
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0 if done, 2 for a user's mistake, 128 + signal if interrupted."""
    command, *rest = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if "" not in sys.path:  # as `python -m raydl` does: package.module:name may lie here
        sys.path.insert(0, "")
    try:
        sys.exit(_dispatch(command, rest))
    except SpecError as error:
        print(f"raydl: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before there was a round to finish, or for the second time
        sys.exit(130)


def _dispatch(command: str, rest: list[str]) -> int:
    if command in ("--help", "-h", "help"):
        print(_HELP, end="")
    elif command == "--version":
        from raydl import __version__

        print(f"raydl {__version__}")
    elif command == "run":
        return _run(rest)
    elif command == "show":
        return _show(rest)
    elif command == "plan":
        return _plan(rest)
    elif command == "doctor":
        return _doctor(rest)
    elif command == "data" and rest[:1] in (["show"], ["prepare"]):
        return _show_data(rest[1:]) if rest[0] == "show" else _prepare_data(rest[1:])
    else:
        given = " ".join([command, *rest[:1]]) if command == "data" else command
        commands = ["run", "show", "plan", "data show", "data prepare", "doctor", "--help"]
        raise unknown("command", given, commands)
    return 0


def _run(argv: list[str]) -> int:
    from raydl import manual

    if "--help" in argv or "-h" in argv:
        print(manual.help_text([each for each in argv if each not in ("--help", "-h")]))
        return 0
    from rich.console import Console

    from raydl.interrupt import Interrupted
    from raydl.progress import Live, table
    from raydl.rounds import NonFiniteError
    from raydl.runtimes.runtime import ClusterError
    from raydl.storage import StorageError
    from raydl.training import run

    console = Console()
    spec, resume = _spec(argv)
    try:
        with Live(console) as live, _noticed():
            history = run(spec, resume=resume, observer=live)
    except Interrupted as stopped:
        console.print(
            f"\n{stopped}\ngo on with: raydl run --resume {stopped.path}",
            soft_wrap=True,
            highlight=False,
        )
        return stopped.code
    except NonFiniteError as error:
        print(f"raydl: {error}", file=sys.stderr)
        return 1
    except (ClusterError, StorageError) as error:
        print(f"raydl: {error}; the run goes on with --resume", file=sys.stderr)
        return 1
    longer = (
        f"--rounds {2 * history.summary['rounds']}"
        if spec.epochs is None
        else f"--epochs {2 * spec.epochs:g}"
    )
    console.print(table({"": history.summary}))
    console.print(
        f"\nthe run is in       {history.path}\n"
        f"look at it with     tensorboard --logdir {history.path}\n"
        f"compare runs with   raydl show {history.path} ...\n"
        f"go on with it       raydl run --resume {history.path} {longer}",
        soft_wrap=True,
        highlight=False,
    )
    return 0


def _spec(argv: list[str]) -> tuple["Run", bool]:
    """The run that the options describe, and whether it is one to be resumed."""
    from raydl import options
    from raydl.resumption import read_settings

    config, argv = _take(argv, "--config")
    resumed, argv = _take(argv, "--resume")
    if resumed is None:
        return options.parse(argv, _read_config(config) if config else {}), False
    if config is not None:
        raise SpecError("--config and --resume exclude each other: a run goes on with its own spec")
    storage, argv = _take(argv, "--storage")
    folder = _run_folder(resumed, storage)
    settings = read_settings(folder) | {"storage": folder.parent, "name": folder.name}
    return options.parse(argv, settings), True


def _read_config(file: str) -> dict:
    from pathlib import Path

    from raydl import options

    try:
        settings = options.from_yaml(Path(file).read_text(), file)
    except OSError as error:
        raise SpecError(f"--config {file!r} cannot be read: {error.strerror}") from error
    settings.pop("versions", None)  # so that a run's own run.yaml will do
    return settings


def _run_folder(named: str, storage: str | None) -> "Folder":
    """The folder of a run that is named by its folder, or by its name in the storage."""
    from raydl.storage import found

    return found("run", named, storage, "run.yaml")


def _take(argv: list[str], option: str) -> tuple[str | None, list[str]]:
    """Parts ``option VALUE`` or ``option=VALUE`` from the rest."""
    for at, token in enumerate(argv):
        if token.startswith(f"{option}="):
            return token.removeprefix(f"{option}="), [*argv[:at], *argv[at + 1 :]]
        if token == option:
            if at + 1 == len(argv) or argv[at + 1].startswith("--"):
                raise SpecError(f"{option} needs a value")
            return argv[at + 1], [*argv[:at], *argv[at + 2 :]]
    return None, argv


def _show(argv: list[str]) -> int:
    from raydl import options
    from raydl.resumption import read_settings

    as_json = "--json" in argv
    storage, argv = _take([each for each in argv if each != "--json"], "--storage")
    if not argv or argv[0].startswith("-"):
        raise SpecError("raydl show needs one run or more: raydl show RUN ... [--json]")
    runs = {}
    for named in argv:
        folder = _run_folder(named, storage)
        if not folder.has("summary.json"):
            raise SpecError(
                f"run {named!r} is not finished; go on with it: raydl run --resume {folder.uri}"
            )
        summary = json.loads(folder.read("summary.json"))
        runs[named] = {"settings": options.flatten(read_settings(folder)), "summary": summary}
    if as_json:
        print(json.dumps(runs, indent=2))
        return 0
    from rich.console import Console

    from raydl.progress import table

    differing = _differing({name: each["settings"] for name, each in runs.items()})
    console = Console()
    console.print(table({name: differing[name] | each["summary"] for name, each in runs.items()}))
    return 0


@contextmanager
def _noticed() -> Iterator[None]:
    """Prints notices without the place in the code, each time they are given."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, Notice):
                print(f"raydl: {message}", file=sys.stderr)
            else:
                usual(message, category, *where)

        warnings.showwarning = show
        yield


def _plan(argv: list[str]) -> int:
    from raydl.planning import command

    if "--help" in argv or "-h" in argv:
        print(command.help_text())
        return 0
    return command.plan(argv, lambda options: _spec(options)[0])


def _differing(settings: dict[str, dict]) -> dict[str, dict]:
    """Of the runs' settings, those in which they differ, apart from where they are stored."""
    keys = dict.fromkeys(key for each in settings.values() for key in each)
    for key in ("name", "storage"):
        keys.pop(key, None)
    apart = [key for key in keys if len({str(each.get(key)) for each in settings.values()}) > 1]
    return {name: {key: each.get(key) for key in apart} for name, each in settings.items()}


def _show_data(argv: list[str]) -> int:
    from pathlib import Path

    from rich.console import Console

    from raydl import options
    from raydl.data import label_counts, plot_participation, plot_partition
    from raydl.progress import partition_table
    from raydl.setup import assign

    if "--help" in argv or "-h" in argv:
        print(
            "raydl data show [--output FOLDER] [OPTION ...]\n\nThe options are those of raydl run; "
            "--data, --partition, --participation, --clients and --seed matter.\nWrites "
            "partition.png and participation.png into the folder (default: here)."
        )
        return 0
    output, argv = _take(argv, "--output")
    spec = options.parse(argv)
    dataset = spec.data.load()
    counts = label_counts(dataset.train.targets.numpy(), assign(spec, dataset), dataset.classes)
    folder = Path(output or ".")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--output {output!r} cannot be made: {error.strerror}") from error
    title = f"{dataset.name}, {type(spec.partition).__name__}, {spec.population} clients"
    plot_partition(counts, title).savefig(folder / "partition.png")
    probabilities = spec.participation.probabilities(spec.population, spec.seed)
    kind = type(spec.participation).__name__
    plot_participation(probabilities, f"{kind} participation").savefig(folder / "participation.png")
    console = Console()
    console.print(partition_table(counts, title))
    console.print(f"\n{folder / 'partition.png'}\n{folder / 'participation.png'}", highlight=False)
    return 0


def _prepare_data(argv: list[str]) -> int:
    from raydl import options
    from raydl.data import prepare

    if not argv or argv[0].startswith("-"):
        raise SpecError(
            "raydl data prepare needs a folder: raydl data prepare URI --data MNIST ..."
        )
    uri, *rest = argv
    prepare(options.parse(rest).data, uri)
    print(f"{uri}\nread it with: raydl run --data Parquet --data.uri {uri}")
    return 0


def _doctor(argv: list[str]) -> int:
    from raydl import doctor

    if "--help" in argv or "-h" in argv:
        print(
            "raydl doctor [OPTION ...]\n\nExamines whether a run with these options finds what "
            "it needs.\nThey are those of raydl run; --runtime, --storage and --data matter. Exits "
            "with 1\nif something is wrong."
        )
        return 0
    sound = _told(doctor.installation())
    return 0 if sound and _told(doctor.examine(_spec(argv)[0])) else 1


def _told(findings: "Iterable[Finding]") -> bool:
    """Prints the findings as they come, and says whether there was no fault."""
    sound = True
    for subject, state, text in findings:
        print(f"{subject:<12}  {state:<5}  {text}")
        sound &= state != "fault"
    return sound
