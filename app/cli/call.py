"""`call`: play recordings into a running service, as a telephone system would."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson

from app.audio.recording import Recording, RecordingError, open_recording
from app.cli.carrier_options import add_options, refuse_options
from app.cli.commands import Commands, first_api_key, parse_legs
from app.cli.emulate import emulate
from app.cli.exits import CliError, ExitCode
from app.cli.show import message_line
from app.client import KowairoError
from app.domain import Encoding, Leg
from app.emulators.carriers import DEFAULT_ORIGIN, DEFAULT_TCP_ORIGIN
from app.playing import ClientError, Message, Pace, play_call, telephone_messages

DEFAULT_URL = "ws://127.0.0.1:8000/v1/stream"
DEFAULT_ENCODING = Encoding.PCM_S16LE


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "call",
        help="play a recording into a running service",
        description="Plays one recording (1 or 2 channels), or two as customer and agent, in 20 ms messages: over "
        "the native protocol, or as a telephone system would (--carrier).",
    )
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="one recording, or customer and agent"
    )
    parser.add_argument(
        "--url",
        help=f"the socket (default: {DEFAULT_URL}; with --carrier {DEFAULT_ORIGIN}, where the carrier's path is "
        f"added to an address without one, and {DEFAULT_TCP_ORIGIN} for audiosocket)",
    )
    parser.add_argument("--speed", type=_speed, default=1.0, help="1 is real time, 0 as fast as possible")
    parser.add_argument("--call-id", help="default: the service invents one")
    parser.add_argument(
        "--encoding",
        type=Encoding,
        choices=list(Encoding),
        help=f"default: {Encoding.PCM_S16LE}; with --carrier what the carrier sends, where it has a choice",
    )
    parser.add_argument("--line", help="where the audio comes from (default: 'default')")
    parser.add_argument("--legs", type=parse_legs, help="who is on each channel (default: customer,agent)")
    parser.add_argument("--language", help="a language tag such as 'en' or 'de-CH'")
    parser.add_argument("--consent", action="store_true", help="the customer agreed to be scored")
    parser.add_argument("--notice-given", action="store_true", help="the customer was told of it")
    parser.add_argument("--interim", action="store_true", help="ask for scores of utterances not yet over")
    parser.add_argument("--salience", action="store_true", help="ask for the weight of each moment")
    parser.add_argument("--json", action="store_true", help="print every message of the service as JSON")
    parser.add_argument("--api-key", help="default: the first of KOWAIRO_AUTH__API_KEYS")
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play the call and print what the service says.

    Raises:
        CliError: a recording that cannot be played, or a call that ended before its time.
    """
    show = print_json if options.json else print_for_people
    try:
        with _opened(options.files) as recordings:
            legs = _channels(recordings, options.legs)
            if options.carrier is None:
                refuse_options(options)
                play(recordings, start_message(options, legs), show, options)
                return ExitCode.DONE
        emulate(options, legs, lambda: _opened(options.files), show, options.api_key or first_api_key())
    except (ClientError, KowairoError, RecordingError, ValueError) as error:
        raise CliError(str(error)) from error
    return ExitCode.DONE


def play(
    recordings: Sequence[Recording],
    start: Message,
    show: Callable[[Message], None],
    options: argparse.Namespace,
) -> None:
    """One call over `options.url`, blocking until the service has answered everything."""
    audio = telephone_messages(recordings, options.encoding or DEFAULT_ENCODING)
    start |= {"sample_rate": recordings[0].sample_rate_hz}
    key = options.api_key or first_api_key()
    asyncio.run(
        play_call(options.url or DEFAULT_URL, start, audio, show, pace=Pace(options.speed), api_key=key)
    )


def start_message(options: argparse.Namespace, channels: Sequence[Leg]) -> Message:
    """The fields of `start`; what was not asked for is left out, so that the service's defaults hold."""
    flags = ("consent", "notice_given", "interim", "salience")
    texts = {name: getattr(options, name) for name in ("call_id", "line", "language")}
    return (
        {
            "encoding": (options.encoding or DEFAULT_ENCODING).value,
            "channels": [leg.value for leg in channels],
        }
        | {name: text for name, text in texts.items() if text is not None}
        | {name: True for name in flags if getattr(options, name)}
    )


def print_json(message: Message) -> None:
    """One message as a line of JSON, at once."""
    print(orjson.dumps(message).decode(), flush=True)


def print_for_people(message: Message) -> None:
    """One message as a line for people, at once; those of no interest not at all."""
    line = message_line(message)
    if line is not None:
        print(line, flush=True)


@contextlib.contextmanager
def _opened(files: Sequence[Path]) -> Iterator[list[Recording]]:
    if len(files) > 2:
        raise CliError(
            f"expected one recording, or two (customer and agent), got {len(files)}", ExitCode.USAGE
        )
    with contextlib.ExitStack() as stack:
        recordings = []
        for file in files:
            try:
                recordings.append(stack.enter_context(open_recording(file)))
            except RecordingError as error:
                raise CliError(f"{file}: {error}") from error
        yield recordings


def _channels(recordings: Sequence[Recording], legs: tuple[Leg, ...] | None) -> tuple[Leg, ...]:
    count = sum(recording.channels for recording in recordings)
    if len(recordings) == 2 and count != 2:
        raise CliError("expected one channel in each of two recordings", ExitCode.USAGE)
    legs = legs or (Leg.CUSTOMER, Leg.AGENT)[:count]
    if len(legs) != count:
        raise CliError(f"expected --legs to name {count}, one a channel, got {len(legs)}", ExitCode.USAGE)
    return legs


def _speed(text: str) -> float:
    speed = float(text)
    if not math.isfinite(speed) or speed < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return speed
