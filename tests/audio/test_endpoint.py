"""The endpointer: hand-made cases, then properties over any sequence of frames, flushes and holes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.endpoint import (
    EndpointConfig,
    Endpointer,
    EndpointEvent,
    SpeechDropped,
    SpeechStarted,
    UtteranceEnded,
    quietest,
)

CONFIG = EndpointConfig(
    start_window_frames=5,
    start_voiced_frames=3,
    pre_roll_ms=80,
    hangover_ms=200,
    trailing_ms=60,
    min_speech_ms=100,
    long_utterance_s=1.0,
    long_hangover_ms=120,
    max_utterance_s=2.0,
)


@dataclass
class Heard:
    """What one leg said and what the endpointer made of it."""

    config: EndpointConfig
    endpointer: Endpointer = field(init=False)
    events: list[EndpointEvent] = field(default_factory=list)
    voiced: dict[int, bool] = field(default_factory=dict)
    energy_db: dict[int, float] = field(default_factory=dict)
    next_frame: int = 0

    def __post_init__(self) -> None:
        self.endpointer = Endpointer(self.config)

    def push(self, voiced: bool, energy_db: float) -> None:
        """One frame; checks what must hold of its events at once."""
        frame = self.next_frame
        self.next_frame += 1
        self.voiced[frame], self.energy_db[frame] = voiced, energy_db
        events = self.endpointer.push(frame, voiced, energy_db)
        cut = any(isinstance(event, UtteranceEnded) and event.forced for event in events)
        for event in events:
            reach = self.config.max_frames
            if isinstance(event, SpeechStarted):
                reach = self.config.search_frames if cut else self.config.lookback_frames + 1
            assert frame + 1 - event.start_frame <= reach
        self.take(events)

    def take(self, events: tuple[EndpointEvent, ...]) -> None:
        """Keep events; none may speak of the future."""
        for event in events:
            assert 0 <= event.start_frame < self.next_frame
            assert isinstance(event, SpeechStarted) or event.start_frame < event.end_frame <= self.next_frame
        self.events.extend(events)

    def flush(self) -> None:
        """End what is in flight."""
        self.take(self.endpointer.flush())
        assert not self.endpointer.in_speech

    def skip(self, frames: int) -> None:
        """A pause: flush, then a hole in the frame numbers."""
        self.flush()
        self.next_frame += frames

    @property
    def ended(self) -> list[UtteranceEnded | SpeechDropped]:
        """Utterances and blips in order."""
        return [event for event in self.events if not isinstance(event, SpeechStarted)]


def hear(runs: str, config: EndpointConfig = CONFIG) -> Heard:
    """A leg from a drawing: '#' voiced (-20 dB), '=' voiced and soft (-40 dB), '.' silence (-60 dB)."""
    heard = Heard(config)
    for mark in runs:
        heard.push(mark in "#=", {"#": -20.0, "=": -40.0, ".": -60.0}[mark])
    return heard


def test_an_utterance_keeps_pre_roll_and_trailing() -> None:
    """Speech of frames 10 to 19 comes out from 4 frames before to 3 frames after."""
    heard = hear("." * 10 + "#" * 10 + "." * 30)
    assert heard.events == [SpeechStarted(6), UtteranceEnded(6, 23, 10, forced=False)]


def test_the_start_is_told_when_enough_is_voiced() -> None:
    """Two voiced frames say nothing, the third of five reveals speech from the first on."""
    heard = hear("." * 10 + "#.#")
    assert heard.events == []
    heard.push(True, -20.0)
    assert heard.events == [SpeechStarted(6)]
    assert heard.endpointer.in_speech


def test_the_end_is_told_after_the_hangover() -> None:
    """Nine silent frames are a pause, the tenth ends the utterance."""
    heard = hear("#" * 10 + "." * 9)
    assert len(heard.events) == 1
    heard.push(False, -60.0)
    assert heard.events[1:] == [UtteranceEnded(0, 13, 10, forced=False)]
    assert not heard.endpointer.in_speech


def test_a_blip_is_dropped() -> None:
    """Four voiced frames are less than the least speech: a blip, whose frames count as such."""
    assert hear("." * 10 + "####" + "." * 20).events == [SpeechStarted(6), SpeechDropped(6, 17)]


def test_scattered_voiced_frames_start_nothing() -> None:
    """Two voiced frames in any five are noise."""
    assert hear("##..." * 30).events == []


def test_pre_roll_may_use_the_hangover_but_no_earlier_utterance() -> None:
    """The next start reaches back into silence after the trailing, not into the trailing itself."""
    late = hear("#" * 10 + "." * 12 + "#" * 10 + "." * 10)
    assert [(end.start_frame, end.end_frame) for end in late.ended] == [(0, 13), (18, 35)]
    soon = hear("#" * 10 + "." * 10 + "#" * 10 + "." * 10, EndpointConfig(**_CHANGED | {"pre_roll_ms": 400}))
    assert [(end.start_frame, end.end_frame) for end in soon.ended] == [(0, 13), (13, 33)]


def test_a_long_utterance_ends_at_a_shorter_pause() -> None:
    """After a second, six silent frames suffice where before ten were needed."""
    short = hear("#" * 20 + "." * 6 + "#" * 5 + "." * 10)
    assert [(end.start_frame, end.end_frame) for end in short.ended] == [(0, 34)]
    long = hear("#" * 60 + "." * 6 + "#" * 5 + "." * 10)
    assert [(end.start_frame, end.end_frame) for end in long.ended] == [(0, 63), (63, 74)]


def test_speech_beyond_the_maximum_is_cut_where_it_is_softest() -> None:
    """A soft stretch in the last third is where the cut falls, and the rest goes on as the next utterance."""
    heard = hear("#" * 80 + "=" * 7 + "#" * 33 + "." * 10)
    assert heard.events == [
        SpeechStarted(0),
        UtteranceEnded(0, 82, 82, forced=True),
        SpeechStarted(82),
        UtteranceEnded(82, 123, 38, forced=False),
    ]


def test_the_softest_point_early_on_is_no_place_for_a_cut() -> None:
    """Only the last third counts, so no utterance is cut short for a soft beginning."""
    cut = hear("#" * 20 + "=" * 7 + "#" * 80).ended[0]
    assert isinstance(cut, UtteranceEnded)
    assert cut.forced
    assert cut.end_frame >= 67


def test_the_maximum_in_a_pause_ends_the_utterance_there() -> None:
    """When speech has just paused, nothing is cut: the utterance ends as after a hang-over."""
    config = EndpointConfig(**_CHANGED | {"long_hangover_ms": 200})
    heard = hear("." * 4 + "#" * 92 + "." * 4 + "#" * 10, config)
    assert heard.events == [SpeechStarted(0), UtteranceEnded(0, 99, 92, forced=False), SpeechStarted(99)]


def test_the_rest_of_a_cut_is_kept_however_short() -> None:
    """One voiced frame after a cut is an utterance, not a blip: nothing of long speech is lost."""
    heard = hear("#" * 97 + "==#" + "." * 10)
    assert [type(end) for end in heard.ended] == [UtteranceEnded, UtteranceEnded]
    assert sum(end.voiced_frames for end in heard.ended if isinstance(end, UtteranceEnded)) == 100


def test_a_flush_ends_the_utterance_in_flight() -> None:
    """At the end of a call the last utterance comes with what was heard of it."""
    heard = hear("#" * 10 + ".")
    heard.flush()
    assert heard.ended == [UtteranceEnded(0, 11, 10, forced=False)]
    heard.flush()
    assert len(heard.ended) == 1


def test_nothing_reaches_back_over_a_flush() -> None:
    """Voiced frames before a flush do not count towards a start after it, nor does pre-roll reach there."""
    heard = hear("....##")
    heard.flush()
    for _ in range(3):
        heard.push(True, -20.0)
    assert heard.events == [SpeechStarted(6)]


def test_frames_may_be_left_out_in_silence_only() -> None:
    """A hole is fine after a flush, an error in speech; going back always is."""
    heard = hear("#" * 10)
    with pytest.raises(ValueError, match="expected frame 10, got 12"):
        heard.endpointer.push(12, True, -20.0)
    heard.skip(5)
    heard.push(False, -60.0)
    with pytest.raises(ValueError, match="expected frame 16, got 15"):
        heard.endpointer.push(15, True, -20.0)


def test_an_hour_of_silence_grows_nothing() -> None:
    """Silence leaves no events and no memory of itself."""
    endpointer = Endpointer(CONFIG)
    for frame in range(180_000):
        assert not endpointer.push(frame, False, -60.0)
    assert len(endpointer._recent) == CONFIG.lookback_frames + 1


@settings(deadline=None)
@given(
    energy_db=st.lists(st.floats(-100, 0), min_size=1, max_size=60),
    bounds=st.tuples(st.integers(0, 59), st.integers(0, 59)),
)
def test_the_quietest_point_is_the_least_average(energy_db: list[float], bounds: tuple[int, int]) -> None:
    """No other point of the range has a lower mean over the five frames around it."""
    first, last = sorted(bound % len(energy_db) for bound in bounds)

    def mean(at: int) -> float:
        around = energy_db[max(0, at - 2) : at + 3]
        return sum(around) / len(around)

    found = quietest(energy_db, first, last)
    assert first <= found <= last
    assert mean(found) <= min(mean(at) for at in range(first, last + 1)) + 1e-9


_CHANGED = {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__}

configs = st.builds(
    EndpointConfig,
    start_window_frames=st.integers(3, 8),
    start_voiced_frames=st.integers(1, 3),
    pre_roll_ms=st.sampled_from([0, 60, 200]),
    hangover_ms=st.sampled_from([20, 100, 300]),
    trailing_ms=st.sampled_from([0, 60, 160, 400]),
    min_speech_ms=st.sampled_from([0, 100, 300]),
    long_utterance_s=st.sampled_from([0.5, 100.0]),
    long_hangover_ms=st.sampled_from([20, 100, 500]),
    max_utterance_s=st.sampled_from([1.72, 2.0, 3.0]),
)
runs = st.lists(
    st.one_of(
        st.tuples(st.just("speech"), st.integers(1, 120)),
        st.tuples(st.just("silence"), st.integers(1, 40)),
        st.tuples(st.just("noise"), st.integers(1, 60)),
        st.tuples(st.just("flush"), st.just(1)),
        st.tuples(st.just("skip"), st.integers(0, 20)),
    ),
    max_size=14,
)


def play(config: EndpointConfig, script: list[tuple[str, int]], seed: int) -> Heard:
    """A leg from runs of speech, silence and a jumpy detector, with flushes and holes, flushed at the end."""
    heard, state = Heard(config), seed
    for kind, length in script:
        if kind == "flush":
            heard.flush()
        elif kind == "skip":
            heard.skip(length)
        else:
            for _ in range(length):
                state = (1_103_515_245 * state + 12_345) % 2**31
                chance = {"speech": 0.9, "silence": 0.05, "noise": 0.5}[kind]
                heard.push(state / 2**31 < chance, -60.0 + state % 997 / 20)
    heard.flush()
    return heard


@settings(deadline=None)
@given(config=configs, script=runs, seed=st.integers(0, 1_000))
def test_utterances_never_overlap_and_pair_with_their_starts(
    config: EndpointConfig, script: list[tuple[str, int]], seed: int
) -> None:
    """Each start has one end, each frame at most one utterance or blip, and a cut's two halves touch."""
    heard = play(config, script, seed)
    starts = [event.start_frame for event in heard.events if isinstance(event, SpeechStarted)]
    assert starts == [end.start_frame for end in heard.ended]
    kinds = [isinstance(event, SpeechStarted) for event in heard.events]
    assert kinds == [True, False] * (len(kinds) // 2)
    for one, two in pairwise(heard.ended):
        assert one.end_frame <= two.start_frame
        if isinstance(one, UtteranceEnded) and one.forced:
            assert one.end_frame == two.start_frame
    if heard.ended:
        assert not getattr(heard.ended[-1], "forced", False)


@settings(deadline=None)
@given(config=configs, script=runs, seed=st.integers(0, 1_000))
def test_utterances_keep_their_bounds(
    config: EndpointConfig, script: list[tuple[str, int]], seed: int
) -> None:
    """Lengths, voiced counts, least speech, trailing and pauses are as configured; no hole lies inside."""
    heard = play(config, script, seed)
    continues = False
    for end in heard.ended:
        frames = range(end.start_frame, end.end_frame)
        voiced = [frame for frame in frames if heard.voiced[frame]]
        forced = isinstance(end, UtteranceEnded) and end.forced
        assert 0 < len(frames) <= config.max_frames
        assert voiced
        if isinstance(end, UtteranceEnded):
            assert end.voiced_frames == len(voiced)
            assert forced or continues or len(voiced) * 20 >= config.min_speech_ms
        else:
            assert not continues
            assert len(voiced) * 20 < config.min_speech_ms
        if not forced:
            assert end.end_frame - 1 - voiced[-1] <= config.trailing_frames
        pauses = [after - before - 1 for before, after in pairwise(voiced)]
        longest = max(config.hangover_frames, config.lookback_frames)
        assert max(pauses, default=0) <= longest
        continues = forced


@settings(deadline=None)
@given(config=configs, script=runs, seed=st.integers(0, 1_000))
def test_no_speech_is_left_in_silence(
    config: EndpointConfig, script: list[tuple[str, int]], seed: int
) -> None:
    """Between utterances no window has voiced frames enough for a start, flushes and holes apart."""
    heard = play(config, [run for run in script if run[0] not in ("flush", "skip")], seed)
    inside = {frame for end in heard.ended for frame in range(end.start_frame, end.end_frame)}
    for last in range(heard.next_frame):
        window = range(max(0, last + 1 - config.start_window_frames), last + 1)
        if not inside.intersection(window):
            assert sum(heard.voiced[frame] for frame in window) < config.start_voiced_frames


@settings(deadline=None)
@given(config=configs, script=runs, seed=st.integers(0, 1_000))
def test_a_cut_falls_late_between_voiced_frames(
    config: EndpointConfig, script: list[tuple[str, int]], seed: int
) -> None:
    """A forced cut leaves at least two thirds, or ends at the last voiced frame, and the next part has speech."""
    heard = play(config, script, seed)
    for one, two in pairwise(heard.ended):
        if isinstance(one, UtteranceEnded) and one.forced:
            assert any(heard.voiced[frame] for frame in range(two.start_frame, two.end_frame))
            assert isinstance(two, UtteranceEnded)
            least = min(config.max_frames - config.search_frames, config.max_frames - config.trailing_frames)
            assert one.end_frame - one.start_frame >= least


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_voiced_frames": 11}, "start_voiced_frames must lie between 1 and start_window_frames"),
        ({"start_voiced_frames": 0}, "got 0"),
        ({"pre_roll_ms": -20}, "must not be negative"),
        ({"hangover_ms": 10}, "at least 20"),
        ({"long_hangover_ms": 0}, "at least 20"),
        ({"max_utterance_s": 1.0}, "max_utterance_s must be at least 1.3"),
    ],
)
def test_contradicting_values_are_refused(changes: dict[str, float], message: str) -> None:
    """A configuration that cannot work is named when it is made."""
    with pytest.raises(ValueError, match=message):
        EndpointConfig(**changes)  # type: ignore[arg-type]


def test_times_become_frames() -> None:
    """The defaults in frames of 20 ms."""
    config = EndpointConfig()
    assert (config.lookback_frames, config.hangover_frames, config.trailing_frames) == (19, 25, 10)
    assert (config.max_frames, config.search_frames) == (750, 250)
