"""A nested measurement becomes a few tables: a row for each way of looking, none where a pool was too small."""

from __future__ import annotations

from typing import Any

from training.report.av_rows import av_rows


def recalled(value: float) -> dict[str, Any]:
    """One direction of retrieval."""
    recall = {"value": value, "interval": [0.1, 0.9], "chance": 0.1, "p": 0.01}
    return {
        "queries": 9,
        "recall_at_1": recall,
        "recall_at_5": recall,
        "median_rank": 1.0,
        "median_rank_chance": 5.0,
    }


def test_rows_of_every_table() -> None:
    """One pool, both ways of comparing, tokens of one modality, one missing."""
    hidden = {"with": {"loss": 5.0}, "without": {"loss": 5.2}, "shuffled": {"loss": 5.1}}
    pool = {
        "clips": 9,
        "speakers": 2,
        "retrieval": {"among_all": {"voice_to_face": recalled(0.2)}},
        "retrieval_by_course": {"same_speaker": {"face_to_voice": recalled(0.8)}},
        "hidden_video": hidden | {"gain_over_shuffled": {"value": 0.1, "interval": [0.0, 0.2]}},
        "missing": {"without_video": {"own": 0.9, "other": 0.4, "recall_at_1": 0.8, "chance": 0.1}},
    }
    found = av_rows({"window_s": 1.6, "all": pool})
    assert [row["recall@1"] for row in found["retrieval"]] == [0.2, 0.8]
    assert found["retrieval"][1]["among"] == "same speaker"
    assert found["hidden tokens"][0]["guessed"] == "face"
    assert found["missing modality"][0]["missing"] == "video"
    assert found["unseen speakers"][0]["clips"] == 9


def test_a_pool_too_small_has_no_rows() -> None:
    """Only what was measured is shown."""
    found = av_rows({"window_s": 1.6})
    assert all(rows == [] for rows in found.values())
