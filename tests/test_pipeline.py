"""From bytes to records: one path for sockets and files, profiles that learn only from what was scored."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.endpoint import EndpointConfig
from app.audio.g711 import pcm_to_float
from app.audio.recording import Recording, RecordingError, open_recording
from app.bundle.loader import load_bundle
from app.domain import (
    AbstainReason,
    AudioPacket,
    AudioQuality,
    CallStart,
    Encoding,
    FloatArray,
    Leg,
    LineEvent,
    LineRef,
    ModelRef,
    Utterance,
    UtteranceRecord,
)
from app.inference.errors import InferenceError
from app.inference.line_profile import LegContext, LineProfile
from app.inference.profile_book import ProfileBook
from app.inference.scorer import Scorer
from app.inference.tokenizer import Tokenizer
from app.keys import KeyRules
from app.ort import Runtime
from app.pipeline import (
    CallPipeline,
    Interim,
    KeyPressed,
    MarkReached,
    MetadataAdded,
    PauseChanged,
    PipelineParts,
    ServerEvent,
    SessionWarning,
    SpeechStarted,
    Summary,
)
from app.policy import PolicyConfig, ScoringPurpose
from app.recorded import WHOLE_MAX_S, recording_start, score_recording, score_whole
from app.session import AbstainRules, SessionError
from app.wire.base import Dtmf, Flush, Gap, GapKind, Mark, Metadata, Notice, Pause, Reformat, Resume
from tests.support.calls import BOTH, LoudnessVad, Pcm, Talk, call, cut, interleaved, parts, talk
from tests.support.tiny_bundle import write_tiny_bundle

DIM = 2
CUSTOMER: Talk = [(400, 900), (900, 700), (900, 1)]
AGENT: Talk = [(600, 500), (900, 800)]


class EchoScorer:
    """Scores by rule: an utterance's embedding is (its seconds, 1); `reasons` are given in turn."""

    def __init__(self, *reasons: AbstainReason | InferenceError | None) -> None:
        self.model = ModelRef("echo", "1", "default")
        self.embedding_dim = DIM
        self.seen: list[tuple[int, int]] = []
        self._reasons = list(reasons)

    def score(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        leg_context: LegContext,
        want_salience: bool = False,
    ) -> tuple[UtteranceRecord, FloatArray | None]:
        """A record of what was asked."""
        self.seen.append((line_profile.n, leg_context.n))
        reason = utterance.reason
        if self._reasons:
            verdict = self._reasons.pop(0)
            if isinstance(verdict, InferenceError):
                raise verdict
            reason = reason or verdict
        record = UtteranceRecord(
            call_id=utterance.call_id,
            leg=utterance.leg,
            utterance_id=utterance.utterance_id,
            start_s=utterance.start_s,
            end_s=utterance.end_s,
            scores=None,
            emotion=None if reason else "calm",
            abstained=reason is not None,
            reason=reason,
            detail=utterance.detail,
            confidence=None,
            arousal=None,
            valence=None,
            expected_cost=None,
            salience=(1.0,) if want_salience else None,
            model=self.model,
            line_profile=LineRef(line_profile.id, line_profile.n),
            audio_quality=utterance.quality,
        )
        embedding = np.array([utterance.end_s - utterance.start_s, 1.0], np.float32)
        return record, embedding if reason is None else None


def echo_parts(scorer: EchoScorer, **fields: object) -> PipelineParts:
    """Parts with the predictable detector, tokenizer and scorer."""
    return PipelineParts(parts(**fields), scorer, ProfileBook(DIM))


def records(events: list[ServerEvent]) -> list[UtteranceRecord]:
    """The final records among events."""
    return [event for event in events if isinstance(event, UtteranceRecord)]


def play(pipeline: CallPipeline, audio: bytes, sizes: tuple[int, ...] = (1 << 30,)) -> list[ServerEvent]:
    """Push the audio in messages of these sizes and stop."""
    events = [event for message in cut(audio, sizes) for event in pipeline.push(message)]
    return events + pipeline.stop()


