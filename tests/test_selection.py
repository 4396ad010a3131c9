"""Runs whose cohorts follow from what was trained: on every runtime, resumed, in virtual time."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import raydl
from raydl import Checkpointing, Model, Run, SpecError
from raydl.algorithms import FedAsync, FedAvg
from raydl.core import tree
from raydl.core.algorithm import Plan, Work
from raydl.core.grad import parameters
from raydl.data import (
    Daily,
    LossProportional,
    Oort,
    PowerOfChoice,
    Selector,
    Skewed,
    Uniform,
)
from raydl.planning.run import of_run
from raydl.run_folder import checkpoint
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.asynchrony.consistency import Asynchronous, Synchronous
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.simulated.compute_time import Lognormal
from raydl.runtimes.simulated.spec import Simulated
from raydl.storage import Folder
from tests.command import raydl as command
from tests.command import summary
from tests.federation import federation, fingerprints, train

SPECS = {
    "pow-d": PowerOfChoice(0.3, 8),
    "cpow-d": PowerOfChoice(0.3, 8, "cpow-d", batch_size=3),
    "rpow-d": PowerOfChoice(0.3, 8, "rpow-d"),
    "Oort": Oort(0.3, spread=0.5),
    "LossProportional": LossProportional(0.3),
    "Daily": Daily(0.3),
}
VARIED = Lognormal(1.0, spread=0.8)


def spec(tmp_path, participation, name="run", **fields) -> Run:
    usual = {
        "algorithm": FedAvg(batch_size=10, steps=2),
        "model": Model("MLP", {"hidden": [8]}),
        "clients": 12,
        "rounds": 6,
        "runtime": Sequential(),
        "log": "none",
        "checkpoint": Checkpointing(every=1),
    }
    return Run(**usual | fields, participation=participation, storage=tmp_path, name=name)


def cohorts_of(history) -> list[list[int]]:
    return [each.clients["client"].long().tolist() for each in history]


@pytest.mark.parametrize("name", SPECS)
def test_on_every_runtime_the_same_cohorts(name, runtime, request):
    problem = federation(FedAvg(steps=2).build(), block_size=2)
    selector = SPECS[name].selector(problem.partition.sizes, 5)
    given = train(problem, runtime(problem), cohorts=selector)
    expected = train(problem, LocalRuntime(problem), cohorts=selector)
    assert cohorts_of(given) == cohorts_of(expected)
    assert len({tuple(each) for each in cohorts_of(given)}) > 1
    if "batched" not in request.node.callspec.params["runtime"]:
        assert fingerprints(given) == fingerprints(expected)
        assert [tree.fingerprint(each.selection) for each in given] == [
            tree.fingerprint(each.selection) for each in expected
        ]


def test_a_survey_says_what_a_client_alone_scores(runtime):
    problem = federation(FedAvg().build())
    params = parameters(problem.task.model)
    clients = (5, 0, 11, 3, 7)
    told = runtime(problem).survey(params, Work(2, clients, Plan(None, steps=1)))
    assert told["client"].tolist() == list(clients)
    assert told["samples"].tolist() == problem.partition.sizes[list(clients)].tolist()
    alone, train_ = LocalRuntime(problem), problem.dataset.train
    for client, loss in zip(clients, told["loss"].tolist(), strict=True):
        own = train_.take(torch.from_numpy(problem.partition[client]))
        dataset = replace(problem.dataset, validation=own)
        score = LocalRuntime(replace(problem, dataset=dataset)).evaluate(params, "validation")()
        assert loss == pytest.approx(score.losses / score.samples, rel=1e-5)
    part = alone.survey(params, Work(2, clients, Plan(2, steps=1)))
    assert part["samples"].tolist() == [2] * 5


def test_to_ask_is_counted_in_messages_and_bytes():
    problem = federation(FedAvg(steps=2).build())
    sizes, params = problem.partition.sizes, parameters(problem.task.model)
    asked, unasked = (
        train(
            problem, LocalRuntime(problem), 1, cohorts=PowerOfChoice(0.25, 9, v).selector(sizes, 0)
        )[0]
        for v in ("pow-d", "rpow-d")
    )
    assert asked.messages == unasked.messages + 18
    assert asked.bytes_down == unasked.bytes_down + 9 * tree.nbytes(params)
    assert asked.bytes_up == unasked.bytes_up + 9 * 8


def test_measured_seconds_are_not_told_and_virtual_ones_are():
    problem, told = federation(FedAvg(steps=2).build()), []

    def note(state, moment, columns):
        told.append(("seconds" in columns, moment.now))
        return state

    selector = Selector(dict, lambda state, moment: np.arange(3), note)
    train(problem, LocalRuntime(problem), 2, cohorts=selector)
    with Simulated(speed=VARIED).open(problem) as opened:
        second = train(problem, opened, 2, cohorts=selector)[0].simulated_seconds
    assert told == [(False, None), (False, None), (True, 0.0), (True, pytest.approx(second))]


@pytest.mark.parametrize("name", SPECS)
def test_resumed_it_ends_where_the_undisturbed_run_does(name, tmp_path):
    expected = raydl.run(spec(tmp_path, SPECS[name], "whole"))
    raydl.run(spec(tmp_path, SPECS[name], "cut", rounds=3))
    given = raydl.run(spec(tmp_path, SPECS[name], "cut"), resume=True)
    assert given.summary["fingerprint"] == expected.summary["fingerprint"]
    saved = [checkpoint.newest(Folder(str(tmp_path / each))).selection for each in ("cut", "whole")]
    assert tree.fingerprint(saved[0]) == tree.fingerprint(saved[1])
    assert given.table["reached"].tolist() == expected.table["reached"].tolist()


def test_resumed_on_other_actors_it_ends_where_one_process_does(tmp_path, cluster):
    participation = PowerOfChoice(0.3, 8)
    expected = raydl.run(spec(tmp_path, participation, "whole"))
    raydl.run(spec(tmp_path, participation, "cut", rounds=3, runtime=Actors(workers=2)))
    longer = spec(tmp_path, participation, "cut", runtime=Actors(workers=1))
    assert raydl.run(longer, resume=True).summary["fingerprint"] == expected.summary["fingerprint"]


def test_how_much_of_the_federation_was_reached_is_recorded(tmp_path):
    table = raydl.run(spec(tmp_path, Uniform(0.25))).table
    seen, expected = set(), []
    for cohort in islice(Uniform(0.25).cohorts(12, 0), 6):
        seen |= set(cohort.tolist())
        expected.append(len(seen) / 12)
    assert table["reached"].tolist() == expected


@pytest.mark.parametrize("name", ["rpow-d", "Oort", "LossProportional", "Daily"])
@pytest.mark.parametrize(
    "consistency",
    [Synchronous(over=0.5), Asynchronous(buffer=2), Asynchronous(discount=0.5)],
    ids=str,
)
def test_in_virtual_time_it_can_be_stopped_and_resumed(name, consistency, tmp_path):
    where = Simulated(consistency=consistency, speed=VARIED)
    given = {"algorithm": FedAsync(steps=2), "runtime": where}
    expected = raydl.run(spec(tmp_path, SPECS[name], "whole", **given))
    raydl.run(spec(tmp_path, SPECS[name], "cut", **given, rounds=3))
    resumed = raydl.run(spec(tmp_path, SPECS[name], "cut", **given), resume=True)
    assert resumed.summary["fingerprint"] == expected.summary["fingerprint"]
    assert (
        resumed.table["simulated_seconds"].tolist() == expected.table["simulated_seconds"].tolist()
    )


def test_of_more_than_are_needed_the_first_make_the_step(tmp_path):
    where = Simulated(consistency=Synchronous(over=0.5), speed=VARIED)
    table = raydl.run(spec(tmp_path, Uniform(0.5), runtime=where)).table
    assert (table["clients"] == 4).all()  # of 6
    assert table["late"].tolist() == [2, 4, 6, 8, 10, 12]


def test_virtual_time_goes_on_to_when_somebody_comes(tmp_path):
    """At midnight nobody of the one zone is there; they come at 6, an hour at a time."""
    rhythm = Daily(0.25, start=6.0, hours=1.0, zones=1, spread=0.0)
    where = Simulated(speed=Lognormal(1000.0))
    table = raydl.run(spec(tmp_path, rhythm, runtime=where, rounds=3)).table
    took = 2 * 1000.0
    assert table["simulated_seconds"].tolist() == pytest.approx(
        [6 * 3600 + took, 6 * 3600 + 2 * took, (24 + 6) * 3600 + took]
    )


def test_on_the_command_line_and_in_yaml(tmp_path):
    words = [
        *("--participation", "PowerOfChoice", "--participation.candidates", 15),
        *("--clients", 20, "--rounds", 2, "--runtime", "sequential", "--algorithm.epochs", 1),
    ]
    assert command("run", *words, "--storage", tmp_path, "--name", "words").code == 0
    config = tmp_path / "words/run.yaml"
    assert command("run", "--config", config, "--name", "again").code == 0
    assert summary(tmp_path / "words")["fingerprint"] == summary(tmp_path / "again")["fingerprint"]


class Worst:
    """An own selector: always those who lost the most."""

    def selector(self, sizes, seed):
        return replace_choose(PowerOfChoice(0.25, len(sizes), "rpow-d").selector(sizes, seed))


def replace_choose(selector):
    return selector._replace(choose=lambda state, moment: selector.choose(state, moment).tolist())


class Twice:
    def selector(self, sizes, seed):
        return Selector(dict, lambda state, moment: [1, 1])


def test_an_own_selector_by_its_name(tmp_path):
    own = ["--participation", "tests.test_selection:Worst", "--clients", 8, "--rounds", 2]
    usual = ["--runtime", "sequential", "--algorithm.epochs", 1, "--storage", tmp_path]
    assert command("run", *own, *usual, "--name", "own").code == 0
    assert raydl.run(spec(tmp_path, Worst(), "object", rounds=2)).table["reached"].tolist()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"participation": PowerOfChoice(0.5, 5)}, "candidates is 5; it must be 6 or larger"),
        ({"participation": PowerOfChoice(0.5, 50)}, "at most 12, the clients"),
        (
            {"participation": PowerOfChoice(0.5, 8), "runtime": Simulated()},
            "asks clients for their losses before a round, which --runtime simulated cannot",
        ),
        ({"participation": Twice()}, "a client takes part once"),
        ({"algorithm": "HorvitzThompson", "participation": Oort()}, "which is not known here"),
        ({"participation": 0.5}, "method cohorts or selector, or a function"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(tmp_path, fields, told):
    with pytest.raises(SpecError, match=told):
        raydl.run(spec(tmp_path, **{"participation": Uniform()} | fields))
    assert not (tmp_path / "run").exists()


def silent(algorithm):
    """The algorithm, whose clients report nothing."""
    step = algorithm.client.step
    return algorithm._replace(
        client=algorithm.client._replace(step=lambda *given: (step(*given)[0], {}))
    )


class Silent:
    workers = None

    def build(self, scope):
        return silent(FedAvg(steps=2).build(scope))


@pytest.mark.parametrize("name", ["rpow-d", "Oort", "LossProportional"])
def test_a_selector_that_needs_losses_needs_an_algorithm_that_reports_them(name, tmp_path):
    with pytest.raises(SpecError, match="chooses clients by their loss, which the algorithm's"):
        raydl.run(spec(tmp_path, SPECS[name], algorithm=Silent()))


def test_what_follows_from_training_is_not_planned(tmp_path):
    with pytest.raises(SpecError, match="with Oort it shows only as the run goes on who takes"):
        of_run(spec(tmp_path, Oort(0.3)))


@pytest.mark.parametrize("sampling", ["poisson", "replacement"])
def test_cohorts_may_vary_in_size(sampling, tmp_path):
    run = spec(tmp_path, Skewed(0.3, 0.5, sampling), algorithm="HorvitzThompson", rounds=4)
    sizes = [len(each) for each in islice(run.cohorts(), 4)]
    assert raydl.run(run).table["clients"].tolist() == sizes
    assert (
        raydl.run(replace(run, runtime=Batched(), name="batched")).table["clients"].tolist()
        == sizes
    )
