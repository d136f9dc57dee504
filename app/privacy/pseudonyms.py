"""What signs receipts, and what makes pseudonyms that only this site can make."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Self

SEED_BYTES = 32
DIGEST_CHARS = 32
"""Hexadecimal digits of a pseudonym: 128 bits."""


class SecretError(ValueError):
    """A secret that cannot be used."""


@dataclass(frozen=True, slots=True)
class PrivacySecrets:
    """seed: of the Ed25519 key of receipts. digest: makes pseudonyms. ephemeral: the seed is gone with the process."""

    seed: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    ephemeral: bool

    @classmethod
    def from_settings(cls, receipt_key: str | None, digest_key: str | None) -> Self:
        """As the site set them; what it did not set is drawn, or comes from what it did.

        Raises:
            SecretError: the receipt key is not a seed.
        """
        seed = secrets.token_bytes(SEED_BYTES) if receipt_key is None else parse_seed(receipt_key)
        # Apart from the seed, so that a pseudonym tells nothing of the key that signs.
        own = (
            hmac.digest(seed, b"kowairo pseudonyms", "sha256") if digest_key is None else digest_key.encode()
        )
        return cls(seed, own, receipt_key is None)

    def pseudonym(self, tenant: str, kind: str, text: str) -> str:
        """What stands for something in logs and receipts: `call:5f1c…`. Only who has the key can make or check it."""
        message = "\0".join((tenant, kind, text)).encode()
        return f"{kind}:{hmac.new(self.digest, message, hashlib.sha256).hexdigest()[:DIGEST_CHARS]}"


def parse_seed(text: str) -> bytes:
    """An Ed25519 seed from base64.

    Raises:
        SecretError: not base64 of 32 bytes.
    """
    try:
        seed = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"expected {SEED_BYTES} bytes as base64") from None
    if len(seed) != SEED_BYTES:
        raise SecretError(f"expected {SEED_BYTES} bytes as base64, got {len(seed)}")
    return seed