@contextmanager
def recording_of(
    legs: list[Pcm], rate_hz: int = 8_000, subtype: str = "PCM_16", container: str = "WAV"
) -> Iterator[Recording]:
    """The legs as an open file."""
    longest = max(len(leg) for leg in legs)
    samples = np.stack([np.pad(leg, (0, longest - len(leg))) for leg in legs], axis=1)
    buffer = io.BytesIO()
    if subtype == "FLOAT":  # soundfile does not scale integers into it
        soundfile.write(buffer, pcm_to_float(samples), rate_hz, format=container, subtype=subtype)
    else:
        soundfile.write(buffer, samples, rate_hz, format=container, subtype=subtype)
    with open_recording(buffer.getvalue()) as recording:
        yield recording


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> PipelineParts:
    """Real tokenizer, encoder and head, of random weights; take `fresh` of it."""
    path = write_tiny_bundle(tmp_path_factory.mktemp("pipeline") / "tiny", speech_threshold=-1e9)
    bundle = load_bundle(path, Runtime("cpu"))
    tokenizer = Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer)
    session = parts(
        new_token_stream=tokenizer.stream, policy=PolicyConfig(ScoringPurpose.SAFETY), new_vad=LoudnessVad
    )
    return PipelineParts(session, Scorer(bundle), ProfileBook(bundle.manifest.encoder.embedding_dim))


def fresh(shared: PipelineParts) -> PipelineParts:
    """The same parts with lines that have heard nothing."""
    return replace(shared, profiles=ProfileBook(shared.profiles.dim))


def test_a_call_gives_records_in_order_and_a_summary(tiny: PipelineParts) -> None:
    """Every utterance is announced, then scored at its end; the summary comes last and adds up."""
    pipeline = fresh(tiny).open(call())
    events = play(pipeline, interleaved([talk(CUSTOMER), talk(AGENT, seed=1)]))
    made = records(events)
    assert [record.utterance_id for record in made] == [
        "c.agent.0000",
        "c.customer.0000",
        "c.agent.0001",
        "c.customer.0001",
    ]
    announced = [event.utterance_id for event in events if isinstance(event, SpeechStarted)]
    assert sorted(announced) == sorted(record.utterance_id for record in made)
    assert all(sum((record.scores or {}).values()) == pytest.approx(1, abs=1e-3) for record in made)
    assert [record.line_profile.n for record in made] == [0, 1, 2, 3]
    summary = events[-1]
    assert isinstance(summary, Summary)
    assert {leg: of.utterances for leg, of in summary.legs.items()} == {Leg.CUSTOMER: 2, Leg.AGENT: 2}


@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=6))
def test_records_do_not_depend_on_messages(tiny: PipelineParts, sizes: list[int]) -> None:
    """With the real graphs, any cutting gives the same scores to the last digit."""
    audio = interleaved([talk(CUSTOMER), talk(AGENT, seed=1)], Encoding.PCM_MULAW)
    start = call(encoding=Encoding.PCM_MULAW, interim=True, salience=True)
    whole = play(fresh(tiny).open(start), audio)
    assert play(fresh(tiny).open(start), audio, tuple(sizes)) == whole


@pytest.mark.parametrize(
    ("rate_hz", "subtype", "container"),
    [(8_000, "ULAW", "WAV"), (8_000, "PCM_16", "FLAC"), (16_000, "PCM_24", "WAV"), (48_000, "FLOAT", "WAV")],
)
def test_a_file_scored_and_streamed_gives_the_same_records(
    tiny: PipelineParts, rate_hz: int, subtype: str, container: str
) -> None:
    """From the same line profile, a file and its audio streamed as s16le are one and the same call."""
    legs = [talk(CUSTOMER, rate_hz), talk(AGENT, rate_hz, seed=1)]
    with recording_of(legs, rate_hz, subtype, container) as recording:
        start = recording_start(recording, "c")
        scored = list(score_recording(recording, start, fresh(tiny)))
    with recording_of(legs, rate_hz, subtype, container) as recording:
        audio = np.concatenate(list(recording.blocks())).tobytes()
    assert start == call(rate_hz)
    assert play(fresh(tiny).open(call(rate_hz)), audio, (999,)) == scored
    assert len(records(scored)) == 4


