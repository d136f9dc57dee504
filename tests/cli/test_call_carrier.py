"""`call --carrier` against a real service in this process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from app.cli.exits import ExitCode
from app.cli.parser import main
from app.emulators.carriers import CARRIERS
from tests.cli.conftest import spoken
from tests.support.logs import logged
from tests.support.service import make_settings, server

PATH_SECRET = "path-secret-of-ours"
API_KEY = "a-key-of-this-very-site"


@dataclass(frozen=True)
class Running:
    """A service. url: `http://…`; tcp: `tcp://…` of its AudioSocket listener."""

    url: str
    tcp: str

    def address(self, carrier: str) -> list[str]:
        """The options that lead there."""
        url = self.tcp if CARRIERS[carrier].tcp else self.url.replace("http", "ws", 1)
        return ["--url", url, "--api-url", self.url]


def started(bundle: Path, **groups: Any) -> Iterator[Running]:
    """A service with these settings, its logs kept from the terminal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    carriers = groups.pop("carriers", {})
    settings = make_settings(bundle, carriers=carriers | {"audiosocket": {"listen": listen}}, **groups)
    with logged(), server(settings) as running:
        yield Running(running.url, f"tcp://{listen}")


@pytest.fixture(scope="module")
def service(tiny_bundle: Path) -> Iterator[Running]:
    """Open to loopback."""
    yield from started(tiny_bundle)


@pytest.fixture(scope="module")
def guarded(tiny_bundle: Path) -> Iterator[Running]:
    """Asks for credentials of every kind."""
    twilio = {"secrets": {"AC1": "twilio-token"}, "path_secret": PATH_SECRET}
    carriers = {"twilio": twilio, "freeswitch": {"message_secret": "first-message-secret"}}
    yield from started(tiny_bundle, carriers=carriers, auth={"api_keys": API_KEY})


@pytest.fixture(scope="module")
def both_legs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two legs of two utterances each."""
    file = tmp_path_factory.mktemp("call") / "both.wav"
    soundfile.write(file, np.stack([spoken(3), spoken(4)], axis=1), 8000, subtype="PCM_16")
    return file


def call(*arguments: object) -> int:
    """`call` as fast as possible."""
    return main(["call", "--speed", "0", *map(str, arguments)])


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What `--json` printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_call_of_every_carrier_is_played_and_shown(
    service: Running, both_legs: Path, carrier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both legs' records as they come and a summary for each call; two calls where one leg is a connection."""
    assert call(both_legs, "--carrier", carrier, *service.address(carrier), "--json") == ExitCode.DONE
    messages = said(capsys)
    records = [message for message in messages if message["type"] == "utterance"]
    assert sorted(record["leg"] for record in records) == ["agent", "agent", "customer", "customer"]
    summaries = [message for message in messages if message["type"] == "summary"]
    assert len(summaries) == (1 if CARRIERS[carrier].legs == 2 else 2)
    legs = {leg: part for summary in summaries for leg, part in summary["legs"].items()}
    assert {leg: part["utterances"] for leg, part in legs.items()} == {"customer": 2, "agent": 2}
    for summary in summaries:
        assert summary["duration_s"] == 6.0
    if len(summaries) == 2:
        suffixes = {summary["call_id"].rpartition(".")[2] for summary in summaries}
        assert suffixes == {"customer", "agent"}


