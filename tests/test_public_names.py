"""The names that a user builds on: they change on purpose, or not at all."""

import inspect
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUBLIC = {
    "raydl": """
        Callback Checkpointing Evaluation History Model Round Run SpecError Stopping load predict
        rounds run
    """,
    "raydl.algorithms": """
        AFL EASGD MIFA SCAFFOLD DataParallel DiLoCo FedAdagrad FedAdam FedAsync FedAvg FedAvgM
        FedDyn FedExP FedFade FedNova FedProx FedSGD FedVARP FedYogi
        HierarchicalLocalSGD HorvitzThompson LocalSGD Mime MimeLite ParameterServer QFedAvg SlowMo
        StreamingDiLoCo
    """,
    "raydl.callbacks": "CSV Callback Live MLflow Notebook RunStage TensorBoard WandB",
    "raydl.data": """
        CIFAR10 CIFAR100 EMNIST IID MNIST ClassesPerClient CropFlip Daily Dataset Digits
        Dirichlet FashionMNIST HuggingFace ImageFolder Intervals Leaf LossProportional Mixed
        Moment Natural Oort Pachinko ParticipationSpec Partition PartitionSpec PowerLaw
        PowerOfChoice Prepared QuantitySkew Selector SelectorSpec Shakespeare Shards Skewed
        Source Split Synthetic Table Tensors TorchDataset Transforms Uniform label_counts
        plot_availability plot_participation plot_partition prepare split_stratified
    """,
    "raydl.models": """
        MLP Autoencoder CharLSTM CifarCNN Decoder LeNet MnistCNN ResNet18 Softmax
    """,
    "raydl.optim": """
        Adagrad Adam AdamW AnyOptimizer AnySchedule Constant Cosine LAMB LARS OPTIMIZERS
        OptimizerSpec Polynomial SCHEDULES SGD ScheduleSpec Step TorchLAMB TorchLARS UpdateRule Yogi
        adagrad adam adamw lamb lars scale_rate sgd yogi
    """,
    "raydl.planning": "Circumstances Comparison Forecast Outline of_outline of_run",
    "raydl.runtimes": """
        Actors AllReduce Asynchronous Auto Batched Exponential Lognormal Measured Sequential
        ShardedServer Simulated StaleSynchronous Synchronous
    """,
    "raydl.tasks": """
        TASKS Classification MultiLabel NextToken Reconstruction Regression Segmentation TaskSpec
    """,
    "tuning.sweep": "Outcome SweepConfig sweep",
}
PACKAGES = {
    ".".join(file.parent.relative_to(ROOT).parts): file
    for package in ("raydl", "tuning")
    for file in sorted((ROOT / package).rglob("__init__.py"))
}


CATALOGUES = {  # one thing a file
    *("raydl.data.participations", "raydl.data.partitions"),
    *("raydl.algorithms.distributed", "raydl.algorithms.federated"),
    *("raydl.data.sources", "raydl.optim", "tuning.studies.cifar100"),
}
MOST = 10  # modules of a folder of machinery: more than that nobody finds


@pytest.mark.parametrize("package", sorted(PACKAGES.keys() - CATALOGUES))
def test_a_folder_of_machinery_is_small(package):
    modules = [each.stem for each in PACKAGES[package].parent.glob("[!_]*.py")]
    assert len(modules) <= MOST


def test_every_package_that_has_public_names_is_here():
    with_names = {name for name, file in PACKAGES.items() if "\n__all__ = " in file.read_text()}
    assert with_names == PUBLIC.keys()


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_these_and_each_can_be_had_and_is_described(package):
    module, names = import_module(package), PUBLIC[package].split()
    assert sorted(module.__all__) == sorted(names)
    assert set(names) <= set(dir(module))
    for name in names:
        assert inspect.getdoc(getattr(module, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_tells_of_modules_that_it_has(package):
    """In the lines ``module  what it is`` of its docstring."""
    folder = PACKAGES[package].parent
    told = re.findall(r"^(\w+)  +\S", import_module(package).__doc__ or "", re.MULTILINE)
    there = {each.stem for each in folder.iterdir() if each.suffix in ("", ".py")}
    assert set(told) <= there


def test_what_raydl_names_in_its_docstring_can_be_had():
    import raydl

    for name in re.findall(r"``raydl\.(\w+)", raydl.__doc__):
        assert name in raydl.__all__
        assert callable(getattr(raydl, name))


def test_a_name_of_a_class_has_one_meaning():
    """Of a class or of a type alias, in all modules of both packages."""
    files = [file for package in ("raydl", "tuning") for file in (ROOT / package).rglob("*.py")]
    pattern = re.compile(r"^class ([A-Z]\w+)|^([A-Z]\w+): TypeAlias", re.MULTILINE)
    names = [name or alias for file in files for name, alias in pattern.findall(file.read_text())]
    assert [name for name, times in Counter(names).items() if times > 1] == []
