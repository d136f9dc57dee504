"""The scorer: records, the order of abstentions, who may learn, and what is never published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.bundle.loader import LoadedBundle
from app.bundle.manifest import SoundsSpec
from app.domain import (
    AbstainReason,
    AudioQuality,
    Leg,
    LineEvent,
    LineRef,
    ModelRef,
    TokenArray,
    Utterance,
    UtteranceRecord,
)
from app.inference.batcher import Batcher
from app.inference.doubt import DoubtRules
from app.inference.encoder import Encoder
from app.inference.errors import InferenceError
from app.inference.line_profile import LegContext, LineProfile
from app.inference.scorer import Scorer
from app.inference.tokenizer import Tokenizer
from app.ort import Array
from app.policy import CostMatrix
from tests.inference.fakes import FakeSession
from tests.support.tiny_bundle import SOUNDS, speech_like

QUALITY = AudioQuality(snr_db=20.0, clipped=0.0, packet_loss=0.0)
LINE = LineProfile.empty(16, "trunk-1")
LEG = LegContext.empty(16)


@pytest.fixture(scope="module")
def tokens(bundle: LoadedBundle) -> TokenArray:
    """The tokens of 1.2 s of speech."""
    audio = speech_like(11, 1.2).astype(np.float32) / np.float32(32768.0)
    return Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer).tokenize(audio)


def _utterance(
    tokens: TokenArray | None, reason: AbstainReason | None = None, detail: str | None = None
) -> Utterance:
    return Utterance(
        call_id="call",
        leg=Leg.CUSTOMER,
        utterance_id="call.customer.0000",
        start_s=1.0,
        end_s=2.2,
        speech_s=1.1,
        tokens=tokens,
        quality=QUALITY,
        reason=reason,
        detail=detail,
    )


def _with_head(bundle: LoadedBundle, **update: Any) -> LoadedBundle:
    """The bundle with a head of fixed outputs: angry by far, speech, little arousal."""
    outputs: dict[str, Array] = {
        "logits": np.array([[3.0, 0.0, 0.0, 0.0]], dtype=np.float32),
        "arousal": np.array([0.25], dtype=np.float32),
        "valence": np.array([-0.5], dtype=np.float32),
        "speech": np.array([1.0], dtype=np.float32),
    } | update
    return replace(bundle, heads={"default": FakeSession(lambda _: outputs)})


def _with_thresholds(bundle: LoadedBundle, confidence: float) -> LoadedBundle:
    abstain = bundle.manifest.abstain.model_copy(update={"min_confidence": confidence})
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"abstain": abstain}))


def _score(
    bundle: LoadedBundle, utterance: Utterance, **options: Any
) -> tuple[UtteranceRecord, Array | None]:
    return Scorer(bundle, **options).score(utterance, LINE, LEG)


def test_a_record_holds_what_it_should(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A confident utterance gets all its fields, rounded, hand-computed."""
    record, embedding = _score(_with_head(bundle), _utterance(tokens))
    e2 = np.exp(2.0)  # temperature 1.5
    assert record == UtteranceRecord(
        call_id="call",
        leg=Leg.CUSTOMER,
        utterance_id="call.customer.0000",
        start_s=1.0,
        end_s=2.2,
        scores={
            "angry": round(float(e2 / (e2 + 3)), 4),
            "happy": round(float(1 / (e2 + 3)), 4),
            "neutral": round(float(1 / (e2 + 3)), 4),
            "sad": round(float(1 / (e2 + 3)), 4),
        },
        emotion="angry",
        abstained=False,
        reason=None,
        detail=None,
        confidence=round(float(e2 / (e2 + 3)), 4),
        arousal=0.25,
        valence=-0.5,
        expected_cost=round(float(3 / (e2 + 3)), 4),
        salience=None,
        model=ModelRef("tiny", "0.0.1", "default"),
        line_profile=LineRef("trunk-1", 0),
        audio_quality=QUALITY,
        latency_ms=None,
    )
    assert embedding is not None
    assert embedding.shape == (16,)


def test_the_real_graphs_score_alike_from_many_threads(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """One scorer serves many threads and gives each the same record as alone."""
    scorer = Scorer(bundle)
    pieces = [tokens[:, : 5 + n % 25] for n in range(64)]
    alone = [scorer.score(_utterance(piece), LINE, LEG)[0] for piece in pieces]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda piece: scorer.score(_utterance(piece), LINE, LEG)[0], pieces))
    assert together == alone


