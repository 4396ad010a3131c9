import numpy as np
import pytest
import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.data import Tensors
from raydl.data.batches import Preparation

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
        ({"inputs": torch.tensor(3.0)}, "data.inputs' shape"),
        ({"inputs": IMAGES[0]}, r"data.targets' shape is \(20,\); it must be \[3\]"),
        ({"inputs": IMAGES[:0], "targets": LABELS[:0]}, "data.inputs' shape"),
        ({"targets": LABELS[:5]}, "data.targets' shape"),
        ({"targets": LABELS + 1j}, "data.targets' type is torch.complex64; it must be real"),
        ({"test_inputs": IMAGES, "test_targets": LABELS[:, None]}, "data.test_targets' shape"),
        ({"inputs": {"a": IMAGES, "b": LABELS[:5]}}, r"data.inputs.b' shape is \(5,\)"),
        ({"inputs": {3: IMAGES}}, "the keys of a dictionary of inputs must be words"),
        ({"inputs": {}}, "the keys of a dictionary"),
        ({"test_inputs": IMAGES}, "given together"),
        ({"test_inputs": IMAGES[:, :1], "test_targets": LABELS}, "data.test_inputs' shape"),
        ({"owners": LABELS[:5]}, "data.owners' shape"),
        ({"owners": LABELS / 2}, "data.owners' type is torch.float32; it must be integers, or na"),
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
        ({"targets": LABELS.float(), "classes": 4}, "left out: the targets are numbers"),
        (
            {"test_inputs": IMAGES, "test_targets": LABELS.float()},
            "data.test_targets, kept as is torch.float32; it must be torch.int64",
        ),
        ({"mean": {"a": 1}, "std": {"a": 1}}, "data.mean is .*; it must be numbers: there is one"),
        ({"inputs": {"a": IMAGES}, "mean": 1, "std": 1}, "a dictionary with some of a"),
        (
            {"inputs": {"a": IMAGES, "b": LABELS}, "mean": {"b": 1}, "std": {"b": 1}},
            r"data.mean.b is \(1,\); it must be left out: inputs are tokens",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(fields, named):
    with pytest.raises(SpecError, match=named):
        Tensors(**{"inputs": IMAGES, "targets": LABELS} | fields).load()


@pytest.mark.parametrize("made", [np.asarray, Tensor.tolist, list], ids=["array", "lists", "list"])
def test_arrays_and_lists_become_tensors(made):
    given = {"inputs": IMAGES, "targets": LABELS, "owners": LABELS}
    given |= {"test_inputs": IMAGES[:3], "test_targets": LABELS[:3]}
    expected = Tensors(**given).load()
    loaded = Tensors(**{name: made(each) for name, each in given.items()}).load()
    for one, other in zip(expected.train + expected.test, loaded.train + loaded.test, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(expected.owners, loaded.owners)


def test_arrays_that_torch_does_not_take_as_they_are():
    features = np.arange(40.0).reshape(20, 2)
    features.flags.writeable = False
    for odd in (
        features,
        features.copy()[::-1][::-1],
        features.astype(">f4"),
        np.asfortranarray(features),
    ):
        assert torch.equal(Tensors(odd, LABELS).inputs.double(), torch.from_numpy(features.copy()))


def test_no_graph_is_kept():
    given = torch.ones(20, 2, requires_grad=True)
    kept = Tensors(given * 2, torch.nn.Parameter(torch.zeros(20)).detach().long())
    assert not kept.inputs.requires_grad
    assert given.requires_grad


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (torch.bool, torch.float32),
        (torch.uint8, torch.float32),
        (torch.int8, torch.float32),
        (torch.int16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int32, torch.int64),
        (torch.int64, torch.int64),
    ],
)
def test_small_integers_are_features_and_large_ones_tokens(dtype, stored):
    assert Tensors(torch.ones(20, 2).to(dtype), LABELS).load().train.inputs.dtype == stored


