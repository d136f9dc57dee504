"""Stage `evaluate`: measure the exported bundle and the baselines, write `evaluation.json`, report and card from it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.bundle.manifest import Manifest, hash_files, parse_manifest, write_manifest
from training.baselines.protocols import measure_baselines
from training.card_schema import Evaluation
from training.corpora.errors import CorpusError
from training.data.cache import AudioCache
from training.evaluation_sets import CLEAN_CONDITION, possible_conditions
from training.files import write_whole
from training.measure import (
    DESCRIBED_PROFILE,
    condition_words,
    describe_set,
    described,
    embed_clean,
    judge_clean,
    leave_one_speaker_out,
    measure_clean,
    measure_cost,
    measure_gaps,
    measure_grid,
    measure_legs,
    sets_of,
)
from training.measure_calibration import answers, measure_calibration
from training.measure_dimensions import measure_arousal
from training.measure_gate import made_tones, recorded, score_sounds, sound_rows, speech_rows
from training.measure_votes import measure_votes
from training.measurer import Embedded, EvaluateConfig, Judged, Measurer
from training.model_card import render_card
from training.report.limits import limits
from training.report.write import write_report

LEFT_OUT_SET = "emodb4"
VOTED_SET = "crema6_votes"

Rows = list[dict[str, Any]]


def evaluate(
    config: EvaluateConfig,
    bundle: Path,
    prepared: Path,
    folder: Path,
    facts: Mapping[str, Any],
    *,
    reports: Path | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Measure, put `MODEL_CARD.md` into the bundle and `folder`, seal the bundle again, write the report.

    Features of the baselines are kept in `baselines/` beside `folder`: they don't change between bundles.
    `evaluation.json` comes last: where it is, the stage was finished.

    Args:
        config: what is measured.
        bundle: the exported bundle, which gets the card.
        prepared: the audio cache.
        folder: of this stage.
        facts: where the bundle comes from (`training.run.Run.facts`).
        reports: where `<bundle's name>/` with JSON, tables, plots and card goes, instead of `config.reports`.
        extra: `av` and `experiments`, as plain data (`card_schema`).

    Raises:
        CorpusError: there is no labelled test clip.
    """
    cache = AudioCache(prepared)
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    measured = _measure(config, manifest, bundle, cache)
    baselines, skipped = measure_baselines(cache, folder.parent / "baselines", config)
    evaluation = Evaluation.model_validate(
        {
            "bundle": _bundle_row(manifest, bundle, facts),
            "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
            **{
                key: facts[key]
                for key in ("commit", "config", "seconds", "seed", "stages", "teachers", "corpora")
            },
            **measured,
            "conditions": {c: w for c, w in condition_words().items() if c in possible_conditions(cache)},
            "baselines": baselines,
            "skipped": skipped,
            "cost": [*measure_cost(bundle, manifest.encoder.default), *_other_costs(manifest, bundle)],
            **{key: value for key, value in (extra or {}).items() if key in ("av", "experiments")},
        }
    )
    evaluation = evaluation.model_copy(update={"limits": limits(evaluation)})
    card = _seal_with_card(evaluation, config, manifest, bundle, folder)
    place = reports or (Path(config.reports) if config.reports else None)
    write_report(place / manifest.name if place else folder / "report", evaluation, card)
    write_whole(folder / "evaluation.json", evaluation.model_dump_json(indent=1) + "\n")
    return evaluation


def _measure(config: EvaluateConfig, manifest: Manifest, bundle: Path, cache: AudioCache) -> dict[str, Any]:
    """Everything that is measured of the bundle, by the names of `Evaluation`."""
    default = manifest.encoder.default
    measurer = Measurer(bundle, default)
    clean = embed_clean(measurer, cache, config)
    if not clean:
        raise CorpusError("no labelled test clip: there is nothing to evaluate on")
    judged = judge_clean(measurer, clean, config)
    sounds, sources = measure_sounds(measurer, cache, config)
    results = [
        *measure_clean(default, clean, judged, config),
        *measure_grid(measurer, cache, clean, config, possible_conditions(cache)),
        *measure_legs(measurer, cache, clean, config),
        *_other_variants(manifest, bundle, cache, config),
        *_left_out(clean, config),
        *_votes(measurer, cache, clean, judged, config),
        *measure_arousal(measurer, cache, (0, DESCRIBED_PROFILE), config),
        *sounds,
        *speech_rows(measurer, cache, clean, config),
    ]
    return {"results": results, "sounds": sources, **_described(measurer, cache, clean, judged, config)}


