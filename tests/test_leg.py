"""What a leg makes of tones: known before anything is scored, and no harm to speech beside them."""

from __future__ import annotations

import numpy as np
import pytest

from app.accounting import Counts
from app.audio.endpoint import EndpointConfig
from app.domain import AbstainReason, FloatArray, Leg, Utterance
from app.leg import AbstainRules, LegParts, LegTracker, UtteranceReady
from app.policy import LegPolicy
from tests.support.calls import LoudnessVad, SumTokens


def ringing(seconds: float) -> FloatArray:
    """A ringing tone, 425 Hz."""
    t = np.arange(int(seconds * 8_000)) / 8_000
    return (0.2 * np.sin(2 * np.pi * 425 * t)).astype(np.float32)


def voice(seconds: float) -> FloatArray:
    """Anything loud that is no tone."""
    return np.random.default_rng(0).uniform(-0.2, 0.2, int(seconds * 8_000)).astype(np.float32)


def silence(seconds: float) -> FloatArray:
    """Nothing."""
    return np.zeros(int(seconds * 8_000), dtype=np.float32)


def leg(*, interim_frames: int = 0, min_speech_s: float = 0.0, refused: bool = False) -> LegTracker:
    """A leg with the predictable detector and tokenizer."""
    policy = LegPolicy(scored=not refused, reason=AbstainReason.POLICY if refused else None, detail=None)
    return LegTracker(
        LegParts(
            call_id="c",
            leg=Leg.CUSTOMER,
            policy=policy,
            endpoint=EndpointConfig(),
            abstain=AbstainRules(min_speech_s=min_speech_s),
            new_token_stream=SumTokens,
            vad=LoudnessVad(),
            interim_frames=interim_frames,
        )
    )


def utterances(tracker: LegTracker, *pieces: FloatArray) -> list[Utterance]:
    """What comes out of these sounds."""
    frames = np.concatenate([*pieces, silence(1.0)]).reshape(-1, 160)
    events = [event for frame in frames for event in tracker.step(frame, Counts(heard=160))]
    events += tracker.flush()
    return [event.utterance for event in events if isinstance(event, UtteranceReady)]


def test_a_tone_is_known_before_it_is_scored() -> None:
    """It has no tokens, and says what it is."""
    (utterance,) = utterances(leg(), silence(0.5), ringing(1.0))
    assert (utterance.reason, utterance.detail) == (AbstainReason.NOT_SPEECH, "tone: ringback")
    assert (utterance.tone, utterance.tokens) == ("ringback", None)


def test_a_tone_is_never_too_short() -> None:
    """However much speech is asked for, a tone is a tone."""
    (utterance,) = utterances(leg(min_speech_s=5.0), silence(0.5), ringing(0.4))
    assert (utterance.reason, utterance.tone) == (AbstainReason.NOT_SPEECH, "busy")


@pytest.mark.parametrize("pieces", [(ringing(2.0), voice(0.5)), (voice(0.5), ringing(2.0))])
def test_speech_beside_a_tone_is_scored(pieces: tuple[FloatArray, FloatArray]) -> None:
    """A word before or after the ringing keeps its utterance and all its tokens."""
    (utterance,) = utterances(leg(), silence(0.5), *pieces)
    assert (utterance.reason, utterance.tone) == (None, None)
    assert utterance.tokens is not None
    assert utterance.tokens.shape[1] == int((utterance.end_s - utterance.start_s) / 0.04)


def test_a_tone_is_no_speech() -> None:
    """Its seconds do not count where speech is asked for."""
    (utterance,) = utterances(leg(min_speech_s=1.0), silence(0.5), ringing(2.0), voice(0.5))
    assert utterance.reason is AbstainReason.TOO_SHORT
    assert utterance.speech_s == pytest.approx(0.5, abs=0.07)


def test_policy_comes_before_a_tone() -> None:
    """A leg that may not be scored says so of everything."""
    (utterance,) = utterances(leg(refused=True), silence(0.5), ringing(1.0))
    assert utterance.reason is AbstainReason.POLICY


def test_a_tone_is_booked_by_its_kind() -> None:
    """Whoever accounts for it names the reason."""
    tracker = leg()
    (utterance,) = utterances(tracker, silence(0.5), ringing(1.0))
    tracker.account(utterance.utterance_id, "tone")
    audio = tracker.summary().audio
    assert audio.rejected_samples == {"tone": round((utterance.end_s - utterance.start_s) * 8_000)}
    assert list(audio.outcomes())[-1] == ("rejected", "tone", audio.rejected_samples["tone"])
