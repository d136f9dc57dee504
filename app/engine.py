"""A loaded bundle made ready for calls as the settings say: the service and the command line run the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from app.audio.endpoint import EndpointConfig
from app.audio.vad import FrameVad
from app.bundle.loader import LoadedBundle, load_bundle
from app.domain import (
    DEFAULT_TENANT,
    CallStart,
    FloatArray,
    ModelRef,
    Utterance,
    UtteranceRecord,
)
from app.inference.batcher import Batcher
from app.inference.encoder import Encoder
from app.inference.line_profile import LegContext, LineProfile
from app.inference.profile_book import ProfileBook, tenant_of
from app.inference.scorer import Scorer
from app.inference.tokenizer import Tokenizer
from app.keys import KeyRules
from app.leg import AbstainRules
from app.ort import Runtime
from app.pipeline import CallPipeline, PipelineParts
from app.policy import CostMatrix, CostMatrixError, LinePolicy, PolicyConfig, ScoringPurpose
from app.session import SessionParts
from app.settings import AudioSettings, Settings, SettingsError
from app.telemetry.tracing import NullTracer, Stage, Tracer

DRIFT_MIN_N = 20
"""Utterances from which on a line's drift says something of the line, and not of its few speakers."""


def _ignore(_size: int) -> None:
    """Takes a batch size and does nothing with it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that turns audio into records, shared by all calls; close it to stop its threads.

    parts: for pipelines. categories: in the head's order. events: sounds it may name. variant, provider:
    the encoder's form and device.
    """

    parts: PipelineParts
    model: ModelRef
    categories: tuple[str, ...]
    events: tuple[str, ...]
    variant: str
    provider: str
    population: tuple[list[float], list[float]]
    batcher: Batcher

    def open_call(self, start: CallStart) -> CallPipeline:
        """A pipeline for a new call."""
        return self.parts.open(start)

    def line_bodies(self, tenant: str = DEFAULT_TENANT) -> list[dict[str, Any]]:
        """Every line of a tenant that this process knows, by id: see `line_body`."""
        profiles = self.parts.profiles
        return [self.line_body(profiles.get(key)) for key in profiles.ids() if tenant_of(key) == tenant]

    def line_body(self, profile: LineProfile) -> dict[str, Any]:
        """A line: id, utterances counted, frozen, and its drift from the population."""
        return {
            "id": profile.id,
            "n": profile.n,
            "frozen": profile.frozen,
            "drift": round(profile.drift(*self.population), 4),
        }

    def drift_max(self) -> float:
        """The largest drift among lines that hold enough utterances to tell (`DRIFT_MIN_N`); 0 where none does."""
        profiles = (self.parts.profiles.get(key) for key in self.parts.profiles.ids())
        return max(
            (known.drift(*self.population) for known in profiles if known.n >= DRIFT_MIN_N), default=0.0
        )

    def close(self) -> None:
        """Finishes what runs and stops."""
        self.batcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_engine(
    settings: Settings, *, on_batch: Callable[[int], None] = _ignore, tracer: Tracer | None = None
) -> Engine:
    """Loads and checks the bundle, and prepares everything that calls share.

    Args:
        settings: what the site set.
        on_batch: told the size of each encoder run.
        tracer: makes a span of each scoring.

    Raises:
        BundleError: the bundle fails a check.
        OrtError: the device that was asked for is not there.
        SettingsError: a value does not fit the bundle, or values contradict each other.
    """
    # What the settings alone can get wrong is found before the bundle is read.
    endpoint, policy = endpoint_config(settings.audio), policy_config(settings)
    keys = key_rules(settings)
    inference = settings.inference
    runtime = Runtime(inference.provider, inference.threads)
    bundle = load_bundle(settings.bundle.resolved_path(), runtime, variant=settings.bundle.variant)
    manifest = bundle.manifest
    batcher = Batcher.for_provider(
        Encoder(bundle.encoder, manifest.encoder),
        bundle.provider,
        max_batch=inference.max_batch,
        on_batch=on_batch,
    )
    scorer = _scorer(bundle, settings, batcher)
    frozen = [line for line, rules in settings.lines.items() if rules.profile_frozen]
    profiles = ProfileBook(manifest.encoder.embedding_dim, manifest.model_id, frozen_lines=frozen)
    for line in frozen:
        profiles.set_frozen(line, True)
    session = _session_parts(bundle, settings, endpoint, policy, keys)
    return Engine(
        parts=PipelineParts(session, TracedScorer(scorer, tracer or NullTracer()), profiles),
        model=scorer.model,
        categories=scorer.categories,
        events=scorer.events,
        variant=bundle.variant,
        provider=bundle.provider.value,
        population=(manifest.line_profile.population_mean, manifest.line_profile.population_var),
        batcher=batcher,
    )


