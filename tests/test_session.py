"""One call: events in the sample clock's order, tokens of each utterance's own audio, every sample counted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.endpoint import EndpointConfig
from app.audio.g711 import pcm_to_float
from app.audio.vad import FrameVad
from app.domain import AbstainReason, AudioPacket, Encoding, Leg
from app.policy import LinePolicy, PolicyConfig, ScoringPurpose
from app.session import (
    AbstainRules,
    CallSession,
    CallSummary,
    InterimReady,
    MarkReached,
    SessionError,
    SessionEvent,
    SessionParts,
    SessionWarning,
    SpeechStarted,
    UtteranceReady,
)
from tests.support.calls import (
    BOTH,
    SumTokens,
    Talk,
    call,
    comparable,
    cut,
    interleaved,
    parts,
    sum_tokens,
    talk,
    utterances,
)

CUSTOMER: Talk = [(400, 700), (700, 300), (600, 140), (300, 1)]
AGENT: Talk = [(100, 500), (900, 400)]
SHORT = EndpointConfig(max_utterance_s=3.0, long_utterance_s=2.0)
TURNS = st.lists(st.tuples(st.integers(0, 1200), st.integers(1, 5000)), min_size=1, max_size=4)
# Small messages have tests of their own: every byte of a call at 48 kHz takes seconds.
SIZES = st.lists(st.integers(61, 7000), min_size=1, max_size=8)


def play(session: CallSession, messages: Sequence[bytes]) -> list[SessionEvent]:
    """Push every message, then stop; outcomes are booked as they come."""
    events: list[SessionEvent] = []
    for message in messages:
        events += session.push(AudioPacket(message))
    events += session.stop()
    for utterance in utterances(events):
        session.account(utterance, utterance.reason)
    return events


def total(summary: CallSummary) -> dict[Leg, int]:
    """Length of each leg in samples, as its four parts say."""
    return {leg: of.audio.total_samples for leg, of in summary.legs.items()}


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@settings(max_examples=4, deadline=None)
@given(sizes=SIZES)
def test_events_do_not_depend_on_how_audio_is_cut_into_messages(
    encoding: Encoding, rate_hz: int, sizes: list[int]
) -> None:
    """A two-leg call in messages of any sizes gives the events of the call in one message, in their order."""
    audio = interleaved([talk(CUSTOMER, rate_hz), talk(AGENT, rate_hz, seed=1)], encoding)
    made = [
        play(CallSession(call(rate_hz, encoding, interim=True), parts()), messages)
        for messages in ([audio], list(cut(audio, sizes)))
    ]
    assert comparable(made[0]) == comparable(made[1])
    assert len(utterances(made[0])) == 4


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
@pytest.mark.parametrize("size", [1, 160])
def test_events_are_the_same_byte_by_byte(encoding: Encoding, rate_hz: int, size: int) -> None:
    """One byte a message and 160 bytes a message give the events of one message."""
    audio = interleaved([talk([(100, 400)], rate_hz), talk([(0, 150)], rate_hz, seed=1)], encoding)
    whole = play(CallSession(call(rate_hz, encoding), parts()), [audio])
    pieces = play(CallSession(call(rate_hz, encoding), parts()), list(cut(audio, [size])))
    assert comparable(whole) == comparable(pieces)
    assert len(utterances(whole)) == 1


def test_a_real_call_gives_the_same_events_in_any_messages() -> None:
    """The recorded sample call, with the real voice detector, does not depend on its messages either."""
    samples, rate_hz = soundfile.read("app/samples/two_legs.flac", dtype="int16", always_2d=True)
    audio = samples[: 12 * rate_hz].tobytes()
    made = [
        comparable(play(CallSession(call(rate_hz), parts(new_vad=FrameVad)), messages))
        for messages in ([audio], list(cut(audio, [160])), list(cut(audio, [1, 3, 9_999])))
    ]
    assert made[0] == made[1] == made[2]
    assert sum(isinstance(event, tuple) for event in made[0]) >= 3


@settings(max_examples=60, deadline=None)
@given(customer=TURNS, agent=TURNS)
def test_each_utterance_has_the_tokens_of_its_own_audio(customer: Talk, agent: Talk) -> None:
    """Pre-roll, speech and trailing silence, or what a forced cut handed over: nothing more, nothing less."""
    legs = {Leg.CUSTOMER: talk(customer), Leg.AGENT: talk(agent, seed=1)}
    session = CallSession(call(), parts(policy=PolicyConfig(ScoringPurpose.SAFETY), endpoint=SHORT))
    events = play(session, [interleaved(list(legs.values()))])
    for utterance in utterances(events):
        leg = pcm_to_float(legs[utterance.leg])
        first, last = round(utterance.start_s * 8_000), round(utterance.end_s * 8_000)
        own = np.pad(leg[first:last], (0, max(0, last - len(leg))))
        assert utterance.tokens is not None
        assert np.array_equal(utterance.tokens, sum_tokens(own))


@settings(max_examples=60, deadline=None)
@given(customer=TURNS, agent=TURNS)
def test_utterances_of_a_leg_are_numbered_in_order_and_never_overlap(customer: Talk, agent: Talk) -> None:
    """Ids and times rise, each utterance was announced at its start, none is over-long or past the end."""
    session = CallSession(call(), parts(endpoint=SHORT))
    events = play(session, [interleaved([talk(customer), talk(agent, seed=1)])])
    starts = {(e.utterance_id, e.start_s) for e in events if isinstance(e, SpeechStarted)}
    for leg in BOTH:
        mine = [u for u in utterances(events) if u.leg is leg]
        assert [u.utterance_id for u in mine] == sorted({u.utterance_id for u in mine})
        assert all(a.end_s <= b.start_s for a, b in pairwise(mine))
        assert all((u.utterance_id, u.start_s) in starts for u in mine)
        assert all(0 < u.end_s - u.start_s <= 3.0 + 1e-9 for u in mine)
        assert all(u.end_s <= session.summary().duration_s for u in mine)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@settings(max_examples=20, deadline=None)
@given(customer=TURNS, sizes=SIZES, extra=st.integers(0, 5))
def test_the_four_parts_of_a_leg_sum_to_its_length(
    rate_hz: int, customer: Talk, sizes: list[int], extra: int
) -> None:
    """The parts are the whole, to the sample at 8 kHz and to the last digit that is published."""
    leg = np.append(talk(customer, rate_hz), np.zeros(extra, np.int16))
    session = CallSession(call(rate_hz, channels=(Leg.CUSTOMER,)), parts(abstain=AbstainRules(0.5)))
    play(session, list(cut(interleaved([leg]), sizes)))
    expected = (2 * len(leg) * 8_000 + rate_hz) // (2 * rate_hz)
    assert total(session.summary()) == {Leg.CUSTOMER: expected}
    audio = session.summary().legs[Leg.CUSTOMER].audio.body()
    published = [Decimal(str(audio[part])) for part in ("scored_s", "silence_s", "rejected_s", "lost_s")]
    assert sum(published) == Decimal(expected) / 8_000
    assert min(published) >= 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["speech", "silence", "lost"]), st.integers(1, 9_000)),
        st.tuples(st.sampled_from(["pause", "resume", "flush", "mark"]), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS)
def test_every_sample_is_counted_through_pauses_flushes_and_losses(steps: list[tuple[str, int]]) -> None:
    """Whatever is done to a call, its legs are as long as what was sent and lost, and stay in step."""
    session = CallSession(call(), parts(max_gap_s=60.0))
    controls: dict[str, Callable[[], list[SessionEvent]]] = {
        "pause": session.pause,
        "resume": session.resume,
        "flush": session.flush,
        "mark": lambda: session.mark("m"),
    }
    position, origin, end = 0, None, 0
    counted = {"heard": 0, "lost": 0, "paused": 0}
    listening = True
    events: list[SessionEvent] = []
    for step, samples in steps:
        if step in controls:
            events += controls[step]()
            listening = {"pause": False, "resume": True}.get(step, listening)
        elif step == "lost":
            position += samples
        else:
            origin = position if origin is None else origin
            lost = position - max(end, origin)
            leg = np.full(samples, 3_000 if step == "speech" else 0, np.int16)
            events += session.push(AudioPacket(interleaved([leg, leg]), position))
            position = end = position + samples
            counted["lost" if listening else "paused"] += lost
            counted["heard" if listening else "paused"] += samples
    events += session.stop()
    for utterance in utterances(events):
        session.account(utterance, utterance.reason)
    for leg_summary in session.summary().legs.values():
        audio = leg_summary.audio
        assert audio.total_samples == sum(counted.values())
        assert (audio.lost_samples, audio.rejected_samples.get("paused", 0)) == (
            counted["lost"],
            counted["paused"],
        )
        assert min(audio.silence_samples, audio.scored_samples, *audio.rejected_samples.values(), 0) == 0


@settings(max_examples=40, deadline=None)
@given(
    stretches=st.lists(st.integers(1, 3_000), min_size=1, max_size=6),
    rate_hz=st.sampled_from([16_000, 24_000, 48_000]),
    paused=st.booleans(),
)
def test_flushes_and_pauses_at_any_sample_lose_none(stretches: list[int], rate_hz: int, paused: bool) -> None:
    """A flush (or a pause) starts the resampler afresh: each stretch is rounded to 8 kHz on its own."""
    session = CallSession(call(rate_hz, channels=(Leg.CUSTOMER,)), parts())
    for samples in stretches:
        session.push(AudioPacket(bytes(2 * samples)))
        if paused:
            session.pause()
            session.push(AudioPacket(bytes(2 * samples)))
            session.resume()
        else:
            session.flush()
    session.stop()
    lengths = [(2 * samples * 8_000 + rate_hz) // (2 * rate_hz) for samples in stretches]
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert audio.silence_samples == sum(lengths)
    assert audio.rejected_samples.get("paused", 0) == (sum(lengths) if paused else 0)


@settings(max_examples=40, deadline=None)
@given(talked=st.integers(400, 2500), rate_hz=st.sampled_from([8_000, 16_000, 24_000, 48_000]))
def test_stop_yields_the_utterance_in_flight(talked: int, rate_hz: int) -> None:
    """Someone who speaks until the line drops still has an utterance, up to the last whole frame."""
    start = call(rate_hz, channels=(Leg.CUSTOMER,))
    session = CallSession(start, parts())
    assert not utterances(session.push(AudioPacket(interleaved([talk([(300, talked)], rate_hz)]))))
    (utterance,) = utterances(session.stop())
    assert utterance.start_s == pytest.approx(0.1, abs=0.02)
    assert utterance.end_s == pytest.approx(0.3 + talked / 1000, abs=0.021)
    assert utterance.tokens is not None
    assert utterance.tokens.shape[1] == int((utterance.end_s - utterance.start_s + 1e-6) / 0.04)


def test_an_hour_of_silence_is_silence_and_nothing_grows() -> None:
    """Silence makes no event and holds no memory (five minutes stand for the hour)."""
    session = CallSession(call(), parts(new_vad=FrameVad))
    minute = AudioPacket(bytes(4 * 8_000 * 60))
    assert session.push(minute) == []
    tracemalloc.start()
    for _ in range(3):
        assert session.push(minute) == []
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 20_000
    assert session.push(minute) == session.stop() == []
    assert session.summary().legs[Leg.CUSTOMER].audio.silence_samples == 300 * 8_000
    assert session.summary().body()["duration_s"] == 300.0


def test_a_long_pause_is_skipped_and_counted() -> None:
    """Audio during a pause is neither heard nor judged, however much of it comes, and its time passes."""
    vads: list[CountingVad] = []

    def new_vad() -> CountingVad:
        vads.append(CountingVad())
        return vads[-1]

    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(new_vad=new_vad))
    speech = talk([(0, 1005)])
    ended = utterances([*session.push(AudioPacket(interleaved([speech]))), *session.pause()])
    session.push(AudioPacket(interleaved([talk([(0, 60_000)])])))
    assert vads[0].frames <= 51
    session.resume()
    later = utterances([*session.push(AudioPacket(interleaved([speech]))), *session.stop()])
    assert [(u.start_s, u.end_s) for u in ended] == [(0.0, 1.0)]
    assert [u.start_s for u in later] == [pytest.approx(61.0, abs=0.021)]
    assert session.summary().legs[Leg.CUSTOMER].audio.rejected_samples["paused"] == 480_000
    assert session.summary().duration_s == 62.01


class CountingVad:
    """Hears speech everywhere and counts the frames it was asked about."""

    def __init__(self) -> None:
        self.frames = 0

    def judge(self, frame: np.ndarray) -> tuple[bool, float]:
        """Speech."""
        self.frames += 1
        return True, -20.0


def test_nothing_starts_within_a_pause() -> None:
    """The sound left of a frame when the pause came cannot begin an utterance while audio is dropped."""
    eager = EndpointConfig(start_window_frames=1, start_voiced_frames=1, min_speech_ms=0)
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(new_vad=CountingVad, endpoint=eager))
    session.push(AudioPacket(interleaved([talk([(0, 110)])])))
    assert len(utterances(session.pause())) == 1
    assert session.push(AudioPacket(interleaved([talk([(0, 995)])]))) == []
    assert session.pause() == []
    assert session.stop() == []


def test_a_flush_ends_the_utterance_at_what_was_heard() -> None:
    """A flush is a hard boundary: what was said before and after it are two utterances."""
    session = CallSession(call(16_000, channels=(Leg.CUSTOMER,)), parts())
    speech = AudioPacket(interleaved([talk([(0, 1000)], 16_000)]))
    first = utterances([*session.push(speech), *session.flush()])
    second = utterances([*session.push(speech), *session.stop()])
    assert [(u.start_s, u.end_s) for u in first + second] == [(0.0, 1.0), (1.0, 2.0)]


def test_an_utterance_beyond_the_maximum_is_cut_at_its_quietest_point_and_goes_on() -> None:
    """Nothing is lost at a forced cut: the next utterance starts where the first ended, in its dip."""
    leg = talk([(200, 4000)])
    leg[18_000:18_800] //= 10
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(endpoint=SHORT))
    events = play(session, [interleaved([leg])])
    first, second = utterances(events)
    assert first.end_s == second.start_s == pytest.approx(18_400 / 8_000, abs=0.05)
    assert [type(event) for event in events] == [SpeechStarted, UtteranceReady] * 2


def test_interims_come_at_every_interval_of_an_utterance() -> None:
    """With `interim`, an utterance of 5 s has interims after 2 and 4 s, with the tokens so far."""
    session = CallSession(call(channels=(Leg.CUSTOMER,), interim=True), parts())
    events = play(session, [interleaved([talk([(1000, 5000), (1000, 1)])])])
    (whole,) = utterances(events)
    interims = [event.utterance for event in events if isinstance(event, InterimReady)]
    assert [round(i.end_s - i.start_s, 3) for i in interims] == [2.0, 4.0]
    assert [i.speech_s for i in interims] == [pytest.approx(1.8, abs=0.03), pytest.approx(3.8, abs=0.03)]
    for interim in interims:
        assert interim.utterance_id == whole.utterance_id
        assert interim.tokens is not None
        assert whole.tokens is not None
        assert np.array_equal(interim.tokens, whole.tokens[:, : interim.tokens.shape[1]])


def test_interims_are_only_for_those_who_ask() -> None:
    """Without `interim` there are none."""
    events = play(CallSession(call(), parts()), [interleaved([talk([(0, 5000)])] * 2)])
    assert not any(isinstance(event, InterimReady) for event in events)


def test_a_leg_under_policy_is_followed_but_never_tokenised() -> None:
    """The agent's utterances come out with their times and the reason; no token stream exists for the leg."""
    streams: list[SumTokens] = []

    def new_stream() -> SumTokens:
        streams.append(SumTokens())
        return streams[-1]

    session = CallSession(call(interim=True), parts(new_token_stream=new_stream))
    events = play(session, [interleaved([talk([(0, 2500)])] * 2)])
    by_leg = {u.leg: u for u in utterances(events)}
    assert len(streams) == 1
    assert by_leg[Leg.AGENT].tokens is None
    assert by_leg[Leg.AGENT].reason is AbstainReason.POLICY
    assert "purpose" in (by_leg[Leg.AGENT].detail or "")
    assert by_leg[Leg.CUSTOMER].reason is None
    interims = [event.utterance.leg for event in events if isinstance(event, InterimReady)]
    assert interims == [Leg.CUSTOMER]
    assert session.summary().legs[Leg.AGENT].audio.rejected_samples.keys() == {"policy"}


