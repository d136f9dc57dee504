"""The options of `call` that only make sense with `--carrier`."""

from __future__ import annotations

import argparse
import math

from app.cli.exits import CliError, ExitCode
from app.emulators.carriers import CARRIERS
from app.emulators.trouble import Key, Stretch, Trouble, parse_key, parse_pause


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what only makes sense with `--carrier`."""
    carrier = parser.add_argument_group("as a telephone system")
    carrier.add_argument("--carrier", choices=sorted(CARRIERS), help="whose protocol to speak")
    carrier.add_argument(
        "--secret",
        action="append",
        type=_named,
        metavar="NAME=VALUE",
        help="as in KOWAIRO_CARRIERS__…__SECRETS",
    )
    carrier.add_argument("--path-secret", help="the last part of the path")
    carrier.add_argument("--message-secret", help="the `token` of the first message")
    carrier.add_argument(
        "--parameter", action="append", type=_named, metavar="NAME=VALUE", help="what the call says of itself"
    )
    carrier.add_argument(
        "--public-origin", metavar="WSS://HOST", help="what signatures cover, behind a proxy"
    )
    carrier.add_argument("--sample-rate", type=int, metavar="HZ", help="default: 8000")
    carrier.add_argument("--api-url", help="where to ask for the records (default: beside --url)")
    trouble = parser.add_argument_group("trouble on the way (with --carrier)")
    trouble.add_argument("--loss", type=_share, metavar="SHARE", help="of audio messages dropped")
    trouble.add_argument("--reorder", type=_share, metavar="SHARE", help="of frames that swap with the next")
    trouble.add_argument("--duplicate", type=_share, metavar="SHARE", help="of audio messages sent twice")
    trouble.add_argument("--jitter", type=_positive, metavar="MS", help="longest delay of a frame")
    trouble.add_argument(
        "--pause", action="append", type=_pause, metavar="AT:SECONDS", help="the carrier stops the audio"
    )
    trouble.add_argument("--dtmf", action="append", type=_key, metavar="AT:KEY", help="a key is pressed")
    trouble.add_argument("--drop-at", type=_positive, metavar="S", help="cut the connection, no farewell")
    trouble.add_argument("--reconnect", action="store_true", default=None, help="go on over a new one")
    trouble.add_argument("--seed", type=int, help="of the chance in all this (default: 0)")


_ONLY_HERE = [
    "secret",
    "path_secret",
    "message_secret",
    "parameter",
    "public_origin",
    "sample_rate",
    "api_url",
    "loss",
    "reorder",
    "duplicate",
    "jitter",
    "pause",
    "dtmf",
    "drop_at",
    "reconnect",
    "seed",
]


def refuse_options(options: argparse.Namespace) -> None:
    """Without a carrier none of the above means anything.

    Raises:
        CliError: one was given.
    """
    for name in _ONLY_HERE:
        if getattr(options, name) is not None:
            raise CliError(f"--{name.replace('_', '-')} needs --carrier", ExitCode.USAGE)


def parameters_of(options: argparse.Namespace) -> dict[str, str]:
    """What the call says of itself: what is asked for by name, and what the site adds."""
    texts = {name: getattr(options, name) for name in ("line", "language")}
    flags = ["consent", "notice_given", *(("interim", "salience") if options.carrier == "native" else ())]
    return (
        {name: text for name, text in texts.items() if text is not None}
        | {name: "true" for name in flags if getattr(options, name)}
        | dict(options.parameter or ())
    )


def trouble_of(options: argparse.Namespace) -> Trouble:
    """What goes wrong on the way."""
    return Trouble(
        loss=options.loss or 0.0,
        reorder=options.reorder or 0.0,
        duplicate=options.duplicate or 0.0,
        jitter_s=(options.jitter or 0.0) / 1000,
        pauses=tuple(options.pause or ()),
        keys=tuple(options.dtmf or ()),
        drop_at_s=options.drop_at,
        reconnect=bool(options.reconnect),
        seed=options.seed or 0,
    )


def _named(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError("expected NAME=VALUE")
    return name, value


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text}")
    return share


def _positive(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def _pause(text: str) -> Stretch:
    try:
        return parse_pause(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _key(text: str) -> Key:
    try:
        return parse_key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
