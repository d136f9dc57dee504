"""What command modules share: the type they add themselves to, options that several have."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from app.domain import Leg
from app.settings import load_settings

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def port_number(text: str) -> int:
    """An option's value as a TCP port; 0 takes a free one."""
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {port}")
    return port


def first_api_key() -> str | None:
    """The first of the site's keys in the environment, for a client on the same machine, if any."""
    keys = load_settings().auth.api_keys
    return keys[0].get_secret_value() if keys else None


def parse_legs(text: str) -> tuple[Leg, ...]:
    """An option's value as legs, one a channel: `customer,agent`."""
    legs = tuple(Leg(part.strip()) for part in text.split(","))
    if len(set(legs)) != len(legs):
        raise argparse.ArgumentTypeError(f"expected different legs, got {text}")
    return legs