def test_missing_consent_closes_every_leg() -> None:
    """A line that requires consent follows the call and scores nobody without it."""
    policy = PolicyConfig(lines={"default": LinePolicy(require_consent=True)})
    events = play(CallSession(call(), parts(policy=policy)), [interleaved([talk([(0, 800)])] * 2)])
    assert {u.reason for u in utterances(events)} == {AbstainReason.POLICY}


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (AbstainRules(min_speech_s=0.9), AbstainReason.TOO_SHORT),
        (AbstainRules(min_snr_db=50.0), AbstainReason.TOO_NOISY),
        (AbstainRules(min_speech_s=0.9, min_snr_db=50.0), AbstainReason.TOO_SHORT),
        (AbstainRules(), None),
    ],
)
def test_abstentions_known_before_scoring(rules: AbstainRules, reason: AbstainReason | None) -> None:
    """Too little speech, or too much noise, is known from the audio alone; the first reason wins."""
    rng = np.random.default_rng(5)
    noisy = talk([(3000, 800), (1000, 1)]) + rng.integers(-30, 30, 38_408).astype(np.int16)
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(abstain=rules))
    (utterance,) = utterances(play(session, [interleaved([noisy])]))
    assert utterance.quality.snr_db is not None
    assert 20 < utterance.quality.snr_db < 50
    assert utterance.reason is reason
    assert (utterance.detail is None) is (reason is None)