def test_salience_comes_when_asked(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Salience has a weight for each token and sums to 1, and is absent when not asked for."""
    scorer = Scorer(bundle)
    record, _ = scorer.score(_utterance(tokens), LINE, LEG, want_salience=True)
    assert record.salience is not None
    assert len(record.salience) == tokens.shape[1]
    assert sum(record.salience) == pytest.approx(1.0, abs=1e-4)
    assert scorer.score(_utterance(tokens), LINE, LEG)[0].salience is None


@pytest.mark.parametrize("known", [AbstainReason.POLICY, AbstainReason.TOO_SHORT])
@pytest.mark.parametrize("with_tokens", [True, False])
def test_what_must_not_be_scored_never_reaches_a_graph(
    bundle: LoadedBundle, tokens: TokenArray, known: AbstainReason, with_tokens: bool
) -> None:
    """Policy and too_short withhold everything, and no graph sees the tokens."""
    encoder = FakeSession(lambda _: {})
    spied = replace(_with_head(bundle), encoder=encoder)
    record, embedding = _score(spied, _utterance(tokens if with_tokens else None, known, "because"))
    assert (record.reason, record.detail, record.abstained) == (known, "because", True)
    published = (record.scores, record.emotion, record.confidence, record.arousal, record.valence)
    assert published == (None,) * 5
    assert (record.expected_cost, record.salience, embedding) == (None, None, None)
    assert encoder.feeds == []


@pytest.mark.parametrize("count", [None, 0, 4])
def test_fewer_tokens_than_the_encoder_needs_is_too_short(
    bundle: LoadedBundle, tokens: TokenArray, count: int | None
) -> None:
    """No tokens, or fewer than the manifest's minimum, is too short, with the numbers."""
    few = None if count is None else tokens[:, :count]
    record, embedding = _score(bundle, _utterance(few))
    assert record.reason is AbstainReason.TOO_SHORT
    assert record.detail == f"{count or 0} tokens, 5 are needed"
    assert embedding is None


def test_not_speech_withholds_scores(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A speech logit below the head's threshold abstains and publishes nothing else."""
    silent = _with_head(bundle, speech=np.array([-0.5], dtype=np.float32))
    record, embedding = _score(silent, _utterance(tokens))
    assert (record.reason, record.scores, embedding) == (AbstainReason.NOT_SPEECH, None, None)
    assert record.detail == "speech logit -0.50, 0.00 is needed"
    assert record.not_speech_kind is None
    assert record.line_event == LineEvent("call", Leg.CUSTOMER, "other", None, 1.0, 2.2)


def _with_sounds(bundle: LoadedBundle, sound: Sequence[float], **update: Any) -> LoadedBundle:
    """The bundle with a head that tells speech, laughter, cough, music and noise apart, with these logits."""
    spec = bundle.manifest.heads["default"].model_copy(update={"sounds": SoundsSpec.model_validate(SOUNDS)})
    manifest = bundle.manifest.model_copy(update={"heads": {"default": spec}})
    return replace(_with_head(bundle, sound=np.array([sound], dtype=np.float32), **update), manifest=manifest)


def test_what_was_not_speech_is_told(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """The detail begins with the likeliest rejected kind; no event is named."""
    heard = _with_sounds(bundle, [0, 9, 0, 3, 1], speech=np.array([-2.0], dtype=np.float32))
    record, _ = _score(heard, _utterance(tokens))
    assert record.reason is AbstainReason.NOT_SPEECH
    assert record.detail == "music: speech logit -2.00, 0.00 is needed"
    assert (record.not_speech_kind, record.not_speech_name) == ("music", None)
    assert record.line_event == LineEvent("call", Leg.CUSTOMER, "music", None, 1.0, 2.2)
    assert (record.event, record.event_score) == (None, None)


def test_a_tone_that_is_known_already_is_not_scored(bundle: LoadedBundle) -> None:
    """It needs no tokens, and the record names the tone."""
    tone = replace(_utterance(None, AbstainReason.NOT_SPEECH, "tone: busy"), tone="busy")
    record, embedding = _score(bundle, tone)
    assert (record.reason, record.detail, embedding) == (AbstainReason.NOT_SPEECH, "tone: busy", None)
    assert (record.not_speech_kind, record.not_speech_name) == ("tone", "busy")
    assert record.line_event == LineEvent("call", Leg.CUSTOMER, "tone", "busy", 1.0, 2.2)


def test_an_event_is_named_beside_the_emotion(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Laughter keeps its emotion, but neither line nor leg learns from it."""
    record, embedding = _score(_with_sounds(bundle, [0, 2, 0, 0, 0]), _utterance(tokens))
    assert (record.emotion, record.event, embedding) == ("angry", "laughter", None)
    assert record.line_event is None
    assert record.event_score == round(float(np.exp(2) / (np.exp(2) + 4)), 4)


def test_speech_names_no_event(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Below the threshold nothing is named and the profile learns."""
    record, embedding = _score(_with_sounds(bundle, [2, 0, 0, 0, 0]), _utterance(tokens))
    assert (record.emotion, record.event, record.event_score) == ("angry", None, None)
    assert embedding is not None


def test_an_uncertain_utterance_may_hold_an_event(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """An event is given wherever scores are."""
    heard = _with_thresholds(_with_sounds(bundle, [0, 0, 4, 0, 0]), 0.9)
    record, _ = _score(heard, _utterance(tokens))
    assert (record.reason, record.event) == (AbstainReason.UNCERTAIN, "cough")
    assert _score(heard, _utterance(None))[0].event is None


def test_a_scorer_knows_its_events(bundle: LoadedBundle) -> None:
    """Those of the bundle's list; none where it has no list."""
    assert Scorer(_with_sounds(bundle, [0] * 5)).events == ("laughter", "cough")
    assert Scorer(bundle).events == ()


def test_exactly_the_threshold_is_speech(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """The threshold itself counts as speech."""
    record, _ = _score(_with_head(bundle, speech=np.array([0.0], dtype=np.float32)), _utterance(tokens))
    assert not record.abstained


def test_too_noisy_keeps_its_scores(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Noise takes the emotion away but not the scores, and the profile does not learn."""
    noisy = _utterance(tokens, AbstainReason.TOO_NOISY, "snr 1.0 dB")
    record, embedding = _score(_with_head(bundle), noisy)
    assert (record.reason, record.emotion, embedding) == (AbstainReason.TOO_NOISY, None, None)
    assert record.detail == "snr 1.0 dB"
    assert record.scores is not None
    assert record.confidence == record.scores["angry"]
    assert record.expected_cost is not None


def test_uncertain_keeps_its_scores(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A top posterior below the threshold abstains, says the numbers and keeps the scores."""
    record, embedding = _score(_with_thresholds(_with_head(bundle), 0.9), _utterance(tokens))
    assert (record.reason, record.emotion, embedding) == (AbstainReason.UNCERTAIN, None, None)
    assert record.detail == "confidence 0.71, 0.90 is needed"
    assert record.scores is not None


def test_poor_sound_needs_more_confidence(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """What is sure enough of clear speech is not of speech in noise, and the detail says why; a site may forbid it."""
    poor = replace(_utterance(tokens), quality=replace(QUALITY, snr_db=3.4, packet_loss=0.004))
    barely = _with_thresholds(_with_head(bundle), 0.71)
    assert _score(barely, _utterance(tokens))[0].emotion == "angry"
    record, embedding = _score(barely, poor)
    needed = DoubtRules().needed(0.71, poor.quality).confidence
    assert needed > 0.7113
    assert (record.reason, embedding) == (AbstainReason.UNCERTAIN, None)
    assert record.detail == f"confidence 0.71, {needed:.2f} is needed at SNR 3 dB"
    assert _score(barely, poor, quality_widens=False)[0].emotion == "angry"


def test_the_site_may_set_its_own_confidence(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """The argument overrides the bundle's threshold, both ways."""
    sure, strict = _with_head(bundle), _with_thresholds(_with_head(bundle), 0.9)
    assert _score(sure, _utterance(tokens), min_confidence=0.9)[0].reason is AbstainReason.UNCERTAIN
    assert _score(strict, _utterance(tokens), min_confidence=0.0)[0].reason is None


def test_reasons_have_an_order(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Where several hold: known policy, then too_short, not_speech, too_noisy, uncertain."""
    all_bad = _with_thresholds(_with_head(bundle, speech=np.array([-9.0], dtype=np.float32)), 1.0)
    noisy, policy = AbstainReason.TOO_NOISY, AbstainReason.POLICY
    assert _score(all_bad, _utterance(tokens[:, :2], policy))[0].reason is policy
    assert _score(all_bad, _utterance(tokens[:, :2], noisy))[0].reason is AbstainReason.TOO_SHORT
    assert _score(all_bad, _utterance(tokens, noisy))[0].reason is AbstainReason.NOT_SPEECH
    unsure = _with_thresholds(_with_head(bundle), 1.0)
    assert _score(unsure, _utterance(tokens, noisy))[0].reason is noisy
    assert _score(unsure, _utterance(tokens))[0].reason is AbstainReason.UNCERTAIN


@pytest.mark.parametrize("output", ["logits", "arousal", "valence", "speech"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_never_published(
    bundle: LoadedBundle, tokens: TokenArray, output: str, bad: float
) -> None:
    """NaN or infinity anywhere in the head's outputs is an error and no record."""
    shape = (1, 4) if output == "logits" else (1,)
    broken = _with_head(bundle, **{output: np.full(shape, bad, dtype=np.float32)})
    with pytest.raises(InferenceError, match=f"{output}: expected finite"):
        _score(broken, _utterance(tokens))


def test_an_embedding_that_is_not_finite_is_never_published(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Nor does a broken encoder reach the head, the profile or the record."""

    def broken(feeds: Mapping[str, Array]) -> dict[str, Array]:
        width = feeds["tokens"].shape[2]
        return {"embedding": np.full((1, 16), np.nan), "salience": np.full((1, width), 1.0 / width)}

    with pytest.raises(InferenceError, match="embedding"):
        _score(replace(bundle, encoder=FakeSession(broken)), _utterance(tokens))


def test_a_cost_that_is_not_finite_is_never_published(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A cost model that goes wrong yields an error, not a NaN in a record."""

    class Broken:
        def expected_cost(
            self, posterior: Sequence[float], categories: Sequence[str], decision: str
        ) -> float:
            """Not a number."""
            return float("nan")

    with pytest.raises(InferenceError, match="expected cost"):
        _score(bundle, _utterance(tokens), cost_matrix=Broken())


def test_the_sites_costs_are_used(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """The expected cost is that of the top category under the unrounded posterior (hand-computed)."""
    costs = CostMatrix.from_mapping({"sad": {"angry": 10.0}}, bundle.manifest.heads["default"].categories)
    record, _ = _score(_with_head(bundle), _utterance(tokens), cost_matrix=costs)
    other = 1 / (np.exp(2.0) + 3)
    assert record.expected_cost == pytest.approx((1 + 1 + 10) * other, abs=5e-5)


def test_line_profile_and_leg_move_the_scores(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A learnt line and a leg with a past are seen by the head, and the record names the line's n."""
    scorer = Scorer(bundle)
    cold, embedding = scorer.score(_utterance(tokens), LINE, LEG)
    assert embedding is not None
    known = LINE.merge(LineProfile.from_embeddings(np.random.default_rng(0).normal(size=(50, 16))))
    warm, _ = scorer.score(_utterance(tokens), known, LEG)
    later, _ = scorer.score(_utterance(tokens), LINE, LEG.update(-embedding))
    assert warm.line_profile == LineRef("trunk-1", 50)
    assert warm.scores != cold.scores
    assert later.scores != cold.scores


def test_scoring_changes_neither_line_nor_leg(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Learning is the caller's to do: the same utterance twice gives the same record."""
    scorer = Scorer(bundle)
    first, second = (scorer.score(_utterance(tokens), LINE, LEG)[0] for _ in range(2))
    assert first == second
    assert (LINE.n, LEG.n) == (0, 0)


def test_a_batcher_may_be_given(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """Encoding goes through the batcher that all calls share."""
    sizes: list[int] = []
    batcher = Batcher(Encoder(bundle.encoder, bundle.manifest.encoder), on_batch=sizes.append)
    shared, _ = _score(bundle, _utterance(tokens), batcher=batcher)
    assert shared == _score(bundle, _utterance(tokens))[0]
    assert sizes == [1]


def test_a_profile_of_another_bundle_is_refused(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A profile of another width never meets the head."""
    with pytest.raises(InferenceError, match="line profile: expected 16 numbers, got 8"):
        Scorer(bundle).score(_utterance(tokens), LineProfile.empty(8), LEG)


def test_an_unknown_head_is_refused(bundle: LoadedBundle) -> None:
    """Asking for a head that the bundle lacks names those it has."""
    with pytest.raises(ValueError, match=r"one of the heads \['default'\], got 'site'"):
        Scorer(bundle, head="site")


def test_no_negative_zero_is_published(bundle: LoadedBundle, tokens: TokenArray) -> None:
    """A tiny negative value is published as 0.0."""
    record, _ = _score(_with_head(bundle, valence=np.array([-1e-9], dtype=np.float32)), _utterance(tokens))
    assert str(record.valence) == "0.0"
