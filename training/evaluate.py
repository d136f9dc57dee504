"""Stage `evaluate`: measure the exported bundle (`training.measure`), write `evaluation.json`, and the card from it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.bundle.manifest import Manifest, hash_files, parse_manifest, write_manifest
from training.card_schema import Evaluation
from training.corpora.errors import CorpusError
from training.data.cache import AudioCache
from training.evaluation_sets import evaluation_sets, possible_conditions
from training.files import write_whole
from training.measure import (
    describe_set,
    leave_one_speaker_out,
    measure_cost,
    measure_gate,
    measure_legs,
    measure_variant,
)
from training.measurer import Embedded, EvaluateConfig, Measurer
from training.model_card import render_card

LIMITS = (
    "All labelled speech behind this bundle is acted; nothing here says how well it does on real calls.",
    "The splits are of speakers; sentences are shared between train and test in RAVDESS, nEMO, ASED and CREMA-D.",
    "Sets with one or two test speakers (TurEV, nEMO) are coarse: read their intervals, or the lack of one.",
    "Arousal and valence are mapped from categories; no concordance is reported, for there are no such labels to hold"
    " them against.",
    "Recorded prompts (IVR) are speech to this bundle: they are not rejected.",
)


def evaluate(
    config: EvaluateConfig, bundle: Path, prepared: Path, folder: Path, facts: Mapping[str, Any]
) -> Evaluation:
    """Measure, put `MODEL_CARD.md` into the bundle and `folder`, seal the bundle again, write `evaluation.json`.

    `evaluation.json` comes last: where it is, the stage was finished.
    """
    cache = AudioCache(prepared)
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    measurer = Measurer(bundle, manifest.encoder.default)
    results, clean = _measure(config, manifest, bundle, measurer, cache)
    if not clean:
        raise CorpusError("no labelled test clip: there is nothing to evaluate on")
    described = {name: describe_set(measurer, data, config) for name, data in clean.items()}
    evaluation = Evaluation.model_validate(
        {
            "bundle": _bundle_row(manifest, bundle, facts),
            "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
            **{
                key: facts[key]
                for key in ("commit", "config", "seconds", "seed", "stages", "teachers", "corpora")
            },
            "sets": [
                {"name": t.name, "what": t.what, "categories": list(t.categories)}
                for t in evaluation_sets(cache)
                if t.name in clean
            ],
            "results": results,
            **{
                part: {name: described[name][part] for name in described}
                for part in ("recalls", "confusion", "ece", "risk_coverage")
            },
            "gaps": {"sex": {name: d["sex"] for name, d in described.items()}},
            "cost": [*measure_cost(bundle, manifest.encoder.default), *_other_costs(manifest, bundle)],
            "limits": list(LIMITS),
        }
    )
    _seal_with_card(evaluation, config, manifest, bundle, folder)
    write_whole(folder / "evaluation.json", evaluation.model_dump_json(indent=1) + "\n")
    return evaluation


def _measure(
    config: EvaluateConfig, manifest: Manifest, bundle: Path, measurer: Measurer, cache: AudioCache
) -> tuple[list[dict[str, Any]], dict[str, Embedded]]:
    """All rows of results, and the clean embeddings of the default variant."""
    default = manifest.encoder.default
    results, clean = measure_variant(measurer, default, cache, config, possible_conditions(cache))
    results += measure_legs(measurer, default, cache, clean, config)
    for variant in manifest.encoder.variants:
        if variant != default:
            results += measure_variant(Measurer(bundle, variant), variant, cache, config, ("clean",))[0]
    if "emodb4" in clean and not config.limit:
        results.append(leave_one_speaker_out(clean["emodb4"], config))
    if clean:
        results += measure_gate(measurer, cache, clean)
    return results, clean


def _bundle_row(manifest: Manifest, bundle: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "variant": manifest.encoder.default,
        "parameters": facts["parameters"],
        "sizes": {name: (bundle / name).stat().st_size for name in manifest.files if name.endswith(".onnx")},
    }


def _other_costs(manifest: Manifest, bundle: Path) -> list[dict[str, Any]]:
    others = [v for v in manifest.encoder.variants if v != manifest.encoder.default]
    return [row for v in others for row in measure_cost(bundle, v) if row["what"].startswith("encoder")]


def _seal_with_card(
    evaluation: Evaluation, config: EvaluateConfig, manifest: Manifest, bundle: Path, folder: Path
) -> None:
    """Put the card, the figures behind it and the headline into the bundle."""
    results = evaluation.model_dump()["results"]
    losses = {"int8_uar_loss": int8_loss(results), "int8_uar_loss_allowed": config.int8_loss}
    metrics = {**manifest.metrics, **headline(results, evaluation.bundle.variant), **losses}
    updated = manifest.model_copy(update={"metrics": metrics})
    card = render_card(evaluation.model_dump(mode="json"), updated.model_dump(mode="json"))
    for target in (folder, bundle):
        write_whole(target / "MODEL_CARD.md", card)
    write_whole(bundle / "evaluation.json", evaluation.model_dump_json(indent=1) + "\n")
    write_manifest(bundle, updated.model_copy(update={"files": hash_files(bundle)}))


def headline(results: Sequence[Mapping[str, Any]], variant: str) -> dict[str, float]:
    """UAR of every set, clean, cold and with a profile of 50, by a short name."""
    wanted = [
        r for r in results if r["name"] == variant and r["condition"] == "clean" and r["profile_n"] in (0, 50)
    ]
    return {f"uar_{r['set']}_profile_{r['profile_n']}": round(float(r["value"]), 4) for r in wanted}


def int8_loss(results: Sequence[Mapping[str, Any]]) -> float:
    """UAR that int8 loses against fp32 (negative: gains), mean over the sets that were measured clean and cold."""
    cold = [r for r in results if r["condition"] == "clean" and r["profile_n"] == 0 and r["metric"] == "UAR"]
    found = {(r["name"], r["set"]): float(r["value"]) for r in cold}
    losses = [value - found["int8", name] for (who, name), value in found.items() if who == "fp32"]
    return round(sum(losses) / len(losses), 4)
