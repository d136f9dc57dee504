"""The whole chain, stage by stage, from one configuration. A stage whose output is complete is not run again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from models.config import EncoderConfig, MaeConfig
from models.heads import LineRelativeHead
from models.mae import MaskedAutoencoder
from training.calibrate import CalibrateConfig, calibrate, load_calibration
from training.checkpoint import load_weights
from training.clips import CorporaConfig, all_clips
from training.config import ConfigError, save_config
from training.corpora.labels import CATEGORIES
from training.corpora.manifest import Segment
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.distil import DistilConfig, Student, distil
from training.evaluate import evaluate
from training.export import ExportConfig, Parts, write_bundle
from training.files import write_whole
from training.finetune import Classifier, FinetuneConfig, finetune, labelled_data
from training.head_data import HeadStageConfig
from training.measurer import EvaluateConfig
from training.prepare import PrepareConfig, prepare
from training.pretrain import PretrainConfig, pretrain
from training.provenance import TEACHERS, commit, corpus_rows, parameter_counts, stage_rows, token_perplexity
from training.tokenise import TokeniseConfig, tokenise
from training.train_head import load_population, train_head
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig, train_tokenizer

M = TypeVar("M", bound=nn.Module)

_WEIGHTS = "model.safetensors"
STAGES: Mapping[str, tuple[str, str]] = {
    "prepare": ("prepare", "index.jsonl"),
    "tokenizer": ("tokenizer", _WEIGHTS),
    "tokenise": ("tokenise", "facts.json"),
    "pretrain": ("pretrain", _WEIGHTS),
    "finetune": ("finetune", _WEIGHTS),
    "distil": ("distil", _WEIGHTS),
    "head": ("head", _WEIGHTS),
    "calibrate": ("calibrate", "calibration.json"),
    "export": ("bundle", "manifest.json"),
    "evaluate": ("evaluate", "evaluation.json"),
}
"""Every stage in order: its folder inside the run's, and the file it writes last."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Every stage's configuration. `pretrain.model.encoder` is the student's too, and as wide as the tokenizer's."""

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

    def __post_init__(self) -> None:
        one, other = (_size(e) for e in (self.tokenizer.encoder, self.pretrain.model.encoder))
        if one != other:
            raise ValueError(
                f"tokenizer.encoder and pretrain.model.encoder must be of one size (dim, layers, heads, hidden, "
                f"embedding_dim), got {one} and {other}"
            )


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
            other = first_difference(old.get(stage), new[stage], stage) if self.path(stage).exists() else None
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

    def _tokenise(self) -> None:
        tokenizer = self.learned_tokenizer().tokenizer
        tokenise(self.config.tokenise, self.path("prepare"), tokenizer, self.path("tokenise"))

    def _pretrain(self) -> None:
        pretrain(
            replace(self.config.pretrain, model=self.mae_config()), self.config.tokenizer.model,
            self.learned_tokenizer(), self.path("prepare"), self.path("tokenise"), self.path("pretrain"),
        )  # fmt: skip

    def _finetune(self) -> None:
        mae = MaskedAutoencoder(self.mae_config(), self.config.tokenizer.model)
        load_weights(mae, self.path("pretrain") / _WEIGHTS)
        finetune(
            self.config.finetune, self.mae_config(), self.config.tokenizer.model, mae,
            self.path("prepare"), self.path("tokenise"), self.path("finetune"),
        )  # fmt: skip

    def _distil(self) -> None:
        teacher = Classifier(self.mae_config(), self.config.tokenizer.model, self.corpora_count())
        load_weights(teacher, self.path("finetune") / _WEIGHTS)
        distil(
            self.config.distil, self.mae_config().encoder, self.config.tokenizer.model, [teacher],
            self.path("prepare"), self.path("tokenise"), self.path("distil"),
        )  # fmt: skip

    def _head(self) -> None:
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
        write_bundle(self.parts(), self.config.export, self.path("export"), self.facts())

    def _evaluate(self) -> None:
        evaluate(
            self.config.evaluate, self.path("export"), self.path("prepare"), self.path("evaluate"),
            self.facts(),
        )  # fmt: skip

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
        times, parts, version = self._times(), self.parts(), commit()
        rows = corpus_rows(self.segments())
        loops = {stage: getattr(getattr(self.config, stage), "loop", None) for stage in STAGES}
        teacher = TEACHERS.get(self.config.prepare.teacher)
        return {
            "parameters": parameter_counts(parts),
            "commit": version,
            "config": self.name,
            "seconds": round(sum(times.values()), 1),
            "seed": self.config.pretrain.loop.seed,
            "stages": stage_rows(times, {s: loop.steps if loop else None for s, loop in loops.items()}),
            "teachers": [teacher] if teacher else [],
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

    def _perplexity(self) -> list[float]:
        clips = AudioCache(self.path("prepare")).clips
        numbers = [n for n, clip in enumerate(clips) if clip.split == "dev" and clip.kind is None]
        size = self.config.tokenizer.model.codebook_size
        return token_perplexity(TokenStore(self.path("tokenise")), numbers, size)


def _size(encoder: EncoderConfig) -> tuple[int, ...]:
    inner = encoder.transformer
    return inner.dim, inner.layers, inner.heads, inner.hidden, encoder.embedding_dim


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
