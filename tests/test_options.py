import sys
from dataclasses import replace

import pytest
import yaml

from raydl import Checkpointing, Evaluation, Model, Run, SpecError, Stopping
from raydl.algorithms import DiLoCo, FedAvg, FedSGD, LocalSGD
from raydl.algorithms.distributed.intervals import QSR
from raydl.config import options
from raydl.config import renamed as renaming
from raydl.config.inventory.help import help_text
from raydl.data import CropFlip, Dirichlet, Prepared, Skewed, Synthetic
from raydl.optim import LARS, AdamW
from raydl.optim.schedule import Constant, Cosine
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.asynchrony.consistency import StaleSynchronous
from raydl.runtimes.auto import Auto
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.simulated.compute_time import Measured
from raydl.runtimes.simulated.spec import Simulated
from raydl.tasks import Classification

EVERYTHING = Run(
    algorithm=FedAvg(lr=1e-5, batch_size=None, steps=3, momentum=0.9, nesterov=True),
    data=Synthetic(samples=500, noise=0.5),
    partition=Dirichlet(alpha=1.0),
    participation=Skewed(0.5, gamma=2.0),
    model=Model("MLP", {"hidden": [8, 9]}),
    augmentation=CropFlip(padding=1),
    task=Classification(metrics=("f1",)),
    runtime=Actors(workers=3, batched=True),
    clients=7,
    rounds=11,
    epochs=2.5,
    seed=5,
    precision="bf16",
    microbatch=4,
    block_size=2,
    fan_in=4,
    on_nonfinite="drop",
    checkpoint=Checkpointing(every=3, keep=1),
    evaluation=Evaluation(every=2, test="each"),
    stop=Stopping(patience=3),
    log="mlflow,csv",
    storage="s3://bucket/folder",
    name="every-field",
)


@pytest.mark.parametrize("run", [Run(), EVERYTHING], ids=["defaults", "everything"])
def test_a_run_survives_yaml(run):
    text = yaml.safe_dump(options.to_mapping(run))
    assert options.from_mapping(options.from_yaml(text, "test")) == run


def test_every_field_of_the_example_differs_from_its_default():
    default = Run()
    same = [each for each in vars(default) if getattr(default, each) == getattr(EVERYTHING, each)]
    assert same == []


def test_command_line_wins_over_the_file():
    settings = {"algorithm": {"name": "FedAvg", "lr": 0.5, "epochs": 2}, "rounds": 4}
    run = options.parse(["--algorithm.lr", "0.25", "--rounds=9"], settings)
    assert (run.algorithm, run.rounds) == (FedAvg(lr=0.25, epochs=2), 9)


def test_dotted_and_nested_settings_mean_the_same():
    nested = {"runtime": {"name": "batched", "threads": 2}, "checkpoint": {"every": 5}}
    dotted = {"runtime": "batched", "runtime.threads": 2, "checkpoint.every": 5}
    backwards = dict(reversed(dotted.items()))
    expected = Run(runtime=Batched(threads=2), checkpoint=Checkpointing(every=5))
    for settings in (nested, dotted, backwards):
        assert options.from_mapping(settings) == expected


def test_dotted_settings_of_a_class_inside_of_a_class_add_up():
    expected = LocalSGD(optimizer=LARS(lr=1.5, momentum=0.8))
    fields = {"": "LARS", ".lr": 1.5, ".momentum": 0.8}
    for order in (fields, dict(reversed(fields.items()))):
        settings = {f"algorithm.optimizer{key}": each for key, each in order.items()}
        assert options.from_mapping({"algorithm": "LocalSGD"} | settings).algorithm == expected


@pytest.mark.parametrize("name", ["FedSGD", "fedsgd", "FEDSGD"])
@pytest.mark.parametrize("form", ["--algorithm={}", "--algorithm {}"])
def test_names_in_any_case_and_both_forms(name, form):
    assert options.parse(form.format(name).split()).algorithm == FedSGD()


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("auto", Auto()),
        ("sequential", Sequential()),
        ("Batched", Batched()),
        ("ACTORS", Actors()),
        ("simulated", Simulated()),
    ],
)
def test_runtimes_by_name(name, spec):
    assert options.parse(["--runtime", name]).runtime == spec


def test_another_class_drops_the_options_of_the_first():
    settings = {"algorithm": {"name": "FedAvg", "lr": 0.5, "epochs": 2}}
    assert options.parse(["--algorithm", "FedSGD"], settings).algorithm == FedSGD()
    assert options.parse(["--algorithm", "fedavg"], settings).algorithm == FedAvg(lr=0.5, epochs=2)


@pytest.mark.parametrize("lr", ["1e-3", 1e-3, "0.001"])
def test_scientific_notation_which_yaml_takes_for_a_string(lr):
    assert options.from_mapping({"algorithm": {"lr": lr}}).algorithm == FedAvg(lr=0.001)


