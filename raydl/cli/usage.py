"""What ``raydl`` can be told to do, as a table, and what help says of it."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from raydl.config.inventory.contents import inventory
from raydl.config.inventory.help import help_text, list_options, row, search


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        target: ``module:function`` that does it, imported when it is called: it is given the words
            after the command and returns the exit code.
        usage: what follows the command.
        summary: its meaning, in a line.
        details: what more its help says.
        options: those that it has besides, as help shows them, with their meanings.
        of_a_run: whether it takes the options of ``raydl run``.
    """

    target: str
    usage: str
    summary: str
    details: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    of_a_run: bool = False


_CONFIG = {"--config FILE": "reads options from YAML; a run's own run.yaml repeats it"}
_RESUME = {
    "--resume RUN": "a run to go on with, given by its folder or by its name in --storage",
}

COMMANDS = {
    "run": Command(
        "raydl.cli.commands.run:main",
        "[OPTION ...]",
        "train; without options, 100 clients on scikit-learn's digits",
        "Trains a model by a distributed or federated algorithm. Every option has a default; "
        "without any, 100 clients learn scikit-learn's digits by FedAvg. Options that name a class "
        "have options of their own behind a dot: `raydl run --data CIFAR100 --help` shows those of "
        "CIFAR100, `raydl run --help momentum` every option that has to do with momentum, also of "
        "classes that are not chosen.",
        {
            **_CONFIG,
            **_RESUME,
            "--print_config": "prints what the options describe as --config takes it, runs nothing",
        },
        of_a_run=True,
    ),
    "show": Command(
        "raydl.cli.commands.show:main",
        "[RUN ...] [--sort COLUMN]",
        "what runs came to, a row for each",
        "Lays runs side by side: what they came to, and the settings in which they differ; below "
        "runs that differ in their seeds alone, their mean and standard deviation. RUN is a run's "
        "folder, or its name in --storage; without one all runs of the storage are shown.",
        {
            "--storage FOLDER": "where runs are that are given by their names; runs by default",
            "--sort COLUMN": "a column's name as --csv has it; a metric's best is first",
            "--csv": "prints CSV in place of a table",
            "--json": "prints JSON in place of a table, with all settings and figures",
        },
    ),
    "plot": Command(
        "raydl.cli.commands.plot:main",
        "RUN ... [--x COLUMN] [--y COLUMN] [--out FILE]",
        "draw runs over rounds, samples, bytes or seconds",
        "Draws a line for each run; of runs that differ in their seeds alone, the mean and a band "
        "of a standard deviation. RUN is a run's folder, or its name in --storage.",
        {
            "--x COLUMN": "round, samples, epochs, bytes_up, bytes_down, wall_seconds, "
            "simulated_seconds, local_steps or messages; round by default",
            "--y COLUMN": "a metric such as test_accuracy or train_loss; in validation by default",
            "--out FILE": "figure, .png, .svg or .pdf; runs.png by default",
            "--storage FOLDER": "where runs are that are given by their names; runs by default",
        },
    ),
    "predict": Command(
        "raydl.cli.commands.predict:main",
        "RUN [OPTION ...]",
        "what a run's model says of each sample, as Parquet, and its score",
        "Writes a row for each sample of a split: its target, and of a classifier the predicted "
        "class and the probabilities of all. RUN is a run's folder, or its name in --storage. The "
        "data is the run's own, or what --data names, of the options of raydl run those that "
        "matter; it is normalized as the run's was.",
        {
            "--storage FOLDER": "where a run is that is given by its name; runs by default",
            "--json": "prints JSON in place of a table",
        },
        of_a_run=True,
    ),
    "plan": Command(
        "raydl.cli.commands.plan:main",
        "[OPTION ...]",
        "what a run will send, how long that takes, what it costs",
        "What a run will send, how long that takes, what it costs, and with how many workers it "
        "still does. The options of raydl run plan that run, to the byte: `raydl plan --algorithm "
        "FedAvg --clients 1000 --up 1e8 --price .03`. With --parameters, --shape or --scheme it is "
        "a run in outline, and the schemes are laid side by side: `raydl plan --parameters 85098 "
        "--workers 100 --down 1e9 --up 1e8 --within 60`.",
        {
            "--output FILE": "a figure of what a round costs over the number of workers",
            "--json": "prints JSON in place of a table",
            **_CONFIG,
            **_RESUME,
        },
        of_a_run=True,
    ),
    "data show": Command(
        "raydl.cli.commands.data:show",
        "[OPTION ...]",
        "how labels and sizes fall over the clients, as a table and a PNG",
        "Of the options of raydl run, --data, --partition, --participation, --clients and --seed "
        "matter.",
        {"--output FOLDER": "folder of partition.png and participation.png; here by default"},
        of_a_run=True,
    ),
    "data prepare": Command(
        "raydl.cli.commands.data:write",
        "URI [OPTION ...]",
        "write a data set to files that are mapped, for --data Prepared",
        "URI is the folder to be written: a path, or a URI such as s3://bucket/folder. Of the "
        "options of raydl run, --data matters: `raydl data prepare URI --data MNIST`. What must be "
        "decoded, ImageFolder and Table, is written as it is decoded, and may be larger than "
        "memory; --ray has a cluster decode it: of --runtime.address, of RAY_ADDRESS, or one on "
        "this machine.",
        {"--ray": "decodes on a Ray cluster, all of whose machines reach what is decoded"},
        of_a_run=True,
    ),
    "data check": Command(
        "raydl.cli.commands.data:check",
        "URI",
        "compare every byte of a prepared folder with what was written",
        "A run looks at the sizes and the ends of the files as it begins; this reads them whole. "
        "Exits with 1 if something is wrong.",
    ),
    "sweep": Command(
        "tuning.sweep.command:main",
        "--config SPACE.yaml [OPTION ...]",
        "many runs over a search space; the best is trained again and tested",
        "The file holds `run`, the settings of a run as `raydl run --config` takes them; `space`, "
        "the distributions of the fields that are swept, such as `algorithm.lr: {loguniform: "
        "[0.01, 1.0]}` or `algorithm.epochs: {choice: [1, 5]}`; and any of the options below. A "
        "trial trains in one process (sequential) if the run names no runtime.",
        {
            "--config FILE": "YAML file of a sweep",
            "--resume SWEEP": "a sweep to go on with, given by its folder or its name in --storage",
            "--storage FOLDER": "folder of the sweeps' folders; runs by default",
        },
    ),
    "study list": Command(
        "tuning.studies.command:show_studies", "", "the studies, a line for each"
    ),
    "study run": Command(
        "tuning.studies.command:run_study",
        "STUDY [OPTION ...]",
        "a study: a set of runs that ends in tables and plots",
        "Does a study, or goes on with it: every run that has its row in results.csv is left out. "
        "`raydl study list` names the studies.",
    ),
    "doctor": Command(
        "raydl.cli.commands.doctor:main",
        "[OPTION ...]",
        "whether installation, cluster, storage and data are in order",
        "Examines whether a run with these options finds what it needs; of the options of raydl "
        "run, --runtime, --storage and --data matter. Exits with 1 if something is wrong.",
        {**_CONFIG, **_RESUME},
        of_a_run=True,
    ),
}

