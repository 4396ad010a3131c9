from itertools import pairwise
from math import prod

import pytest
import torch
from torch import nn

from raydl.core.errors import SpecError
from raydl.data import Digits
from raydl.data.batches import two_samples
from raydl.models import Autoencoder
from tests.federation import seeded
from tests.models.test_models import count


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (64,), (6, 2)])
def test_the_output_has_the_shape_of_the_input(shape):
    model, inputs = Autoencoder(shape, (8, 3)), torch.randn(5, *shape)
    assert model(inputs).shape == inputs.shape
    assert model[0](inputs).shape == (5, 3)
    widths = [prod(shape), 8, 3, 8, prod(shape)]
    assert count(model) == sum((i + 1) * o for i, o in pairwise(widths))


def test_it_takes_a_data_sets_samples_as_a_model_sees_them():
    digits = Digits().load()
    inputs = two_samples(digits).inputs
    assert Autoencoder(digits.shape)(inputs).shape == inputs.shape


def test_with_a_linear_code_it_learns_what_principal_components_keep():
    """The best that k linear units can do is the first k components: Baldi and Hornik, 1989."""
    with seeded():
        inputs = torch.randn(64, 4) @ torch.diag(torch.tensor([3.0, 2.0, 0.5, 0.1]))
        inputs -= inputs.mean(0)
        model = Autoencoder((4,), (2,))
    steps = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        steps.zero_grad()
        value = nn.functional.mse_loss(model(inputs), inputs, reduction="sum")
        value.backward()
        return value

    steps.step(loss)
    lost = torch.linalg.svdvals(inputs)[2:].square().sum()
    torch.testing.assert_close(loss().detach(), lost, rtol=1e-3, atol=0)


def test_clients_train_side_by_side():
    model = Autoencoder((6,), (3,))
    params = {name: each.detach() for name, each in model.named_parameters()}
    inputs = torch.randn(3, 5, 6)

    def loss(params, inputs):
        return nn.functional.mse_loss(torch.func.functional_call(model, params, inputs), inputs)

    gradient = torch.func.grad(loss)
    together = torch.vmap(gradient, (None, 0))(params, inputs)
    for client, own in enumerate(inputs):
        for name, expected in gradient(params, own).items():
            torch.testing.assert_close(together[name][client], expected)


def test_a_code_has_a_width():
    with pytest.raises(SpecError, match=r"model\.widths is"):
        Autoencoder((6,), ())
