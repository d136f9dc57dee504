"""Tracks with clocks of their own: holes, promised time, pauses, changes of form; every sample counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import AudioPacket, Encoding, Leg
from app.policy import PolicyConfig, ScoringPurpose
from app.session import CallSession, SessionEvent
from tests.support.calls import call, interleaved, parts, talk, utterances
from tests.test_session import AGENT, CUSTOMER, SHORT, play, total


def test_a_long_hole_ends_the_utterance_and_counts_as_lost() -> None:
    """What is too long to be heard as silence is not heard at all; the account holds its whole length."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts(max_gap_s=1.0))
    speech = interleaved([talk([(0, 1000)])])
    session.push(AudioPacket(speech, 0))
    found = utterances(session.push(AudioPacket(speech, 8_000 * 600)))
    assert [(u.start_s, u.end_s) for u in found] == [(0.0, 1.0)]
    (last,) = utterances(session.stop())
    assert last.start_s == 600.0
    for utterance in (*found, last):
        session.account(utterance, None)
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert (audio.scored_samples, audio.lost_samples) == (16_000, 8_000 * 599)


def test_promised_time_without_audio_is_lost_or_paused() -> None:
    """A gap that the wire states ends the utterance; its kind says where its time goes."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    session.push(AudioPacket(interleaved([talk([(0, 1000)])]), 0))
    (utterance,) = utterances(session.gap(0, 4_000))
    session.account(utterance, None)
    assert session.gap(0, 0, until_samples=20_000, paused=True) == []
    assert session.gap(0, 0, until_samples=20_000) == []
    session.stop()
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert (audio.scored_samples, audio.lost_samples) == (8_000, 4_000)
    assert audio.rejected_samples == {"paused": 8_000}


def test_several_may_pause_and_all_must_resume() -> None:
    """A carrier's pause outlives the resume of somebody else."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    session.pause("carrier")
    session.pause("rest")
    session.resume("rest")
    assert session.paused
    assert session.paused_by("carrier")
    session.push(AudioPacket(bytes(2 * 800)))
    session.resume("nobody")
    session.resume("carrier")
    assert not session.paused
    session.push(AudioPacket(bytes(2 * 800)))
    session.stop()
    audio = session.summary().legs[Leg.CUSTOMER].audio
    assert (audio.rejected_samples, audio.silence_samples) == ({"paused": 800}, 800)


def test_tracks_have_clocks_of_their_own() -> None:
    """Separate tracks give the utterances of a call that interleaves them, however far one runs ahead."""
    legs = [talk(CUSTOMER), talk(AGENT, seed=1)]
    longest = max(len(leg) for leg in legs)
    customer, agent = (np.pad(leg, (0, longest - len(leg))) for leg in legs)
    policy = PolicyConfig(ScoringPurpose.SAFETY)
    apart = CallSession(call(separate=True), parts(policy=policy))
    events = list(apart.push(AudioPacket(interleaved([customer]), track=0)))
    for start in range(0, len(agent), 160):
        events += apart.push(AudioPacket(interleaved([agent[start : start + 160]]), start, track=1))
    events += apart.stop()
    together = play(CallSession(call(), parts(policy=policy)), [interleaved([customer, agent])])

    def found(made: list[SessionEvent]) -> list[tuple[Leg, float, float]]:
        return sorted((u.leg, u.start_s, u.end_s) for u in utterances(made))

    assert found(events) == found(together)
    assert total(apart.summary()) == {Leg.CUSTOMER: len(customer), Leg.AGENT: len(agent)}


