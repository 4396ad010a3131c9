"""Numbers of 4 bits, a sign and three bits of exponent: two of them in a byte.

x ≈ ± s 2^(c − 7) of a code c from 1 to 7, or 0 of the code 0, whichever is nearest; s is the
largest magnitude of the tensor. So a tensor of n numbers takes n / 2 bytes, and 4 for s.
"""

from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.tree import Params, Tree

Coded: TypeAlias = Tree  # {"codes": uint8 [⌈n / 2⌉] of each tensor, "scales": float32 [] of each}

_LARGEST = 7  # code of s itself
_BETWEEN = [2.0**-_LARGEST, *(0.75 * 2.0 ** (code - _LARGEST) for code in range(2, _LARGEST + 1))]


def encode(values: Params) -> Coded:
    """The values in codes; what is not finite makes the scale so. Safe under vmap."""
    flat = tree.map(lambda leaf: leaf.float().flatten(), values)
    scales = tree.map(lambda leaf: leaf.abs().amax() if leaf.numel() else leaf.new_zeros(()), flat)
    return {"codes": tree.map(_pack, flat, scales), "scales": scales}


def decode(coded: Coded) -> Params:
    """The values flat and padded to an even number, float32 [..., 2 ⌈n / 2⌉].

    Args:
        coded: codes [..., ⌈n / 2⌉] and scales [...], with any dimensions in front.
    """
    values: Params = tree.map(_unpack, coded["codes"], coded["scales"])
    return values


def _pack(flat: Tensor, scale: Tensor) -> Tensor:
    sizes = flat.abs() / torch.where(scale > 0, scale, 1.0)
    codes = torch.stack([sizes > least for least in _BETWEEN]).sum(0)
    codes = (codes + 8 * (flat < 0)).to(torch.uint8)
    pairs = torch.nn.functional.pad(codes, (0, codes.shape[0] % 2)).unflatten(0, (-1, 2))
    packed: Tensor = pairs[:, 0] + 16 * pairs[:, 1]
    return packed


def _unpack(packed: Tensor, scale: Tensor) -> Tensor:
    codes = torch.stack([packed % 16, packed // 16], dim=-1).flatten(-2).int()
    exponents = (codes % 8 - _LARGEST).float()
    sizes = torch.where(codes % 8 > 0, torch.exp2(exponents), 0.0)
    signs = 1.0 - 2.0 * (codes >= 8)
    values: Tensor = signs * sizes * scale.unsqueeze(-1)
    return values
