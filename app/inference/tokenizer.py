"""Audio to tokens, while the caller speaks: one shared graph, one small state per stream."""

from __future__ import annotations

import numpy as np

from app.bundle.golden import tokenize_block
from app.bundle.manifest import TokenizerSpec
from app.domain import FloatArray, TokenArray
from app.inference.errors import graph_errors, require_finite
from app.ort import GraphSession


class TokenStream:
    """The tokens of one utterance of one leg, from audio in pieces of any size.

    The graph always runs on whole blocks counted from the stream's start, so the tokens depend on the audio
    alone and never on how it was cut. Not thread-safe: a stream belongs to one call.
    """

    def __init__(self, session: GraphSession, spec: TokenizerSpec) -> None:
        self._session = session
        self._spec = spec
        self._block: FloatArray = np.zeros(spec.block_samples, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets everything heard: the next sample is the first of an utterance."""
        self._block.fill(0.0)
        self._filled = 0
        self._state: FloatArray = np.zeros(self._spec.state_size, dtype=np.float32)
        self._pieces: list[TokenArray] = []

    @property
    def pushed_samples(self) -> int:
        """Samples heard since the last reset."""
        return len(self._pieces) * self._spec.block_samples + self._filled

    def push(self, samples: FloatArray) -> None:
        """Takes audio, float32 [n] in [-1, 1] at 8 kHz, and runs the graph on each block that fills.

        Raises:
            ValueError: for an array of another rank.
            InferenceError: for samples that are not finite (the state stays as it was), or a failed run.
        """
        if samples.ndim != 1:
            raise ValueError(f"expected samples [n], got shape {samples.shape}")
        require_finite(samples, "audio")
        start = 0
        while start < len(samples):
            count = min(len(samples) - start, self._spec.block_samples - self._filled)
            self._block[self._filled : self._filled + count] = samples[start : start + count]
            self._filled += count
            start += count
            if self._filled == self._spec.block_samples:
                tokens, self._state = self._run()
                self._pieces.append(tokens)
                self._filled = 0

    def tokens(self, n_samples: int | None = None) -> TokenArray:
        """Tokens of the first `n_samples` heard (all, when None): int64 [K, floor(n_samples / hop)].

        The block that is still filling is run padded with silence and its state thrown away, so asking
        changes nothing and may be done at any time.

        Raises:
            ValueError: where more is asked for than was pushed.
            InferenceError: for a failed run.
        """
        n = self.pushed_samples if n_samples is None else n_samples
        if not 0 <= n <= self.pushed_samples:
            raise ValueError(f"expected 0 to {self.pushed_samples} samples, got {n}")
        wanted = n // self._spec.hop_samples
        pieces = [np.zeros((self._spec.num_codebooks, 0), dtype=np.int64), *self._pieces]
        if wanted > sum(piece.shape[1] for piece in pieces):
            self._block[self._filled :] = 0.0
            pieces.append(self._run()[0])
        return np.concatenate(pieces, axis=1)[:, :wanted]

    def _run(self) -> tuple[TokenArray, FloatArray]:
        with graph_errors("tokenizer"):
            return tokenize_block(self._session, self._block, self._state)


class Tokenizer:
    """The bundle's tokenizer, shared by every call; thread-safe, as it holds no state."""

    def __init__(self, session: GraphSession, spec: TokenizerSpec) -> None:
        self._session = session
        self.spec = spec

    def stream(self) -> TokenStream:
        """A new stream, for one leg."""
        return TokenStream(self._session, self.spec)

    def tokenize(self, samples: FloatArray) -> TokenArray:
        """Tokens of a whole clip, int64 [K, floor(n / hop)]: a stream that is fed at once."""
        stream = self.stream()
        stream.push(samples)
        return stream.tokens()