def test_uncertain_counts_as_scored_and_other_reasons_as_rejected() -> None:
    """The account follows what was published."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    audio = interleaved([talk([(0, 800), (1000, 800), (1000, 800), (1000, 1)])])
    first, second, third = utterances([*session.push(AudioPacket(audio)), *session.stop()])
    assert set(session.summary().legs[Leg.CUSTOMER].audio.rejected_samples) == {"pending"}
    session.account(first, None)
    session.account(second, AbstainReason.UNCERTAIN)
    session.account(third, AbstainReason.NOT_SPEECH)
    audio_account = session.summary().legs[Leg.CUSTOMER].audio
    lengths = [round((u.end_s - u.start_s) * 8_000) for u in (first, second, third)]
    assert audio_account.scored_samples == lengths[0] + lengths[1]
    assert audio_account.rejected_samples == {"not_speech": lengths[2]}
    with pytest.raises(KeyError):
        session.account(first, None)


def test_a_blip_is_announced_but_makes_no_utterance() -> None:
    """A knock just long enough to look like speech is counted as rejected, and its id is not used again."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    events = play(session, [interleaved([talk([(500, 140), (1000, 900), (900, 1)])])])
    assert [e.utterance_id for e in events if isinstance(e, SpeechStarted)] == [
        "c.customer.0000",
        "c.customer.0001",
    ]
    assert [u.utterance_id for u in utterances(events)] == ["c.customer.0001"]
    assert session.summary().legs[Leg.CUSTOMER].audio.rejected_samples.keys() == {"blip"}


