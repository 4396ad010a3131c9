import pytest
import torch
from torch.testing import assert_close

from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.optim import adagrad, adam, adamw, lamb, lars, sgd, yogi
from tests.optim.trajectory import equal, gradients, start

CLIENTS = 3
RULES = {
    "sgd": sgd(0.9, nesterov=True, weight_decay=0.1),
    "adamw": adamw(),
    "adagrad": adagrad(),
    "adam": adam(),
    "yogi": yogi(),
    "lars": lars(weight_decay=0.1, clip=True),
    "lars, Nesterov": lars(nesterov=True, weight_decay=0.1),
    "lars without momentum": lars(0.0, weight_decay=0.1),
    "lamb": lamb(clip=True),
}


@pytest.fixture(params=RULES)
def rule(request):
    return RULES[request.param]


def each_client(params):
    """Parameters of several clients, none like another: [clients, ...]."""
    return {
        name: torch.stack([(1 + client) * each for client in range(CLIENTS)])
        for name, each in params.items()
    }


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1), torch.tensor([0.1, 0.2, 0.0])])
def test_clients_side_by_side_get_the_numbers_of_one_after_another(rule, lr):
    per_client = isinstance(lr, torch.Tensor) and lr.dim() == 1
    together = each_client(start())
    state = torch.vmap(rule.init)(together)
    step = torch.vmap(rule.update, in_dims=(0, 0, 0, 0 if per_client else None))
    alone = [tree.map(lambda leaf, at=client: leaf[at], together) for client in range(CLIENTS)]
    states = [rule.init(params) for params in alone]
    for grads in gradients(together, 10):
        together, state = step(together, grads, state, lr)
        for client in range(CLIENTS):
            own = {name: each[client] for name, each in grads.items()}
            rate = lr[client] if per_client else lr
            alone[client], states[client] = rule.update(alone[client], own, states[client], rate)
    for client in range(CLIENTS):
        mine = {"params": together, "state": state}
        mine = tree.map(lambda leaf, at=client: leaf[at], mine)
        assert_close(mine, {"params": alone[client], "state": states[client]})


def test_a_step_changes_nothing_that_it_was_given(rule):
    params, grads = start(), next(gradients(start(), 1))
    _, state = rule.update(params, grads, rule.init(params), 0.1)
    before = [tree.map(torch.clone, each) for each in (params, grads, state)]
    stepped, _ = rule.update(params, grads, state, 0.1)
    assert not any(torch.equal(stepped[name], params[name]) for name in params)
    for was, now in zip(before, (params, grads, state), strict=True):
        assert equal(dict(tree.leaves(was)), dict(tree.leaves(now)))


def test_parameters_without_a_gradient_stay_as_they_are(rule):
    params = start()
    grads = {"weight": torch.ones_like(params["weight"])}
    stepped, _ = rule.update(params, grads, rule.init(params), 0.1)
    assert stepped.keys() == params.keys()
    assert [name for name in params if not torch.equal(stepped[name], params[name])] == ["weight"]


@pytest.mark.parametrize("rule", [lars(), lamb()])
def test_parameters_that_would_have_no_ratio_are_refused(rule):
    with pytest.raises(SpecError, match="no parameter of two or more dimensions"):
        rule.init({"bias": torch.ones(3)})
