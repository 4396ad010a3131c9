"""A decoder-only transformer over tokens."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import sqrt
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from raydl.core.environment.compat import are_transforms_active
from raydl.core.errors import require
from raydl.models.tokens import check_tokens

Positions: TypeAlias = Literal["learned", "rotary"]


class Decoder(nn.Module):
    """A decoder-only transformer: causal attention and dense layers, normalized first.

    The architecture and the first parameters of A. Radford et al., "Language Models are
    Unsupervised Multitask Learners" (GPT-2), 2019: with a vocabulary of 50,257, 1,024 tokens, a
    width of 768, 12 blocks of 12 heads and tied weights it has its 124,439,808 parameters. Rotary
    positions are those of J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
    Embedding", 2021, and need no parameters.

    Args:
        shape: of one sample, (T,) tokens; shorter ones can be given later, with rotary positions
            longer ones, too.
        classes: number of outputs at each position.
        vocabulary: number of different tokens; as many as classes by default.
        width: number of features of a token's vector.
        depth: number of blocks.
        heads: number of heads of attention in each block; must divide the width, and with rotary
            positions leave an even number of features for each.
        positions: ways to tell the order of tokens: a learned vector for each position, or rotary,
            a rotation of queries and keys.
        tied: whether the output layer shares the weights of the embedding.
        dropout: fraction of what the embedding, and each half of a block, gives that is dropped.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        vocabulary: int | None = None,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        positions: Positions = "learned",
        *,
        tied: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        vocabulary = vocabulary or classes
        check_tokens("Decoder", shape)
        require(depth >= 1, "model.depth", depth, "1 or larger")
        fits = heads >= 1 and width % heads == 0
        require(fits, "model.heads", heads, f"a divisor of the width, {width}")
        even = positions == "learned" or width // heads % 2 == 0
        require(
            even, "model.heads", heads, f"such that {width} / heads is even: rotary turns pairs"
        )
        same = not tied or vocabulary == classes
        require(same, "model.tied", tied, f"false: {vocabulary} tokens are not {classes} classes")
        self.embedding = nn.Embedding(vocabulary, width)
        learned = positions == "learned"
        self.positions = nn.Embedding(shape[0], width) if learned else None
        self.dropout = nn.Dropout(dropout)
        blocks = (Block(width, heads, dropout, rotary=not learned) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        self._initialize(depth)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, classes] of tokens [B, T]."""
        vectors = self.embedding(tokens)
        if self.positions is not None:
            vectors = vectors + self.positions.weight[: tokens.shape[-1]]
        logits: Tensor = self.head(self.norm(self.blocks(self.dropout(vectors))))
        return logits

    def _initialize(self, depth: int) -> None:
        """Normal weights of deviation 0.02, less for those that add to what goes by the blocks."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                summed = name.endswith(("out.weight", "narrow.weight"))
                nn.init.normal_(parameter, std=0.02 / sqrt(2 * depth) if summed else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


class Block(nn.Module):
    """Attention and a dense part of four times the width, each added to what it was given."""

    def __init__(self, width: int, heads: int, dropout: float, *, rotary: bool) -> None:
        super().__init__()
        self.attention_norm, self.dense_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads, rotary=rotary)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors [B, T, width] from as many."""
        vectors = vectors + self.dropout(self.attention(self.attention_norm(vectors)))
        wide = nn.functional.gelu(self.wide(self.dense_norm(vectors)), approximate="tanh")
        added: Tensor = vectors + self.dropout(self.narrow(wide))
        return added


class CausalAttention(nn.Module):
    """Attention of several heads, of each token to itself and to those before it."""

    def __init__(self, width: int, heads: int, *, rotary: bool) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors [B, T, width] from as many."""
        three = self.queries_keys_values(vectors).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = three.movedim(-4, -2).unbind(-4)  # [B, heads, T, width / heads]
        if self.rotary:
            queries, keys = rotate(queries), rotate(keys)
        with _kernel(values.device):
            heads = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        attended: Tensor = self.out(heads.movedim(-3, -2).flatten(-2))
        return attended


def rotate(vectors: Tensor) -> Tensor:
    """Vectors [..., T, d], each pair of features turned by an angle that grows with the position.

    Pair i of position t is turned by t · 10,000^(-2i/d), so that the product of two vectors depends
    on how far apart they are alone. The pairs are features i and d/2 + i.
    """
    length, features = vectors.shape[-2:]
    device = vectors.device
    speeds = 10_000 ** (-torch.arange(0, features, 2, device=device) / features)
    angles = torch.arange(length, device=device)[:, None] * speeds
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def _kernel(device: torch.device) -> AbstractContextManager[object]:
    """Has attention be products of matrices where torch's own on a CPU has no rule for vmap."""
    written_out = device.type == "cpu" and are_transforms_active()
    return sdpa_kernel(SDPBackend.MATH) if written_out else nullcontext()
