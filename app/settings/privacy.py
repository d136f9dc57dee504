"""Erasure, retention and the audit log."""

from __future__ import annotations

from base64 import b64decode

from pydantic import Field, SecretStr, field_validator

from app.settings.base import Group, long_enough

_SEED_BYTES = 32


class PrivacySettings(Group):
    """Erasure, retention and the audit log.

    receipt_key: seed of the Ed25519 key that signs receipts of erasures, base64 of 32 bytes; None: one that lasts as
    long as the process. digest_key: makes the pseudonyms in receipts and audit logs; None: comes from the receipt key.
    max_retention_s: the longest that a tenant may keep its calls; None: KOWAIRO_STORE__TTL_S.
    audit_ttl_days: how long audit logs and receipts are kept. audit_buffer: entries that may wait in memory.
    sweep_s: between two looks for calls that are older than their tenant allows.
    """

    receipt_key: SecretStr | None = None
    digest_key: SecretStr | None = None
    max_retention_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    audit_ttl_days: float = Field(default=400.0, gt=0, le=36_500, allow_inf_nan=False)
    audit_buffer: int = Field(default=10_000, ge=1)
    audit_flush_s: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    sweep_s: float = Field(default=600.0, gt=0, le=86_400, allow_inf_nan=False)

    @field_validator("receipt_key")
    @classmethod
    def _seed(cls, secret: SecretStr | None) -> SecretStr | None:
        try:
            sound = secret is None or len(b64decode(secret.get_secret_value(), validate=True)) == _SEED_BYTES
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(
                f"must be {_SEED_BYTES} random bytes as base64 (openssl rand -base64 {_SEED_BYTES})"
            )
        return secret

    @field_validator("digest_key")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        return long_enough(secret)
