"""A stacked LSTM over tokens, as federated learning uses it on Shakespeare's characters."""

from collections.abc import Sequence

from torch import Tensor, nn

from raydl.models.tokens import check_tokens


class CharLSTM(nn.Module):
    """An embedding of 8 and two LSTM layers of 256 units: 819,920 parameters for 80 characters.

    H. B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas, "Communication-Efficient
    Learning of Deep Networks from Decentralized Data", AISTATS 2017; S. Caldas et al., "LEAF: A
    Benchmark for Federated Settings", 2018, where it predicts what follows the last token of a
    sample (``last``). By default it predicts what follows each of them: as many targets for the
    same pass.

    Args:
        shape: of one sample, (T,) tokens.
        classes: number of outputs at each position.
        vocabulary: number of different tokens; as many as classes by default.
        embedding: number of features of a token's vector.
        hidden: number of units of each layer.
        layers: number of LSTM layers.
        last: whether only what follows a whole sample is predicted.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        vocabulary: int | None = None,
        embedding: int = 8,
        hidden: int = 256,
        layers: int = 2,
        *,
        last: bool = False,
    ) -> None:
        super().__init__()
        check_tokens("CharLSTM", shape)
        self.last = last
        self.embedding = nn.Embedding(vocabulary or classes, embedding)
        self.lstm = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, classes] of tokens [B, T]; or [B, classes], of what follows the last."""
        states, _ = self.lstm(self.embedding(tokens))
        logits: Tensor = self.head(states[:, -1] if self.last else states)
        return logits