def test_a_call_that_ends_inside_a_sample_is_warned_of() -> None:
    """Odd bytes wait for their other half; at the end they are left out, and the client is told."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    session.push(AudioPacket(b"\x00"))
    assert session.push(AudioPacket(b"\x00\x01")) == []
    (warning,) = session.stop()
    assert isinstance(warning, SessionWarning)
    assert warning.code == "truncated_sample"
    assert total(session.summary()) == {Leg.CUSTOMER: 1}


def packet(samples: int, position: int) -> AudioPacket:
    """Mono silence at a place on the sender's clock."""
    return AudioPacket(bytes(2 * samples), position)


def test_gaps_are_filled_duplicates_dropped_and_wild_clocks_warned_of() -> None:
    """The sender's clock decides: holes count as lost, repeats do not count, jumps are told to the client."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(max_gap_s=1.0))
    assert session.push(packet(160, 1_000)) == []
    assert session.push(packet(160, 1_320)) == []
    assert session.push(packet(160, 1_320)) == []
    assert session.summary().legs[Leg.CUSTOMER].audio.lost_samples == 160
    (jump,) = session.push(packet(160, 21_480))
    (back,) = session.push(packet(160, 0))
    assert isinstance(jump, SessionWarning)
    assert isinstance(back, SessionWarning)
    assert (jump.code, back.code) == ("long_gap", "clock_restarted")
    session.stop()
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert (audio.lost_samples, audio.total_samples) == (160 + 20_000, 640 + 160 + 20_000)


def test_loss_within_an_utterance_is_in_its_quality_and_not_in_its_account() -> None:
    """Filled audio belongs to `lost`, even where someone speaks around it."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    speech = interleaved([talk([(0, 1000)])])
    session.push(AudioPacket(speech, 0))
    session.push(AudioPacket(speech, 8_800))
    (utterance,) = utterances(session.stop())
    session.account(utterance, None)
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert utterance.quality.packet_loss == pytest.approx(800 / 16_800, abs=1e-4)
    assert utterance.quality.concealed == pytest.approx(480 / 16_800, abs=1e-4)
    assert utterance.quality.codec == "pcm_s16le/8000"
    assert (audio.scored_samples, audio.lost_samples, audio.silence_samples) == (16_000, 800, 0)