def test_a_file_of_another_rate_is_resampled_once_and_scored(tiny: PipelineParts) -> None:
    """A 44.1 kHz file becomes an 8 kHz call of the same length."""
    with recording_of([talk(CUSTOMER, 44_100)], 44_100) as recording:
        events = list(score_recording(recording, recording_start(recording, "c"), fresh(tiny)))
    assert [record.start_s for record in records(events)] == [
        pytest.approx(0.2, abs=0.03),
        pytest.approx(2.0, abs=0.03),
    ]
    summary = events[-1]
    assert isinstance(summary, Summary)
    assert summary.duration_s == pytest.approx(2.901 + 0.9, abs=0.01)


def test_profile_and_context_counts_are_those_before_the_utterance() -> None:
    """Each utterance is seen against the earlier scored ones of its line and leg; abstentions teach nothing."""
    scorer = EchoScorer(None, AbstainReason.UNCERTAIN, None, None)
    shared = echo_parts(scorer)
    turns: Talk = [(700, 500)] * 4 + [(900, 1)]
    first = play(shared.open(call(channels=(Leg.CUSTOMER,))), interleaved([talk(turns)]))
    second = play(shared.open(call(channels=(Leg.CUSTOMER,))), interleaved([talk(turns[:1])]))
    assert scorer.seen == [(0, 0), (1, 1), (1, 1), (2, 2), (3, 0)]
    assert [record.line_profile.n for record in records(first + second)] == [0, 1, 1, 2, 3]


def test_an_agent_leg_is_answered_with_the_reason() -> None:
    """Without a purpose the agent's utterances are records that abstain, and `unscored` says so up front."""
    shared = echo_parts(EchoScorer())
    pipeline = shared.open(call())
    assert pipeline.unscored.keys() == {Leg.AGENT}
    assert pipeline.policies[Leg.CUSTOMER].scored
    made = records(play(pipeline, interleaved([talk([(0, 600)])] * 2)))
    assert {record.leg: record.reason for record in made} == {
        Leg.CUSTOMER: None,
        Leg.AGENT: AbstainReason.POLICY,
    }
    assert all(record.detail == pipeline.unscored.get(record.leg) for record in made)


def test_an_utterance_the_model_cannot_score_is_a_warning_and_the_call_goes_on() -> None:
    """A failing graph costs one utterance: it is warned of, counted as rejected, and the next is scored."""
    scorer = EchoScorer(InferenceError("encoder: broken"), None)
    pipeline = echo_parts(scorer).open(call(channels=(Leg.CUSTOMER,)))
    events = play(pipeline, interleaved([talk([(700, 500)] * 2 + [(900, 1)])]))
    (warning,) = [event for event in events if isinstance(event, SessionWarning)]
    assert warning.code == "scoring_failed"
    assert "c.customer.0000" in warning.detail
    assert [record.utterance_id for record in records(events)] == ["c.customer.0001"]
    assert pipeline.summary().legs[Leg.CUSTOMER].audio.rejected_samples.keys() == {"failed"}


def ringing(seconds: float) -> Pcm:
    """A ringing tone, 425 Hz."""
    t = np.arange(int(seconds * 8_000)) / 8_000
    return np.rint(6_000 * np.sin(2 * np.pi * 425 * t)).astype(np.int16)


def test_a_tone_is_told_and_booked_as_one(tiny: PipelineParts) -> None:
    """Its record abstains, an event of the line follows at once, and its audio is rejected as a tone."""
    silence = np.zeros(8_000, np.int16)
    pipeline = fresh(tiny).open(call(channels=(Leg.CUSTOMER,)))
    events = play(pipeline, np.concatenate([silence, ringing(1.0), silence]).tobytes())
    kinds = [type(event) for event in events]
    assert kinds == [SpeechStarted, UtteranceRecord, LineEvent, Summary]
    record, line_event = events[1:3]
    assert isinstance(record, UtteranceRecord)
    assert (record.reason, record.scores) == (AbstainReason.NOT_SPEECH, None)
    assert line_event == LineEvent("c", Leg.CUSTOMER, "tone", "ringback", record.start_s, record.end_s)
    audio = pipeline.summary().legs[Leg.CUSTOMER].audio
    assert audio.rejected_samples == {"tone": round((record.end_s - record.start_s) * 8_000)}
    assert audio.scored_samples == 0


