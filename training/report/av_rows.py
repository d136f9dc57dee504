"""What `training.measure_av` found, as a few tables of rows for card and report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POOLS = {"all": "dev + test", "dev": "dev", "test": "test"}


def av_rows(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows by table: retrieval, hidden tokens, missing modality; and the pools of speakers behind them."""
    pools = [(name, found[key]) for key, name in POOLS.items() if key in found]
    return {
        "unseen speakers": [
            {
                "speakers": name,
                "clips": pool["clips"],
                "people": pool["speakers"],
                "window_s": found["window_s"],
            }
            for name, pool in pools
        ],
        "retrieval": [row for name, pool in pools for row in _retrieval(name, pool)],
        "hidden tokens": [row for name, pool in pools for row in _hidden(name, pool)],
        "missing modality": [row for name, pool in pools for row in _missing(name, pool)],
    }


def _retrieval(name: str, pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, by in (("retrieval", "one embedding a clip"), ("retrieval_by_course", "moment by moment")):
        for among, directions in pool.get(key, {}).items():
            for direction, figures in directions.items():
                first = figures["recall_at_1"]
                rows.append(
                    {
                        "speakers": name, "compared": by, "among": among.replace("_", " "),
                        "direction": direction.replace("_", " "), "queries": figures["queries"],
                        "recall@1": first["value"], "95 % interval": first["interval"], "chance": first["chance"],
                        "p": first["p"], "recall@5": figures["recall_at_5"]["value"],
                        "median rank": figures["median_rank"], "by chance": figures["median_rank_chance"],
                    }
                )  # fmt: skip
    return rows


def _hidden(name: str, pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for key, what, other in (
        ("hidden_video", "face", "sound"),
        ("hidden_audio", "sound", "face"),
    ):
        figures = pool.get(key)
        if figures is None:
            continue
        gain = figures["gain_over_shuffled"]
        rows.append(
            {
                "speakers": name, "guessed": what, "nats with the other modality": figures["with"]["loss"],
                "without": figures["without"]["loss"], "with another clip's": figures["shuffled"]["loss"],
                "gain over another clip's": gain["value"], "95 % interval": gain["interval"],
                "beside": other,
            }
        )  # fmt: skip
    return rows


def _missing(name: str, pool: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"speakers": name, "missing": key.removeprefix("without_"), "cosine to its own whole": figures["own"],
         "to another clip's": figures["other"], "recall@1": figures["recall_at_1"], "chance": figures["chance"]}
        for key, figures in pool.get("missing", {}).items()
    ]  # fmt: skip
