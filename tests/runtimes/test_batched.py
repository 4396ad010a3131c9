import pytest
import torch
from torch import nn

from raydl.algorithms import FedAvg
from raydl.core.errors import SpecError
from raydl.data import CropFlip, Synthetic
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import cnn, federation, final, relative_distance, train

SEQUENTIAL_ONLY = {
    "BatchNorm": nn.BatchNorm1d(32),
    "BatchNorm without running statistics": nn.BatchNorm1d(32, track_running_stats=False),
    "InstanceNorm with running statistics": nn.InstanceNorm1d(32, track_running_stats=True),
}


def with_norm(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), norm, nn.Tanh(), nn.Linear(32, 10))


@pytest.mark.parametrize("norm", SEQUENTIAL_ONLY.values(), ids=SEQUENTIAL_ONLY)
@pytest.mark.parametrize(
    "start", [LocalRuntime, lambda *a, **k: ActorRuntime(*a, Actors(workers=1, **k))]
)
def test_a_model_that_vmap_would_train_wrongly_is_refused(norm, start):
    problem = federation(FedAvg().build(), with_norm(norm))
    with pytest.raises(SpecError, match=rf"model's 2 is a {type(norm).__name__}, .*GroupNorm"):
        start(problem, batched=True)


def test_norms_within_a_sample_are_welcome():
    for norm in (nn.LayerNorm(32), nn.GroupNorm(4, 32)):
        problem = federation(FedAvg().build(), with_norm(norm))
        assert train(problem, LocalRuntime(problem, batched=True), 1)


def test_batch_norm_trains_one_client_at_a_time():
    problem = federation(FedAvg(epochs=2).build(), with_norm(nn.BatchNorm1d(32)))
    runtime = LocalRuntime(problem)
    history = train(problem, runtime, 8)
    assert final(problem, history)["2.running_mean"].any()
    score = runtime.evaluate(final(problem, history), "test")()
    assert score.metrics(problem.task.spec)["accuracy"] > 0.6


@pytest.mark.parametrize("plan", [{"epochs": 2}, {"steps": 9}])
def test_augmented_images_agree_with_sequential(plan):
    data = Synthetic(samples=300, test=0, size=8, channels=2).load()
    spec = FedAvg(batch_size=8, **plan)
    problem = federation(spec.build(), cnn(data), data, augmentation=CropFlip(1), block_size=5)
    expected = final(problem, train(problem, LocalRuntime(problem), 2))
    given = final(problem, train(problem, LocalRuntime(problem, batched=True), 2))
    assert relative_distance(problem, given, expected) < 1e-4


def test_a_clients_training_does_not_depend_on_its_neighbours():
    alone, together = (
        federation(FedAvg(batch_size=8).build(), block_size=size) for size in (1, 12)
    )
    (one,), (other,) = (
        train(problem, LocalRuntime(problem, batched=True), 1) for problem in (alone, together)
    )
    torch.testing.assert_close(one.clients["loss"], other.clients["loss"], rtol=1e-5, atol=1e-6)
    assert len(one.clients["steps"].unique()) > 4
