"""What all groups of settings share."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

ENV_PREFIX = "KOWAIRO_"
MIN_API_KEY_CHARS = 16
_SECRET = re.compile(r"[A-Za-z0-9._~-]{16,256}")

TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]{1,64}$")]
AgentPurpose = Literal["none", "safety", "medical"]


class SettingsError(Exception):
    """The environment cannot be used; the message names each variable, what was expected and what came."""


class Group(BaseModel):
    """A group of settings: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def long_enough(secret: SecretStr | None) -> SecretStr | None:
    """A secret that may stand in an address or a message, as it is; None stays None.

    Raises:
        ValueError: it is too short, too long, or has other characters.
    """
    if secret is not None and not _SECRET.fullmatch(secret.get_secret_value()):
        raise ValueError(f"must be {MIN_API_KEY_CHARS} to 256 of A-Z a-z 0-9 . _ ~ -")
    return secret