HELP = ("--help", "-h")
_MORE = {
    "raydl COMMAND --help": "what it takes, with meanings and defaults",
    "raydl run --help WORD": "every option with the word in its name or meaning",
    "raydl --version": "the version",
    "raydl --print_completion SHELL": "what bash or zsh reads to complete commands and options",
}
_END = """
RUN is a run's folder, or its name in --storage (default: runs). Options are dotted fields of the
run, as in --algorithm FedAvg --algorithm.lr 0.1 --data CIFAR100 --runtime.workers 2; --config FILE
reads them from YAML.
"""


def overview() -> str:
    """What there is."""
    rows = {f"raydl {name} {each.usage}": each.summary for name, each in COMMANDS.items()}
    commands = "".join(row(each, meaning, column=34) for each, meaning in (rows | _MORE).items())
    return f"raydl: distributed and federated learning on Ray\n\n{commands}{_END}"


def help_of(name: str, argv: list[str]) -> str:
    """What a command takes; of a run, with the options of the classes that are chosen.

    Args:
        name: of the command.
        argv: what was given after the command; ``run --help WORD`` is help on a word.

    Raises:
        SpecError: if nothing has to do with the word, or a class that is named does not exist.
    """
    command = COMMANDS[name]
    at = next(at for at, word in enumerate(argv) if word in HELP)
    others = [each for each in argv if each not in HELP]
    if name == "run" and argv[at + 1 :] and not argv[at + 1].startswith("-"):
        return search(argv[at + 1])
    text = f"usage: raydl {name} {command.usage}".rstrip() + "\n"
    details = command.details or f"{command.summary[0].upper()}{command.summary[1:]}."
    text += f"\n{textwrap.fill(details, 96, break_on_hyphens=False)}\n"
    own = "".join(row(option, meaning) for option, meaning in command.options.items())
    text += f"\n{own}" if own else ""
    for each in inventory().commands.get(name, ()):
        text += f"\n{each.summary}:\n{list_options(each.options)}"
    if name == "run":
        text += f"\n{help_text(others)}"
    elif command.of_a_run:
        text += "\nAnd the options of raydl run, see raydl run --help.\n"
    return text