@pytest.mark.parametrize(
    ("targets", "dtype", "classes"),
    [
        (LABELS.int(), torch.int64, 4),
        (LABELS > 1, torch.int64, 2),
        (LABELS.expand(5, 20).T, torch.int64, 4),
        (LABELS.double(), torch.float32, None),
        (torch.ones(20, 3, 2), torch.float32, None),
        (torch.eye(4)[LABELS] > 0, torch.float32, None),
    ],
    ids=["classes", "two classes", "many classes", "numbers", "many numbers", "labels"],
)
def test_targets_are_classes_or_numbers(targets, dtype, classes):
    kept = Tensors(IMAGES, targets, validation=0, test=0).load()
    assert kept.train.targets.dtype == dtype
    assert torch.equal(kept.train.targets, targets.to(dtype))
    assert kept.classes == classes


@pytest.mark.parametrize("shape", [(), (3,), (5, 3), (2, 3, 4, 5), (1, 2, 3, 4, 5)], ids=str)
def test_samples_have_any_shape(shape):
    given = torch.rand(20, *shape)
    kept = Tensors(given, LABELS, mean=2, std=4).load()
    assert kept.shape == shape
    seen = Preparation.of(kept, torch.device("cpu"))(kept.train.inputs)
    assert seen.shape == (14, *shape)
    whole = Tensors(given, LABELS, validation=0, test=0).load()
    assert torch.equal(Preparation.of(whole, torch.device("cpu"))(whole.train.inputs), given)


def test_a_dictionary_of_inputs_is_kept_as_each_of_them_is():
    given = {"image": IMAGES.byte(), "age": LABELS.double(), "words": LABELS.expand(5, 20).T}
    kept = Tensors(given, LABELS, mean={"image": 3}, std={"image": 2}, validation=0, test=0).load()
    assert kept.shape == {"image": (3, 4, 5), "age": (), "words": (5,)}
    assert kept.train.inputs["image"].shape == (20, 4, 5, 3)
    seen = Preparation.of(kept, torch.device("cpu"))(kept.train.inputs)
    assert torch.equal(seen["image"], (IMAGES.byte().float() - 3) / 2)
    assert torch.equal(seen["age"], LABELS.float())
    assert torch.equal(seen["words"], given["words"])


@pytest.mark.parametrize(
    "scale",
    [2, 2.0, np.float32(2), np.full(3, 2.0), torch.full((3,), 2.0), torch.full((3, 1, 1), 2), [2]],
    ids=str,
)
def test_scales_as_numbers_arrays_and_tensors(scale):
    kept = Tensors(IMAGES, LABELS, mean=scale, std=scale).load()
    assert kept.mean.tolist() == kept.std.tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"inputs": [[[1.0], [2.0, 3.0]]] * 20}, "data.inputs is .* rows of equal length"),
        ({"inputs": [torch.ones(1 + n % 3, 4, 5) for n in range(20)]}, "bring images to one size"),
        ({"inputs": [torch.ones(n, 1 + n % 2) for n in range(20)]}, "cannot be padded"),
        ({"targets": [[1.0, 2.0], [3.0]] * 10}, "only classes can be padded"),
        ({"targets": ["cat", "dog"] * 10}, "numpy.unique"),
        (
            {"inputs": np.array(["a"] * 20)},
            "data.inputs is a numpy.ndarray of shape .* cannot become",
        ),
        ({"inputs": None}, "data.inputs is None"),
        ({"inputs": torch.ones(20, 2, dtype=torch.complex64)}, "must be real"),
        ({"inputs": torch.ones(20, 2).to_sparse()}, "it must be dense"),
        ({"mean": np.ones((2, 2)), "std": 1}, "data.mean is .* one number, or a list of them"),
        ({"validation": "0.1"}, "data.validation is '0.1'; it must be float"),
    ],
)
def test_what_is_no_tensor_is_told(fields, told):
    with pytest.raises(SpecError, match=told):
        Tensors(**{"inputs": IMAGES, "targets": LABELS} | fields)
