"""The spec of a run: everything that a user configures, as frozen dataclasses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from inspect import signature
from itertools import repeat
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import numpy as np
from torch import nn

from raydl.algorithms import FedAvg
from raydl.config import choices
from raydl.config.given import choice
from raydl.core.algorithm import AlgorithmSpec
from raydl.core.errors import SpecError, brief, require, unknown
from raydl.core.fields.kinds import plain
from raydl.core.fields.patterns import as_patterns
from raydl.core.spec import Spec
from raydl.core.task import Precision, TaskSpec
from raydl.data import (
    IID,
    Digits,
    ParticipationSpec,
    PartitionSpec,
    Selector,
    SelectorSpec,
    Source,
    Uniform,
)
from raydl.data.batches import Augmentation
from raydl.data.checks import check_cohorts, check_selector
from raydl.data.dataset import SampleShape
from raydl.data.participations.selector import stream
from raydl.runtimes.spec import RuntimeSpec

FROM_DATA = {"shape", "classes"}  # a model's arguments that the data decides
# What every model can be told, unless its factory has an argument of that name.
OF_EVERY_MODEL = ("from_", "from_which", "fresh", "frozen")
_NOT_GIVEN = object()
_PLAIN = (bool, int, float, str, list, tuple, type(None))


@dataclass(frozen=True)
class Model(Spec, field="model"):
    """A model by name or factory, its options, and where its parameters start.

    Args:
        factory: one of raydl's models by name; ``package.module:name`` of an ``nn.Module`` class or
            of a function that makes a module; or such a class or function itself. It is called
            with ``shape`` (of one sample; of a dictionary of inputs, that of each by name) and
            ``classes``, if its signature has them.
        options: its other arguments.
        from_: run whose parameters and buffers are the first ones, by its folder or by its name in
            the storage; those that a seed gives by default.
        from_which: parameters of that run: the last ones, or those that did best in validation.
        fresh: shell patterns, with commas between them, of the names of parameters that are not
            taken from that run, such as 'head.*' for another number of classes.
        frozen: shell patterns, likewise, of the names of parameters that stay as they are, and are
            neither trained nor sent.
    """

    factory: str | Callable[..., nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    from_: str | None = None
    from_which: Literal["last", "best"] = "last"
    fresh: Annotated[str | None, as_patterns] = None
    frozen: Annotated[str | None, as_patterns] = None

    def __post_init__(self) -> None:
        if isinstance(self.factory, nn.Module):
            raise SpecError(
                f"model is {brief(self.factory)}, a module that is made already; give its class, "
                "or a function that makes it, as Model(factory, options): each process makes one"
            )
        if self.from_ is None and (self.fresh, self.from_which) != (None, "last"):
            raise SpecError(
                "model.fresh and model.from_which are of a run that the parameters are taken from; "
                "name it with model.from_"
            )

    @classmethod
    def chosen(cls, name: str, settings: Mapping[str, Any]) -> "Model":
        """The model of a name, with settings as `settings` gives them."""
        own = own_options(choices.find("model", name))
        return cls(
            name,
            {key: each for key, each in settings.items() if key not in own},
            **{key: each for key, each in settings.items() if key in own},
        )

    @property
    def name(self) -> str:
        """As ``--model`` takes it."""
        if isinstance(self.factory, str):
            return self.factory
        factory = self.factory
        while isinstance(factory, partial):  # whose arguments are among the settings
            factory = factory.func
        named = getattr(factory, "__qualname__", type(factory).__qualname__)
        return f"{factory.__module__}:{named}"

    def settings(self) -> dict[str, Any]:
        """The options, with those of the factory's defaults that YAML can hold for the others.

        Where the parameters start is among them, unless that is nothing but the seed.

        Raises:
            SpecError: if that has the name of one of the factory's own options.
        """
        takes = signature(self._callable()).parameters.values()
        defaults = {each.name: each.default for each in takes if each.name not in FROM_DATA}
        options = {
            name: value
            for name, value in (defaults | dict(self.options)).items()
            if isinstance(plain(value), _PLAIN) or value is not defaults.get(name, _NOT_GIVEN)
        }
        usual = {each.name: each.default for each in fields(self)}
        own = {name: getattr(self, name) for name in OF_EVERY_MODEL}
        own = {name: each for name, each in own.items() if each != usual[name]}
        for name in own.keys() & options.keys():
            raise SpecError(
                f"model.{name} is {own[name]!r}, but {self.name} has an argument of that name by "
                "itself, which run.yaml could not tell from it; call that otherwise"
            )
        return options | own

    def build(
        self, shape: Sequence[int] | Mapping[str, Sequence[int]], classes: int | None
    ) -> nn.Module:
        """The module for samples of a shape, or a shape for each input, and a number of classes."""
        factory = self._callable()
        given: dict[str, Any] = {"shape": _tuples(shape), "classes": classes}
        takes = signature(factory).parameters
        given = {name: value for name, value in given.items() if name in takes}
        try:
            return factory(**given, **self.options)
        except TypeError as error:
            names = f" with inputs {', '.join(shape)}" if isinstance(shape, Mapping) else ""
            raise SpecError(f"model {self.name} cannot be made{names}: {error}") from error

    def _callable(self) -> Callable[..., nn.Module]:
        if not isinstance(self.factory, str):
            return self.factory
        found: Callable[..., nn.Module] = choices.find("model", self.factory)
        return found


def _tuples(shape: Sequence[int] | Mapping[str, Sequence[int]]) -> SampleShape:
    """A shape, or several by name, as a model's factory is given them."""
    if isinstance(shape, Mapping):
        return {name: tuple(each) for name, each in shape.items()}
    return tuple(shape)


