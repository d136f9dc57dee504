"""The engine is what the settings say, and by default what its parts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.audio.endpoint import EndpointConfig
from app.audio.vad import FrameVad
from app.domain import AudioFormat, CallStart, Encoding, Leg
from app.engine import endpoint_config, load_engine, policy_config
from app.policy import LinePolicy, ScoringPurpose
from app.settings import AudioSettings, Settings, SettingsError
from tests.support.service import make_settings
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle, not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def test_defaults_are_the_parts_own() -> None:
    """A number is tuned in one place: settings and parts must not drift apart."""
    audio = AudioSettings()
    assert endpoint_config(audio) == EndpointConfig()
    defaults = FrameVad.__init__.__defaults__
    assert (audio.vad_aggressiveness, audio.vad_gate_dbfs, audio.vad_floor_margin_db) == defaults


def test_contradicting_values_are_refused_by_name() -> None:
    """What single fields cannot know is said before the bundle is read."""
    with pytest.raises(SettingsError, match=r"KOWAIRO_AUDIO__.*start_voiced_frames"):
        endpoint_config(AudioSettings(start_window_frames=3, start_voiced_frames=6))


def test_lines_bring_their_own_rules() -> None:
    """Where a line says nothing, the site's rule holds."""
    settings = Settings.model_validate(
        {
            "policy": {"agent_scoring_purpose": "safety"},
            "lines": {
                "a": {"require_consent": True, "require_notice": True},
                "b": {"agent_scoring_purpose": "none"},
            },
        }
    )
    config = policy_config(settings)
    assert config.agent_scoring_purpose is ScoringPurpose.SAFETY
    assert config.lines["a"] == LinePolicy(require_consent=True, require_notice=True)
    assert config.lines["b"].agent_scoring_purpose is ScoringPurpose.NONE


def test_a_frozen_line_does_not_learn(bundle: Path) -> None:
    """And the list says that it is frozen."""
    settings = make_settings(bundle, lines={"studio": {"profile_frozen": True}})
    with load_engine(settings) as engine:
        profiles = engine.parts.profiles
        profiles.update("studio", [1.0] * profiles.dim)
        profiles.update("other", [1.0] * profiles.dim)
        bodies = {body["id"]: body for body in engine.line_bodies()}
    assert (bodies["studio"]["n"], bodies["studio"]["frozen"]) == (0, True)
    assert (bodies["other"]["n"], bodies["other"]["frozen"]) == (1, False)
    assert json.dumps(bodies)


def test_the_sites_thresholds_win_over_the_bundles(bundle: Path) -> None:
    """Those that are not set are the bundle's."""
    own = {"min_speech_s": 2.5, "min_confidence": 0.9, "quality_widens": False}
    with load_engine(make_settings(bundle, abstain=own)) as engine:
        rules = engine.parts.session.abstain
        assert (rules.min_speech_s, rules.min_snr_db) == (2.5, 3.0)


def test_calls_are_opened_as_the_policy_says(bundle: Path) -> None:
    """An agent is not scored by default."""
    with load_engine(make_settings(bundle)) as engine:
        start = CallStart("c", AudioFormat(Encoding.PCM_S16LE, 8000, (Leg.CUSTOMER, Leg.AGENT)))
        assert set(engine.open_call(start).unscored) == {Leg.AGENT}
