import pytest
import torch
from torch import nn

from raydl.core.grad import Batch, eager, forward, functional, parameters
from raydl.core.task import Task
from raydl.tasks import Classification, NextToken

GRADIENTS = {"eager": eager, "functional": functional}


@pytest.fixture(params=GRADIENTS)
def gradient(request):
    return GRADIENTS[request.param]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        yield


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)
    )


def minibatch(size: int = 7) -> Batch:
    return Batch(torch.randn(size, 2, 6, 6), torch.randint(5, (size,)))


def by_torch(model: nn.Module, batch: Batch):
    """The mean loss's gradient and the metrics, as a plain training loop has them."""
    model.zero_grad()
    outputs = model(batch.inputs)
    loss = nn.CrossEntropyLoss()(outputs, batch.targets)
    loss.backward()
    right = sum(int(row.argmax()) == int(y) for row, y in zip(outputs, batch.targets, strict=True))
    metrics = {"loss": loss.detach(), "accuracy": torch.tensor(right / len(outputs))}
    return {name: each.grad.clone() for name, each in model.named_parameters()}, metrics


@pytest.mark.parametrize("microbatch", [None, 1, 3, 7, 100])
def test_against_plain_torch(gradient, microbatch):
    model, batch = cnn(), minibatch()
    given = gradient(Task(model, Classification(), microbatch=microbatch))(parameters(model), batch)
    grads, metrics = by_torch(model, batch)
    torch.testing.assert_close(given.grads, grads)
    torch.testing.assert_close(given.metrics, metrics)
    assert given.buffers == {}


@pytest.mark.parametrize("microbatch", [None, 2, 4])
def test_padding_changes_nothing(gradient, microbatch):
    model, batch = cnn(), minibatch(5)
    padded = Batch(
        torch.cat([batch.inputs, torch.randn(4, 2, 6, 6)]),
        torch.cat([batch.targets, torch.zeros(4, dtype=torch.int64)]),
        torch.tensor([1.0] * 5 + [0.0] * 4),
    )
    given = gradient(Task(model, Classification(), microbatch=microbatch))(
        parameters(model), padded
    )
    grads, metrics = by_torch(model, batch)
    torch.testing.assert_close(given.grads, grads)
    torch.testing.assert_close(given.metrics, metrics)


def test_of_padding_alone_is_zero(gradient):
    model, batch = cnn(), minibatch()
    given = gradient(Task(model, Classification()))(
        parameters(model), batch._replace(weights=torch.zeros(7))
    )
    assert all(not grad.any() for grad in given.grads.values())


def test_softmax_regression_in_closed_form(gradient):
    model = nn.Linear(4, 3)
    inputs, targets = torch.randn(10, 4), torch.randint(3, (10,))
    given = gradient(Task(model, Classification()))(parameters(model), Batch(inputs, targets))
    error = model(inputs).softmax(1) - nn.functional.one_hot(targets, 3)
    torch.testing.assert_close(given.grads["weight"], error.T @ inputs / 10)
    torch.testing.assert_close(given.grads["bias"], error.mean(0))


def test_many_clients_under_vmap_are_each_by_itself():
    model = cnn()
    task = Task(model, Classification())
    clients = [
        {k: v + 0.1 * torch.randn_like(v) for k, v in parameters(model).items()} for _ in "abc"
    ]
    batches = [minibatch() for _ in clients]
    weights = torch.tensor([[1.0] * n + [0.0] * (7 - n) for n in (7, 4, 1)])
    stacked = Batch(*(torch.stack(each) for each in list(zip(*batches, strict=True))[:2]), weights)
    together = torch.vmap(functional(task))(
        {name: torch.stack([each[name] for each in clients]) for name in clients[0]}, stacked
    )
    for index, (params, batch) in enumerate(zip(clients, batches, strict=True)):
        samples = int(weights[index].sum())
        alone = eager(task)(params, Batch(batch.inputs[:samples], batch.targets[:samples]))
        torch.testing.assert_close({k: v[index] for k, v in together.grads.items()}, alone.grads)
        torch.testing.assert_close(together.metrics["loss"][index], alone.metrics["loss"])


def test_given_parameters_stay_as_they_are(gradient):
    model = cnn()
    params = parameters(model)
    before = {name: each.clone() for name, each in params.items()}
    gradient(Task(model, Classification()))(params, minibatch())
    assert all(torch.equal(params[name], each) for name, each in before.items())
    assert not any(each.requires_grad for each in params.values())


def test_a_parameter_without_influence_has_no_gradient(gradient):
    model = cnn()
    model.register_parameter("idle", nn.Parameter(torch.ones(3)))
    task = Task(model, Classification(), idle=frozenset({"idle"}))
    given = gradient(task)(parameters(model), minibatch())
    assert given.grads.keys() == dict(cnn().named_parameters()).keys()


@pytest.mark.parametrize("microbatch", [None, 3])
def test_running_statistics_move_as_in_torchs_train_mode(microbatch):
    def model():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 5))

    ours, theirs = model().train(), model().train()
    params = parameters(ours)
    assert set(params) - {name for name, _ in ours.named_parameters()} == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }
    gradient = eager(Task(ours, Classification(), microbatch=microbatch))
    for _ in range(3):
        batch = minibatch(9)
        given = gradient(params, batch)
        params = params | given.buffers
        for part in torch.arange(9).split(microbatch or 9):
            theirs(batch.inputs[part])
    torch.testing.assert_close(params["1.running_mean"], theirs[1].running_mean)
    torch.testing.assert_close(params["1.running_var"], theirs[1].running_var)
    if microbatch is None:
        torch.testing.assert_close(given.grads, by_torch(theirs, batch)[0])


def test_bf16_is_near_float32_and_leaves_gradients_in_float32(gradient):
    model, batch = cnn(), minibatch(32)
    exact = eager(Task(model, Classification()))(parameters(model), batch).grads
    rounded = gradient(Task(model, Classification(), "bf16"))(parameters(model), batch).grads
    for name, grad in exact.items():
        assert rounded[name].dtype == torch.float32
        assert 0 < (rounded[name] - grad).norm() / grad.norm() < 0.06, name


def test_bf16_works_under_vmap():
    model, batch = cnn(), minibatch(32)
    task, params = Task(model, Classification(), "bf16"), parameters(model)
    alone = functional(task)(params, batch).grads
    stacked = {name: each[None] for name, each in params.items()}
    each = Batch(batch.inputs[None], batch.targets[None], torch.ones(1, 32))
    for name, grad in torch.vmap(functional(task))(stacked, each).grads.items():
        assert (grad[0] - alone[name]).norm() / alone[name].norm() < 0.06, name


def test_cross_entropy_of_sequences_is_the_mean_over_their_tokens():
    logits, targets = torch.randn(4, 6, 9), torch.randint(9, (4, 6))
    expected = torch.stack(
        [nn.functional.cross_entropy(*each) for each in zip(logits, targets, strict=True)]
    )
    torch.testing.assert_close(NextToken().losses(logits, targets), expected)


def test_forward_and_parameters_are_the_models_own():
    model, inputs = cnn(), minibatch().inputs
    params = parameters(model)
    assert torch.equal(forward(Task(model, Classification()), params, inputs), model(inputs))
    params["0.weight"].zero_()
    assert model[0].weight.any()