@dataclass(frozen=True)
class Checkpointing(Spec, field="checkpoint"):
    """When the run is written down.

    Args:
        every: rounds from one checkpoint to the next: 10 by default, or as many as an epoch takes
            in a run whose length is given in epochs; there is always one at the end.
        keep: number of checkpoints that stay; the older ones are removed.
    """

    every: int | None = None
    keep: int = 3

    def __post_init__(self) -> None:
        _check_every("checkpoint.every", self.every)
        require(self.keep >= 1, "checkpoint.keep", self.keep, "1 or larger")


@dataclass(frozen=True)
class Evaluation(Spec, field="evaluation"):
    """When the model is scored.

    Args:
        every: rounds from one scoring on the validation set to the next: 1 by default, or as
            many as an epoch takes in a run whose length is given in epochs. The last is always
            scored.
        test: time at which the test set is scored: at the end; each time, for a published protocol
            that does so; or never, for a run that is only compared with others in validation.
    """

    every: int | None = None
    test: Literal["end", "each", "never"] = "end"

    def __post_init__(self) -> None:
        _check_every("evaluation.every", self.every)


def own_options(factory: Callable[..., nn.Module]) -> list[str]:
    """What a model can be told besides its factory's own arguments."""
    return [name for name in OF_EVERY_MODEL if name not in signature(factory).parameters]


@dataclass(frozen=True)
class Stopping(Spec, field="stop"):
    """When the run ends before its time.

    Args:
        patience: scorings on the validation set, one after another, none of which is better than
            the best before them by the task's metric, after which the run ends; it goes on to its
            last round by default.
    """

    patience: int | None = None

    def __post_init__(self) -> None:
        _check_every("stop.patience", self.patience)


def _check_every(name: str, rounds: int | None) -> None:
    require(rounds is None or rounds >= 1, name, rounds, "1 or larger, or null")


def usual_runtime(algorithm: type) -> RuntimeSpec:
    """The runtime of a run that names none."""
    spec: RuntimeSpec = choices.CHOICES["runtime"][getattr(algorithm, "usual_runtime", "actors")]()
    return spec


def _as_model(_: str, given: Any) -> Model | None:
    """A model from its name, or from an ``nn.Module`` class or a function that makes a module."""
    if given is None or isinstance(given, Model):
        return given
    if isinstance(given, str):
        found = choices.find("model", given)
        return None if found is None else Model(choices.name_of("model", found))
    if not callable(given):
        raise SpecError(
            f"model is {brief(given)}; it must be one of {', '.join(choices.CHOICES['model'])}, by "
            "name, an nn.Module class or a function that makes a module, or a Model of it with "
            "options"
        )
    return Model(given)


LOGGERS = ("csv", "tensorboard", "mlflow", "wandb")


