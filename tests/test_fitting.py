"""What cannot be trained to the right numbers is told before any work, with what to do."""

import random
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from torch import nn

import raydl
from raydl import Model, Run, SpecError
from raydl.algorithms import DataParallel, FedAvg
from raydl.data import Tensors
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.spec import Batched, Sequential
from tests.zoo import Between, CheckpointedReentrant, Embedded, Layers, ParameterHook, Unused

DRAWS = torch.Generator().manual_seed(0)
Y = torch.arange(60) % 4
X = torch.randn(60, 8, generator=DRAWS) + Y[:, None]
TOKENS = torch.arange(60 * 6).view(60, 6) % 11


@pytest.fixture
def spec(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", never)
    return Run(
        FedAvg(epochs=1, batch_size=4),
        Tensors(X, Y, validation=0.1, test=0.1),
        model=Model(Layers),
        clients=6,
        rounds=2,
        runtime=Sequential(),
        storage=str(tmp_path),
    )


class Counting(Layers):
    passes = 0

    def middle(self, h):
        self.passes += 1
        return super().middle(h)


class Remembering(Layers):
    def __init__(self, classes):
        super().__init__(classes)
        self.b.seen = {"means": []}

    def middle(self, h):
        self.b.seen["means"].append(float(h.detach().mean()))
        return super().middle(h)


class OwnDraws(Layers):
    def __init__(self, classes):
        super().__init__(classes)
        self.draws = np.random.default_rng(0)

    def middle(self, h):
        return super().middle(h) * float(self.draws.random())


class Secretive(Layers):
    number = count()

    def middle(self, h):
        return super().middle(h) * (1 + next(self.number))


class FrozenMoving(Layers):
    def __init__(self, classes):
        super().__init__(classes)
        self.a.requires_grad_(False)

    def middle(self, h):
        self.a.bias.data.add_(0.1)
        return super().middle(h)


class Growing(Layers):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("seen", torch.zeros(0))

    def middle(self, h):
        self.seen = torch.cat([self.seen, h.detach().mean(1)])
        return super().middle(h)


class Giving(Layers):
    kind = tuple

    def forward(self, x):
        z = super().forward(x)
        return {"tuple": (z, x), "dict": {"logits": z}, "complex": z * 1j, "long": z[:, None]}[
            self.kind
        ]


def giving(kind):
    return type("Giving", (Giving,), {"kind": kind})


MODELS = {
    "counting": (Counting, "attribute passes changes from one training pass to the next.*buffer"),
    "remembering": (Remembering, "attribute b.seen changes from one"),
    "own draws": (OwnDraws, "attribute draws changes from one"),
    "secretive": (Secretive, "two training passes of Secretive over the same samples.* differ"),
    "frozen, moving": (FrozenMoving, "parameter a.bias is frozen .*but a training pass writes"),
    "growing": (Growing, r"buffer seen was of shape \(0,\), and is of shape \(2,\) after"),
    "tuple": (giving("tuple"), "gives a tuple; it must give one real tensor"),
    "dictionary": (giving("dict"), "gives a dict; it must give one"),
    "complex": (giving("complex"), r"gives torch.complex64; it must give one real"),
    "too long": (giving("long"), r"outputs of shape \(2, 1, 4\) .* must be \(2, 4\)"),
    "no parameters": (lambda classes: nn.Flatten(), r"of shape \(2, 8\) for 2 samples"),
    "all frozen": (
        lambda classes: Layers(classes).requires_grad_(False),
        "no parameter that requires a gradient",
    ),
    "of tokens": (Embedded, "cannot take the samples of Tensors, of shape .*float32.*in e, a Emb"),
}


@pytest.mark.parametrize(("model", "told"), MODELS.values(), ids=MODELS)
def test_a_model_that_would_go_wrong(spec, model, told):
    with pytest.raises(SpecError, match=told):
        raydl.run(replace(spec, model=Model(model)))


class FloatAlone(Layers):
    def middle(self, h):
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("there is no such kernel")
        return super().middle(h)


def test_a_precision_that_the_model_does_not_have_here(spec):
    told = r"no such kernel\. In float32 they can: leave --precision bf16 out"
    with pytest.raises(SpecError, match=told):
        raydl.run(replace(spec, model=Model(FloatAlone), precision="bf16"))


def test_token_ids_beyond_the_vocabulary_wherever_they_are(spec):
    tokens = TOKENS.clone()
    tokens[50, 3] = 11
    data = Tensors(tokens, Y)
    with pytest.raises(SpecError, match=r"in e, a Embedding.*integers from 0 to 11, which are tok"):
        raydl.run(replace(spec, data=data, model=Model(Embedded)))


@pytest.mark.parametrize(
    ("model", "inputs", "told"),
    [
        (CheckpointedReentrant, X, "gradient of the model's b.bias comes from inside of another"),
        (Embedded, TOKENS, "writes to its parameter e.weight in forward.*would drift apart"),
    ],
)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning")
def test_what_processes_cannot_share(spec, model, inputs, told):
    options = {"max_norm": 0.5} if model is Embedded else {}
    shared = replace(
        spec,
        algorithm=DataParallel(batch_size=4, steps=2),
        data=Tensors(inputs, Y),
        clients=None,
        model=Model(model, options),
    )
    with pytest.raises(SpecError, match=rf"{told}.*--runtime sequential"):
        raydl.run(replace(shared, runtime=AllReduce(2)))
    assert raydl.run(replace(shared, runtime=Sequential())).summary["rounds"] == 2


def test_what_vmap_cannot_do_is_told_before_ray_starts(spec):
    for runtime in (Batched(), Actors(1, batched=True)):
        with pytest.raises(SpecError, match=r"gives other grads of b.weight"):
            raydl.run(replace(spec, model=Model(ParameterHook), runtime=runtime))


def normalized(classes):
    return Between(lambda: nn.BatchNorm1d(6), classes)


def test_batchnorm_and_a_last_minibatch_of_one(spec):
    """48 training samples, 8 for each of 6 clients: in sevens one is left."""
    spec = replace(spec, model=Model(normalized))
    sevens = FedAvg(epochs=1, batch_size=7)
    told = (
        r"client 0 and 5 others have one: of 8 samples in .* of 7; choose to leave it out \(--alg"
    )
    with pytest.raises(SpecError, match=told):
        raydl.run(replace(spec, algorithm=sevens))
    with pytest.raises(SpecError, match=r"in pieces of 7; choose another --microbatch, anoth"):
        raydl.run(replace(spec, algorithm=FedAvg(epochs=1, batch_size=8), microbatch=7))
    history = raydl.run(replace(spec, algorithm=replace(sevens, drop_last=True)))
    assert history.summary["local_steps"] == 2 * 1  # of one client
    assert history.summary["samples"] == 2 * 7


def test_a_run_of_python_and_numpy_draws_repeats(spec):
    class Depth(Layers):
        """Stochastic depth by Python's and numpy's global generators."""

        def middle(self, h):
            if self.training and random.random() < 0.5:
                return h * float(np.random.rand())
            return super().middle(h)

    state = random.getstate(), np.random.get_state()[1].tolist()
    spec = replace(spec, model=Model(Depth), algorithm=FedAvg(batch_size=4))
    once, again = (raydl.run(spec).summary["fingerprint"] for _ in range(2))
    other = raydl.run(replace(spec, seed=1)).summary["fingerprint"]
    assert once == again != other
    assert state == (random.getstate(), np.random.get_state()[1].tolist())


def test_lazy_layers_are_made_from_the_seed(spec):
    def lazy(classes):
        return nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.LazyLinear(classes))

    def eager(classes):
        return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, classes))

    one, other = (raydl.run(replace(spec, model=Model(each))) for each in (lazy, eager))
    assert one.summary["fingerprint"] == other.summary["fingerprint"]


def test_unused_parameters_stay_and_are_in_the_model(spec):
    history = raydl.run(replace(spec, model=Model(Unused)))
    torch.manual_seed(0)
    first = Unused()
    assert torch.equal(history.params["u.weight"], first.u.weight)
    assert not torch.equal(history.params["b.weight"], first.b.weight)
    first.load_state_dict(history.params, strict=True)
