"""One record by its id."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from app.api.call_bodies import UtteranceDetailBody
from app.api.paging import READ_CHUNK
from app.domain import Leg
from tests.support.held import put_call
from tests.support.records import make_record
from tests.support.service import Api, api, make_settings
from tests.support.tenants import make_tenants


def test_a_record_is_found_by_its_id(web: Api) -> None:
    """As the list has it, with the line and team of its call; also where the call's id has dots."""
    records = [make_record("a.customer.0001.b", 0), make_record("a.customer.0001.b", 1, leg=Leg.AGENT)]
    asyncio.run(put_call(web.services.store, "a.customer.0001.b", records, line="sales", team="north"))
    listed = web.get("/v1/calls/a.customer.0001.b/utterances").json()["items"]
    for record in listed:
        body = web.get(f"/v1/utterances/{record['utterance_id']}").json()
        UtteranceDetailBody.model_validate(body)
        assert body == record | {"line": "sales", "team": "north"}


def test_a_record_of_a_long_call_is_found(web: Api) -> None:
    """Beyond the first page of a store."""
    records = [make_record("c0", index) for index in range(READ_CHUNK + 10)]
    asyncio.run(put_call(web.services.store, "c0", records))
    assert web.get(f"/v1/utterances/c0.customer.{READ_CHUNK + 5:04d}").json()["seq"] == READ_CHUNK + 6


def test_who_has_it_already_gets_304(web: Api) -> None:
    """By the version of its call."""
    asyncio.run(put_call(web.services.store, "c0", [make_record("c0", 0)]))
    etag = web.get("/v1/utterances/c0.customer.0000").headers["etag"]
    answer = web.get("/v1/utterances/c0.customer.0000", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    "utterance_id",
    [
        "c0.customer.0007",
        "c0.mixed.0000",
        "c9.customer.0000",
        "c0",
        "c0.customer",
        "c0.customer.",
        "c0.customer.00000000000000000000000",
        "c0.customer.000%D9%A0",
        ".customer.0000",
        "..",
        "%2e%2e",
        "%00",
        "c0%00.customer.0000",
        "..%2fc0.customer.0000",
        "%F0%9F%98%80.customer.0000",
        "c" * 200 + ".customer.0000",
        "c0.customer.0000%0a",
    ],
)
def test_other_ids_are_unknown(web: Api, utterance_id: str) -> None:
    """404, one answer for all."""
    asyncio.run(put_call(web.services.store, "c0", [make_record("c0", 0)]))
    answer = web.get(f"/v1/utterances/{utterance_id}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_another_tenants_record_is_unknown(bundle: Path, tmp_path: Path) -> None:
    """Exactly as one that never was."""
    tenants = make_tenants(tmp_path)
    alpha, beta = tenants.all
    with api(make_settings(bundle, **tenants.groups)) as web:
        record = replace(make_record("c0", 0), seq=1)
        asyncio.run(put_call(web.services.store, "c0", [record], tenant=alpha.name))
        path = "/v1/utterances/c0.customer.0000"
        assert web.get(path, headers=alpha.headers()).status_code == 200
        foreign = web.get(path, headers=beta.headers())
        unknown = web.get("/v1/utterances/c9.customer.0000", headers=beta.headers())
        assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
