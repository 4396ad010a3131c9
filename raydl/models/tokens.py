"""What models of tokens ask of a sample."""

from collections.abc import Sequence

from raydl.core.errors import SpecError


def check_tokens(model: str, shape: Sequence[int]) -> None:
    """Raises a SpecError unless a sample is a sequence, (T,)."""
    if len(shape) != 1:
        raise SpecError(
            f"{model} takes tokens (T,), but a sample has the shape {tuple(shape)}; "
            "Softmax and MLP take any"
        )
