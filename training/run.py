"""The whole chain, stage by stage, from one configuration. A stage whose output is complete is not run again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from models.audio_tokenizer import AudioTokenizer
from models.config import EncoderConfig, MaeConfig
from models.heads import LineRelativeHead
from models.mae import MaskedAutoencoder
from models.student import AudioEncoder
from models.video_tokenizer import VideoTokenizer
from training.calibrate import calibrate, load_calibration
from training.checkpoint import load_weights
from training.clips import all_clips
from training.config import ConfigError, save_config
from training.corpora.labels import CATEGORIES
from training.corpora.manifest import Segment
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens
from training.distil import distil, load_student
from training.evaluate import evaluate
from training.export import Parts, write_bundle
from training.files import write_whole
from training.finetune import Classifier, finetune, labelled_data, write_lessons
from training.measure_av import measure_av
from training.prepare import prepare
from training.pretrain import pretrain
from training.provenance import TEACHERS, commit, corpus_rows, parameter_counts, stage_rows, token_perplexity
from training.report.av_rows import av_rows
from training.run_config import RunConfig
from training.teach import teach
from training.tokenise import tokenise
from training.tokenise_video import tokenise_video
from training.train_head import load_population, train_head
from training.train_tokenizer import LearnedTokenizer, train_tokenizer
from training.train_video_tokenizer import train_video_tokenizer

M = TypeVar("M", bound=nn.Module)

_WEIGHTS = "model.safetensors"
STAGES: Mapping[str, tuple[str, str]] = {
    "prepare": ("prepare", "index.jsonl"),
    "tokenizer": ("tokenizer", _WEIGHTS),
    "video_tokenizer": ("video_tokenizer", "facts.json"),
    "tokenise": ("tokenise", "facts.json"),
    "pretrain": ("pretrain", _WEIGHTS),
    "teach": ("teach", "facts.json"),
    "finetune": ("finetune", "lessons/facts.json"),
    "distil": ("distil", _WEIGHTS),
    "retokenise": ("retokenise", "facts.json"),
    "head": ("head", _WEIGHTS),
    "calibrate": ("calibrate", "calibration.json"),
    "export": ("bundle", "manifest.json"),
    "evaluate": ("evaluate", "evaluation.json"),
}
"""Every stage in order: its folder inside the run's, and the file it writes last."""


_CONFIGURED_BY: Mapping[str, tuple[str, ...]] = {
    "tokenise": ("tokenise", "tokenise_video"),
    "retokenise": ("tokenise",),
    "evaluate": ("evaluate", "evaluate_av"),
}
"""Parts of the configuration that a stage depends on, where it is not one of the stage's own name."""


class StageMissingError(RuntimeError):
    """A stage was asked for before the ones it builds on."""


