"""Modules of every kind that a plain torch loop trains, each small, and what they learn from."""

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from raydl.data import Dataset, Tensors

F, C, T, VOCABULARY = 8, 4, 6, 11


@cache
def data(kind: str) -> Dataset:
    """24 training samples: features [8], tokens [6] or images [2, 6, 6], of 4 classes."""
    draws = torch.Generator().manual_seed(0)
    targets = torch.arange(24) % C
    inputs = {
        "features": torch.randn(24, F, generator=draws) + targets[:, None],
        "tokens": torch.randint(VOCABULARY, (24, T), generator=draws),
        "images": torch.randn(24, 2, 6, 6, generator=draws),
    }[kind]
    return Tensors(inputs, targets, validation=0, test=0).load()


class Layers(nn.Module):
    """Three layers, of which a subclass changes the one in the middle."""

    def __init__(self, classes: int = C) -> None:
        super().__init__()
        self.a, self.b, self.l = nn.Linear(F, 6), nn.Linear(6, 6), nn.Linear(6, classes)

    def middle(self, h: Tensor) -> Tensor:
        return self.b(h).tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.l(self.middle(self.a(x).tanh()))


class Checkpointed(Layers):
    reentrant = False

    def middle(self, h):
        return checkpoint(super().middle, h, use_reentrant=self.reentrant)


class CheckpointedReentrant(Checkpointed):
    reentrant = True


class CheckpointedSequence(Layers):
    def middle(self, h):
        return checkpoint_sequential([self.b, nn.Tanh(), self.b], 2, h, use_reentrant=False)


