"""The page on REST shows every route of these modules, and its examples have the shapes of answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.api import calls, exports, feedback, stats, utterances
from app.api.call_bodies import CallReportBody, RecordListing, UtteranceDetailBody
from app.api.feedback_bodies import FeedbackBody, FeedbackRequest
from app.api.protocol import CallBody, Listing, Problem
from app.api.stats_bodies import StatsBody
from app.results.export_rows import CALL_COLUMNS, FEEDBACK_COLUMNS, UTTERANCE_COLUMNS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rest.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- (\S+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)
MODELS: dict[str, type[BaseModel]] = {
    "Problem": Problem,
    "Listing[CallBody]": Listing[CallBody],
    "CallReportBody": CallReportBody,
    "RecordListing": RecordListing,
    "UtteranceDetailBody": UtteranceDetailBody,
    "StatsBody": StatsBody,
    "FeedbackRequest": FeedbackRequest,
    "FeedbackBody": FeedbackBody,
}


@pytest.mark.parametrize(("model", "example"), EXAMPLES, ids=[model for model, _ in EXAMPLES])
def test_examples_have_the_shapes_of_answers(model: str, example: str) -> None:
    """Every one."""
    MODELS[model].model_validate_json(example)


def test_every_shape_and_every_json_block_is_an_example() -> None:
    """None is left out of the check."""
    assert {model for model, _ in EXAMPLES} == set(MODELS)
    assert PAGE.count("```json") == len(EXAMPLES)


@pytest.mark.parametrize("module", [calls, utterances, stats, exports, feedback])
def test_every_route_is_on_the_page(module: object) -> None:
    """With its method."""
    for route in module.router.routes:  # type: ignore[attr-defined]
        assert isinstance(route, APIRoute)
        for method in (route.methods or set()) - {"HEAD"}:
            assert f"{method} {route.path}" in PAGE, f"{method} {route.path}"


def test_columns_are_as_the_page_says() -> None:
    """In their order."""
    for columns in (UTTERANCE_COLUMNS, CALL_COLUMNS, FEEDBACK_COLUMNS[:9]):
        assert f"`{', '.join(column.name for column in columns)}`" in PAGE
    assert FEEDBACK_COLUMNS[9:] == UTTERANCE_COLUMNS[:-4]
