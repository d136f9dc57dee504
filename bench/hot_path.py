"""What a second of one leg costs, stage by stage: `python -m bench.hot_path [--bundle FOLDER] [--repeat N]`.

Plays the customer leg of the sample call through the stages of the service, single-threaded, in messages of 20 ms of
µ-law. Times are CPU seconds; absolute ones vary with the machine, so each stage is also given as a multiple of the
first (decoding and framing alone), measured in the same run. The whole call is what `app.pipeline` does with those
messages.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.audio.endpoint import EndpointConfig, Endpointer
from app.audio.framing import Deinterleaver, Framer
from app.audio.g711 import encode, float_to_pcm
from app.audio.level import energy_dbfs
from app.audio.recording import read_recording
from app.audio.tones import ToneMeter
from app.audio.vad import FRAME_SAMPLES, FrameVad
from app.bundle.loader import LoadedBundle, load_bundle
from app.bundle.manifest import DEFAULT_HEAD
from app.domain import SAMPLE_RATE_HZ, AudioFormat, CallStart, Encoding, FloatArray, Leg
from app.inference.encoder import Encoder
from app.inference.head import Head
from app.inference.line_profile import LegContext, LineProfile
from app.inference.profile_book import ProfileBook
from app.inference.scorer import Scorer
from app.inference.tokenizer import Tokenizer
from app.ort import Runtime
from app.pipeline import PipelineParts
from app.session import SessionParts

MESSAGE_BYTES = 160
SAMPLE = Path(__file__).parent.parent / "app" / "samples" / "two_legs.flac"
BUNDLE = Path(__file__).parent.parent / "models" / "bundles" / "kowairo-8k"
FORMAT = AudioFormat(Encoding.PCM_MULAW, SAMPLE_RATE_HZ, (Leg.CUSTOMER,))


@dataclass(frozen=True, slots=True)
class Work:
    """The sample as every stage wants it."""

    messages: list[bytes]
    frames: list[FloatArray]
    levels_dbfs: list[float]
    speech: FloatArray
    seconds: float


def prepare(path: Path) -> Work:
    """The customer leg of a recording."""
    channels, _ = read_recording(path)
    samples = channels[0]
    payload = encode(float_to_pcm(samples), Encoding.PCM_MULAW)
    messages = [payload[i : i + MESSAGE_BYTES] for i in range(0, len(payload), MESSAGE_BYTES)]
    frames = Framer(FRAME_SAMPLES).push(samples)
    levels = [energy_dbfs(frame) for frame in frames]
    spoken = samples[int(0.4 * SAMPLE_RATE_HZ) : int(4.4 * SAMPLE_RATE_HZ)]
    return Work(messages, list(frames), levels, np.ascontiguousarray(spoken), len(samples) / SAMPLE_RATE_HZ)


def receive(work: Work) -> None:
    """Decode and frame: the baseline."""
    deinterleaver, framer = Deinterleaver(FORMAT.encoding, len(FORMAT.channels)), Framer(FRAME_SAMPLES)
    for message in work.messages:
        framer.push(deinterleaver.push(message)[0])


def find_speech(work: Work) -> None:
    """Voice activity and endpoints."""
    vad, endpointer = FrameVad(), Endpointer(EndpointConfig())
    for index, frame in enumerate(work.frames):
        endpointer.push(index, *vad.judge(frame))


def find_tones(work: Work) -> None:
    """The network's tones, whose levels voice activity has measured already."""
    meter = ToneMeter(len(work.frames), 10)
    for index, (frame, level_dbfs) in enumerate(zip(work.frames, work.levels_dbfs, strict=True)):
        meter.push(index, frame, True, level_dbfs)


def whole_call(work: Work, parts: PipelineParts) -> None:
    """Everything, as the socket's worker does it."""
    pipeline = parts.open(CallStart("bench", FORMAT))
    for message in work.messages:
        pipeline.push(message)
    pipeline.stop()


def cpu_seconds(run: Callable[[], object], repeat: int) -> float:
    """Least CPU time of several runs, after one to warm up."""
    run()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def measure(work: Work, bundle: LoadedBundle, repeat: int) -> list[tuple[str, float]]:
    """CPU seconds per second of audio, by stage."""
    manifest = bundle.manifest
    tokenizer = Tokenizer(bundle.tokenizer, manifest.tokenizer)
    encoder = Encoder(bundle.encoder, manifest.encoder)
    head = Head(bundle.heads[DEFAULT_HEAD], manifest.heads[DEFAULT_HEAD])
    tokens = tokenizer.tokenize(work.speech)
    embedding, _ = encoder.encode(tokens)
    dim = manifest.encoder.embedding_dim
    spec = manifest.line_profile
    mean, std = LineProfile.empty(dim).shrunk(
        np.array(spec.population_mean), np.array(spec.population_var), spec.prior_n
    )
    parts = PipelineParts(SessionParts(tokenizer.stream, FrameVad), Scorer(bundle), ProfileBook(dim))
    spoken_s = len(work.speech) / SAMPLE_RATE_HZ
    stages: list[tuple[str, Callable[[], object], float]] = [
        ("receive: decode, frame", lambda: receive(work), work.seconds),
        ("voice activity, endpoints", lambda: find_speech(work), work.seconds),
        ("tones", lambda: find_tones(work), work.seconds),
        ("tokenizer, per second of speech", lambda: tokenizer.tokenize(work.speech), spoken_s),
        (f"encoder ({bundle.variant}), per second of speech", lambda: encoder.encode(tokens), spoken_s),
        ("head, per utterance of 4 s", lambda: head.score(embedding, (mean, std, 0), LegContext.empty(dim)), spoken_s),
        ("the whole call, per second of leg", lambda: whole_call(work, parts), work.seconds),
    ]  # fmt: skip
    return [(name, cpu_seconds(run, repeat) / seconds) for name, run, seconds in stages]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    bundle = load_bundle(given.bundle, Runtime("cpu", 1))
    rows = measure(prepare(SAMPLE), bundle, given.repeat)
    baseline = rows[0][1]
    print(f"{'stage':48} {'ms per s':>9} {'x real time':>12} {'x receive':>10}")
    for name, cost in rows:
        print(f"{name:48} {1000 * cost:9.3f} {1 / cost:12,.0f} {cost / baseline:10.1f}")


if __name__ == "__main__":
    main()
