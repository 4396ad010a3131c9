import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load, save
from torch.testing import assert_close

from raydl.core.errors import SpecError
from raydl.optim import TorchLAMB, TorchLARS, trust
from tests.optim.trajectory import apart, by_optimizer, equal, gradients, start


@pytest.fixture(params=[TorchLARS, TorchLAMB])
def optimizer_class(request):
    return request.param


def trainable(params):
    return {name: each.detach().clone().requires_grad_() for name, each in params.items()}


def train(optimizer, params, grads):
    for row in grads:
        for name, each in params.items():
            each.grad = row[name]
        optimizer.step()


def test_groups_have_options_of_their_own(optimizer_class):
    params = trainable(start())
    matrices, vectors = ([e for e in params.values() if (e.dim() > 1) is w] for w in (True, False))
    optimizer = optimizer_class([{"params": matrices, "lr": 0.0}], lr=0.1)
    optimizer.add_param_group({"params": vectors, "adapt": True, "weight_decay": 0.5})
    train(optimizer, params, gradients(params, 3))
    alone = trainable({name: each for name, each in start().items() if each.dim() < 2})
    separate = optimizer_class(alone.values(), lr=0.1, adapt=True, weight_decay=0.5)
    train(separate, alone, gradients(params, 3))
    assert equal(start() | alone, params)


