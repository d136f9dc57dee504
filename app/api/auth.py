"""Who may come in: credentials, origins and limits of requests and sockets, and how a refusal is told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from app.access.authenticator import Admission, Authenticator, Sources
from app.access.credentials import secret_in_query
from app.access.jwks import Jwks, JwksFile, JwksTiming, JwksUrl
from app.access.keyfile import KeysFile, KeysFileError
from app.access.keys import SITE_TENANT
from app.access.peers import Network, client_address
from app.access.principal import SITE, Principal, Scope
from app.access.refusal import Reason, Refusal
from app.access.stored import StoredKeys
from app.access.tokens import TokenRules, TokenVerifier
from app.api.errors import ProblemError
from app.api.keydesk import KeyDesk
from app.api.limits import Limits, TenantLimitError, say_rate, whole_seconds
from app.results.documents import DocumentStore
from app.settings import AuthSettings, Settings, SettingsError
from app.telemetry.clock import Clock
from app.telemetry.metrics import Metrics
from app.wire.base import CloseCode, WireError

RECHECK_S = 2.0
"""How often it is asked whether who has a socket or stream open may still have it."""

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
Told: TypeAlias = tuple[int, str, str, CloseCode]
"""How a reason is told: HTTP status, code, title, close code."""

_UNAUTHORIZED: Told = (401, "unauthorized", "Valid credentials are needed", CloseCode.POLICY)
_TOLD: Mapping[Reason, Told] = {
    Reason.AMBIGUOUS: (400, "ambiguous_credentials", "Two different credentials were sent", CloseCode.POLICY),
    Reason.SECRET_IN_QUERY: (400, "secret_in_query", "The address carries a secret", CloseCode.POLICY),
    Reason.UNVERIFIABLE: (
        503, "credentials_unverifiable", "Credentials cannot be checked now", CloseCode.OVERLOADED,
    ),
    Reason.TOO_MANY_FAILURES: (
        429, "too_many_failures", "Too many wrong credentials", CloseCode.OVERLOADED,
    ),
    Reason.RATE_LIMITED: (429, "rate_limited", "Too many requests", CloseCode.OVERLOADED),
    Reason.MISSING_SCOPE: (403, "missing_scope", "The credentials do not reach so far", CloseCode.POLICY),
    Reason.FOREIGN_ORIGIN: (403, "foreign_origin", "Pages of other sites may not connect", CloseCode.POLICY),
}  # fmt: skip


_LIMITED = {
    "audio": "the tenant has brought as much audio as it may for now",
    "calls": "the tenant has as many calls at a time as it may",
}


class AccessError(Exception):
    """Somebody is not let in; `access_problem` and `access_wire_error` tell it."""

    def __init__(self, refusal: Refusal, detail: str | None = None) -> None:
        super().__init__(refusal.reason.value)
        self.refusal = refusal
        self.detail = detail or refusal.detail


@dataclass(frozen=True, slots=True)
class Doorway:
    """What holds for whoever comes. open: nobody needs credentials. origins: of pages that may connect."""

    open: bool
    origins: frozenset[str]
    proxies: Sequence[Network]


class Access:
    """Lets requests and sockets in, or says why not; counts every refusal."""

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limits,
        doorway: Doorway,
        desk: KeyDesk,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.limits = limits
        self.desk = desk
        self._authenticator = authenticator
        self._doorway = doorway
        self._clock = clock
        self._metrics = metrics

    async def admit(self, connection: HTTPConnection, scope: Scope | None = None) -> Admission:
        """Who sends a request (or an upgrade), counted against their limit. scope: what they must be allowed.

        Raises:
            AccessError: they are not let in.
        """
        if secret_in_query(connection.scope.get("query_string", b"").decode("latin-1")):
            raise self._refused(Refusal(Reason.SECRET_IN_QUERY))
        method = connection.scope.get("method", "GET")
        if self._doorway.open and method not in _SAFE_METHODS and not self.same_origin(connection.headers):
            raise self._refused(Refusal(Reason.FOREIGN_ORIGIN))
        admission = await self._known(connection)
        if not (self._doorway.open and admission.principal == SITE):
            self._count_request(connection, admission.principal)
        if scope is not None:
            self.check_scope(admission.principal, scope)
        return admission

    async def admit_socket(self, connection: HTTPConnection, scope: Scope) -> Admission:
        """Who opens a socket; also checks that no page of another site does.

        Raises:
            AccessError: they are not let in.
        """
        if not self.same_origin(connection.headers):
            raise self._refused(Refusal(Reason.FOREIGN_ORIGIN))
        return await self.admit(connection, scope)

    def check_scope(self, principal: Principal, scope: Scope) -> None:
        """Whether somebody may do something.

        Raises:
            AccessError: they may not.
        """
        if not principal.may(scope):
            raise self._refused(Refusal(Reason.MISSING_SCOPE), f"expected the scope '{scope}'")

    async def ended(self, admission: Admission) -> Refusal:
        """Waits until who was let in no longer is: for sockets and streams, which outlast credentials."""
        while True:
            await asyncio.sleep(RECHECK_S)
            current = await self._authenticator.still(admission)
            if isinstance(current, Refusal):
                return current
            now, before = current.principal, admission.principal
            if now.tenant != before.tenant or not now.scopes >= before.scopes:
                return Refusal(Reason.MISSING_SCOPE)

    def wrong_credentials(self, connection: HTTPConnection) -> float:
        """Counts wrong credentials that were noticed elsewhere (a carrier's); seconds the address is put off now."""
        peer, now = self.peer(connection), self._clock.monotonic()
        blocked_s = self.limits.guard.blocked_s(peer, now) or self.limits.guard.failed(peer, now)
        if blocked_s > 0:
            self.limits.count("credentials")
        return blocked_s

    def same_origin(self, headers: Headers) -> bool:
        """Whether a page of this site, or of one that may connect, or no page at all, opens a connection."""
        return same_origin(headers, self._doorway.origins)

    def peer(self, connection: HTTPConnection) -> str | None:
        """The client's address."""
        peer = None if connection.client is None else connection.client.host
        forwarded_for = ",".join(connection.headers.getlist("x-forwarded-for"))
        return client_address(peer, forwarded_for, self._doorway.proxies)

    def forget(self, key_id: str) -> None:
        """A key was changed here; what is remembered of it no longer counts."""
        self._authenticator.forget(key_id)

    async def close(self) -> None:
        """Stops what goes on in the background."""
        await self._authenticator.close()

    async def _known(self, connection: HTTPConnection) -> Admission:
        peer, guard = self.peer(connection), self.limits.guard
        blocked_s = guard.blocked_s(peer, self._clock.monotonic())
        found = await self._authenticator.authenticate(connection.headers, ask=blocked_s <= 0)
        if isinstance(found, Admission):
            return found
        if found.guessed:
            if blocked_s > 0:
                found = Refusal(Reason.TOO_MANY_FAILURES, blocked_s)
                self.limits.count("credentials")
            else:
                guard.failed(peer, self._clock.monotonic())
        raise self._refused(found)

    def _count_request(self, connection: HTTPConnection, principal: Principal) -> None:
        taken = self.limits.request(principal)
        if taken is None or self.limits.request_rate is None:
            return
        say_rate(connection.scope, self.limits.request_rate, taken)
        if not taken.allowed:
            detail = f"expected at most {self.limits.request_rate.per_s:g} requests a second; try again later"
            raise AccessError(Refusal(Reason.RATE_LIMITED, taken.retry_after_s), detail)

    def _refused(self, refusal: Refusal, detail: str | None = None) -> AccessError:
        self._metrics.access_refused.labels(refusal.reason.value).inc()
        return AccessError(refusal, detail)


def access_problem(error: AccessError) -> ProblemError:
    """A refusal as the answer to a request, or to an upgrade that is not accepted."""
    refusal = error.refusal
    status, code, title, _ = _TOLD.get(refusal.reason, _UNAUTHORIZED)
    headers = {}
    if status == 401:
        invalid = ' error="invalid_token"' if refusal.reason is not Reason.NO_CREDENTIALS else ""
        headers["WWW-Authenticate"] = f"Bearer{invalid}"
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(whole_seconds(refusal.retry_after_s))
    return ProblemError(status, code, title, error.detail, headers)


def access_wire_error(error: AccessError) -> WireError:
    """A refusal as an accepted socket is told: a close code, and with 1013 when trying again may help."""
    _, code, title, close_code = _TOLD.get(error.refusal.reason, _UNAUTHORIZED)
    return WireError(code, title, error.detail, close_code, error.refusal.retry_after_s)


def limit_problem(error: TenantLimitError) -> ProblemError:
    """A tenant's limit as the answer to a request."""
    headers = {"Retry-After": str(whole_seconds(error.retry_after_s))}
    return ProblemError(429, "rate_limited", "Too many requests", _LIMITED[error.what], headers)


def limit_wire_error(error: TenantLimitError) -> WireError:
    """A tenant's limit as a socket is told."""
    detail = _LIMITED[error.what]
    return WireError("rate_limited", "Too many requests", detail, CloseCode.OVERLOADED, error.retry_after_s)


def make_access(settings: Settings, documents: DocumentStore, clock: Clock, metrics: Metrics) -> Access:
    """Access as the site has configured it.

    Raises:
        SettingsError: the keys file cannot be used.
    """
    auth = settings.auth
    desk = KeyDesk(documents, clock)
    try:
        file = None if auth.keys_file is None else KeysFile(auth.keys_file, clock)
    except KeysFileError as error:
        raise SettingsError(f"KOWAIRO_AUTH__KEYS_FILE: {error}") from None
    sources = Sources(
        site_keys=[key.get_secret_value() for key in auth.api_keys],
        file=file,
        stored=StoredKeys(desk, clock, auth.key_grace_s),
        tokens=make_tokens(auth, clock),
        needed=auth.needed,
    )
    origins = frozenset(origin.lower() for origin in auth.allowed_origins)
    doorway = Doorway(not auth.needed, origins, auth.trusted_proxies)
    limits = Limits(settings.limits, clock, metrics)
    return Access(Authenticator(sources, clock), limits, doorway, desk, clock, metrics)


def make_tokens(auth: AuthSettings, clock: Clock) -> TokenVerifier | None:
    """What checks tokens; None where none are taken."""
    if auth.jwks_url is not None:
        source: JwksUrl | JwksFile = JwksUrl(auth.jwks_url)
    elif auth.jwks_file is not None:
        source = JwksFile(auth.jwks_file)
    else:
        return None
    rules = TokenRules(
        issuer=auth.jwt_issuer or "",
        audience=auth.jwt_audience or "",
        skew_s=auth.jwt_skew_s,
        tenant_claim=auth.jwt_tenant_claim,
        scope_claim=auth.jwt_scope_claim,
        algorithms=auth.jwt_algorithms,
    )
    return TokenVerifier(Jwks(source, clock, JwksTiming(auth.jwks_renew_s, auth.jwks_again_s)), rules, clock)


def same_origin(headers: Headers, allowed: Collection[str] = ()) -> bool:
    """False when a browser says that a page of another site opens the connection. allowed: sites that may.

    A socket is not bound by the same-origin rule, so a page anywhere could otherwise use a service that
    listens on its visitor's own machine.
    """
    origin = headers.get("origin")
    if origin is None or origin.lower() in allowed:
        return True
    try:
        site = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return site != "" and site == headers.get("host", "").lower()


def looks_after_all(principal: Principal) -> bool:
    """Whether somebody may make keys for every tenant: who holds a plain site key, or `admin` of the site's own."""
    return principal.may(Scope.ADMIN) and (principal == SITE or principal.tenant == SITE_TENANT)
