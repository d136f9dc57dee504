"""Every telephone system brings the same call, and the same is heard of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.cli.exits import ExitCode
from app.domain import Encoding
from app.emulators.carriers import CARRIERS
from app.emulators.trouble import Stretch, Trouble
from tests.e2e.carriers import Heard, free_address, play_sample
from tests.support.server import STOP_TIMEOUT_S, RunningServer, app_process, running_server

pytestmark = pytest.mark.slow
FRAME_S = 0.02
CALL_S = 47.6
SAMPLE = "app/samples/two_legs.flac"
SYSTEMS = sorted(set(CARRIERS) - {"native"})
PAUSE = Stretch(12.0, 8.0)
TROUBLE = Trouble(loss=0.02, reorder=0.05, duplicate=0.01, pauses=(PAUSE,))
TROUBLED_FRAMES = 1_200


@pytest.fixture(scope="module")
def audiosocket() -> str:
    """Where the server listens for AudioSocket."""
    return free_address()


@pytest.fixture(scope="module")
def server(settings: dict[str, str], audiosocket: str) -> Iterator[RunningServer]:
    """Open to loopback, without credentials."""
    with running_server(settings | {"KOWAIRO_CARRIERS__AUDIOSOCKET__LISTEN": audiosocket}) as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.complaints()


@pytest.fixture(scope="module")
def native(server: RunningServer, audiosocket: str) -> dict[Encoding, dict[str, Heard]]:
    """The sample call over the native protocol, by encoding."""
    return {
        encoding: play_sample(server, audiosocket, "native", f"native-{encoding}", encoding=encoding)
        for encoding in (Encoding.PCM_MULAW, Encoding.PCM_S16LE)
    }


@pytest.mark.parametrize("carrier", SYSTEMS)
def test_the_same_is_heard_whoever_brings_it(
    server: RunningServer,
    audiosocket: str,
    native: dict[Encoding, dict[str, Heard]],
    carrier: str,
) -> None:
    """The same utterances of both legs, and the same scores as the native protocol gives for the same codec."""
    heard = play_sample(server, audiosocket, carrier, f"{carrier}-plain")
    assert set(heard) == {"customer", "agent"}
    assert len(heard["customer"].records) > 5
    for leg, found in heard.items():
        expected = native[CARRIERS[carrier].encoding][leg]
        assert found.duration_s == pytest.approx(CALL_S, abs=FRAME_S)
        assert found.audio == pytest.approx(expected.audio, abs=FRAME_S)
        assert len(found.records) == len(expected.records)
        for record, other in zip(found.records, expected.records, strict=True):
            assert record["start_s"] == pytest.approx(other["start_s"], abs=FRAME_S)
            assert record["end_s"] == pytest.approx(other["end_s"], abs=FRAME_S)
            assert (record["emotion"], record["reason"]) == (other["emotion"], other["reason"])
            if other["scores"] is None:
                assert record["scores"] is None
            else:
                assert record["scores"] == pytest.approx(other["scores"], abs=1e-6)


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_every_millisecond_ends_somewhere(server: RunningServer, audiosocket: str, carrier: str) -> None:
    """Loss, swaps, duplicates and a pause: the four outcomes sum to the leg's length, which is what the wire tells."""
    heard = play_sample(
        server, audiosocket, carrier, f"{carrier}-trouble", trouble=TROUBLE, frames=TROUBLED_FRAMES
    )
    assert set(heard) == {"customer", "agent"}
    for found in heard.values():
        assert sum(found.audio.values()) == pytest.approx(found.duration_s, abs=0.004)
        tally = found.played.tally
        assert tally.lost > 0
        assert tally.swapped > 0
        sent_s = tally.sent * FRAME_S
        if carrier == "twilio":  # time stamps: the pause, too, is a hole
            assert found.duration_s == pytest.approx(TROUBLED_FRAMES * FRAME_S, abs=5 * FRAME_S)
            assert found.audio["lost"] > PAUSE.for_s
        elif carrier == "telnyx":  # chunk numbers: what was kept back has none
            assert found.duration_s == pytest.approx(found.played.frames * FRAME_S, abs=5 * FRAME_S)
            assert found.audio["lost"] > 0
        elif carrier == "audiohook":  # messages of 100 ms, and a pause that is told
            unsure_s = (tally.lost + tally.duplicated) * 5 * FRAME_S
            assert found.duration_s == pytest.approx(TROUBLED_FRAMES * FRAME_S, abs=unsure_s)
            assert found.audio["rejected"] >= PAUSE.for_s
        elif carrier == "native":  # silence within a pause that is told
            assert found.duration_s == pytest.approx(sent_s + PAUSE.for_s, abs=FRAME_S)
            assert found.audio["rejected"] >= PAUSE.for_s
        else:  # no clock: there is what came
            assert found.duration_s == pytest.approx(sent_s, abs=FRAME_S)


def test_in_production_a_carrier_shows_its_credentials(settings: dict[str, str]) -> None:
    """One line and exit code 1 with wrong ones, at a wrong address, and for a carrier that has none configured."""
    secret, key = "a-path-that-nobody-knows", "a-key-for-this-test"
    configured = {
        "KOWAIRO_MODE": "production",
        "KOWAIRO_AUTH__API_KEYS": key,
        "KOWAIRO_CARRIERS__PUBLIC_ORIGIN": "wss://calls.example.com",
        "KOWAIRO_CARRIERS__TWILIO__SECRETS": '{"AC1":"0123456789abcdef0123456789abcdef"}',
        "KOWAIRO_CARRIERS__TWILIO__PATH_SECRET": secret,
    }
    signed = ("--public-origin", "wss://calls.example.com", "--path-secret", secret)
    right, wrong = ("--secret", "AC1=0123456789abcdef0123456789abcdef"), ("--secret", "AC1=another")
    with running_server(settings | configured) as server:
        origin = server.url.replace("http", "ws", 1)

        def call(carrier: str, *options: str) -> tuple[int, str, str]:
            arguments = ("call", SAMPLE, "--carrier", carrier, "--speed", "0", "--url", origin, *options)
            with app_process(*arguments, settings={"KOWAIRO_AUTH__API_KEYS": key}) as (process, stderr):
                assert process.stdout is not None
                out = process.stdout.read()
                code = process.wait(STOP_TIMEOUT_S)
                stderr.seek(0)
                return code, out, stderr.read()

        for options in ((*signed, *wrong), right):
            code, out, error = call("twilio", *options)
            assert (code, out) == (ExitCode.FAILED, "")
            assert error.startswith(f"kowairo: {origin}: refused with HTTP 403: ")
            assert error.count("\n") == 1
        code, _, error = call("vonage")
        assert code == ExitCode.FAILED
        assert "carrier_not_configured" in error
        code, out, error = call("twilio", *signed, *right)
        assert (code, error) == (ExitCode.DONE, "")
        assert "The call lasted 47.6 s." in out
        assert server.terminate() == 0
