"""The address is checked before anything else, and said as a URL."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.api.server import AddressError, address_of, bind
from tests.support.service import make_settings


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """Which port, and what to do about it."""
    with bind(make_settings(tmp_path)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"port {port} on 127\.0\.0\.1 is in use; choose another"):
            bind(make_settings(tmp_path, port=port))


def test_a_port_is_free_again_at_once(tmp_path: Path) -> None:
    """A restart does not wait for old connections to fade."""
    with bind(make_settings(tmp_path)) as first:
        port = first.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = first.accept()
        served.close()
        client.close()
    with bind(make_settings(tmp_path, port=port)) as second:
        assert address_of(second) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "not a name"])
def test_an_address_of_elsewhere_is_said(tmp_path: Path, host: str) -> None:
    """An address that is not this machine's, a name that nobody knows."""
    with pytest.raises(AddressError, match="cannot listen on"):
        bind(make_settings(tmp_path, host=host))


def test_a_version_6_address_is_a_url(tmp_path: Path) -> None:
    """With brackets."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        bound = bind(make_settings(tmp_path, host="::1"))
    except AddressError:
        pytest.skip("this machine has no IPv6 loopback")
    with bound:
        assert address_of(bound).startswith("http://[::1]:")