def test_null_from_the_file_and_from_the_command_line():
    file = {"algorithm": {"batch_size": None}, "model": None, "augmentation": None}
    assert options.from_mapping(file).algorithm == FedAvg(batch_size=None)
    assert options.parse(["--algorithm.batch_size", "null"]).algorithm == FedAvg(batch_size=None)
    with_model = {"model": {"name": "MLP", "hidden": [3]}, "augmentation": "CropFlip"}
    assert options.parse(["--model", "none", "--augmentation=none"], with_model) == Run()


def test_a_class_inside_of_the_runtime():
    argv = "--runtime simulated --consistency StaleSynchronous --runtime.consistency.bound 2"
    argv += " --runtime.speed Measured --runtime.speed.seconds [1,2.5]"
    expected = Simulated(consistency=StaleSynchronous(2), speed=Measured((1.0, 2.5)))
    run = options.parse(argv.split())
    assert run.runtime == expected
    assert options.from_mapping(options.to_mapping(run)) == run


def test_a_class_inside_of_a_class():
    expected = LocalSGD(
        workers=8, optimizer=LARS(lr=1.5, clip=True), schedule=Cosine(warmup=0.1), interval=QSR(0.3)
    )
    nested = {
        "name": "LocalSGD",
        "workers": 8,
        "optimizer": {"name": "LARS", "lr": 1.5, "clip": True},
        "schedule": {"warmup": 0.1},
        "interval": {"name": "QSR", "alpha": 0.3},
    }
    assert options.from_mapping({"algorithm": nested, "epochs": 3}).algorithm == expected
    short = (
        "--algorithm LocalSGD --algorithm.workers 8 --optimizer LARS --optimizer.lr 1.5"
        " --optimizer.clip true --schedule.warmup=0.1 --interval qsr --interval.alpha 0.3"
        " --epochs 3"
    )
    run = options.parse(short.split())
    assert (run.algorithm, run.epochs, run.population) == (expected, 3, 8)
    assert options.parse(short.replace(" --opt", " --algorithm.opt").split()) == run
    assert (
        options.from_mapping(options.from_yaml(yaml.safe_dump(options.to_mapping(run)), "")) == run
    )
    assert options.parse(["--schedule", "Constant"], options.to_mapping(run)).algorithm == replace(
        expected, schedule=Constant()
    )


def test_an_inner_class_keeps_the_defaults_of_the_outer_one():
    assert options.parse(["--algorithm", "DiLoCo", "--optimizer.lr", "0.01"]).algorithm == DiLoCo(
        optimizer=AdamW(lr=0.01)
    )


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (
            "--optimizer LARS",
            "FedAvg has no optimizer; EASGD, DataParallel, ",
        ),
        ("--algorithm SlowMo --optimizer LARZ", "did you mean 'LARS'"),
        ("--algorithm SlowMo --optimizer.lt 1", "algorithm.optimizer.lr"),
        ("--algorithm SlowMo --clients 4", "has workers of its own"),
        ("--algorithm SlowMo --participation.fraction 0.5", "has workers of its own"),
        (
            "--algorithm LocalSGD --algorithm.workers 0",
            "algorithm.workers is 0; it must be 1 or larger",
        ),
        ("--algorithm LocalSGD --steps 0", "algorithm.steps is 0; it must be 1 or larger"),
        ("--algorithm LocalSGD --schedule.warmup 1.5", "shorter than the run"),
    ],
)
def test_mistakes_inside_of_a_class(argv, told):
    with pytest.raises(SpecError) as error:
        options.parse(argv.split())
    assert told in str(error.value)


def test_a_short_name_must_have_one_meaning():
    assert options.parse(["--batch_size", "7"]).algorithm == FedAvg(batch_size=7)
    assert options.parse(["--workers=3"]).runtime == Actors(workers=3)
    alone = ["--algorithm", "LocalSGD", "--runtime", "sequential", "--workers", "3"]
    assert options.parse(alone).algorithm == LocalSGD(workers=3)
    assert options.parse(["--epochs", "3"]).epochs == 3  # the run's own comes first
    with pytest.raises(SpecError) as error:
        options.parse(["--algorithm", "LocalSGD", "--workers=3"])
    assert str(error.value) == (
        "--workers has two meanings: --algorithm.workers, number of workers (K), and "
        "--runtime.workers, actors; name one"
    )


@pytest.fixture
def renamed(monkeypatch):
    monkeypatch.setitem(renaming.OPTIONS, "runtime.cores", "runtime.cpus")
    monkeypatch.setitem(renaming.OPTIONS, "algorithm.optimiser", "algorithm.optimizer")
    monkeypatch.setitem(renaming.CLASSES, "algorithm", {"FederatedAveraging": "FedAvg"})


@pytest.mark.usefixtures("renamed")
@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("--runtime.cores 2", "runtime.cores is called runtime.cpus now; write that"),
        ("--cores=2", "runtime.cores is called runtime.cpus now; write that"),
        ("--optimiser SGD", "algorithm.optimiser is called algorithm.optimizer now; write that"),
        (
            "--algorithm DiLoCo --algorithm.optimiser.lr 1",
            "algorithm.optimiser.lr is called algorithm.optimizer.lr now; write that",
        ),
        (
            "--algorithm federatedaveraging",
            "algorithm FederatedAveraging is called FedAvg now; write that",
        ),
    ],
)
def test_an_old_name_is_told_the_new_one(argv, told):
    with pytest.raises(SpecError) as error:
        options.parse(argv.split())
    assert str(error.value) == told