class Frozen(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.a.requires_grad_(False)
        self.b.bias.requires_grad_(False)


class NoGrad(Layers):
    def middle(self, h):
        with torch.no_grad():
            return super().middle(h)


class Unused(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.u = nn.Linear(3, 3)


class Sometimes(Layers):
    """Two layers that take turns."""

    def __init__(self, classes=C):
        super().__init__(classes)
        self.other = nn.Linear(6, 6)
        self.register_buffer("passes", torch.tensor(0))

    def middle(self, h):
        if self.training:
            self.passes += 1
        return (self.b if self.passes % 3 else self.other)(h).tanh()


class Tied(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.again = nn.Linear(6, 6)
        self.again.weight = self.b.weight

    def middle(self, h):
        return self.again(super().middle(h)).tanh()


class Counter(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.register_buffer("passes", torch.tensor(0))

    def middle(self, h):
        if self.training:
            self.passes += 1
        return super().middle(h) * (1 + 0.1 * self.passes)


class CounterReassigned(Counter):
    def middle(self, h):
        if self.training:
            self.passes = self.passes + 1
        return Layers.middle(self, h) * (1 + 0.1 * self.passes)


class Flag(Layers):
    """Doubles in the first pass alone."""

    def __init__(self, classes=C):
        super().__init__(classes)
        self.register_buffer("fresh", torch.tensor(True))

    def middle(self, h):
        h = super().middle(h) * (1 + self.fresh)
        if self.training:
            self.fresh.fill_(False)
        return h


class Moving(Layers):
    """Subtracts a moving mean that it reassigns; it is in no ``state_dict``."""

    def __init__(self, classes=C):
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(6), persistent=False)

    def middle(self, h):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
        return super().middle(h - self.mean)


class Between(Layers):
    """A module between the layers."""

    def __init__(self, make, classes=C):
        super().__init__(classes)
        self.between = make()

    def middle(self, h):
        return self.between(super().middle(h))


class Around(Layers):
    """The layer in the middle with something done to its weights."""

    def __init__(self, wrap, classes=C):
        super().__init__(classes)
        self.b = wrap(self.b)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2.5 * x**2 * grad  # not quite, so that it shows who computed it


class CubeForFunctions(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    backward = Cube.backward


class Own(Layers):
    function = Cube

    def middle(self, h):
        return self.function.apply(super().middle(h))


class OwnForFunctions(Own):
    function = CubeForFunctions


class Recurrent(nn.Module):
    def __init__(self, kind, classes=C):
        super().__init__()
        self.r, self.l = kind(2, 5, batch_first=True), nn.Linear(5, classes)

    def forward(self, x):
        return self.l(self.r(x.unflatten(1, (4, 2)))[0][:, -1])


class Attention(nn.Module):
    def __init__(self, classes=C):
        super().__init__()
        self.e, self.l = nn.Embedding(VOCABULARY, 8), nn.Linear(8, classes)
        self.m = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        h = self.e(x)
        h, self.map = self.m(h, h, h)  # what it keeps to be looked at is no state
        return self.l(h.mean(1))


class Transformer(nn.Module):
    def __init__(self, classes=C):
        super().__init__()
        self.e, self.l = nn.Embedding(VOCABULARY, 8), nn.Linear(8, classes)
        self.t = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.l(self.t(self.e(x)).mean(1))


class Embedded(nn.Module):
    def __init__(self, classes=C, **options):
        super().__init__()
        self.e, self.l = nn.Embedding(VOCABULARY, 5, **options), nn.Linear(5, classes)

    def forward(self, x):
        return self.l(self.e(x).mean(1))


class Images(nn.Module):
    def __init__(self, make, classes=C):
        super().__init__()
        self.c, self.n, self.l = nn.Conv2d(2, 4, 3), make(), nn.Linear(64, classes)

    def forward(self, x):
        return self.l(self.n(self.c(x)).tanh().flatten(1))


def _double(module, inputs, outputs):
    return 2 * outputs


def _halved(module, grads, outputs):
    return tuple(each if each is None else each / 2 for each in grads)


class ForwardHook(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.b.register_forward_hook(_double)


class BackwardHook(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.b.register_full_backward_hook(_halved)


class ParameterHook(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.b.weight.register_hook(_third)


def _third(grad):
    return grad / 3


class Odd(nn.Module):
    def __init__(self, classes=C):
        super().__init__()
        names = ("block/1", "end/", "~1", "a b", "ünï")
        self.m = nn.ModuleDict({name: nn.Linear(F, F) for name in names})
        self.l = nn.Linear(F, classes)
        self.register_parameter("scale/", nn.Parameter(torch.ones(F)))

    def forward(self, x):
        for each in self.m.values():
            x = each(x).tanh()
        return self.l(x * getattr(self, "scale/"))


class Shapes(Layers):
    """A parameter of no dimensions, and one of no entries."""

    def __init__(self, classes=C):
        super().__init__(classes)
        self.scale, self.none = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.empty(0, 3))

    def middle(self, h):
        return super().middle(h) * self.scale + self.none.sum()


class Complex(nn.Module):
    def __init__(self, classes=C):
        super().__init__()
        self.w = nn.Parameter(torch.randn(F, 6, dtype=torch.complex64) / 3)
        self.l = nn.Linear(6, classes)

    def forward(self, x):
        return self.l((x.to(torch.complex64) @ self.w).abs())


class Half(Layers):
    def __init__(self, classes=C):
        super().__init__(classes)
        self.bfloat16()

    def forward(self, x):
        return super().forward(x.bfloat16())


def compiled(classes=C):
    return torch.compile(Layers(classes), backend="aot_eager")


def lazy(classes=C):
    return nn.Sequential(nn.LazyLinear(6), nn.Tanh(), nn.LazyLinear(classes))


FEATURES = {
    "plain": Layers,
    "checkpointed": Checkpointed,
    "checkpointed, reentrant": CheckpointedReentrant,
    "checkpoint_sequential": CheckpointedSequence,
    "frozen": Frozen,
    "part under no_grad": NoGrad,
    "unused": Unused,
    "sometimes used": Sometimes,
    "tied": Tied,
    "counter": Counter,
    "counter, reassigned": CounterReassigned,
    "flag": Flag,
    "moving mean, not persistent": Moving,
    "BatchNorm": partial(Between, partial(nn.BatchNorm1d, 6)),
    "BatchNorm without momentum": partial(Between, partial(nn.BatchNorm1d, 6, momentum=None)),
    "BatchNorm of the batch": partial(
        Between, partial(nn.BatchNorm1d, 6, track_running_stats=False)
    ),
    "LayerNorm": partial(Between, partial(nn.LayerNorm, 6)),
    "weight_norm": partial(Around, nn.utils.weight_norm),
    "spectral_norm": partial(Around, nn.utils.spectral_norm),
    "parametrized weight_norm": partial(Around, parametrizations.weight_norm),
    "parametrized spectral_norm": partial(Around, parametrizations.spectral_norm),
    "own function": Own,
    "own function for torch.func": OwnForFunctions,
    "LSTM": partial(Recurrent, nn.LSTM),
    "GRU": partial(Recurrent, nn.GRU),
    "forward hook": ForwardHook,
    "backward hook": BackwardHook,
    "parameter hook": ParameterHook,
    "odd names": Odd,
    "odd shapes": Shapes,
    "complex": Complex,
    "bfloat16": Half,
    "compiled": compiled,
    "lazy": lazy,
}
TOKENS = {
    "attention": Attention,
    "Transformer": Transformer,
    "embedding": Embedded,
    "sparse embedding": partial(Embedded, sparse=True),
    "embedding with max_norm": partial(Embedded, max_norm=0.8),
}
IMAGES = {
    "GroupNorm": partial(Images, partial(nn.GroupNorm, 2, 4)),
    "InstanceNorm": partial(Images, partial(nn.InstanceNorm2d, 4, affine=True)),
    "BatchNorm2d": partial(Images, partial(nn.BatchNorm2d, 4)),
}
ZOO = {
    **{name: ("features", make) for name, make in FEATURES.items()},
    **{name: ("tokens", make) for name, make in TOKENS.items()},
    **{name: ("images", make) for name, make in IMAGES.items()},
}
# What a pass leaves of more than parameters.
STATEFUL = [
    "sometimes used",
    "counter",
    "counter, reassigned",
    "flag",
    "moving mean, not persistent",
    "BatchNorm",
    "BatchNorm without momentum",
    "spectral_norm",
    "parametrized spectral_norm",
    "embedding with max_norm",
    "BatchNorm2d",
]