def test_a_tone_as_a_whole_file_is_not_scored(tiny: PipelineParts) -> None:
    """A recording of nothing but ringing says so."""
    record = whole(fresh(tiny), [np.concatenate([ringing(1.5), np.zeros(800, np.int16)])])
    assert (record.not_speech_kind, record.not_speech_name) == ("tone", "ringback")


def test_what_the_scorer_rejects_without_a_kind_is_booked_as_no_speech() -> None:
    """The event of the line has no better word for it, either."""
    pipeline = echo_parts(EchoScorer(AbstainReason.NOT_SPEECH)).open(call(channels=(Leg.CUSTOMER,)))
    events = play(pipeline, interleaved([talk([(700, 500), (900, 1)])]))
    assert [event.kind for event in events if isinstance(event, LineEvent)] == ["other"]
    assert pipeline.summary().legs[Leg.CUSTOMER].audio.rejected_samples.keys() == {"not_speech"}


def test_interims_are_scored_and_nothing_learns_from_them() -> None:
    """An interim is a record of what was heard so far, against the same line and leg."""
    scorer = EchoScorer(InferenceError("once"))
    shared = echo_parts(scorer)
    start = call(channels=(Leg.CUSTOMER,), interim=True, salience=True)
    events = play(shared.open(start), interleaved([talk([(500, 5000), (900, 1)])]))
    (warning,) = [event for event in events if isinstance(event, SessionWarning)]
    (interim,) = [event for event in events if isinstance(event, Interim)]
    (record,) = records(events)
    assert warning.code == "scoring_failed"
    assert interim.record.utterance_id == record.utterance_id
    assert interim.record.end_s < record.end_s
    assert interim.record.salience == (1.0,)
    assert scorer.seen == [(0, 0)] * 3
    assert shared.profiles.get("default").n == 1


def test_controls_do_what_they_say() -> None:
    """Mark answers in place, flush and pause end the utterance, a pause drops audio until resume."""
    pipeline = echo_parts(EchoScorer()).open(call(channels=(Leg.CUSTOMER,)))
    speech = interleaved([talk([(0, 1000)])])
    pipeline.push(AudioPacket(speech))
    assert pipeline.control(Mark("m")) == [MarkReached("m")]
    assert len(records(pipeline.control(Flush()))) == 1
    pipeline.push(speech)
    assert len(records(pipeline.control(Pause()))) == 1
    assert pipeline.push(speech) == []
    assert pipeline.control(Resume()) == [PauseChanged(False, "client", 3.0)]
    assert pipeline.control(Resume()) == []
    pipeline.push(speech)
    stopped = pipeline.stop()
    assert [record.start_s for record in records(stopped)] == [3.0]
    with pytest.raises(SessionError):
        pipeline.push(speech)


def test_keys_pause_for_a_payment_and_are_hidden_meanwhile() -> None:
    """The line's keys pause and resume; what is pressed between them is not told."""
    shared = echo_parts(EchoScorer())
    rules = {"default": KeyRules(pause="*1", resume="*2")}
    shared = replace(shared, session=replace(shared.session, key_rules=rules))
    pipeline = shared.open(call(channels=(Leg.CUSTOMER,)))
    assert pipeline.control(Dtmf("*", track=0)) == [KeyPressed("*", Leg.CUSTOMER, 0.0)]
    assert pipeline.control(Dtmf("1")) == [KeyPressed("1", None, 0.0), PauseChanged(True, "keys", 0.0)]
    assert pipeline.control(Dtmf("4")) == [KeyPressed(None, None, 0.0)]
    assert pipeline.control(Dtmf("*")) == [KeyPressed(None, None, 0.0)]
    assert pipeline.control(Dtmf("2")) == [KeyPressed(None, None, 0.0), PauseChanged(False, "keys", 0.0)]
    assert pipeline.control(Dtmf("7")) == [KeyPressed("7", None, 0.0)]


