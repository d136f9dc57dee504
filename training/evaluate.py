"""Stage `evaluate`: measure the exported bundle (`training.measure`), write `evaluation.json`, and the card from it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.bundle.manifest import Manifest, hash_files, parse_manifest, write_manifest
from training.card_schema import Evaluation
from training.data.cache import AudioCache
from training.measure import (
    CONDITIONS,
    EvaluateConfig,
    Measurer,
    describe_set,
    leave_one_speaker_out,
    measure_cost,
    measure_gate,
    measure_variant,
    test_sets,
)
from training.model_card import render_card

LIMITS = (
    "All labelled speech behind this bundle is acted; nothing here says how well it does on real calls.",
    "The splits are of speakers; sentences are shared between train and test in RAVDESS, nEMO, ASED and CREMA-D.",
    "Sets with one or two test speakers (TurEV, nEMO) are coarse: read their intervals, or the lack of one.",
    "Arousal and valence are mapped from categories; no concordance is reported, for there are no such labels to hold them against.",
    "Recorded prompts (IVR) are speech to this bundle: they are not rejected.",
)


def evaluate(
    config: EvaluateConfig, bundle: Path, prepared: Path, folder: Path, facts: Mapping[str, Any]
) -> Evaluation:
    """Measure, write `folder/evaluation.json` and `MODEL_CARD.md` (also into the bundle, whose manifest is sealed again)."""
    cache = AudioCache(prepared)
    manifest = parse_manifest((bundle / "manifest.json").read_bytes())
    default = manifest.encoder.default
    measurer = Measurer(bundle, default)
    results, clean = measure_variant(measurer, default, cache, config, tuple(CONDITIONS))
    for variant in manifest.encoder.variants:
        if variant != default:
            rows, _ = measure_variant(Measurer(bundle, variant), variant, cache, config, ("clean",))
            results += [r for r in rows if not str(r["condition"]).startswith("calls_")]
    if "emodb4" in clean and not config.limit:
        results.append(leave_one_speaker_out(clean["emodb4"], config))
    if clean:
        results += measure_gate(measurer, cache, clean)
    described = {name: describe_set(measurer, data, config) for name, data in clean.items()}
    cost = [*measure_cost(bundle, default), *_other_costs(manifest, bundle)]
    evaluation = Evaluation.model_validate(
        {
            "bundle": {
                "name": manifest.name,
                "version": manifest.version,
                "variant": default,
                "parameters": facts["parameters"],
                "sizes": {
                    name: (bundle / name).stat().st_size for name in manifest.files if name.endswith(".onnx")
                },
            },
            "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "commit": facts["commit"],
            "config": facts["config"],
            "seconds": facts["seconds"],
            "seed": facts["seed"],
            "stages": facts["stages"],
            "teachers": facts["teachers"],
            "corpora": facts["corpora"],
            "sets": [
                {"name": t.name, "what": t.what, "categories": list(t.categories)}
                for t in test_sets(cache)
                if t.name in clean
            ],
            "results": results,
            "recalls": {name: d["recalls"] for name, d in described.items()},
            "confusion": {name: d["confusion"] for name, d in described.items()},
            "ece": {name: d["ece"] for name, d in described.items()},
            "risk_coverage": {name: d["risk_coverage"] for name, d in described.items()},
            "gaps": {"sex": {name: d["sex"] for name, d in described.items()}},
            "cost": cost,
            "limits": list(LIMITS),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(evaluation.model_dump_json(indent=1) + "\n")
    _seal_with_card(evaluation, manifest, bundle, folder)
    return evaluation


def _other_costs(manifest: Manifest, bundle: Path) -> list[dict[str, Any]]:
    others = [v for v in manifest.encoder.variants if v != manifest.encoder.default]
    return [row for v in others for row in measure_cost(bundle, v) if row["what"].startswith("encoder")]


def _seal_with_card(evaluation: Evaluation, manifest: Manifest, bundle: Path, folder: Path) -> None:
    """Put the card and the headline figures into the bundle."""
    metrics = {**manifest.metrics, **headline(evaluation.model_dump()["results"], evaluation.bundle.variant)}
    updated = manifest.model_copy(update={"metrics": metrics})
    card = render_card(evaluation.model_dump(mode="json"), updated.model_dump(mode="json"))
    for target in (folder, bundle):
        (target / "MODEL_CARD.md").write_text(card)
    write_manifest(bundle, updated.model_copy(update={"files": hash_files(bundle)}))


def headline(results: Sequence[Mapping[str, Any]], variant: str) -> dict[str, float]:
    """UAR of every set, clean, cold and with a profile of 50, by a short name."""
    wanted = [
        r for r in results if r["name"] == variant and r["condition"] == "clean" and r["profile_n"] in (0, 50)
    ]
    return {f"uar_{r['set']}_profile_{r['profile_n']}": round(float(r["value"]), 4) for r in wanted}
