"""An issuer of tokens: its keys, what it signs, and where it publishes them over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://login.example"
AUDIENCE = "kowairo"
NOW = 1_700_000_000.0


def private_key(algorithm: str, number: int = 0) -> Any:
    """A private key for an algorithm; the same one for the same kind and number."""
    return _private_key("RS256" if algorithm in ("PS256", "RS512") else algorithm, number)


@cache
def _private_key(algorithm: str, number: int) -> Any:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(algorithm: str, kid: object, number: int = 0, **members: Any) -> dict[str, Any]:
    """The public half as an issuer publishes it."""
    public = private_key(algorithm, number).public_key()
    kinds: dict[str, Any] = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    document: dict[str, Any] = json.loads(kinds.get(algorithm, RSAAlgorithm).to_jwk(public))
    document.pop("key_ops", None)
    return document | {"kid": kid, "use": "sig", "alg": algorithm} | members


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says at `NOW`; a change to None leaves a claim out."""
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "iat": NOW - 10,
        "exp": NOW + 600,
        "tenant": "alpha",
        "scope": "read:scores read:stats",
    } | changes
    return {name: value for name, value in said.items() if value is not None}


def token(said: dict[str, Any], algorithm: str = "RS256", kid: str | None = "k1", number: int = 0) -> str:
    """A signed token, whatever it says."""
    headers = {} if kid is None else {"kid": kid}
    payload = json.dumps(said).encode()
    return jwt.PyJWS().encode(payload, private_key(algorithm, number), algorithm=algorithm, headers=headers)


class JwksServer:
    """Publishes a key set over HTTP. requests: how often it was asked. answer: what it sends, with its status."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.requests = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.hold: threading.Event | None = None
        self.publish(*keys)

    def publish(self, *keys: dict[str, Any]) -> None:
        """These keys from now on."""
        self.body = json.dumps({"keys": list(keys)}).encode()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its address, while this lasts."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if outer.hold is not None:
                    outer.hold.wait(30)
                try:
                    self.send_response(outer.status)
                    for name, value in outer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(outer.body)))
                    self.end_headers()
                    self.wfile.write(outer.body)
                except OSError:
                    pass  # who asked has hung up

            def log_message(self, *_arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="jwks")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            if self.hold is not None:
                self.hold.set()
            server.shutdown()
            server.server_close()
            thread.join()
