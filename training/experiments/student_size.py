"""Student size: what exported bundles, measured already, score and cost. Nothing is trained here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.experiments.ledger import ExperimentError
from training.files import write_whole

NAME = "student_size"
QUESTION = "What does a smaller student cost in UAR, and save in time and space?"


def student_size(bundles: Sequence[Path], out: Path) -> Path:
    """Write `<out>/student_size.json` from the `evaluation.json` of each bundle; the first is the reference.

    Raises:
        ExperimentError: no bundle, or one without figures.
    """
    if not bundles:
        raise ExperimentError(
            "name the bundles to compare, the largest first: --bundle FOLDER, several times"
        )
    rows = [row for folder in bundles for row in _rows(folder)]
    first = rows[0]["uar"]
    for row in rows[1:]:
        row["against"] = rows[0]["name"]
        shared = [name for name in row["uar"] if name in first]
        row["difference"] = {
            name: {"value": round(row["uar"][name]["value"] - first[name]["value"], 4), "low": None, "high": None,
                   "n": row["uar"][name]["n"], "speakers": row["uar"][name]["speakers"]}
            for name in shared
        }  # fmt: skip
    summary = {"experiment": NAME, "question": QUESTION, "seeds": [0], "arms": rows}
    path = out / f"{NAME}.json"
    write_whole(path, json.dumps(summary, indent=2) + "\n")
    return path


def _rows(folder: Path) -> list[dict[str, Any]]:
    path = folder / "evaluation.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        bundle = data["bundle"]
        return [
            {
                "name": f"{bundle['name']} {bundle['version']} {variant}",
                "config": {"parameters": sum(bundle["parameters"].values()), "variant": variant},
                "against": None,
                "seconds": 0.0,
                "uar": uars,
                "difference": {},
                "figures": _costs(data, variant),
            }
            for variant, uars in _uars(data).items()
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ExperimentError(f"{path} is no evaluation file: {error!r}") from error


def _uars(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """UAR by variant and set: cold, clean. The bundle's own variant first; other names are baselines."""
    found: dict[str, dict[str, Any]] = {data["bundle"]["variant"]: {}}
    for row in data["results"]:
        if row["condition"] == "clean" and not row["profile_n"] and row["metric"] == "UAR":
            figure = {key: row.get(key) for key in ("value", "low", "high", "n", "speakers")}
            found.setdefault(row["name"], {})[row["set"]] = figure
    return {name: sets for name, sets in found.items() if name in ("int8", "fp32") and sets}


def _costs(data: Mapping[str, Any], variant: str) -> dict[str, Any]:
    sizes = data["bundle"].get("sizes", {})
    other = "encoder.onnx" if variant == "int8" else "encoder.int8.onnx"
    costs = {f"{row['what']} ({row['unit']})": round(float(row["value"]), 2) for row in data.get("cost", ())}
    return {"megabytes": round(sum(n for file, n in sizes.items() if file != other) / 1e6, 2), **costs}
