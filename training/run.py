"""The whole chain, stage by stage, from one configuration. A stage whose output is complete is not run again."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from models.config import MaeConfig
from models.heads import LineRelativeHead
from models.mae import MaskedAutoencoder
from training.calibrate import CalibrateConfig, calibrate, load_calibration
from training.checkpoint import load_weights
from training.config import save_config
from training.corpora.labels import CATEGORIES, EVALUATION_ONLY
from training.corpora.manifest import Segment
from training.corpora.registry import describe, prepare_corpora
from training.corpora.synthetic import write_synthetic
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.distil import DistilConfig, Student, distil
from training.evaluate import evaluate
from training.export import ExportConfig, Parts, write_bundle
from training.finetune import Classifier, FinetuneConfig, finetune, labelled_data
from training.measure import EvaluateConfig
from training.prepare import PrepareConfig, prepare
from training.pretrain import PretrainConfig, pretrain
from training.tokenise import TokeniseConfig, tokenise
from training.train_head import HeadStageConfig, load_population, train_head
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig, train_tokenizer

M = TypeVar("M", bound=nn.Module)

TEACHERS = {
    "whisper-base": {
        "name": "Whisper-base encoder, layer 3 (OpenAI)",
        "licence": "MIT",
        "used_for": "frame targets while training; not needed afterwards",
    }
}


@dataclass(frozen=True, slots=True)
class CorporaConfig:
    """Which clips. names: shared corpora under `root`; synthetic_clips: made clips per category and speaker (0: none)."""

    root: str = "../shared/corpora"
    names: tuple[str, ...] = ()
    synthetic_clips: int = 0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Every stage's configuration. `mae.encoder` is also the student's and must fit the tokenizer stage's encoder."""

    corpora: CorporaConfig = field(default_factory=CorporaConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    tokenizer: TokenizerStageConfig = field(default_factory=TokenizerStageConfig)
    tokenise: TokeniseConfig = field(default_factory=TokeniseConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    head: HeadStageConfig = field(default_factory=HeadStageConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


STAGES = (
    "prepare", "tokenizer", "tokenise", "pretrain", "finetune", "distil", "head", "calibrate", "export", "evaluate",
)  # fmt: skip


class Run:
    """One run in one folder: `<folder>/<stage>/…`. Every stage reads what the ones before it wrote."""

    def __init__(self, config: RunConfig, folder: Path, name: str) -> None:
        self.config, self.folder, self.name = config, folder, name

    def execute(self, stages: Sequence[str] = STAGES) -> None:
        """Run the given stages in order, noting how long each took."""
        save_config(self.config, self.folder / "config.json")
        for stage in stages:
            start = time.monotonic()
            work: Callable[[], None] = getattr(self, f"_{stage}")
            work()
            self._note(stage, time.monotonic() - start)

    def path(self, stage: str) -> Path:
        """A stage's folder."""
        return self.folder / stage

    def segments(self) -> list[Segment]:
        """All clips of the run."""
        corpora = self.config.corpora
        found = prepare_corpora(Path(corpora.root), corpora.names)
        if corpora.synthetic_clips:
            found += write_synthetic(self.path("synthetic"), corpora.synthetic_clips)
        return found

    def _note(self, stage: str, seconds: float) -> None:
        path = self.folder / "times.json"
        times = json.loads(path.read_text()) if path.exists() else {}
        times[stage] = round(times.get(stage, 0.0) + seconds, 1)
        path.write_text(json.dumps(times) + "\n")

    def _prepare(self) -> None:
        prepare(self.segments(), self.config.prepare, self.path("prepare"))

    def _tokenizer(self) -> None:
        if not self._done("tokenizer"):
            train_tokenizer(self.config.tokenizer, self.path("prepare"), self.path("tokenizer"))

    def _tokenise(self) -> None:
        tokenise(
            self.config.tokenise,
            self.path("prepare"),
            self.learned_tokenizer().tokenizer,
            self.path("tokenise"),
        )

    def _pretrain(self) -> None:
        if not self._done("pretrain"):
            start = self.learned_tokenizer()
            pretrain(
                replace(self.config.pretrain, model=self.mae_config()), self.config.tokenizer.model, start,
                self.path("prepare"), self.path("tokenise"), self.path("pretrain"),
            )  # fmt: skip

    def _finetune(self) -> None:
        if not self._done("finetune"):
            mae = MaskedAutoencoder(self.mae_config(), self.config.tokenizer.model)
            load_weights(mae, self.path("pretrain") / "model.safetensors")
            finetune(
                self.config.finetune, self.mae_config(), self.config.tokenizer.model, mae,
                self.path("prepare"), self.path("tokenise"), self.path("finetune"),
            )  # fmt: skip

    def _distil(self) -> None:
        if not self._done("distil"):
            teacher = Classifier(self.mae_config(), self.config.tokenizer.model, self.corpora_count())
            load_weights(teacher, self.path("finetune") / "model.safetensors")
            distil(
                self.config.distil, self.mae_config().encoder, self.config.tokenizer.model, [teacher],
                self.path("prepare"), self.path("tokenise"), self.path("distil"),
            )  # fmt: skip

    def _head(self) -> None:
        if not self._done("head"):
            train_head(
                self.config.head, self.student().encoder, self.learned_tokenizer().tokenizer,
                self.path("prepare"), self.path("tokenise"), self.path("head"),
            )  # fmt: skip

    def _calibrate(self) -> None:
        calibrate(
            self.config.calibrate, self.trained_head(), self.student().encoder,
            load_population(self.path("head"), self.config.head.prior_n),
            AudioCache(self.path("prepare")), TokenStore(self.path("tokenise")), self.path("calibrate"),
        )  # fmt: skip

    def _export(self) -> None:
        write_bundle(self.parts(), self.config.export, self.bundle, self.facts())

    def _evaluate(self) -> None:
        evaluate(self.config.evaluate, self.bundle, self.path("prepare"), self.path("evaluate"), self.facts())

    @property
    def bundle(self) -> Path:
        """Where the bundle is written."""
        return self.folder / "bundle"

    def _done(self, stage: str) -> bool:
        return (self.path(stage) / "model.safetensors").exists()

    def mae_config(self) -> MaeConfig:
        """The autoencoder, with its encoder predicting as many teacher dimensions as the cache holds."""
        mae = self.config.pretrain.model
        return replace(
            mae, encoder=replace(mae.encoder, teacher_dim=AudioCache(self.path("prepare")).teacher_dim)
        )

    def corpora_count(self) -> int:
        """Labelled training corpora, which the classifier keeps statistics of."""
        store = TokenStore(self.path("tokenise"))
        return len(labelled_data(AudioCache(self.path("prepare")), store, 1.0, 0.5, 0)[1])

    def learned_tokenizer(self) -> LearnedTokenizer:
        """What the tokenizer stage learned."""
        teacher_dim = AudioCache(self.path("prepare")).teacher_dim
        return _loaded(LearnedTokenizer(self.config.tokenizer, teacher_dim), self.path("tokenizer"))

    def student(self) -> Student:
        """What distillation made."""
        model = Student(self.mae_config().encoder, self.config.tokenizer.model, self.corpora_count())
        return _loaded(model, self.path("distil"))

    def trained_head(self) -> LineRelativeHead:
        """What the head stage learned."""
        width = self.config.pretrain.model.encoder.embedding_dim
        return _loaded(LineRelativeHead(self.config.head.model, width, len(CATEGORIES)), self.path("head"))

    def parts(self) -> Parts:
        """Everything that goes into the bundle."""
        head, chosen = self.trained_head(), load_calibration(self.path("calibrate") / "calibration.json")
        head.leg_gain.fill_(chosen.leg_gain)
        population = load_population(self.path("head"), self.config.head.prior_n)
        return Parts(self.learned_tokenizer().tokenizer, self.student().encoder, head, population, chosen)

    def facts(self) -> dict[str, Any]:
        """What manifest and card say about where the bundle comes from."""
        times = json.loads((self.folder / "times.json").read_text())
        steps = {s: getattr(getattr(self.config, s), "loop", None) for s in STAGES}
        segments = self.segments()
        rows = describe(segments, {s.corpus: _use(s.corpus, segments) for s in segments})
        parts = self.parts()
        parameters = {
            "tokenizer (served part)": served_parameters(parts.tokenizer),
            "encoder (served part)": served_parameters(parts.encoder),
            "head": sum(p.numel() for p in parts.head.parameters()),
        }
        teacher = TEACHERS.get(self.config.prepare.teacher)
        return {
            "parameters": {**parameters, "total": sum(parameters.values())},
            "commit": _commit(),
            "config": self.name,
            "seconds": round(sum(times.values()), 1),
            "seed": self.config.pretrain.loop.seed,
            "stages": [
                {
                    "name": s,
                    "what": WHAT[s],
                    "steps": loop.steps if (loop := steps[s]) else None,
                    "seconds": times[s],
                }
                for s in STAGES
                if s in times
            ],
            "teachers": [teacher] if teacher else [],
            "corpora": rows,
            "provenance": {
                "corpora": [r["name"] for r in rows],
                "licences": {r["name"]: r["licence"] for r in rows},
                "commit": _commit(),
                "config": self.name,
            },
            "metrics": {f"dev_{k}": round(v, 4) for k, v in parts.calibration.dev.items()},
        }


WHAT = {
    "prepare": "decode, cut to speech, listen with the teacher",
    "tokenizer": "audio VQ-VAE: rebuild clean sound, predict the teacher's frames",
    "tokenise": "tokens of every clip in several telephone renderings",
    "pretrain": "masked autoencoder on tokens, without labels",
    "finetune": "categories from labels: the teacher",
    "distil": "the audio-only student",
    "head": "head for every state of line and leg, and the speech gate",
    "calibrate": "temperature and thresholds, on dev",
    "export": "ONNX graphs, golden pairs, manifest",
    "evaluate": "figures and card",
}


def served_parameters(module: nn.Module) -> int:
    """Numbers that the exported graph holds: no decoder, no frame head; codebooks count."""
    skipped = ("decoder.", "frame_head.")
    total = sum(p.numel() for name, p in module.named_parameters() if not name.startswith(skipped))
    return total + sum(b.numel() for name, b in module.named_buffers() if name.endswith("codebooks"))


def _loaded(module: M, folder: Path) -> M:
    load_weights(module, folder / "model.safetensors")
    return module.eval()


def _use(corpus: str, segments: Sequence[Segment]) -> str:
    own = [s for s in segments if s.corpus == corpus]
    splits = sorted({s.split for s in own})
    if corpus in EVALUATION_ONLY:
        return "evaluation only"
    if all(s.kind for s in own):
        return "noise mixed in, and what is not speech (" + ", ".join(splits) + ")"
    if all(s.emotion is None for s in own):
        return (
            "tokenizer and pretraining, no labels"
            if all(s.arousal is None for s in own)
            else "arousal, pretraining"
        )
    return "labels (" + ", ".join(splits) + ")"


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
