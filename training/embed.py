"""Embeddings of many clips from tokens, with the torch student."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from models.student import AudioEncoder
from training.data.batches import pad_rows

Floats = npt.NDArray[np.float32]


@torch.no_grad()
def embed_tokens(
    encoder: AudioEncoder, rows: Sequence[npt.NDArray[np.int64]], label: str, batch: int = 64
) -> Floats:
    """Token rows [K, T_i] → embeddings float32 [N, E], in order. Batches hold rows of like length."""
    encoder.eval()
    out = np.zeros((len(rows), encoder.config.embedding_dim), np.float32)
    order = sorted(range(len(rows)), key=lambda i: rows[i].shape[1])
    for at in tqdm(range(0, len(order), batch), desc=label, unit="batch", mininterval=2):
        chosen = order[at : at + batch]
        tokens = torch.from_numpy(pad_rows([rows[i] for i in chosen], 1))
        length = torch.tensor([rows[i].shape[1] for i in chosen])
        embedding, _ = encoder(tokens, length)
        out[chosen] = embedding.numpy()
    return out