@pytest.mark.usefixtures("renamed")
def test_an_old_name_in_a_file_is_told_the_new_one():
    with pytest.raises(SpecError, match=r"^runtime\.cores is called runtime\.cpus now"):
        options.from_mapping({"runtime": {"name": "actors", "cores": 2}})
    file = {"algorithm": {"name": "DiLoCo", "optimiser": {"name": "SGD"}}}
    with pytest.raises(SpecError, match=r"optimiser\.name is called algorithm\.optimizer\.name"):
        options.from_mapping(file)


def test_lists():
    for run in (
        options.parse(["--model", "mlp", "--model.hidden", "[32, 16]"]),
        options.from_mapping({"model": {"name": "MLP", "hidden": [32, 16]}}),
    ):
        assert [layer.out_features for layer in list(run.model.build((64,), 10))[1::2]] == [
            32,
            16,
            10,
        ]


def test_required_options_of_a_class():
    assert options.parse(["--data", "Prepared", "--data.uri", "s3://b/c"]).data == Prepared(
        "s3://b/c"
    )
    assert options.from_mapping({"data": {"name": "prepared", "uri": "x"}}).data == Prepared("x")
    with pytest.raises(SpecError, match=r"required: data\.uri"):
        options.parse(["--data", "Prepared"])


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_specs.py").write_text(
        "from dataclasses import dataclass\n"
        "from torch import nn\n"
        "from raydl.algorithms import FedAvg\n"
        "@dataclass(frozen=True)\n"
        "class Own:\n"
        "    strength: float = 1.0\n"
        "    def build(self, scope): return FedAvg(lr=self.strength).build()\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes, width: int = 4, act=nn.ReLU):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, width), act(),\n"
        "                         nn.Linear(width, classes))\n"
        "def net(shape, classes, width): return Net(classes, width)\n"
        "number = 3.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_specs"
    sys.modules.pop("own_specs", None)


def test_own_algorithm_by_its_importable_name(own_module):
    run = options.parse(["--algorithm", f"{own_module}:Own", "--algorithm.strength", "0.5"])
    assert (type(run.algorithm).__name__, run.algorithm.strength) == ("Own", 0.5)
    assert options.from_mapping(options.to_mapping(run)) == run


@pytest.mark.parametrize("factory", ["Net", "net"])
def test_own_model_class_or_function(own_module, factory):
    run = options.parse(["--model", f"{own_module}:{factory}", "--model.width", "7"])
    assert run.model.build((1, 8, 8), 10)[1].out_features == 7
    mapping = yaml.safe_load(yaml.safe_dump(options.to_mapping(run)))
    assert mapping["model"] == {"name": f"{own_module}:{factory}", "width": 7}
    assert options.from_mapping(mapping).model.build((1, 8, 8), 10)[1].out_features == 7


def test_a_model_given_in_python_is_told_by_its_name(own_module):
    import own_specs
    from torch import nn

    told = options.to_mapping(Run(model=Model(own_specs.Net, {"act": nn.Tanh})))["model"]
    assert told == {
        "name": "own_specs:Net",
        "width": 4,
        "act": "torch.nn.modules.activation:Tanh",
    }


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--model", "own_specs:number"], "must name an nn.Module class, or a function"),
        (["--algorithm", "own_specs:Net"], "must name a class with the method build"),
        (["--algorithm", "own_specs:Ownn"], "has no attribute 'Ownn'"),
        (["--data", "own_specs:number"], "must name a class with the method load"),
        (["--model", "no_such_package:Net"], "No module named 'no_such_package'"),
        (["--model", ".relative:Net"], "unknown model '.relative:Net'"),
    ],
)
def test_importable_names_that_will_not_do(own_module, argv, told):
    with pytest.raises(SpecError, match=told):
        options.parse(argv)


def test_help_shows_every_option_with_its_default():
    text = " ".join(help_text([]).split())
    for key, value in options.flatten(options.to_mapping(Run())).items():
        if key.endswith(".name") or key in ("augmentation", "model", "task"):
            continue
        shown = "null" if value is None else value
        option = text.partition(f"--{key} ")[2].partition(" --")[0]
        assert option, key
        assert f"default: {shown}" in option, (key, option)


def test_help_is_that_of_the_classes_chosen():
    text = help_text(["--data", "Synthetic", "--algorithm=FedSGD"])
    assert "--data.noise" in text
    assert "--algorithm.send" in text
    assert "('gradients' or 'weights', default: gradients)" in " ".join(text.split())
    assert "--algorithm.momentum" not in text


def test_yaml_that_is_no_mapping():
    with pytest.raises(SpecError, match=r"runs\.yaml holds list; it must be a mapping"):
        options.from_yaml("- rounds", "runs.yaml")
    with pytest.raises(SpecError, match=r"runs\.yaml is not YAML"):
        options.from_yaml("rounds: [", "runs.yaml")
