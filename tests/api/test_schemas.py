"""`/v1/schemas` and `/asyncapi.json`: public, cacheable, and the contracts themselves."""

from __future__ import annotations

import pytest

from app.api.contracts.schemas import message_schemas
from tests.support.service import Api


def test_every_schema_is_served_by_its_name(web: Api) -> None:
    """With and without the ending of a file."""
    schemas = message_schemas()
    assert web.get("/v1/schemas").json() == {"items": list(schemas)}
    for name in ("client.start", "live.resumed.feed", "webhook.alert"):
        for path in (f"/v1/schemas/{name}", f"/v1/schemas/{name}.json"):
            answer = web.get(path)
            assert answer.headers["content-type"] == "application/schema+json"
            assert answer.json() == schemas[name]


@pytest.mark.parametrize("path", ["/v1/schemas", "/v1/schemas/client.start", "/asyncapi.json"])
def test_they_may_be_kept(web: Api, path: str) -> None:
    """By anyone; and are not sent again to who has them."""
    answer = web.get(path)
    assert answer.headers["cache-control"] == "public, max-age=3600"
    again = web.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing", "client", "%2e%2e%2fpyproject", "client.start.json.json"])
def test_there_is_no_other(web: Api, name: str) -> None:
    """Nothing else is found, least of all a file."""
    answer = web.get(f"/v1/schemas/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_asyncapi_document_is_served(web: Api) -> None:
    """For machines."""
    document = web.get("/asyncapi.json").json()
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["version"] == web.get("/openapi.json").json()["info"]["version"]