def _described(
    measurer: Measurer,
    cache: AudioCache,
    clean: Mapping[str, Embedded],
    judged: Mapping[int, Mapping[str, Judged]],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Sets, recalls, confusions, gaps, calibration and abstention."""
    chosen = described(judged)
    whole = {name: describe_set(clean[name], one, config) for name, (_, one) in chosen.items()}
    sizes = (0, DESCRIBED_PROFILE) if judged.get(DESCRIBED_PROFILE) else (0,)
    answered = {
        size: {name: answers(clean[name], one, measurer.head_spec) for name, one in judged[size].items()}
        for size in sizes
    }
    threshold = measurer.bundle.manifest.abstain.min_confidence
    calibration, curves = measure_calibration(answered, sets_of(cache, clean), threshold, config)
    return {
        "sets": [
            {"name": t.name, "what": t.what, "categories": list(t.categories)} for t in sets_of(cache, clean)
        ],
        "recalls": {name: d["recalls"] for name, d in whole.items()},
        "confusion": {name: d["confusion"] for name, d in whole.items()},
        "described_profile": {name: size for name, (size, _) in chosen.items()},
        "gaps": measure_gaps(clean, {name: one for name, (_, one) in chosen.items()}, config),
        "calibration": calibration,
        "risk_coverage": curves,
    }


def measure_sounds(measurer: Measurer, cache: AudioCache, config: EvaluateConfig) -> tuple[Rows, Rows]:
    """What is not speech, recorded and made: rows by kind, and by source."""
    sounds = [*recorded(cache), *made_tones(config.tones, config.seed)]
    return sound_rows(measurer.name, sounds, score_sounds(measurer, sounds, config), config)


def _other_variants(manifest: Manifest, bundle: Path, cache: AudioCache, config: EvaluateConfig) -> Rows:
    rows = []
    for variant in manifest.encoder.variants:
        if variant != manifest.encoder.default:
            other = Measurer(bundle, variant)
            clean = embed_clean(other, cache, config)
            rows += measure_clean(variant, clean, judge_clean(other, clean, config), config)
    return rows


def _left_out(clean: Mapping[str, Embedded], config: EvaluateConfig) -> Rows:
    if LEFT_OUT_SET not in clean or config.limit:
        return []
    return [leave_one_speaker_out(clean[LEFT_OUT_SET], config)]


def _votes(
    measurer: Measurer,
    cache: AudioCache,
    clean: Mapping[str, Embedded],
    judged: Mapping[int, Mapping[str, Judged]],
    config: EvaluateConfig,
) -> Rows:
    if VOTED_SET not in clean:
        return []
    sizes = [size for size in (0, DESCRIBED_PROFILE) if VOTED_SET in judged.get(size, {})]
    return measure_votes(
        measurer.name,
        cache,
        clean[VOTED_SET],
        {size: judged[size][VOTED_SET] for size in sizes},
        measurer.head_spec.calibration.temperature,
        config,
        set_name=VOTED_SET,
    )


def _bundle_row(manifest: Manifest, bundle: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "variant": manifest.encoder.default,
        "parameters": facts["parameters"],
        "sizes": {name: (bundle / name).stat().st_size for name in manifest.files if name.endswith(".onnx")},
    }


def _other_costs(manifest: Manifest, bundle: Path) -> Rows:
    others = [v for v in manifest.encoder.variants if v != manifest.encoder.default]
    return [row for v in others for row in measure_cost(bundle, v) if v in row["what"]]


def _seal_with_card(
    evaluation: Evaluation, config: EvaluateConfig, manifest: Manifest, bundle: Path, folder: Path
) -> str:
    """Put the card, the figures behind it and the headline into the bundle; returns the card."""
    results = evaluation.model_dump()["results"]
    losses = {"int8_uar_loss": int8_loss(results), "int8_uar_loss_allowed": config.int8_loss}
    metrics = {**manifest.metrics, **headline(results, evaluation.bundle.variant), **losses}
    updated = manifest.model_copy(update={"metrics": metrics})
    card = render_card(evaluation.model_dump(mode="json"), updated.model_dump(mode="json"))
    for target in (folder, bundle):
        write_whole(target / "MODEL_CARD.md", card)
    write_whole(bundle / "evaluation.json", evaluation.model_dump_json() + "\n")
    write_manifest(bundle, updated.model_copy(update={"files": hash_files(bundle)}))
    return card


def headline(results: Sequence[Mapping[str, Any]], variant: str) -> dict[str, float]:
    """UAR of every set, clean, cold and with a profile of 50, by a short name."""
    wanted = [
        r
        for r in results
        if r["name"] == variant
        and r["metric"] == "UAR"
        and r["condition"] == CLEAN_CONDITION
        and r["profile_n"] in (0, DESCRIBED_PROFILE)
    ]
    return {f"uar_{r['set']}_profile_{r['profile_n']}": round(float(r["value"]), 4) for r in wanted}


def int8_loss(results: Sequence[Mapping[str, Any]]) -> float:
    """UAR that int8 loses against fp32 (negative: gains), mean over the sets that were measured clean and cold."""
    cold = [r for r in results if r["condition"] == "clean" and r["profile_n"] == 0 and r["metric"] == "UAR"]
    found = {(r["name"], r["set"]): float(r["value"]) for r in cold}
    losses = [value - found["int8", name] for (who, name), value in found.items() if who == "fp32"]
    return round(sum(losses) / len(losses), 4)