def test_a_closure_is_called_with_gradients_on(optimizer_class):
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = optimizer_class([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(2)]
    assert losses[0] == 4
    assert losses[1] < 4
    assert weight.grad_fn is None


def test_it_goes_on_bit_for_bit_from_its_saved_state(optimizer_class):
    rows = list(gradients(start(), 20))
    whole = trainable(start())
    train(optimizer_class(whole.values(), lr=0.1), whole, rows)

    first = trainable(start())
    optimizer = optimizer_class(first.values(), lr=0.1)
    train(optimizer, first, rows[:7])
    saved = optimizer.state_dict()
    tensors = save({f"{at}/{key}": t for at, s in saved["state"].items() for key, t in s.items()})
    groups = json.dumps(saved["param_groups"])

    second = trainable(first)
    state = {}
    for path, each in load(tensors).items():
        at, key = path.split("/")
        state.setdefault(int(at), {})[key] = each
    resumed = optimizer_class(second.values(), lr=0.7)
    resumed.load_state_dict({"state": state, "param_groups": json.loads(groups)})
    train(resumed, second, rows[7:])
    assert equal(whole, second)


def test_a_saved_state_is_loaded_to_where_the_parameters_are(optimizer_class):
    params = trainable(start())
    optimizer = optimizer_class(params.values(), lr=0.1)
    train(optimizer, params, gradients(params, 1))
    elsewhere = [each.detach().to("meta").requires_grad_() for each in params.values()]
    moved = optimizer_class(elsewhere, lr=0.1)
    moved.load_state_dict(optimizer.state_dict())
    assert {each.device.type for kept in moved.state.values() for each in kept.values()} == {"meta"}


def test_a_copy_goes_on_as_the_original_does(optimizer_class):
    rows = list(gradients(start(), 4))
    params = trainable(start())
    optimizer = optimizer_class(params.values(), lr=0.1)
    train(optimizer, params, rows[:2])
    copied_params, copied = copy.deepcopy((params, optimizer))
    train(optimizer, params, rows[2:])
    train(copied, copied_params, rows[2:])
    assert equal(params, copied_params)


def test_a_parameter_without_a_gradient_is_skipped_and_its_steps_count_from_its_own_first():
    late, weight = torch.ones(2, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    optimizer = TorchLAMB([weight, late], lr=0.1)
    weight.grad = torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    optimizer.step()
    first = weight.detach().clone()
    assert torch.equal(late, torch.ones(2, 2))
    assert late not in optimizer.state
    late.grad = weight.grad
    optimizer.step()
    assert_close(late.detach(), first)


def test_a_group_without_gradients_is_left_alone(optimizer_class):
    params = trainable(start())
    frozen = torch.nn.Parameter(torch.ones(3, 3), requires_grad=False)
    optimizer = optimizer_class([{"params": [frozen]}, {"params": params.values()}], lr=0.1)
    alone = trainable(start())
    separate = optimizer_class(alone.values(), lr=0.1)
    train(optimizer, params, gradients(params, 2))
    train(separate, alone, gradients(alone, 2))
    assert equal(params, alone)
    assert torch.equal(frozen, torch.ones(3, 3))


def test_the_rate_follows_torchs_schedulers(optimizer_class):
    params = trainable(start())
    optimizer = optimizer_class(params.values(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.0)
    rows = list(gradients(params, 3))
    train(optimizer, params, rows[:1])
    scheduler.step()
    once = {name: each.detach().clone() for name, each in params.items()}
    train(optimizer, params, rows[1:])
    assert equal(once, params)


def test_a_tensor_as_the_rate(optimizer_class):
    number = by_optimizer(lambda params: optimizer_class(params, lr=0.1), start(), steps=10)
    rate = torch.tensor(0.1)
    tensor = by_optimizer(lambda params: optimizer_class(params, lr=rate), start(), steps=10)
    assert apart(number, tensor) < 1e-6


def test_how_the_lists_are_cut_changes_no_number(optimizer_class, monkeypatch):
    whole = by_optimizer(lambda params: optimizer_class(params, lr=0.1), start(), steps=10)
    monkeypatch.setattr(trust, "_CACHED", 1)
    cut = by_optimizer(lambda params: optimizer_class(params, lr=0.1), start(), steps=10)
    assert equal(whole, cut)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_beside_float32(optimizer_class, dtype):
    params = trainable(start())
    mixed = {name: each.detach().to(dtype).requires_grad_() for name, each in start().items()}
    both = params | {f"{name} in {dtype}": each for name, each in mixed.items()}
    optimizer = optimizer_class(both.values(), lr=0.1)
    rows = gradients(params, 3)
    for row in rows:
        for name, each in params.items():
            each.grad = row[name]
        for name, each in mixed.items():
            each.grad = row[name].to(dtype)
        optimizer.step()
    tolerance = 1e-6 if dtype == torch.float64 else 1e-2
    theirs = {name: each.float() for name, each in mixed.items()}
    assert apart(params, theirs) < tolerance


def test_no_step_reads_a_number_back_from_the_device(optimizer_class):
    weight = torch.ones(3, 2, device="meta", requires_grad=True)  # which has none to read
    bias = torch.ones(3, device="meta", requires_grad=True)
    optimizer = optimizer_class([weight, bias], lr=0.1, clip=True)
    for _ in range(2):
        weight.grad, bias.grad = torch.ones_like(weight), torch.ones_like(bias)
        optimizer.step()


def test_what_cannot_be_trained_is_refused(optimizer_class):
    weight, sparse = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    weight.grad, sparse.grad = torch.ones(2, 2), torch.ones(2, 2).to_sparse()
    optimizer = optimizer_class([{"params": [weight]}, {"params": [sparse]}], lr=0.1)
    with pytest.raises(SpecError, match="dense"):
        optimizer.step()
    assert torch.equal(weight, torch.ones(2, 2)), "nothing moves before all is checked"
    with pytest.raises(SpecError, match="dtype"):
        optimizer_class([torch.ones(2, 2, dtype=torch.complex64)], lr=0.1)
    with pytest.raises(SpecError, match=r"lr is -0\.1"):
        optimizer_class([weight], lr=-0.1)
    with pytest.raises(SpecError, match="eps is -1"):
        optimizer_class([{"params": [weight], "eps": -1}], lr=0.1)


def test_no_weight_among_the_parameters_is_refused(optimizer_class):
    vectors = [torch.ones(2), torch.ones(3)]
    name = optimizer_class.__name__
    with pytest.raises(SpecError, match=f"{name} is given no parameter of two or more dimensions"):
        optimizer_class(vectors, lr=0.1)
    optimizer_class(vectors, lr=0.1, adapt=True)


def test_importing_the_optimizers_does_not_import_the_compiler():
    program = "import sys, raydl.optim; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
