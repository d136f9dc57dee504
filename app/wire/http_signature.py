"""HTTP Message Signatures with `hmac-sha256` (draft-ietf-httpbis-message-signatures-11): the reading side.

`Signature-Input` says what was signed, `Signature` holds the MAC; both are structured fields, read by `http_sf`
(RFC 9651). The text that was signed (the signature base, §2.3 of the draft) is built anew from what was parsed, never
from what was sent, so that a signer who is not strict fails. Fields with parameters (`sf`, `bs`, `key`, `req`) are
not supported: no carrier uses them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import http_sf

from app.wire.carrier import UpgradeRequest

MAX_HEADER_CHARS = 4_096
"""The longest signature header that is read; a carrier's has about 300 characters."""

Components = Callable[[str], str | None]
"""The value of a component, None where the request has none or it is not supported."""

_TEXTS = ("keyid", "nonce", "alg")
_TIMES = ("created", "expires")


class SignatureError(Exception):
    """The headers hold no signature that could be checked. code, detail: as in `WireError`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature as its headers state it.

    components: what it covers, in the order signed. parameters: the list of components with all parameters as it
    stands in the base. value: the MAC. created, expires: seconds since the epoch.
    """

    components: tuple[str, ...]
    parameters: str
    value: bytes
    keyid: str | None = None
    nonce: str | None = None
    alg: str | None = None
    created: int | None = None
    expires: int | None = None


def read_signature(headers: Mapping[str, str]) -> Signature | None:
    """The first signature of a request, whatever its label; None where it is not signed at all.

    headers: lower-case names.

    Raises:
        SignatureError: `signature_malformed`, or `signature_unsupported`.
    """
    stated, given = headers.get("signature-input", "").strip(), headers.get("signature", "").strip()
    if not stated and not given:
        return None
    if not stated or not given:
        raise _malformed("expected Signature-Input and Signature, got one of them")
    label, member = next(iter(_dictionary(stated, "Signature-Input").items()))
    match member:
        case (list() as items, dict() as parameters):
            pass
        case _:
            raise _malformed("Signature-Input: expected a list of components")
    match _dictionary(given, "Signature").get(label):
        case (bytes() as value, _):
            pass
        case _:
            raise _malformed("Signature: expected bytes under the label of Signature-Input")
    texts, times = _parameters(parameters)
    components = tuple(_component(item) for item in items)
    if len(set(components)) != len(components):
        raise _malformed("Signature-Input: expected every component once")
    return Signature(
        components=components,
        parameters=http_sf.ser([(items, parameters)]),
        value=value,
        keyid=texts.get("keyid"),
        nonce=texts.get("nonce"),
        alg=texts.get("alg"),
        created=times.get("created"),
        expires=times.get("expires"),
    )


def signature_base(signature: Signature, components: Components) -> bytes:
    """The text that was signed: a line for each component, and the parameters last.

    Raises:
        SignatureError: `signature_component_missing`, or a value that would make a line of its own.
    """
    lines: list[str] = []
    for name in signature.components:
        value = components(name)
        if not value:
            raise SignatureError(
                "signature_component_missing", "a component that was signed is missing or not supported"
            )
        lines.append(f'"{name}": {value}')
    lines.append(f'"@signature-params": {signature.parameters}')
    if any("\n" in line or "\r" in line for line in lines):
        raise _malformed("expected no line breaks in what was signed")
    try:
        return "\n".join(lines).encode("latin-1")  # as headers and the request line were decoded
    except UnicodeEncodeError as error:
        raise _malformed("expected no characters beyond Latin-1 in what was signed") from error


def request_components(request: UpgradeRequest, authority: str) -> Components:
    """The components of an upgrade request: some derived ones, and every header (§2.1, §2.2).

    authority: as the signer saw it, see `authority_of`.
    """
    derived = {
        "@request-target": f"{request.path}?{request.query}" if request.query else request.path,
        "@authority": authority,
        "@method": "GET",
        "@path": request.path,
        "@query": f"?{request.query}",
    }

    def value(name: str) -> str | None:
        if name.startswith("@"):
            return derived.get(name)
        header = request.headers.get(name)
        return None if header is None else header.strip()

    return value


def authority_of(host: str, origin: str | None = None) -> str:
    """`@authority`: host and port in lower case, without the default port (§2.2.3).

    origin: the public one, `wss://host[:port]`; wins over the Host header, whose scheme is unknown behind a proxy.
    """
    scheme, separator, rest = (origin or "").partition("://")
    if not separator:
        return host.strip().lower().removesuffix(":443").removesuffix(":80")
    default = ":443" if scheme.lower() in ("wss", "https") else ":80"
    return rest.partition("/")[0].lower().removesuffix(default)


def sign(base: bytes, key: bytes) -> bytes:
    """HMAC-SHA256 of a signature base (§3.3.3)."""
    return hmac.digest(key, base, hashlib.sha256)


def matches(signature: Signature, base: bytes, key: bytes) -> bool:
    """Whether the signature was made with this key; takes as long whatever differs."""
    return hmac.compare_digest(signature.value, sign(base, key))


def _dictionary(header: str, name: str) -> dict[str, object]:
    if len(header) > MAX_HEADER_CHARS:
        raise _malformed(f"{name}: expected at most {MAX_HEADER_CHARS} characters")
    try:
        parsed = http_sf.parse(header.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_twice)
    except ValueError as error:  # StructuredFieldError and UnicodeEncodeError are of it
        raise _malformed(f"{name}: expected a dictionary of RFC 9651") from error
    if not isinstance(parsed, dict) or not parsed:
        raise _malformed(f"{name}: expected a dictionary of RFC 9651")
    return dict(parsed.items())


def _refuse_twice(key: str, where: str) -> None:
    raise _malformed("expected every label and parameter once")


def _component(item: object) -> str:
    """The name of a component: a header in lower case, or a derived one."""
    match item:
        case (str() as name, dict() as parameters):
            pass
        case _:
            raise _malformed("Signature-Input: expected components as strings")
    if parameters:
        raise SignatureError("signature_unsupported", "expected components without parameters")
    if name in ("@signature-params", "signature", "signature-input") or name != name.lower() or '"' in name:
        raise _malformed("Signature-Input: expected the names of headers or derived components")
    return name


def _parameters(parameters: Mapping[str, object]) -> tuple[dict[str, str], dict[str, int]]:
    """The parameters by their type; what is not known is refused, as the reference server does."""
    texts: dict[str, str] = {}
    times: dict[str, int] = {}
    for name, value in parameters.items():
        if name in _TEXTS and isinstance(value, str):
            texts[name] = value
        elif name in _TIMES and type(value) is int and value >= 0:
            times[name] = value
        else:
            raise _malformed(
                "Signature-Input: expected keyid, nonce and alg as text, created and expires as seconds"
            )
    return texts, times


def _malformed(detail: str) -> SignatureError:
    return SignatureError("signature_malformed", detail)