def test_a_track_that_begins_later_is_where_its_sender_puts_it() -> None:
    """Both legs are on one timeline; what a track's clock says was before its first packet counts as lost."""
    session = CallSession(call(separate=True), parts(policy=PolicyConfig(ScoringPurpose.SAFETY)))
    speech = interleaved([talk([(0, 1000)])])
    session.push(AudioPacket(speech, 800, track=0))
    session.push(AudioPacket(speech, 800 + 16_000, track=1))
    found = sorted((u.leg, u.start_s) for u in utterances(session.stop()))
    assert found == [(Leg.AGENT, 1.8), (Leg.CUSTOMER, 0.0)]  # with its pre-roll
    legs = session.summary().legs
    assert (legs[Leg.AGENT].audio.lost_samples, legs[Leg.CUSTOMER].audio.lost_samples) == (16_000, 0)


@pytest.mark.parametrize("skew", [-800, 0, 800])
def test_tracks_that_begin_about_together_have_no_hole(skew: int) -> None:
    """A tenth of a second apart, either way, nothing was lost."""
    session = CallSession(call(separate=True), parts())
    session.push(AudioPacket(bytes(3_200), 1_600, track=0))
    session.push(AudioPacket(bytes(3_200), 1_600 + skew, track=1))
    session.stop()
    assert [leg.audio.lost_samples for leg in session.summary().legs.values()] == [0, 0]
    assert total(session.summary()) == {Leg.CUSTOMER: 1_600, Leg.AGENT: 1_600}


def test_audio_may_change_its_form() -> None:
    """From 8 kHz to 16 kHz in the middle: the utterance in flight ends, time goes on in seconds."""
    session = CallSession(call(channels=(Leg.CUSTOMER,)), parts())
    session.push(AudioPacket(interleaved([talk([(0, 1000)])])))
    (first,) = utterances(session.reformat(Encoding.PCM_MULAW, 16_000))
    session.push(AudioPacket(interleaved([talk([(0, 1000)], 16_000)], Encoding.PCM_MULAW)))
    (second,) = utterances(session.stop())
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.0, 1.0, 1.0, 2.0)
    assert total(session.summary()) == {Leg.CUSTOMER: 16_000}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), separate=st.booleans(), rate_hz=st.sampled_from([8_000, 16_000]))
def test_every_sample_received_or_promised_is_accounted_for(seed: int, separate: bool, rate_hz: int) -> None:
    """Random loss, repeats, late and early packets, stated gaps, pauses: the four parts are the legs' lengths."""
    random = np.random.default_rng(seed)
    session = CallSession(call(rate_hz, separate=separate), parts(max_gap_s=0.5, endpoint=SHORT))
    tracks = 2 if separate else 1
    speech = [talk([(200, 900), (700, 400)], rate_hz, seed=leg) for leg in range(2)]
    expected = [0] * tracks
    events: list[SessionEvent] = []
    for _ in range(int(random.integers(5, 120))):
        track, what = int(random.integers(tracks)), random.random()
        size = int(random.integers(1, 900))
        if what < 0.75:
            begin = int(random.integers(0, len(speech[0]) - size))
            legs = [speech[track]] if separate else speech
            jump = int(random.choice([0, 0, 0, 0, 160, -160, rate_hz // 4, rate_hz]))
            position = max(expected[track] + jump, 0) if expected[track] else 0  # the first is the origin
            payload = interleaved([leg[begin : begin + size] for leg in legs])
            events += session.push(AudioPacket(payload, position, track))
            expected[track] = max(expected[track], position + size)
        elif what < 0.85:
            events += session.gap(track, size, paused=bool(random.integers(2)))
            expected[track] += size
        else:
            source = str(random.choice(["client", "rest", "carrier"]))
            events += session.pause(source) if random.integers(2) else session.resume(source)
    events += session.stop()
    for utterance in utterances(events):
        session.account(utterance, utterance.reason)
    for leg, summary in session.summary().legs.items():
        audio = summary.audio
        length = expected[list(session.policies).index(leg) if separate else 0]
        assert audio.total_samples == pytest.approx(
            length * 8_000 / rate_hz, abs=0 if rate_hz == 8_000 else 60
        )
        assert min(audio.scored_samples, audio.silence_samples, audio.lost_samples) >= 0
        assert "pending" not in audio.rejected_samples