@pytest.mark.parametrize("paused", [False, True])
def test_what_was_heard_before_a_pause_conceals_nothing_after_it(paused: bool) -> None:
    """A hole right after a pause is silent: what was said before it must not be heard again."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    speech = interleaved([talk([(0, 600)])])
    session.push(AudioPacket(speech, 0))
    if paused:
        session.pause()
        session.push(packet(80, 4_800))
        session.resume()
    session.push(AudioPacket(speech, 5_040))
    quality = [utterance.quality for utterance in utterances(session.stop())]
    assert sum(one.concealed > 0 for one in quality) == (0 if paused else 1)


def test_a_mark_is_answered_in_its_place() -> None:
    """A mark comes back after what ended before it."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    events = session.push(AudioPacket(interleaved([talk([(0, 800), (1000, 1)])])))
    events += session.mark("here")
    assert [type(event) for event in events] == [SpeechStarted, UtteranceReady, MarkReached]


@pytest.mark.parametrize("name", ["push", "mark", "flush", "pause", "resume", "stop"])
def test_a_stopped_session_takes_nothing_more(name: str) -> None:
    """Driving a session past its end is an error of the caller."""
    session = CallSession(call(), parts())
    session.stop()
    arguments: dict[str, list[object]] = {"push": [AudioPacket(b"")], "mark": ["m"]}
    with pytest.raises(SessionError):
        getattr(session, name)(*arguments.get(name, []))


def test_the_defaults_of_the_parts_are_usable() -> None:
    """Parts need a tokenizer and a detector, everything else has a value."""
    session = CallSession(call(), SessionParts(SumTokens, FrameVad))
    assert session.policies[Leg.CUSTOMER].scored
    assert session.stop() == []
