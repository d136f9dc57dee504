"""One utterance to one record: encode, score, calibrate, abstain where that is more honest, price it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from app.bundle.loader import LoadedBundle
from app.bundle.manifest import DEFAULT_HEAD
from app.domain import (
    TONE,
    AbstainReason,
    AudioQuality,
    FloatArray,
    LineRef,
    ModelRef,
    Utterance,
    UtteranceRecord,
)
from app.inference.batcher import Batcher
from app.inference.calibration import posterior
from app.inference.doubt import DoubtRules, Needed
from app.inference.encoder import Encoder
from app.inference.errors import InferenceError, require_finite
from app.inference.head import Head, HeadOutput
from app.inference.line_profile import LegContext, LineProfile
from app.inference.sounds import SoundNames

SCORE_DIGITS = 4
SALIENCE_DIGITS = 6

Verdict = tuple[AbstainReason | None, str | None]


class CostModel(Protocol):
    """What a decision costs; `app.policy.CostMatrix` is the one that sites configure."""

    def expected_cost(self, posterior: Sequence[float], categories: Sequence[str], decision: str) -> float:
        """Expected cost of publishing `decision`; the posterior is in the order of `categories`."""
        ...


class ZeroOneCost:
    """Every mistake costs 1: the expected cost is the probability of being wrong."""

    def expected_cost(self, posterior: Sequence[float], categories: Sequence[str], decision: str) -> float:
        """1 - p(decision)."""
        return 1.0 - posterior[list(categories).index(decision)]


class Scorer:
    """Scores utterances for any number of threads: it holds no state of calls, lines or legs.

    Args:
        bundle: a loaded bundle.
        cost_matrix: the site's costs; None makes every mistake cost 1.
        batcher: where the encoder runs; None runs it in the caller's thread.
        min_confidence: overrides the bundle's abstention threshold.
        quality_widens: whether poor sound raises that threshold (`app.inference.doubt`).
        head: which of the bundle's heads.

    Raises:
        ValueError: for a head the bundle lacks.
    """

    def __init__(
        self,
        bundle: LoadedBundle,
        cost_matrix: CostModel | None = None,
        *,
        batcher: Batcher | None = None,
        min_confidence: float | None = None,
        quality_widens: bool = True,
        head: str = DEFAULT_HEAD,
    ) -> None:
        manifest = bundle.manifest
        if head not in bundle.heads:
            raise ValueError(f"expected one of the heads {sorted(bundle.heads)}, got {head!r}")
        self.model = ModelRef(manifest.name, manifest.version, head)
        self.categories = tuple(manifest.heads[head].categories)
        sounds = manifest.heads[head].sounds
        self.events = () if sounds is None else sounds.of("event")
        self._sounds = None if sounds is None else SoundNames(sounds)
        self.embedding_dim = manifest.encoder.embedding_dim
        self._min_tokens = manifest.encoder.min_tokens
        line = manifest.line_profile
        self._population = (np.array(line.population_mean), np.array(line.population_var), line.prior_n)
        self._cost = ZeroOneCost() if cost_matrix is None else cost_matrix
        self._batcher = Batcher(Encoder(bundle.encoder, manifest.encoder)) if batcher is None else batcher
        self._head = Head(bundle.heads[head], manifest.heads[head])
        self._min_confidence = manifest.abstain.min_confidence if min_confidence is None else min_confidence
        self._doubt = DoubtRules() if quality_widens else None

    def score(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        leg_context: LegContext,
        want_salience: bool = False,
    ) -> tuple[UtteranceRecord, FloatArray | None]:
        """The record of one utterance, and its embedding where the line and the leg may learn from it.

        The first of these that holds is the reason of an abstention: policy, a tone (known already; not_speech),
        too_short (known already, or fewer than min_tokens), not_speech, too_noisy (known already), uncertain. An
        utterance without one
        gives its embedding float32 [D], for the caller to update line profile and leg context with; an
        abstention, or a named event, gives None, and neither may learn from it. `expected_cost` is that of
        deciding for the top category, and is given wherever scores are; so is the event.

        Raises:
            InferenceError: where a graph fails, a number is not finite or the profile has another width;
                nothing may be published.
        """
        verdict = self._without_listening(utterance)
        if verdict[0] is not None or utterance.tokens is None:
            record = self._withheld(utterance, line_profile, verdict)
            if verdict[0] is AbstainReason.NOT_SPEECH:
                record = replace(record, not_speech_kind=TONE, not_speech_name=utterance.tone)
            return record, None
        embedding, salience = self._batcher.encode(utterance.tokens)
        output = self._score_head(embedding, line_profile, leg_context)
        if output.speech < self._head.spec.speech_threshold:
            kind = self._rejected_kind(output)
            verdict = AbstainReason.NOT_SPEECH, self._why_not_speech(output, kind)
            return replace(self._withheld(utterance, line_profile, verdict), not_speech_kind=kind), None
        record = self._published(utterance, line_profile, output, salience if want_salience else None)
        # Neither is learned from: a line's laughter is no measure of how its callers speak.
        return record, None if record.abstained or record.event is not None else embedding

    def _without_listening(self, utterance: Utterance) -> Verdict:
        """Abstentions that need no graph."""
        if utterance.reason is not None and utterance.reason.hides_scores:
            return utterance.reason, utterance.detail
        needed = self._min_tokens
        got = 0 if utterance.tokens is None else utterance.tokens.shape[1]
        if got < needed:
            return AbstainReason.TOO_SHORT, f"{got} tokens, {needed} are needed"
        return None, None

    def _rejected_kind(self, output: HeadOutput) -> str | None:
        if self._sounds is None or output.sound is None:
            return None
        return self._sounds.rejected(output.sound)

    def _why_not_speech(self, output: HeadOutput, kind: str | None) -> str:
        numbers = f"speech logit {output.speech:.2f}, {self._head.spec.speech_threshold:.2f} is needed"
        return numbers if kind is None else f"{kind}: {numbers}"

    def _named_event(self, output: HeadOutput) -> tuple[str | None, float | None]:
        found = None
        if self._sounds is not None and output.sound is not None:
            found = self._sounds.event(output.sound)
        return (None, None) if found is None else (found[0], _rounded(found[1]))

    def _score_head(
        self, embedding: FloatArray, line_profile: LineProfile, leg_context: LegContext
    ) -> HeadOutput:
        if line_profile.dim != self.embedding_dim:
            raise InferenceError(
                f"line profile: expected {self.embedding_dim} numbers, got {line_profile.dim}"
            )
        mean, std = line_profile.shrunk(*self._population)
        return self._head.score(embedding, (mean, std, line_profile.n), leg_context)

    def _published(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        output: HeadOutput,
        salience: FloatArray | None,
    ) -> UtteranceRecord:
        probabilities = posterior(output.logits, self._head.spec.calibration.temperature)
        top = int(np.argmax(probabilities))
        confidence = float(probabilities[top])
        reason, detail = utterance.reason, utterance.detail
        needed = self._needed(utterance.quality)
        if reason is None and confidence < needed.confidence:
            reason = AbstainReason.UNCERTAIN
            detail = f"confidence {confidence:.2f}, {needed}"
        cost = self._cost.expected_cost(probabilities.tolist(), self.categories, self.categories[top])
        require_finite(cost, "expected cost")
        pairs = zip(self.categories, probabilities, strict=True)
        event, event_score = self._named_event(output)
        return replace(
            self._withheld(utterance, line_profile, (reason, detail)),
            scores={category: _rounded(value) for category, value in pairs},
            emotion=self.categories[top] if reason is None else None,
            abstained=reason is not None,
            confidence=_rounded(confidence),
            arousal=_rounded(output.arousal),
            valence=_rounded(output.valence),
            expected_cost=_rounded(cost),
            salience=None if salience is None else tuple(round(float(v), SALIENCE_DIGITS) for v in salience),
            event=event,
            event_score=event_score,
        )

    def _needed(self, quality: AudioQuality) -> Needed:
        if self._doubt is None:
            return Needed(self._min_confidence)
        return self._doubt.needed(self._min_confidence, quality)

    def _withheld(self, utterance: Utterance, line_profile: LineProfile, verdict: Verdict) -> UtteranceRecord:
        """A record that gives no scores."""
        reason, detail = verdict
        return UtteranceRecord(
            call_id=utterance.call_id,
            leg=utterance.leg,
            utterance_id=utterance.utterance_id,
            start_s=utterance.start_s,
            end_s=utterance.end_s,
            scores=None,
            emotion=None,
            abstained=True,
            reason=reason,
            detail=detail,
            confidence=None,
            arousal=None,
            valence=None,
            expected_cost=None,
            salience=None,
            model=self.model,
            line_profile=LineRef(line_profile.id, line_profile.n),
            audio_quality=utterance.quality,
        )


def _rounded(value: float) -> float:
    """Rounded for publishing; never a negative zero."""
    return round(float(value), SCORE_DIGITS) + 0.0
