import copy

import pytest
import torch
from torch import nn

from raydl.core.errors import SpecError
from raydl.models import MLP, CifarCNN, LeNet, MnistCNN, ResNet18, Softmax
from tests.federation import seeded

CLASSES = 10


def count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("model", "shape", "classes", "published"),
    [
        (MnistCNN, (1, 28, 28), 10, 1_199_882),
        (CifarCNN, (3, 32, 32), 100, 815_332),
        (LeNet, (3, 32, 32), 10, 62_006),
        (ResNet18, (3, 32, 32), 10, 11_173_962),
        (ResNet18, (3, 224, 224), 1000, 11_689_512),
        (Softmax, (784,), 10, 7_850),
        (MLP, (784,), 10, 784 * 64 + 64 + 64 * 10 + 10),
    ],
)
def test_number_of_parameters(model, shape, classes, published):
    with torch.device("meta"):
        assert count(model(shape, classes)) == published


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (MnistCNN, (1, 28, 28)),
        (MnistCNN, (3, 17, 30)),
        (CifarCNN, (3, 32, 32)),
        (LeNet, (1, 28, 28)),
        (LeNet, (3, 17, 30)),
        (ResNet18, (3, 32, 32)),
        (ResNet18, (1, 8, 8)),
        (ResNet18, (3, 65, 65)),
        (Softmax, (1, 8, 8)),
        (MLP, (64,)),
    ],
)
def test_one_logit_for_each_class(model, shape):
    outputs = model(shape, CLASSES)(torch.randn(2, *shape))
    assert outputs.shape == (2, CLASSES)
    assert outputs.isfinite().all()


def test_widths_of_an_mlp():
    widths = [each.out_features for each in MLP((8,), 3, hidden=(5, 4)) if hasattr(each, "bias")]
    assert widths == [5, 4, 3]


def test_resnet_has_no_batch_norm():
    norms = [
        each
        for each in ResNet18((3, 32, 32), CLASSES, groups=4).modules()
        if "Norm" in str(type(each))
    ]
    assert len(norms) == 20
    assert all(isinstance(each, nn.GroupNorm) and each.num_groups == 4 for each in norms)


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (MnistCNN, (64,), r"images \(C, H, W\), but a sample has the shape \(64,\)"),
        (LeNet, (80, 3), "Softmax and MLP take any"),
        (LeNet, (1, 15, 28), "leave nothing of images of 15×28"),
        (CifarCNN, (1, 8, 8), "leave nothing of images of 8×8"),
        (ResNet18, (64,), r"\(C, H, W\) for ResNet18"),
    ],
)
def test_inputs_that_a_model_cannot_take(model, shape, message):
    with pytest.raises(SpecError, match=message):
        model(shape, CLASSES)


@pytest.mark.parametrize("groups", [0, 3])
def test_groups_that_do_not_divide_the_channels(groups):
    with pytest.raises(SpecError, match=f"model.groups is {groups}; it must be a divisor of 64"):
        ResNet18((3, 32, 32), CLASSES, groups)


@pytest.mark.parametrize(("model", "shape"), [(MnistCNN, (1, 28, 28)), (CifarCNN, (3, 32, 32))])
def test_pooling_before_relu_changes_no_number(model, shape):
    with seeded():
        ours = model(shape, 10).eval()
        inputs, targets = torch.randn(8, *shape), torch.randint(10, (8,))
    published = copy.deepcopy(ours)
    for at in range(len(ours) - 1):
        if isinstance(ours[at], nn.MaxPool2d):
            assert isinstance(ours[at + 1], nn.ReLU)
            published[at], published[at + 1] = nn.ReLU(), nn.MaxPool2d(2)
    for each in (ours, published):
        nn.functional.cross_entropy(each(inputs), targets).backward()
    for one, other in zip(ours.parameters(), published.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
