"""Tokens to an embedding, and where in time it came from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.bundle.manifest import EncoderSpec
from app.domain import FloatArray, TokenArray
from app.inference.errors import InferenceError, graph_errors, require_finite
from app.ort import GraphSession

Encoded = tuple[FloatArray, FloatArray]
"""(embedding [D], salience [T], which sums to 1)."""


class Encoder:
    """The bundle's encoder, shared by every call; thread-safe, as it holds no state.

    Fewer tokens than min_tokens are padded with id 0 and masked by their true length. More than max_tokens
    are cut into equal windows whose results are averaged, weighted by length.
    """

    def __init__(self, session: GraphSession, spec: EncoderSpec) -> None:
        self._session = session
        self.spec = spec

    def encode(self, tokens: TokenArray) -> Encoded:
        """One utterance, tokens int64 [K, T], T >= 1, alone in its batch and at its own length.

        Raises:
            InferenceError: where there is no token, the graph fails, or it gives a number that is not finite.
        """
        return join([self.run([window], window.shape[1])[0] for window in self.windows(tokens)])

    def windows(self, tokens: TokenArray) -> list[TokenArray]:
        """The pieces of an utterance that fit the graph, in order: ceil(T / max_tokens) nearly equal ones.

        Raises:
            InferenceError: where there is no token.
        """
        total = tokens.shape[1]
        if total == 0:
            raise InferenceError("encoder: expected at least 1 token, got 0")
        pieces = -(-total // self.spec.max_tokens)
        return [np.asarray(piece) for piece in np.array_split(tokens, pieces, axis=1)]

    def run(self, windows: Sequence[TokenArray], padded_tokens: int) -> list[Encoded]:
        """One run of the graph over windows [K, T_i], each padded to `padded_tokens` (or min_tokens).

        Raises:
            InferenceError: where the graph fails, or gives a number that is not finite.
        """
        width = max(padded_tokens, self.spec.min_tokens)
        batch = np.zeros((len(windows), windows[0].shape[0], width), dtype=np.int64)
        lengths = np.array([window.shape[1] for window in windows], dtype=np.int64)
        for row, window in zip(batch, windows, strict=True):
            row[:, : window.shape[1]] = window
        with graph_errors("encoder"):
            embedding, salience = self._session.run(
                {"tokens": batch, "length": lengths}, ("embedding", "salience")
            )
        results = [(embedding[i], salience[i, : lengths[i]]) for i in range(len(windows))]
        for vector, weights in results:
            require_finite(vector, "embedding")
            require_finite(weights, "salience")
        return results


def join(parts: Sequence[Encoded]) -> Encoded:
    """The windows of one utterance as one: means weighted by length. A single window is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.array([len(salience) for _, salience in parts], dtype=np.float64)
    shares = lengths / lengths.sum()
    embedding = shares @ np.stack([vector for vector, _ in parts]).astype(np.float64)
    salience = np.concatenate([share * weights for share, (_, weights) in zip(shares, parts, strict=True)])
    return embedding.astype(np.float32), salience.astype(np.float32)