class TracedScorer:
    """A scorer, each of whose runs is a span."""

    def __init__(self, scorer: Scorer, tracer: Tracer) -> None:
        self.model = scorer.model
        self.embedding_dim = scorer.embedding_dim
        self._scorer = scorer
        self._tracer = tracer

    def score(
        self,
        utterance: Utterance,
        line_profile: LineProfile,
        leg_context: LegContext,
        want_salience: bool = False,
    ) -> tuple[UtteranceRecord, FloatArray | None]:
        """See `Scorer.score`."""
        with self._tracer.span(Stage.ENCODER, leg=utterance.leg.value):
            return self._scorer.score(utterance, line_profile, leg_context, want_salience)


def endpoint_config(audio: AudioSettings) -> EndpointConfig:
    """The endpointer's configuration.

    Raises:
        SettingsError: values that contradict each other.
    """
    try:
        return EndpointConfig(
            start_window_frames=audio.start_window_frames,
            start_voiced_frames=audio.start_voiced_frames,
            pre_roll_ms=audio.pre_roll_ms,
            hangover_ms=audio.hangover_ms,
            trailing_ms=audio.trailing_ms,
            min_speech_ms=audio.min_speech_ms,
            long_utterance_s=audio.long_utterance_s,
            long_hangover_ms=audio.long_hangover_ms,
            max_utterance_s=audio.max_utterance_s,
        )
    except ValueError as error:
        raise SettingsError(f"KOWAIRO_AUDIO__…: {error}") from error


def policy_config(settings: Settings) -> PolicyConfig:
    """The site's rules of who may be scored."""
    return PolicyConfig(
        agent_scoring_purpose=ScoringPurpose(settings.policy.agent_scoring_purpose),
        lines={
            line: LinePolicy(
                require_consent=rules.require_consent,
                require_notice=rules.require_notice,
                score_mixed=rules.score_mixed,
                agent_scoring_purpose=None
                if rules.agent_scoring_purpose is None
                else ScoringPurpose(rules.agent_scoring_purpose),
            )
            for line, rules in settings.lines.items()
        },
    )


def key_rules(settings: Settings) -> dict[str, KeyRules]:
    """The keys that pause and resume calls, by line.

    Raises:
        SettingsError: keys that no telephone has.
    """
    rules: dict[str, KeyRules] = {}
    for line, own in settings.lines.items():
        try:
            rules[line] = KeyRules(own.pause_keys, own.resume_keys)
        except ValueError as error:
            raise SettingsError(f"KOWAIRO_LINES__{line.upper()}: {error}") from error
    return rules


def _scorer(bundle: LoadedBundle, settings: Settings, batcher: Batcher) -> Scorer:
    categories = bundle.manifest.heads["default"].categories
    try:
        costs = CostMatrix.from_mapping(settings.policy.cost_matrix, categories)
    except CostMatrixError as error:
        raise SettingsError(f"KOWAIRO_POLICY__COST_MATRIX: {error}") from error
    own = settings.abstain
    return Scorer(
        bundle, costs, batcher=batcher, min_confidence=own.min_confidence, quality_widens=own.quality_widens
    )


def _session_parts(
    bundle: LoadedBundle,
    settings: Settings,
    endpoint: EndpointConfig,
    policy: PolicyConfig,
    keys: Mapping[str, KeyRules],
) -> SessionParts:
    abstain, own, audio = bundle.manifest.abstain, settings.abstain, settings.audio
    tokenizer = Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer)

    def new_vad() -> FrameVad:
        return FrameVad(audio.vad_aggressiveness, audio.vad_gate_dbfs, audio.vad_floor_margin_db)

    return SessionParts(
        new_token_stream=tokenizer.stream,
        new_vad=new_vad,
        endpoint=endpoint,
        policy=policy,
        abstain=AbstainRules(
            min_speech_s=abstain.min_speech_s if own.min_speech_s is None else own.min_speech_s,
            min_snr_db=abstain.min_snr_db if own.min_snr_db is None else own.min_snr_db,
        ),
        interim_every_s=audio.interim_every_s,
        max_gap_s=audio.max_gap_s,
        max_jump_s=audio.max_jump_s,
        key_rules=keys,
    )
