import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Tensors

IMAGES = torch.arange(20 * 3 * 4 * 5, dtype=torch.float64).reshape(20, 3, 4, 5)
LABELS = torch.arange(20) % 4


def test_images_are_stored_channels_last_and_seen_as_given():
    kept = Tensors(IMAGES, LABELS, validation=0, test=0).load()
    assert kept.train.inputs.shape == (20, 4, 5, 3)
    assert kept.train.inputs.is_contiguous()
    assert kept.train.inputs.dtype == torch.float32
    assert torch.equal(kept.train.inputs.permute(0, 3, 1, 2), IMAGES.float())
    assert kept.shape == (3, 4, 5)
    assert kept.mean is None


def test_uint8_images_stay_uint8():
    assert Tensors(IMAGES.byte(), LABELS).load().train.inputs.dtype == torch.uint8


def test_features_become_float32_and_tokens_int64():
    features = Tensors(torch.zeros(8, 3, dtype=torch.float64), LABELS[:8]).load()
    tokens = Tensors(
        torch.zeros(8, 3, dtype=torch.int32), torch.ones(8, 3, dtype=torch.int32)
    ).load()
    assert features.train.inputs.dtype == torch.float32
    assert tokens.train.inputs.dtype == tokens.train.targets.dtype == torch.int64


def test_split_by_fractions_with_owners():
    features = torch.arange(20.0)[:, None]
    kept = Tensors(features, LABELS, owners=torch.arange(20) * 2, validation=0.2, test=0.4).load()
    assert [len(each.targets) for each in (kept.train, kept.validation, kept.test)] == [8, 4, 8]
    assert torch.equal(kept.owners.float(), kept.train.inputs[:, 0] * 2)


def test_official_test_set():
    kept = Tensors(IMAGES, LABELS, IMAGES[:3], torch.tensor([0, 5, 1]), validation=0.2).load()
    assert [len(each.targets) for each in (kept.train, kept.validation, kept.test)] == [16, 4, 3]
    assert kept.classes == 6


def test_scale_is_one_number_for_each_channel():
    one = Tensors(IMAGES, LABELS, mean=(2.0,), std=(4.0,)).load()
    each = Tensors(IMAGES, LABELS, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)).load()
    assert one.mean.tolist() == [2.0] * 3
    assert each.std.tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"inputs": IMAGES[0]}, "data.inputs' shape"),
        ({"inputs": IMAGES[:0], "targets": LABELS[:0]}, "data.inputs' shape"),
        ({"targets": LABELS[:5]}, "data.targets' shape"),
        ({"targets": LABELS.float()}, "data.targets' type"),
        ({"test_inputs": IMAGES}, "given together"),
        ({"test_inputs": IMAGES[:, :1], "test_targets": LABELS}, "data.test_inputs' shape"),
        ({"owners": LABELS[:5]}, "data.owners' shape"),
        ({"mean": (1.0,)}, "given together"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(fields, named):
    with pytest.raises(SpecError, match=named):
        Tensors(**{"inputs": IMAGES, "targets": LABELS} | fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"targets": LABELS - 1}, "0 or larger"),
        ({"classes": 3}, "4 or more"),
        ({"mean": (1.0, 2.0), "std": (1.0, 2.0)}, "1 or 3 numbers"),
        ({"mean": (1.0,), "std": (0.0,)}, "above 0"),
    ],
)
def test_values_that_do_not_fit_are_refused(fields, named):
    with pytest.raises(SpecError, match=named):
        Tensors(**{"inputs": IMAGES, "targets": LABELS} | fields).load()