def test_what_the_wire_says_besides_audio_comes_through() -> None:
    """Notices become warnings, metadata is handed on, gaps move the clock, a new form is taken."""
    pipeline = echo_parts(EchoScorer()).open(call(channels=(Leg.CUSTOMER,)))
    assert pipeline.control(Notice("odd", "something")) == [SessionWarning("odd", "something")]
    assert pipeline.control(Metadata({"a": "b"})) == [MetadataAdded({"a": "b"})]
    assert pipeline.control(Gap(GapKind.LOST, samples=800)) == []
    assert pipeline.control(Gap(GapKind.PAUSED, samples=800)) == []
    assert pipeline.control(Reformat(Encoding.PCM_MULAW, 16_000)) == []
    summary = pipeline.stop()[-1]
    assert isinstance(summary, Summary)
    audio = summary.legs[Leg.CUSTOMER].audio
    assert (audio.lost_samples, audio.rejected_samples) == (800, {"paused": 800})


@pytest.mark.parametrize(
    ("count", "legs", "expected"),
    [
        (1, None, (Leg.CUSTOMER,)),
        (2, None, BOTH),
        (1, (Leg.AGENT,), (Leg.AGENT,)),
        (2, (Leg.AGENT, Leg.CUSTOMER), (Leg.AGENT, Leg.CUSTOMER)),
    ],
)
def test_the_legs_of_a_recording(count: int, legs: tuple[Leg, ...] | None, expected: tuple[Leg, ...]) -> None:
    """One channel is the customer, two are customer and agent, unless told."""
    with recording_of([talk([(0, 100)])] * count) as recording:
        start = recording_start(recording, "f", legs=legs, line="l", salience=True, consent=True)
    assert start.format.channels == expected
    assert (start.line, start.salience, start.consent, start.notice_given) == ("l", True, True, False)


@pytest.mark.parametrize("legs", [BOTH, ()])
def test_legs_that_do_not_fit_the_channels_are_refused(legs: tuple[Leg, ...]) -> None:
    """As many legs as channels, or the recording is refused."""
    with recording_of([talk([(0, 100)])]) as recording, pytest.raises(RecordingError, match="wrong_legs"):
        recording_start(recording, "f", legs=legs)


def whole(shared: PipelineParts, legs: list[Pcm], rate_hz: int = 8_000, **fields: object) -> UtteranceRecord:
    """Score these legs as one utterance."""
    with recording_of(legs, rate_hz) as recording:
        start: CallStart = replace(recording_start(recording, "f"), **fields)  # type: ignore[arg-type]
        return score_whole(recording, start, shared)


