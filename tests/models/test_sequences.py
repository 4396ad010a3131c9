"""Models of tokens: their sizes, what they look at, and torch's own layers beside them."""

import copy

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAvg
from raydl.assembly.trial import try_out
from raydl.core.algorithm import Scope, Work
from raydl.core.errors import SpecError
from raydl.core.task import Task
from raydl.data import Tensors
from raydl.data.batches import ClientData
from raydl.models import CharLSTM, Decoder
from raydl.models.transformer import Block, rotate
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.worker.batchable import check_batchable
from raydl.tasks import NextToken
from tests.federation import federation, final, relative_distance, seeded, train
from tests.models.test_models import count

T, V, LR = 12, 7, 0.5
SMALL = {"width": 16, "depth": 2, "heads": 2}


def decoder(**options):
    with seeded():
        return Decoder((T,), V, **SMALL | options)


def tokens(*shape):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("classes", "vocabulary", "e", "h"), [(80, None, 8, 256), (2, 90, 8, 256), (5, 6, 3, 4)]
)
def test_the_number_of_an_lstms_parameters(classes, vocabulary, e, h):
    """Four gates of two matrices and, as torch has it, two biases."""
    gates = 4 * h * (e + h + 2) + 4 * h * (h + h + 2)
    expected = (vocabulary or classes) * e + gates + classes * (h + 1)
    with torch.device("meta"):
        assert count(CharLSTM((80,), classes, vocabulary, e, h)) == expected
        assert count(CharLSTM((80,), 80)) == 819_920


def test_what_follows_the_last_letter_is_the_last_of_what_follows_each():
    with seeded():
        every = CharLSTM((T,), V, hidden=5)
    last = CharLSTM((T,), V, hidden=5, last=True)
    last.load_state_dict(every.state_dict())
    torch.testing.assert_close(last(tokens(3, T)), every(tokens(3, T))[:, -1])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("positions", "of_positions"), [("learned", 1024), ("rotary", 0)])
def test_the_number_of_a_decoders_parameters(positions, of_positions, tied):
    v, w, depth = 50_257, 768, 12
    block = 12 * w**2 + 13 * w
    expected = (v if tied else 2 * v) * w + of_positions * w + depth * block + 2 * w
    with torch.device("meta"):
        made = Decoder(
            *((1024,), v), width=w, depth=depth, heads=12, positions=positions, tied=tied
        )
        assert count(made) == expected
    if tied and positions == "learned":
        assert expected == 124_439_808  # of GPT-2, as published


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("make", [decoder, lambda **_: CharLSTM((T,), V, hidden=9)])
def test_no_output_looks_ahead(make, positions):
    model, given = make(positions=positions).eval(), tokens(3, T)
    before = model(given)
    assert before.shape == (3, T, V)
    for t in range(T):
        changed = given.clone()
        changed[:, t] = (changed[:, t] + 1) % V
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert not torch.isclose(after[:, t], before[:, t]).all()


def test_a_block_is_torchs_own_layer():
    ours = Block(16, 2, 0.0, rotary=False)
    theirs = nn.TransformerEncoderLayer(
        *(16, 2, 64, 0.0),
        activation=lambda x: nn.functional.gelu(x, approximate="tanh"),
        batch_first=True,
        norm_first=True,
    )
    names = {
        "attention.queries_keys_values.weight": "self_attn.in_proj_weight",
        "attention.queries_keys_values.bias": "self_attn.in_proj_bias",
        **{f"attention.out.{each}": f"self_attn.out_proj.{each}" for each in ("weight", "bias")},
        **{f"wide.{each}": f"linear1.{each}" for each in ("weight", "bias")},
        **{f"narrow.{each}": f"linear2.{each}" for each in ("weight", "bias")},
        **{f"attention_norm.{each}": f"norm1.{each}" for each in ("weight", "bias")},
        **{f"dense_norm.{each}": f"norm2.{each}" for each in ("weight", "bias")},
    }
    state = ours.state_dict()
    theirs.load_state_dict({their: state.pop(our) for our, their in names.items()})
    assert not state
    x, mask = torch.randn(3, T, 16), nn.Transformer.generate_square_subsequent_mask(T)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask, is_causal=True))


def test_rotary_products_depend_on_distances_alone():
    with seeded():
        query, key = torch.randn(2, 8)
    turned = rotate(query.expand(T, 8)), rotate(key.expand(T, 8))
    products = turned[0] @ turned[1].T
    for distance in range(-T + 1, T):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned[0].norm(dim=-1), query.norm().expand(T))


def test_a_rotary_decoder_takes_longer_samples():
    model = decoder(positions="rotary").eval()
    given = tokens(2, 2 * T)
    torch.testing.assert_close(model(given)[:, :T], model(given[:, :T]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "model.heads is 3; it must be a divisor of the width, 16"),
        ({"heads": 16, "positions": "rotary"}, "rotary turns pairs"),
        ({"depth": 0}, "model.depth is 0"),
        ({"tied": True, "vocabulary": 9}, "9 tokens are not 7 classes"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(SpecError, match=message):
        decoder(**options)


@pytest.mark.parametrize("model", [CharLSTM, Decoder])
def test_images_are_no_tokens(model):
    with pytest.raises(SpecError, match=r"takes tokens \(T,\), but a sample has the shape \(1, 8"):
        model((1, 8, 8), V)


def problem(model, clients=12):
    """Clients who count upwards, from where they like, and predict what comes next."""
    whole = (torch.arange(T + 1) + torch.arange(96)[:, None]) % V
    dataset = Tensors(whole[:, :-1], whole[:, 1:], validation=0, test=0).load()
    algorithm = FedAvg(lr=LR, epochs=1, batch_size=4).build(Scope())
    task = try_out(Task(model, NextToken()), dataset).task
    return federation(algorithm, task.model, dataset, clients=clients)


MODELS = {
    "learned": decoder,
    "rotary, tied": lambda: decoder(positions="rotary", tied=True),
    "LSTM": lambda: CharLSTM((T,), V, hidden=16),
}


@pytest.mark.parametrize("name", MODELS)
def test_they_train_as_in_torchs_own_loop(name):
    given = problem(MODELS[name](), clients=1)
    model = copy.deepcopy(given.task.model).train()
    (done,) = train(given, LocalRuntime(given), 1, fraction=1)
    steps = torch.optim.SGD(model.parameters(), LR)
    work = Work(0, (0,), given.algorithm.plan(done.state))
    for batch in ClientData(given.dataset, given.partition, given.seed).batches(work, 0):
        steps.zero_grad()
        logits, targets = model(batch.inputs).flatten(0, 1), batch.targets.flatten()
        nn.functional.cross_entropy(logits, targets).backward()
        steps.step()
    for parameter, expected in model.named_parameters():
        torch.testing.assert_close(final(given, [done])[parameter], expected.detach())


@pytest.mark.parametrize("name", ["learned", "rotary, tied"])
def test_decoders_train_side_by_side_to_the_same_numbers(name):
    given = problem(MODELS[name]())
    one, other = (
        final(given, train(given, LocalRuntime(given, batched=batched), 2))
        for batched in (False, True)
    )
    assert relative_distance(given, other, one) < 1e-4


def test_lstms_are_not_trained_side_by_side():
    with pytest.raises(
        SpecError, match=r"model's lstm is a LSTM, whose kernels .* 4 times .*--runtime"
    ):
        check_batchable(problem(MODELS["LSTM"]()))