class Run:
    """One run in one folder: `<folder>/<stage>/…`. Every stage reads what the ones before it wrote."""

    def __init__(self, config: RunConfig, folder: Path, name: str) -> None:
        self.config, self.folder, self.name = config, folder, name

    def execute(self, stages: Sequence[str] = tuple(STAGES), *, again: bool = False) -> list[str]:
        """Run those of the given stages that are not complete, in order, and give their names.

        Args:
            stages: some of `STAGES`, in order.
            again: first forget what the first of them and all stages after it wrote.

        Raises:
            ConfigError: the folder holds output of another configuration.
            StageMissingError: an earlier stage has not run.
        """
        if again:
            self._forget(stages[0])
        self._check_same_configuration()
        ran = [stage for stage in stages if not self.complete(stage)]
        for stage in ran:
            self._check_earlier(stage)
            save_config(self.config, self.folder / "config.json")
            start = time.monotonic()
            work: Callable[[], None] = getattr(self, f"_{stage}")
            work()
            self._note(stage, time.monotonic() - start)
        return ran

    def path(self, stage: str) -> Path:
        """A stage's folder."""
        return self.folder / STAGES[stage][0]

    def complete(self, stage: str) -> bool:
        """Whether a stage has written everything it writes."""
        return (self.path(stage) / STAGES[stage][1]).exists()

    def segments(self) -> list[Segment]:
        """All clips of the run."""
        return all_clips(self.config.corpora, self.folder / "synthetic")

    def _check_earlier(self, stage: str) -> None:
        for earlier in list(STAGES)[: list(STAGES).index(stage)]:
            if not self.complete(earlier):
                raise StageMissingError(
                    f"{stage} needs what {earlier} writes, and {self.path(earlier)} does not hold it: run that first"
                )

    def _forget(self, first: str) -> None:
        names = list(STAGES)
        forgotten = names[names.index(first) :]
        for stage in forgotten:
            shutil.rmtree(self.path(stage), ignore_errors=True)
        kept = {stage: seconds for stage, seconds in self._times().items() if stage not in forgotten}
        if self.folder.exists():
            write_whole(self.folder / "times.json", json.dumps(kept) + "\n")

    def _check_same_configuration(self) -> None:
        path = self.folder / "config.json"
        if not path.exists():
            return
        old = json.loads(path.read_text(encoding="utf-8"))
        new = json.loads(json.dumps(asdict(self.config)))
        for stage in STAGES:
            parts = _CONFIGURED_BY.get(stage, (stage,)) if self.path(stage).exists() else ()
            differences = (first_difference(old.get(part), new[part], part) for part in parts)
            other = next((difference for difference in differences if difference), None)
            if other:
                raise ConfigError(
                    f"{self.folder} was made with another configuration ({other}): use another --out, or --again"
                )

    def _note(self, stage: str, seconds: float) -> None:
        times = self._times()
        times[stage] = round(times.get(stage, 0.0) + seconds, 1)
        write_whole(self.folder / "times.json", json.dumps(times) + "\n")

    def _times(self) -> dict[str, float]:
        path = self.folder / "times.json"
        times: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return times

    def _prepare(self) -> None:
        prepare(self.segments(), self.config.prepare, self.path("prepare"))

    def _tokenizer(self) -> None:
        train_tokenizer(self.config.tokenizer, self.path("prepare"), self.path("tokenizer"))

    def _video_tokenizer(self) -> None:
        folder, faces = self.path("video_tokenizer"), AudioCache(self.path("prepare")).face_count
        if faces:
            train_video_tokenizer(self.config.video_tokenizer, self.path("prepare"), folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "facts.json", json.dumps({"faces": faces}) + "\n")

    def _tokenise(self) -> None:
        if self.has_faces():
            seen = _loaded(VideoTokenizer(self.config.video_tokenizer.model), self.path("video_tokenizer"))
            tokenise_video(self.config.tokenise_video, self.path("prepare"), seen, self.path("tokenise"))
        tokenizer = self.learned_tokenizer().tokenizer
        tokenise(self.config.tokenise, self.path("prepare"), tokenizer, self.path("tokenise"))

    def _pretrain(self) -> None:
        pretrain(
            replace(self.config.pretrain, model=self.mae_config()), self.config.tokenizer.model,
            self.learned_tokenizer(), self.path("prepare"), self.path("tokenise"), self.path("pretrain"),
            video=self.video_tokens(),
        )  # fmt: skip

    def _teach(self) -> None:
        folder = self.path("teach")
        for teacher in self.config.teach.teachers:
            teach(teacher, self.path("prepare"), folder / teacher.weights)
        folder.mkdir(parents=True, exist_ok=True)
        names = [teacher.weights for teacher in self.config.teach.teachers]
        write_whole(folder / "facts.json", json.dumps({"teachers": names}) + "\n")

    def _finetune(self) -> None:
        mae = _loaded(
            MaskedAutoencoder(self.mae_config(), self.config.tokenizer.model), self.path("pretrain")
        )
        finetune(
            self.config.finetune, self.mae_config(), self.config.tokenizer.model, mae,
            self.path("prepare"), self.path("tokenise"), self.path("finetune"), video=self.video_tokens(),
        )  # fmt: skip
        write_lessons(
            self.classifier(), self.path("prepare"), self.path("tokenise"), self.path("finetune") / "lessons"
        )

    def _distil(self) -> None:
        config = self.config.distil
        teachers = {self.path("teach") / teacher.weights: 1.0 for teacher in self.config.teach.teachers}
        teachers[self.path("finetune") / "lessons"] = config.fused_weight if teachers else 1.0
        distil(
            config, self.student_config(), self.learned_tokenizer().tokenizer, self.classifier().body.audio,
            teachers, self.path("prepare"), self.path("distil"),
        )  # fmt: skip

    def _retokenise(self) -> None:
        config = replace(self.config.tokenise, variants=self.config.head.variants)
        tokenise(config, self.path("prepare"), self.student()[0], self.path("retokenise"))

    def _head(self) -> None:
        tokenizer, encoder = self.student()
        train_head(
            self.config.head, encoder, tokenizer, self.path("prepare"), self.path("retokenise"), self.path("head"),
        )  # fmt: skip

    def _calibrate(self) -> None:
        calibrate(
            self.config.calibrate, self.trained_head(), self.student()[1],
            load_population(self.path("head"), self.config.head.prior_n),
            AudioCache(self.path("prepare")), TokenStore(self.path("retokenise")), self.path("calibrate"),
        )  # fmt: skip

    def _export(self) -> None:
        write_bundle(self.parts(), self.config.export, self.path("export"), self.facts())

    def _evaluate(self) -> None:
        evaluate(
            self.config.evaluate, self.path("export"), self.path("prepare"), self.path("evaluate"),
            self.facts(), extra={"av": self._av(), "experiments": self._experiments()},
        )  # fmt: skip

    def _av(self) -> dict[str, Any] | None:
        """What the pretrained model knows of voice and face together; None where nobody unseen has a face."""
        cache, folder = AudioCache(self.path("prepare")), self.video_tokens()
        if folder is None or not any(c.face_offset >= 0 and c.split in ("dev", "test") for c in cache.clips):
            return None
        store, video = TokenStore(self.path("tokenise")), VideoTokens(folder)
        return av_rows(measure_av(self.pretrained(), cache, store, video, self.config.evaluate_av))

    def _experiments(self) -> dict[str, Any]:
        """Summaries of experiments that lie beside the reports."""
        place = Path(self.config.evaluate.reports) / "experiments"
        if not self.config.evaluate.reports:
            return {}
        return {
            path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*.json"))
        }

    def pretrained(self) -> MaskedAutoencoder:
        """What pretraining learned."""
        mae = MaskedAutoencoder(self.mae_config(), self.config.tokenizer.model)
        return _loaded(mae, self.path("pretrain"))

    def mae_config(self) -> MaeConfig:
        """The autoencoder, with its encoder predicting as many teacher dimensions as the cache holds."""
        mae = self.config.pretrain.model
        return replace(
            mae, encoder=replace(mae.encoder, teacher_dim=AudioCache(self.path("prepare")).teacher_dim)
        )

    def student_config(self) -> EncoderConfig:
        """The encoder that ships: the autoencoder's audio half unless `distil.student` says otherwise."""
        return self.config.distil.student or self.mae_config().encoder

    def has_faces(self) -> bool:
        """Whether any clip comes with a face."""
        return AudioCache(self.path("prepare")).face_count > 0

    def video_tokens(self) -> Path | None:
        """The folder of video tokens, None where no clip has a face."""
        return self.path("tokenise") if self.has_faces() else None

    def classifier(self) -> Classifier:
        """What fine-tuning made."""
        model = Classifier(self.mae_config(), self.config.tokenizer.model, self.corpora_count())
        return _loaded(model, self.path("finetune"))

    def corpora_count(self) -> int:
        """Labelled training corpora, which the classifier keeps statistics of."""
        store = TokenStore(self.path("tokenise"))
        return len(labelled_data(AudioCache(self.path("prepare")), store, 1.0, 0.5, 0)[1])

    def learned_tokenizer(self) -> LearnedTokenizer:
        """What the tokenizer stage learned."""
        teacher_dim = AudioCache(self.path("prepare")).teacher_dim
        return _loaded(LearnedTokenizer(self.config.tokenizer, teacher_dim), self.path("tokenizer"))

    def student(self) -> tuple[AudioTokenizer, AudioEncoder]:
        """What distillation made: the tokenizer and the encoder that ship."""
        return load_student(self.path("distil"), self.student_config(), self.config.tokenizer.model)

    def trained_head(self) -> LineRelativeHead:
        """What the head stage learned."""
        width = self.student_config().embedding_dim
        return _loaded(LineRelativeHead(self.config.head.model, width, len(CATEGORIES)), self.path("head"))

    def parts(self) -> Parts:
        """Everything that goes into the bundle."""
        head, chosen = self.trained_head(), load_calibration(self.path("calibrate") / "calibration.json")
        head.leg_gain.fill_(chosen.leg_gain)
        head.sound_shift.copy_(torch.tensor(chosen.sound_shift))
        population = load_population(self.path("head"), self.config.head.prior_n)
        return Parts(*self.student(), head, population, chosen)

    def facts(self) -> dict[str, Any]:
        """What manifest and card say about where the bundle comes from."""
        times, parts, version = self._times(), self.parts(), commit()
        rows = corpus_rows(self.segments())
        steps = {stage: self._steps(stage) for stage in STAGES}
        named = {self.config.prepare.teacher, *(t.weights for t in self.config.teach.teachers)}
        return {
            "parameters": parameter_counts(parts),
            "commit": version,
            "config": self.name,
            "seconds": round(sum(times.values()), 1),
            "seed": self.config.pretrain.loop.seed,
            "stages": stage_rows(times, steps),
            "teachers": [TEACHERS[name] for name in sorted(named) if name in TEACHERS],
            "corpora": rows,
            "provenance": {
                "corpora": [r["name"] for r in rows],
                "licences": {r["name"]: r["licence"] for r in rows},
                "commit": version,
                "config": self.name,
            },
            "metrics": {
                **{f"dev_{k}": round(v, 4) for k, v in parts.calibration.dev.items()},
                "codebook_perplexity_dev": self._perplexity(),
            },
        }

    def _steps(self, stage: str) -> int | None:
        """Training steps of a stage, None where it trains nothing."""
        if stage == "teach":
            return sum(teacher.loop.steps for teacher in self.config.teach.teachers) or None
        loop = getattr(getattr(self.config, stage, None), "loop", None)
        return None if loop is None else int(loop.steps)

    def _perplexity(self) -> list[float]:
        clips = AudioCache(self.path("prepare")).clips
        numbers = [n for n, clip in enumerate(clips) if clip.split == "dev" and clip.kind is None]
        size = self.config.tokenizer.model.codebook_size
        return token_perplexity(TokenStore(self.path("retokenise")), numbers, size)


def first_difference(old: Any, new: Any, where: str) -> str | None:
    """Where two configurations (plain values) first differ, among the keys that both have; None where nowhere.

    >>> first_difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 3, "d": 4}}, "stage")
    'stage.a.b was 1, is 3'
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = (first_difference(old[key], new[key], f"{where}.{key}") for key in new if key in old)
        return next((difference for difference in found if difference), None)
    return None if old == new else f"{where} was {old!r}, is {new!r}"


def _loaded(module: M, folder: Path) -> M:
    load_weights(module, folder / _WEIGHTS)
    return module.eval()
