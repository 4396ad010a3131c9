"""Letters as tokens: the alphabet that published work on Shakespeare's text has in common."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError

LETTERS = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
SIZE = len(LETTERS)  # 80
_STRAY = 1e-3  # of a text's letters that may be others: misprints, not another alphabet
_NONE = 255
_TOKENS = np.full(128, _NONE, np.uint8)  # by code; 127 is no letter, and stands for those beyond
_TOKENS[np.frombuffer(LETTERS.encode(), np.uint8)] = np.arange(SIZE)


def encode(text: str, whose: str) -> npt.NDArray[np.uint8]:
    """A text's letters as tokens, uint8 [letters]: 0 is the first of `LETTERS`.

    A letter that is not among them, of which a thousandth may be others, becomes a space.

    Args:
        text: any length.
        whose: what an error calls it.

    Raises:
        SpecError: if more of them are others.

    Example:
        >>> encode("Abc", "the text").tolist()
        [25, 54, 55]
    """
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
    tokens = _TOKENS[np.minimum(codes, len(_TOKENS) - 1)]
    others = tokens == _NONE
    if others.sum() > _STRAY * len(tokens):
        odd = Counter(each for each in text if each not in LETTERS)
        named = ", ".join(f"{each!r} ({many:,})" for each, many in odd.most_common(5))
        raise SpecError(
            f"{whose} has {others.sum():,} of its {len(tokens):,} letters outside the alphabet of "
            f"{SIZE}: {named}{' and others' if len(odd) > 5 else ''}; give English text, or "
            f"replace them by letters of {LETTERS!r}"
        )
    tokens[others] = LETTERS.index(" ")
    return tokens
