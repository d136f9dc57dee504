"""HTTP Message Signatures: the draft's own vector, what is read, and what is not."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.carrier import UpgradeRequest
from app.wire.http_signature import (
    MAX_HEADER_CHARS,
    Signature,
    SignatureError,
    authority_of,
    matches,
    read_signature,
    request_components,
    sign,
    signature_base,
)

# draft-ietf-httpbis-message-signatures-11, appendices B.1.5 and B.2.5.
DRAFT_KEY = base64.b64decode(
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
DRAFT_HEADERS = {
    "host": "example.com",
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "signature-input": 'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
    "signature": "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
}
DRAFT_BASE = b"""\
"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret\""""


def read(stated: str, given: str = "a=:AAAA:") -> Signature:
    """The signature of two headers."""
    signature = read_signature({"signature-input": stated, "signature": given})
    assert signature is not None
    return signature


def refused(stated: str, given: str = "a=:AAAA:") -> str:
    """The code with which two headers are refused."""
    with pytest.raises(SignatureError) as caught:
        read(stated, given)
    return caught.value.code


def test_the_vector_of_the_draft() -> None:
    """Read, rebuilt and verified; another key does not."""
    signature = read_signature(DRAFT_HEADERS)
    assert signature is not None
    assert signature.components == ("date", "@authority", "content-type")
    assert (signature.keyid, signature.created, signature.nonce) == (
        "test-shared-secret",
        1_618_884_473,
        None,
    )
    request = UpgradeRequest(path="/foo", headers=DRAFT_HEADERS)
    base = signature_base(signature, request_components(request, "example.com"))
    assert base == DRAFT_BASE
    assert sign(base, DRAFT_KEY) == signature.value
    assert matches(signature, base, DRAFT_KEY)
    assert not matches(signature, base, b"another")


def test_no_signature_at_all() -> None:
    """It is for the caller to say what that means."""
    assert read_signature({}) is None
    assert read_signature({"signature": " ", "signature-input": ""}) is None


def test_parameters_are_written_canonically() -> None:
    """Spaces and numbers as the draft writes them, strings escaped; the first label counts."""
    signature = read(
        'b=( "x"   "y" ); created=0012;keyid="a\\"b\\\\", c=("z");created=1', "c=:BBBB:, b=:AAAA:"
    )
    assert signature.parameters == '("x" "y");created=12;keyid="a\\"b\\\\"'
    assert signature.keyid == 'a"b\\'
    assert signature.value == b"\x00\x00\x00"


@pytest.mark.parametrize(
    ("stated", "given"),
    [
        ("a", "a=:AAAA:"),
        ("a=1", "a=:AAAA:"),
        ('a="x"', "a=:AAAA:"),
        ("a=(x)", "a=:AAAA:"),
        ("a=(1)", "a=:AAAA:"),
        ('a=("X")', "a=:AAAA:"),
        ('a=("x" "x")', "a=:AAAA:"),
        ('a=("@signature-params")', "a=:AAAA:"),
        ('a=("signature")', "a=:AAAA:"),
        ('a=("x\\"y")', "a=:AAAA:"),
        ('a=("x");created=1.5', "a=:AAAA:"),
        ('a=("x");created=-1', "a=:AAAA:"),
        ('a=("x");created=?1', "a=:AAAA:"),
        ('a=("x");created=@1', "a=:AAAA:"),
        ('a=("x");keyid=token', "a=:AAAA:"),
        ('a=("x");created=1;created=2', "a=:AAAA:"),
        ('a=("x"), a=("y")', "a=:AAAA:"),
        ('a=("x"', "a=:AAAA:"),
        ('a=("x"),', "a=:AAAA:"),
        ('a=("ä")', "a=:AAAA:"),
        ('a=("x")', "b=:AAAA:"),
        ('a=("x")', "a=AAAA"),
        ('a=("x")', "a=(:AAAA:)"),
        ('a=("x")', "a=:AA*A:"),
        ('a=("x")', ""),
        ("", "a=:AAAA:"),
        ('a=("x");nonce="' + "n" * MAX_HEADER_CHARS + '"', "a=:AAAA:"),
    ],
)
def test_what_is_malformed(stated: str, given: str) -> None:
    """One code for what cannot be read."""
    assert refused(stated, given) == "signature_malformed"


@pytest.mark.parametrize("parameter", ["sf", "bs", "req", 'key="a"'])
def test_components_with_parameters_are_not_supported(parameter: str) -> None:
    """No carrier signs such."""
    assert refused(f'a=("x";{parameter})') == "signature_unsupported"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\u20acb"])
def test_a_value_cannot_make_a_line_of_its_own(value: str) -> None:
    """Nor hold what no header holds."""
    with pytest.raises(SignatureError) as caught:
        signature_base(read('a=("x")'), lambda name: value)
    assert caught.value.code == "signature_malformed"


def test_components_of_a_request() -> None:
    """Derived ones and headers; what is not known has no value."""
    request = UpgradeRequest(path="/a%20b", query="c=d", headers={"x": " e, f "})
    value = request_components(request, "host")
    names = ("@request-target", "@authority", "@method", "@path", "@query", "x", "y", "@status")
    assert [value(name) for name in names] == [
        "/a%20b?c=d",
        "host",
        "GET",
        "/a%20b",
        "?c=d",
        "e, f",
        None,
        None,
    ]
    bare = request_components(UpgradeRequest(path="/"), "host")
    assert (bare("@request-target"), bare("@query")) == ("/", "?")


@pytest.mark.parametrize(
    ("host", "origin", "authority"),
    [
        ("Example.COM", None, "example.com"),
        ("example.com:443", None, "example.com"),
        ("example.com:80", None, "example.com"),
        ("example.com:8443", None, "example.com:8443"),
        ("[::1]:8000", None, "[::1]:8000"),
        ("x", "wss://Example.com:443", "example.com"),
        ("x", "wss://example.com:80/", "example.com:80"),
        ("x", "ws://example.com:80", "example.com"),
        ("x", "https://example.com:8443/path", "example.com:8443"),
    ],
)
def test_the_authority(host: str, origin: str | None, authority: str) -> None:
    """Lower case, without the default port of its scheme."""
    assert authority_of(host, origin) == authority


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_nothing_but_a_signature_error(seed: int) -> None:
    """Whatever the headers hold, reading them ends in a signature or in its own error."""
    chance = random.Random(seed)
    signs = '()";=@%?:,\\ \t0123456789.-*abcABC\x00\x7f\xff\u20ac'
    for _ in range(100):
        headers = {}
        for name in ("signature-input", "signature"):
            text = list(DRAFT_HEADERS[name])
            for _ in range(chance.randrange(0, 4)):
                at = chance.randrange(len(text))
                text[at : at + chance.randrange(0, 3)] = chance.choice(signs)
            headers[name] = "".join(text)
        try:
            signature = read_signature(headers)
        except SignatureError:
            continue
        assert signature is not None
        try:
            signature_base(signature, lambda name: "x")
        except SignatureError:
            continue
