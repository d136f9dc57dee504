"""Who somebody is: plain site keys, keys of the file, keys of the store, tokens."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from app.access.credentials import Credential, HeaderLike, presented
from app.access.keyfile import KeysFile
from app.access.keys import KeyRecord, digest_of, key_id_of
from app.access.principal import SITE, Principal
from app.access.refusal import Reason, Refusal
from app.access.stored import KeysAwayError, StoredKeys
from app.access.tokens import TokenVerifier
from app.telemetry.clock import Clock

_NOBODY = digest_of("")
"""What is compared where a key id is not known, so that time does not tell which ids are."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Somebody was let in. until: epoch seconds after which the credentials no longer hold, None for never.

    renewable: whether asking again may bring another answer (a key that is revoked).
    """

    principal: Principal
    until: float | None = None
    renewable: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Where credentials are known from. needed: False where everybody is let in who presents none."""

    site_keys: Sequence[str] = ()
    file: KeysFile | None = None
    stored: StoredKeys | None = None
    tokens: TokenVerifier | None = None
    needed: bool = True


class Authenticator:
    """Tells who presents credentials. Keys of the store and tokens cost no round trip once they are at hand."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._site = [digest_of(key) for key in sources.site_keys]
        self._file = sources.file
        self._stored = sources.stored
        self._tokens = sources.tokens
        self._needed = sources.needed
        self._clock = clock

    async def authenticate(self, headers: HeaderLike, *, ask: bool = True) -> Admission | Refusal:
        """Who sends these headers.

        Args:
            headers: of the request or the upgrade.
            ask: False asks neither the store for a key that was never found there, nor an issuer for its keys.
        """
        credential = presented(headers)
        if isinstance(credential, Refusal):
            return credential
        if credential is None:
            return Refusal(Reason.NO_CREDENTIALS) if self._needed else Admission(SITE)
        if self._is_site_key(credential.secret):
            return Admission(SITE)
        key_id = key_id_of(credential.secret)
        if key_id is not None:
            return await self._of_key(key_id, credential.secret, ask)
        if not self._needed:
            # A client that is set up for another service; there is nothing here to protect from it.
            return Admission(SITE)
        return await self._of_token(credential, ask)

    async def still(self, admission: Admission) -> Admission | Refusal:
        """Whether who was let in still is: for sockets and streams, which outlast their credentials."""
        now = self._clock.now()
        if admission.until is not None and now >= admission.until:
            return Refusal(Reason.EXPIRED_KEY if admission.renewable else Reason.EXPIRED_TOKEN)
        if not admission.renewable:
            return admission
        try:
            record = await self._record(admission.principal.key_id, ask=True)
        except KeysAwayError:
            return admission
        if record is None:
            return Refusal(Reason.REVOKED_KEY)
        standing = record.standing(now)
        if isinstance(standing, Refusal):
            return standing
        return Admission(standing, record.expires_at, renewable=True)

    def forget(self, key_id: str) -> None:
        """A key of the store was changed here: what is remembered of it no longer counts."""
        if self._stored is not None:
            self._stored.forget(key_id)

    async def close(self) -> None:
        """Stops what goes on in the background."""
        if self._stored is not None:
            await self._stored.close()
        if self._tokens is not None:
            await self._tokens.close()

    def _is_site_key(self, secret: str) -> bool:
        """Every key is compared, and in constant time, so that timing tells nothing of them."""
        digest = digest_of(secret)
        return sum(hmac.compare_digest(digest, known) for known in self._site) > 0

    async def _of_key(self, key_id: str, key: str, ask: bool) -> Admission | Refusal:
        try:
            record = await self._record(key_id, ask)
        except KeysAwayError:
            return Refusal(Reason.UNVERIFIABLE, 1.0)
        if record is None:
            hmac.compare_digest(digest_of(key), _NOBODY)
            return Refusal(Reason.UNKNOWN_KEY)
        standing = record.verify(key, self._clock.now())
        if isinstance(standing, Refusal):
            return standing
        return Admission(standing, record.expires_at, renewable=True)

    async def _record(self, key_id: str, ask: bool) -> KeyRecord | None:
        record = None if self._file is None else self._file.find(key_id)
        if record is not None or self._stored is None:
            return record
        return await (self._stored.find(key_id) if ask else self._stored.recall(key_id))

    async def _of_token(self, credential: Credential, ask: bool) -> Admission | Refusal:
        if credential.secret.count(".") != 2:
            return Refusal(Reason.UNKNOWN_KEY)
        if self._tokens is None or not credential.bearer:
            return Refusal(Reason.BAD_TOKEN)
        verified = await self._tokens.verify(credential.secret, fetch=ask)
        if isinstance(verified, Refusal):
            return verified
        return Admission(verified.principal, verified.until)