def test_a_call_is_shown_for_people(
    service: Running, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each utterance, one about the trouble, and the summary; the recording is of 16 kHz."""
    arguments = ["--carrier", "twilio", *service.address("twilio"), "--loss", "0.1", "--dtmf", "1:5"]
    arguments += ["--parameter", "order=7", "--call-id", "CA1", "--line", "sales", "--jitter", "5"]
    assert call(clips[1], *arguments) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if " s  customer  " in line]
    assert [line for line in lines if line.startswith("300 audio messages: ") and " lost" in line]
    assert "The call lasted 6.0 s." in lines


def test_a_taken_id_and_a_second_connection_are_followed(
    service: Running, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The service numbers ids that are taken; the rest of a call that was cut is a call of its own there."""
    arguments = [*service.address("telnyx"), "--carrier", "telnyx", "--call-id", "again", "--json"]
    assert call(clips[0], *arguments) == ExitCode.DONE
    assert call(clips[0], *arguments, "--drop-at", "3", "--reconnect") == ExitCode.DONE
    summaries = [message for message in said(capsys) if message["type"] == "summary"]
    assert {summary["call_id"]: summary["duration_s"] for summary in summaries} == {
        "again": 6.0,
        "again.2": 3.0,
        "again.3": 3.0,
    }


@pytest.mark.parametrize("carrier", ["native", "audiosocket"])
def test_a_second_connection_brings_its_own_id(
    service: Running, clips: list[Path], carrier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the client names the call, it names the second one otherwise."""
    arguments = [*service.address(carrier), "--carrier", carrier, "--call-id", f"own-{carrier}", "--json"]
    assert call(clips[0], *arguments, "--drop-at", "3", "--reconnect") == ExitCode.DONE
    summaries = [message for message in said(capsys) if message["type"] == "summary"]
    assert {summary["call_id"] for summary in summaries} == {f"own-{carrier}", f"own-{carrier}.2"}


def test_a_cut_call_is_shown_to_its_end(
    service: Running, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """What came before the cut is on record."""
    arguments = ["--carrier", "freeswitch", *service.address("freeswitch"), "--drop-at", "3"]
    assert call(clips[0], *arguments) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "; cut" in out
    assert "The call lasted 3.0 s." in out


def test_with_credentials_a_call_comes_in(
    guarded: Running, both_legs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signature, path, first message and API key."""
    arguments = ["--carrier", "twilio", *guarded.address("twilio"), "--api-key", API_KEY, "--json"]
    arguments += ["--secret", "AC1=twilio-token", "--path-secret", PATH_SECRET]
    # The service has no public origin: it believes the Host header, over plain HTTP.
    arguments += ["--public-origin", guarded.url.replace("http", "ws", 1)]
    assert call(both_legs, *arguments) == ExitCode.DONE, capsys.readouterr().err
    assert [message["type"] for message in said(capsys)].count("summary") == 1
    arguments = ["--carrier", "freeswitch", *guarded.address("freeswitch"), "--api-key", API_KEY]
    assert call(both_legs, *arguments, "--message-secret", "first-message-secret") == ExitCode.DONE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["twilio", "--path-secret", PATH_SECRET, "--secret", "AC1=wrong"], "refused with HTTP 403: "),
        (["twilio", "--path-secret", PATH_SECRET], "refused with HTTP 403: "),
        (["twilio", "--path-secret", "wrong"], "refused with HTTP 403: wrong_path: "),
        (["freeswitch", "--message-secret", "wrong"], r"code 1008 (unauthorized)"),
    ],
)
def test_wrong_credentials_are_one_line(
    guarded: Running,
    both_legs: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the service says, and exit code 1; no secret is repeated."""
    address = [*guarded.address("twilio"), "--api-key", API_KEY]
    assert call(both_legs, *address, "--carrier", *arguments) == ExitCode.FAILED
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("kowairo: ws://127.0.0.1:")
    assert message in error
    assert "wrong" not in error.replace("wrong_path", "").replace("missing or wrong", "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--api-url", "http://127.0.0.1:9"], "127.0.0.1:9"), (["--api-key", "not-the-one"], "HTTP 401")],
)
def test_records_that_cannot_be_asked_for_are_told_once(
    guarded: Running,
    both_legs: Path,
    options: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The call is played all the same."""
    arguments = ["--carrier", "freeswitch", *guarded.address("freeswitch"), *options]
    assert call(both_legs, *arguments, "--message-secret", "first-message-secret") == ExitCode.DONE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kowairo: no records to show: ")
    assert reason in captured.err
    assert captured.err.count("\n") == 1


def test_nobody_there_is_told(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The address and the reason, for WebSockets and for TCP."""
    for carrier, url in (("twilio", "ws://127.0.0.1:9"), ("audiosocket", "tcp://127.0.0.1:9")):
        arguments = ["--carrier", carrier, "--url", url, "--api-url", "http://127.0.0.1:9"]
        assert call(clips[0], *arguments) == ExitCode.FAILED
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"kowairo: {url}: ")


def test_what_a_carrier_cannot_send_is_told(clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, before anything is sent."""
    assert call(clips[0], "--carrier", "twilio", "--sample-rate", "16000") == ExitCode.FAILED
    assert "8000 Hz only" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["--secret=a=b", "--loss=0.1", "--drop-at=2", "--reconnect", "--pause=1:2", "--api-url=x", "--seed=0"],
)
def test_what_only_carriers_know_needs_one(
    option: str, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is ignored in silence."""
    assert call(clips[0], option) == ExitCode.USAGE
    assert f"{option.partition('=')[0]} needs --carrier" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        "--carrier=bell",
        "--secret=nothing",
        "--parameter==x",
        "--loss=2",
        "--reorder=-0.1",
        "--duplicate=nan",
        "--jitter=-4",
        "--pause=12",
        "--dtmf=5:xx",
        "--drop-at=0",
        "--seed=x",
    ],
)
def test_an_impossible_option_is_explained(
    option: str, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The option is named before anything is done."""
    with pytest.raises(SystemExit) as ended:
        call(clips[0], "--carrier", "twilio", option)
    assert ended.value.code == ExitCode.USAGE
    assert f"argument {option.partition('=')[0]}" in capsys.readouterr().err