def _as_names(field: str, given: Any) -> str:
    """Names of loggers, as ``A,B``, from a list of them or from what was written so."""
    if given in (None, (), [], ""):
        return "none"
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise SpecError(f"{field} is {brief(given)}; it must be names such as csv,tensorboard")
    names = [each.strip().lower() for each in names]
    for each in names:
        if each not in (*LOGGERS, "none"):
            raise unknown("logger", each, (*LOGGERS, "none"))
    return ",".join(dict.fromkeys(names))


@dataclass(frozen=True)
class Run(Spec):
    """What to train, on which data, by which algorithm, and where.

    What is named on the command line may be given by that name here, too: ``Run(data="MNIST",
    runtime="sequential")``. Data may also be ``(x, y)``, of tensors, arrays, pandas' tables and
    columns, lists, or a dictionary of several inputs; or a map-style ``Dataset`` of torch's or of
    Hugging Face's. A model may be an ``nn.Module`` class or a function that makes a module, and an
    augmentation a transform of torchvision's. Own data, partitions, participations and
    augmentations may be objects with the method ``load``, ``assign``, ``cohorts`` (or ``selector``)
    or ``__call__``, or functions that do what that does.

    Args:
        algorithm: algorithm to run.
        data: data set to learn from.
        partition: division of the training samples over the clients.
        participation: clients that take part in a round; an algorithm with workers has them all.
        model: model to train; what is usual for the data by default.
        augmentation: changes of training images; none by default.
        task: loss and metrics of what is learned; what is usual for the data by default.
        runtime: place where the clients train: actors by default; DataParallel's processes
            allreduce, and the workers of ParameterServer and EASGD around a parameter_server.
        clients: number of clients (N): 100 by default, of a Natural partition as many as the data
            has owners; an algorithm with workers has its own.
        rounds: number of rounds: 30 by default, or as many as the epochs take.
        epochs: passes over the whole training set after which the run ends, in all.
        seed: seed of every draw: first parameters, partition, cohorts, order of samples, dropout.
        precision: arithmetic of the models: float32, or bf16 (autocast; parameters stay float32).
        microbatch: samples that go through the model at once, at most; the gradient of a larger
            minibatch is put together from pieces, in less memory.
        block_size: clients that are trained and reduced as one unit of scheduling; by default it
            follows from the model and the cohort. The numbers depend on it, in their last bits.
        fan_in: blocks whose results are merged by one of the actors, before the driver merges what
            is left: 1 leaves all of it to the driver, which at some hundred actors is too slow. The
            numbers depend on it, in their last bits.
        on_nonfinite: whether a client's update with a NaN or an infinity ends the run (fail) or is
            left out (drop).
        checkpoint: when the run is written down.
        evaluation: when the model is scored.
        stop: when the run ends before its time.
        log: places where its figures are kept beside Parquet, by name: csv, tensorboard, mlflow,
            wandb, or several as A,B; none for none.
        storage: folder of the runs' folders: a path, or a URI such as s3://bucket/folder.
        name: name of the run's folder; by default from algorithm, data and time.
    """

    algorithm: Annotated[AlgorithmSpec, choice("algorithm")] = FedAvg()
    data: Annotated[Source, choice("data")] = Digits()
    partition: Annotated[PartitionSpec, choice("partition")] = IID()
    participation: Annotated[ParticipationSpec | SelectorSpec, choice("participation")] = Uniform()
    model: Annotated[Model | None, _as_model] = None
    augmentation: Annotated[Augmentation | None, choice("augmentation")] = None
    task: Annotated[TaskSpec | None, choice("task")] = None
    runtime: Annotated[RuntimeSpec, choice("runtime")] = None  # type: ignore[assignment]
    clients: int | None = None
    rounds: int | None = None
    epochs: float | None = None
    seed: int = 0
    precision: Precision = "float32"
    microbatch: int | None = None
    block_size: int | None = None
    fan_in: int = 1
    on_nonfinite: Literal["fail", "drop"] = "fail"
    checkpoint: Checkpointing = Checkpointing()
    evaluation: Evaluation = Evaluation()
    stop: Stopping = Stopping()
    log: Annotated[str, _as_names] = "csv,tensorboard"
    storage: str = "runs"
    name: str | None = None

    def __post_init__(self) -> None:
        if self.runtime is None:
            object.__setattr__(self, "runtime", usual_runtime(type(self.algorithm)))
        require(self.seed >= 0, "seed", self.seed, "0 or larger")
        above = self.epochs is None or self.epochs > 0
        require(above, "epochs", self.epochs, "above 0, or null")
        for name in ("clients", "rounds", "microbatch", "block_size", "fan_in"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or larger, or null")
        given = self.storage not in ("", "null")  # a null in YAML arrives as a word
        require(given, "storage", self.storage, "a path or a URI")
        if urlsplit(self.storage).password is not None:
            raise SpecError(
                "storage holds a password, which would be written to run.yaml; take it out of the "
                "URI and set it in the environment, such as AWS_SECRET_ACCESS_KEY"
            )
        if self.name is not None:
            sound = self.name and not set(self.name) & set("/\\:") and not self.name.startswith(".")
            require(
                bool(sound), "name", self.name, "a folder's name, without / \\ : or a leading dot"
            )
        if self.workers is not None and (self.clients, self.participation) != (None, Uniform()):
            raise SpecError(
                f"clients and participation are given, but {type(self.algorithm).__name__} has "
                "workers of its own, who all take part; set --algorithm.workers"
            )

    @property
    def workers(self) -> int | None:
        """How many workers the algorithm has; None if it has clients."""
        return getattr(self.algorithm, "workers", None)

    @property
    def population(self) -> int:
        """How many clients, or workers, the training samples fall to.

        Where the owners of the data decide, a run has no number before it is assembled.
        """
        return self.workers or self.clients or 100

    @property
    def last_round(self) -> int | None:
        """The round that the run ends with at the latest; None if the epochs alone decide."""
        return self.rounds or (30 if self.epochs is None else None)

    @property
    def loggers(self) -> list[str]:
        """The names of ``log``."""
        return [each for each in self.log.split(",") if each != "none"]

    def with_usual_numbers(self) -> "Run":
        """The run with the numbers that it uses where it names none.

        What happens after every epoch of a run that counts those has no number of rounds.
        """
        if self.epochs is not None:
            return self if self.workers is not None else replace(self, clients=self.population)
        each, saved = self.evaluation, self.checkpoint
        return replace(
            self,
            clients=self.population if self.workers is None else None,
            rounds=self.last_round,
            evaluation=replace(each, every=each.every or 1),
            checkpoint=replace(saved, every=saved.every or 10),
        )

    def cohorts(self) -> Iterator[np.ndarray]:
        """Who takes part in the first round, int64 [cohort], in the second, and so on.

        Raises:
            SpecError: if that follows from what is trained, see `selector`.
        """
        if self.workers is not None:
            return repeat(np.arange(self.workers))
        if hasattr(self.participation, "selector"):
            raise SpecError(
                f"with {type(self.participation).__name__} it shows only as the run goes on who "
                "takes part; to plan, choose --participation Uniform with the same fraction"
            )
        return check_cohorts(self.participation, self.population, self.seed)

    def selector(self, sizes: np.ndarray) -> Selector:
        """What chooses who takes part in each round.

        Args:
            sizes: samples of each client, int64 [clients].

        Raises:
            SpecError: if the participation cannot choose from such clients.
        """
        if self.workers is not None:
            return stream(self.cohorts())
        return check_selector(self.participation, sizes, self.seed)

    def due(self, every: int | None, usual: int, rounds: int, before: float, epochs: float) -> bool:
        """Whether something is due after so many rounds and passes over the training set.

        Args:
            every: the rounds from one time to the next; None for the usual.
            usual: those rounds in a run whose length is counted in rounds; one whose length is
                counted in epochs does it after every epoch.
            rounds: done by now.
            before: the passes done one round ago.
            epochs: passes done by now.
        """
        if every is None and self.epochs is not None:
            return int(epochs) > int(before)
        return rounds % (every or usual) == 0

    def over(self, rounds: int, epochs: float) -> bool:
        """Whether the run ends after so many rounds and passes over the training set."""
        last = self.last_round
        return (last is not None and rounds >= last) or (
            self.epochs is not None and epochs >= self.epochs
        )