def voice(seconds: float, rate_hz: int = 8_000) -> Pcm:
    """Something webrtcvad takes for speech: a hundred harmonics, humming up and down, with a little noise."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(140 + 20 * np.sin(2 * np.pi * 3 * t)) / rate_hz
    tone = sum(np.sin(k * phase) / k for k in range(1, 25))
    noise = np.random.default_rng(0).normal(0, 0.05, len(t))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)
    return np.asarray(np.rint(6_000 * envelope * (tone + noise)), np.int16)


def test_a_whole_file_is_one_utterance_cut_to_its_speech(tiny: PipelineParts) -> None:
    """Silence around the speech is left out, but for pre-roll and trailing silence; pauses inside are kept."""
    silence = np.zeros(16_000, np.int16)
    shared = fresh(tiny)
    record = whole(shared, [np.concatenate([silence, voice(1.0), silence, voice(1.0), silence])])
    assert record.start_s == pytest.approx(1.8, abs=0.1)
    assert record.end_s == pytest.approx(6.2, abs=0.1)
    assert record.utterance_id == "f.customer.0000"
    assert record.emotion is not None
    assert shared.profiles.get("default").n == 1


def test_a_whole_file_is_scored_by_the_scorer_of_the_live_path(tiny: PipelineParts) -> None:
    """The same stretch of audio gets the same scores as one utterance of a file and as one of a call."""
    leg = np.concatenate([np.zeros(8_000, np.int16), voice(2.0), np.zeros(8_000, np.int16)])
    alone = whole(fresh(tiny), [leg])
    first, last = round(alone.start_s * 8_000), round(alone.end_s * 8_000)
    loud = replace(tiny.session, endpoint=EndpointConfig(pre_roll_ms=0), new_vad=AlwaysSpeech)
    pipeline = replace(fresh(tiny), session=loud).open(call(channels=(Leg.CUSTOMER,)))
    (live,) = records(play(pipeline, leg[first:last].tobytes()))
    assert live.end_s == pytest.approx(alone.end_s - alone.start_s)
    assert live.scores == alone.scores


class AlwaysSpeech:
    """A detector that hears speech everywhere."""

    def judge(self, frame: FloatArray) -> tuple[bool, float]:
        """Speech."""
        return True, -20.0


def test_of_two_channels_the_customer_is_heard_whole() -> None:
    """A mixture would score the agent too; only where there is no customer is the agent asked about."""
    quiet, loud = np.zeros(16_000, np.int16), voice(2.0)
    heard = whole(echo_parts(EchoScorer()), [loud, quiet])
    swapped = replace(call().format, channels=(Leg.AGENT, Leg.CUSTOMER))
    assert heard.leg is Leg.CUSTOMER
    assert whole(echo_parts(EchoScorer()), [quiet, loud], format=swapped).end_s == heard.end_s
    only_agent = whole(echo_parts(EchoScorer()), [loud], format=replace(swapped, channels=(Leg.AGENT,)))
    assert only_agent.reason is AbstainReason.POLICY


def test_a_whole_file_without_speech_is_left_to_the_model() -> None:
    """Where no speech is found everything is scored, whether it is speech is then the head's to say."""
    record = whole(echo_parts(EchoScorer()), [np.zeros(16_000, np.int16)])
    assert (record.start_s, record.end_s, record.reason) == (0.0, 2.0, None)


@pytest.mark.parametrize("samples", [1, 159, 400])
def test_a_whole_file_too_short_to_judge_abstains(samples: int) -> None:
    """A file shorter than the least speech is too short, and one shorter than a frame has no quality."""
    shared = echo_parts(EchoScorer(), abstain=AbstainRules(min_speech_s=0.3))
    record = whole(shared, [np.full(samples, 900, np.int16)])
    assert record.reason is AbstainReason.TOO_SHORT
    assert samples > 160 or record.audio_quality == AudioQuality(None, 0.0, 0.0, codec="pcm_s16le/8000")


@pytest.mark.parametrize("reason", [None, AbstainReason.UNCERTAIN])
def test_a_whole_file_over_the_maximum_is_cut_and_says_so(reason: AbstainReason | None) -> None:
    """Only the beginning of a very long file is one utterance, and the record's detail tells."""
    shared = echo_parts(EchoScorer(reason), abstain=AbstainRules(min_speech_s=70.0 if reason else 0.0))
    record = whole(shared, [np.tile(voice(1.0), 65)])
    assert record.end_s <= WHOLE_MAX_S
    assert record.detail is not None
    assert record.detail.endswith("the recording is longer than 60 s, the rest was not heard")
    assert ("needed" in record.detail) is (reason is not None)


def test_whole_files_of_any_rate_are_heard_at_8_khz(tiny: PipelineParts) -> None:
    """48 kHz and 44.1 kHz files are scored over the same seconds as at 8 kHz."""
    ends = [whole(fresh(tiny), [voice(2.0, rate)], rate).end_s for rate in (8_000, 44_100, 48_000)]
    assert ends == [pytest.approx(2.0, abs=0.05)] * 3
