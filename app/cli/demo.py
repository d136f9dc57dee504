"""`demo`: what `make run` does. Starts the service, plays the sample call into it, and leaves it serving."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from types import FrameType

from app.audio.recording import open_recording
from app.cli.call import print_for_people
from app.cli.commands import Commands, first_api_key
from app.cli.exits import CliError, ExitCode
from app.cli.serve import ANNOUNCEMENT, add_address_options
from app.client import Client, KowairoError
from app.domain import Encoding, Leg
from app.playing import ClientError, Pace, play_call, telephone_messages

READY_TIMEOUT_S = 60.0
_POLL_S = 0.1


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("demo", help="start the service, play a sample call into it, go on serving")
    add_address_options(parser)
    parser.add_argument("--speed", type=float, default=1.0, help="of the sample call: 1 is real time")
    parser.set_defaults(run=run)


def sample_call() -> Path:
    """The recording that ships with the service: customer and agent, 48 s."""
    return Path(str(resources.files("app") / "samples" / "two_legs.flac"))


def run(options: argparse.Namespace) -> int:
    """Start, play, and wait for the service's end; Ctrl-C or SIGTERM ends both.

    Raises:
        CliError: the service did not become ready, or broke the call off.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    command = [sys.executable, "-m", "app", "serve"]
    for name in ("host", "port"):
        if getattr(options, name) is not None:
            command += [f"--{name}", str(getattr(options, name))]
    # S603: the command is this very program.
    # Its notes on every call would stand between the utterances that are shown here.
    environment = {"KOWAIRO_LOG_LEVEL": "warning", **os.environ}
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    try:
        address = _wait_until_ready(service)
        if address is None:
            return service.wait()
        print(_welcome(address), flush=True)
        _play_sample(address, options.speed)
        print(_addresses(address), flush=True)
        return service.wait()
    except KeyboardInterrupt:
        return _end(service)
    finally:
        if service.poll() is None:
            service.terminate()
            service.wait()


def _wait_until_ready(service: subprocess.Popen[str]) -> str | None:
    """The service's address once `/readyz` says so; None when it has ended (and has said why)."""
    assert service.stdout is not None  # noqa: S101 - for mypy: it was started with a pipe
    address = None
    for line in service.stdout:
        if line.startswith(ANNOUNCEMENT):
            address = _reachable(line.removeprefix(ANNOUNCEMENT).strip())
            break
    if address is None:
        return None
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and service.poll() is None:
        try:
            with Client(address, trust_env=False) as client:
                client.ready()
                return address
        except KowairoError:
            time.sleep(_POLL_S)  # not yet
    if service.poll() is None:
        raise CliError(f"the service did not become ready within {READY_TIMEOUT_S:.0f} s")
    return None


def _reachable(address: str) -> str:
    """An address to connect to: one that stands for every interface stands for this machine here."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _play_sample(address: str, speed: float) -> None:
    url = address.replace("http", "ws", 1) + "/v1/stream"
    with open_recording(sample_call()) as recording:
        start = {
            "encoding": Encoding.PCM_S16LE.value,
            "sample_rate": recording.sample_rate_hz,
            "channels": [Leg.CUSTOMER.value, Leg.AGENT.value],
            "line": "sample",
        }
        audio = telephone_messages([recording], Encoding.PCM_S16LE)
        try:
            asyncio.run(
                play_call(url, start, audio, print_for_people, pace=Pace(speed), api_key=first_api_key())
            )
        except ClientError as error:
            raise CliError(str(error)) from error


def _welcome(address: str) -> str:
    return (
        f"Kowairo is ready; watch the calls on {address}/\n"
        "A sample call of two legs comes in now, at the pace of a telephone:\n"
    )


def _addresses(address: str) -> str:
    return (
        "\nThe call is over, the service goes on:\n"
        f"  live page   {address}/\n"
        f"  API docs    {address}/docs\n"
        f"  metrics     {address}/metrics\n"
        f"  next call   {_python()} -m app call FILE --url {address.replace('http', 'ws', 1)}/v1/stream\n"
        "Ctrl-C ends it."
    )


def _python() -> str:
    """This interpreter as one would type it here."""
    here, python = Path.cwd(), Path(sys.executable)
    return str(python.relative_to(here) if python.is_relative_to(here) else python)


def _end(service: subprocess.Popen[str]) -> int:
    """Let the service drain; a second Ctrl-C does not wait."""
    service.send_signal(signal.SIGTERM)
    try:
        service.wait()
    except KeyboardInterrupt:
        service.kill()
        service.wait()
    return ExitCode.DONE


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
