"""HTTP credentials of carriers that sign nothing: Basic (RFC 7617) and Bearer (RFC 6750)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

from app.wire.carrier import Authenticator, RefusedError, UpgradeRequest, same_secret

BEARER = "bearer"
"""The name in `secrets` that is a Bearer token and no user."""


class BasicAuthenticator(Authenticator):
    """Admits who shows a user with its password, or the Bearer token where one is allowed.

    secrets: user → password. bearer: the secret of the name `bearer` is a token instead.
    """

    def __init__(self, secrets: Mapping[str, str], *, bearer: bool = False) -> None:
        self._token = secrets.get(BEARER) if bearer else None
        self._users = {
            user: password for user, password in secrets.items() if not (bearer and user == BEARER)
        }

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Admit a request by its `Authorization` header.

        Raises:
            RefusedError: 401; no header, another scheme, or credentials that are not known.
        """
        header = request.headers.get("authorization")
        if not header:
            raise RefusedError(401, "unauthorized", "expected the header Authorization")
        scheme, _, given = header.partition(" ")
        given = given.strip()
        kind = scheme.lower()
        if kind == "basic" and self._users:
            admitted = self._knows_user(given)
        elif kind == "bearer" and self._token is not None:
            admitted = same_secret(given, self._token)
        else:
            raise RefusedError(401, "unauthorized", "expected another scheme in the header Authorization")
        if not admitted:
            raise RefusedError(401, "unauthorized", "the credentials are not known")

    def _knows_user(self, given: str) -> bool:
        try:
            pair = binascii.a2b_base64(given.encode("ascii"), strict_mode=True).decode()
        except ValueError:  # binascii.Error and UnicodeError are of it
            return False
        user, colon, password = pair.partition(":")
        known = False
        for name, secret in self._users.items():  # every one, so that time does not tell which users exist
            known |= same_secret(user, name) & same_secret(password, secret)
        return known and bool(colon)
