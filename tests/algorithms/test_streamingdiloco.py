"""Streaming DiLoCo: what it equals, a loop of torch's own, and numbers of 4 bits."""

from copy import deepcopy
from itertools import islice, repeat

import numpy as np
import pytest
import torch
from torch import nn

from raydl.algorithms import DiLoCo, StreamingDiLoCo
from raydl.algorithms.distributed import e3m0
from raydl.algorithms.distributed.streamingdiloco import fragments_of
from raydl.core import tree
from raydl.core.algorithm import Plan, Scope, Work
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.optim import SGD, AdamW
from raydl.optim.schedule import Constant
from raydl.round import rounds
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import federation, final, relative_distance

WORKERS, BATCH = 3, 20


def trained(spec, count, batched=False):
    algorithm = spec.build(Scope(samples=1e3))
    problem = federation(algorithm, partition=IID(), clients=WORKERS)
    state = algorithm.init(parameters(problem.task.model))
    runtime = LocalRuntime(problem, batched=batched)
    loop = rounds(algorithm, runtime, state, repeat(np.arange(WORKERS)))
    return problem, list(islice(loop, count))


def test_one_fragment_alone_is_diloco():
    options = {"workers": WORKERS, "optimizer": AdamW(lr=1e-2), "batch_size": BATCH, "steps": 4}
    streaming = StreamingDiLoCo(
        **options, outer_lr=0.7, fragments=1, overlap=0, keep=0, quantization="none"
    )
    ours, theirs = (trained(spec, 4) for spec in (streaming, DiLoCo(**options)))
    ends = {tree.fingerprint(final(*each)) for each in (ours, theirs)}
    assert len(ends) == 1


@pytest.mark.parametrize("batched", [False, True])
def test_against_a_loop_of_torchs_own(batched):
    spec = StreamingDiLoCo(
        *(WORKERS, SGD(lr=0.05, momentum=0.9), Constant(), BATCH),
        steps=6,
        fragments=2,
        overlap=1,
        keep=0.25,
        quantization="none",
    )
    problem, history = trained(spec, 5, batched)
    server = parameters(problem.task.model)
    fragments = fragments_of(server, 2)
    assert sorted(name for own in fragments for name in own) == sorted(server)
    outer = {name: nn.Parameter(each.clone()) for name, each in server.items()}
    outers = [
        torch.optim.SGD([outer[name] for name in own], 0.4, 0.9, nesterov=True) for own in fragments
    ]
    models = [deepcopy(problem.task.model) for _ in range(WORKERS)]
    anchors = dict(server)  # what every worker has from the server
    inners = [torch.optim.SGD(each.parameters(), lr=0.05, momentum=0.9) for each in models]
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    work = Work(0, (), Plan(BATCH, steps=15, start_step=0))
    streams = [data.batches(work, worker) for worker in range(WORKERS)]
    arrived = {}
    for number in range(5):
        anchors |= arrived
        for at in range(3):
            for model, inner, stream in zip(models, inners, streams, strict=True):
                own = dict(model.named_parameters())
                with torch.no_grad():
                    for name, each in arrived.items() if at == 1 else ():
                        own[name].copy_(0.25 * own[name] + 0.75 * each)
                batch = next(stream)
                inner.zero_grad()
                nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
                inner.step()
        for name in fragments[number % 2]:
            own = [dict(model.named_parameters())[name].detach() for model in models]
            outer[name].grad = anchors[name] - torch.stack(own).mean(0)
        outers[number % 2].step()
        arrived = {name: outer[name].detach().clone() for name in fragments[number % 2]}
    assert relative_distance(problem, final(problem, history), tree.map(torch.detach, outer)) < 1e-5


@pytest.mark.parametrize(("quantization", "bits"), [("none", 32), ("bf16", 16), ("e3m0", 4)])
def test_only_a_fragment_travels_in_so_many_bits(quantization, bits):
    options = {"fragments": 2, "steps": 2, "overlap": 0, "batch_size": BATCH}
    problem, history = trained(StreamingDiLoCo(WORKERS, quantization=quantization, **options), 3)
    params = parameters(problem.task.model)
    fragments = fragments_of(params, 2)
    for number, done in enumerate(history):
        numbers = [params[name].numel() for name in fragments[number % 2]]
        scales = 4 * len(numbers) if quantization == "e3m0" else 0
        assert done.bytes_up == WORKERS * (sum(each * bits // 8 for each in numbers) + scales)


LEVELS = torch.tensor([0.0, *(2.0**-power for power in range(7))])


@pytest.mark.parametrize("numbers", [1, 2, 7])
def test_numbers_of_4_bits_are_the_nearest_that_there_are(numbers):
    draws = torch.Generator().manual_seed(0)
    values = torch.randn(50, numbers, 3, generator=draws)
    coded = torch.vmap(e3m0.encode)({"w": values})
    assert coded["codes"]["w"].shape == (50, -(-3 * numbers // 2))
    given = e3m0.decode(coded)["w"][:, : 3 * numbers].view_as(values)
    allowed = values.abs().flatten(1).amax(1)[:, None] * torch.cat([LEVELS, -LEVELS])
    apart = (values.flatten(1)[..., None] - allowed[:, None]).abs().min(-1).values
    torch.testing.assert_close((given - values).abs().flatten(1), apart)
    again = e3m0.decode(torch.vmap(e3m0.encode)({"w": given}))["w"]
    assert torch.equal(again[:, : 3 * numbers].view_as(given), given)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.zeros(0, 2), torch.tensor(-0.5)])
def test_numbers_of_4_bits_of_odd_tensors(value):
    given = e3m0.decode(e3m0.encode({"w": value}))["w"]
    assert torch.equal(given[: value.numel()].view_as(value), value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_seen_in_the_codes(value):
    coded = e3m0.encode({"w": torch.tensor([1.0, value])})
    assert not tree.is_finite(coded)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 10, "fragments": 3}, "algorithm.steps is 10; it must be a multiple of the 3"),
        ({"steps": 8, "fragments": 4, "overlap": 2}, "smaller than the 2 local steps of a round"),
        ({"keep": 1.0}, r"algorithm.keep is 1.0; it must be in \[0, 1\)"),
        ({"fragments": 0}, "algorithm.fragments is 0; it must be 1 or larger"),
        ({"outer_lr": 0.0}, "algorithm.outer_lr is 0.0; it must be above 0"),
        ({"quantization": "int2"}, "must be 'none' or 'bf16' or 'e3m0'"),
    ],
)
def test_values_out_of_range(given, message):
    with pytest.raises(SpecError, match=message):
        StreamingDiLoCo(**given)


def test_parameters_that_cannot_be_cut_or_quantized_are_refused():
    with pytest.raises(SpecError, match=r"fragments is 4; it must be at most 1, the numb"):
        StreamingDiLoCo().build(Scope(samples=1e3)).init({"w": torch.zeros(3)})
    one = StreamingDiLoCo(fragments=1).build(Scope(samples=1e3))
    with pytest.raises(SpecError, match="the parameter w is complex; set it to none"):
        one.init({"w": torch.zeros(3, dtype=torch.complex64)})


def test_the_rate_needs_the_length_of_the_run():
    with pytest.raises(SpecError, match="schedule follows the length of the run"):
        StreamingDiLoCo().build()
