"""People label utterances; labels outlive records, but no erasure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from app.access.principal import Scope
from app.api.feedback_bodies import FeedbackBody
from app.api.protocol import Listing
from app.domain import UtteranceRecord
from app.results.store import ResultStore
from app.settings import Settings, SettingsError, load_settings
from tests.support.clock import FakeClock
from tests.support.held import erase_call, put_call
from tests.support.records import make_record
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants

TTL_S, LABELS_TTL_S = 60.0, 600.0
PATH = "/v1/utterances/c0.customer.0000/feedback"


@pytest.fixture
def web(bundle: Path) -> Iterator[Api]:
    """A service with short times, a pattern of its own, and a call of three records."""
    labels = {"ttl_s": LABELS_TTL_S, "pattern": "site/[a-z ]+"}
    with api(make_settings(bundle, labels=labels), FakeClock()) as running:
        asyncio.run(put_calls(running.services.store))
        yield running


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


async def put_calls(store: ResultStore, **fields: Any) -> None:
    """Two calls with three records each."""
    for call_id in ("c0", "c1"):
        records = [make_record(call_id, index) for index in range(3)]
        await put_call(store, call_id, records, ttl_s=TTL_S, line="sales", team="north", **fields)


def label(web: Api, path: str = PATH, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """Labels an utterance."""
    return web.request("POST", path, json={"label": "angry"} | body, headers=headers)


def advance(web: Api, seconds: float) -> None:
    """Lets time pass."""
    clock = web.services.clock
    assert isinstance(clock, FakeClock)
    clock.advance(seconds)


def category(web: Api) -> str:
    """A category of the head in service."""
    return web.services.engine.categories[0]


def test_a_label_is_kept_with_the_record(web: Api) -> None:
    """With the scores, the model and the line profile it is about; who and when; and no audio."""
    answer = label(web, label=category(web), confidence=0.75, note="shouts", labeller="anna")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    FeedbackBody.model_validate(body)
    record = web.get("/v1/utterances/c0.customer.0000").json()
    del record["line"], record["team"]
    assert body.pop("record") == record
    assert body == {
        "utterance_id": "c0.customer.0000",
        "call_id": "c0",
        "label": category(web),
        "confidence": 0.75,
        "note": "shouts",
        "labeller": "anna",
        "labelled_at": "2023-11-14T22:13:20.000Z",
        "version": 1,
        "line": "sales",
        "team": "north",
        "language": None,
    }
    listed = web.get(PATH).json()
    Listing[FeedbackBody].model_validate(listed)
    assert listed == {"items": [answer.json()], "next": None}


def test_the_last_label_of_a_labeller_holds(web: Api) -> None:
    """200 for one that replaces; another labeller's stands beside it."""
    assert label(web, label=category(web), labeller="anna").status_code == 201
    second = label(web, label="site/very cross", labeller="anna")
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert label(web, label=category(web), labeller="zoé|2").status_code == 201
    found = web.get(PATH).json()["items"]
    assert [(item["labeller"], item["label"]) for item in found] == [
        ("anna", "site/very cross"),
        ("zoé|2", category(web)),
    ]


def test_labels_are_listed_in_pages(web: Api) -> None:
    """All of them, those of one call, those of one utterance; each cursor in its own list."""
    paths = [f"/v1/utterances/{call}.customer.000{n}/feedback" for call in ("c0", "c1") for n in range(3)]
    for path in paths:
        for labeller in ("anna", "bert"):
            assert label(web, path, label=category(web), labeller=labeller).status_code == 201
    assert len(walk(web, "/v1/feedback?limit=5")) == 12
    assert {item["call_id"] for item in walk(web, "/v1/feedback?limit=5&call_id=c1")} == {"c1"}
    assert [item["labeller"] for item in walk(web, f"{paths[4]}?limit=1")] == ["anna", "bert"]
    cursor = web.get("/v1/feedback?limit=5").json()["next"]
    for path in (f"/v1/feedback?call_id=c1&cursor={cursor}", f"{PATH}?cursor={cursor}"):
        assert web.get(path).json()["code"] == "invalid_cursor"


def walk(web: Api, path: str) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        body = web.get(path + cursor).json()
        found += body["items"]
        if body["next"] is None:
            return found
        cursor = f"&cursor={body['next']}"


def test_labels_outlive_their_records(web: Api) -> None:
    """They have a time of their own; a record that is gone gets no new ones."""
    label(web, label=category(web), labeller="anna")
    advance(web, TTL_S)
    assert web.get("/v1/utterances/c0.customer.0000").status_code == 404
    (kept,) = web.get(PATH).json()["items"]
    assert kept["record"]["scores"] == {"anger": 0.7, "neutral": 0.3}
    assert label(web, label=category(web)).json()["code"] == "utterance_not_found"
    advance(web, LABELS_TTL_S)
    assert web.get(PATH).status_code == 404
    assert web.get("/v1/feedback").json()["items"] == []


def test_erasing_a_call_erases_its_labels(web: Api) -> None:
    """Those of other calls stay."""
    label(web, label=category(web), labeller="anna")
    label(web, "/v1/utterances/c1.customer.0000/feedback", label=category(web), labeller="anna")
    asyncio.run(erase_call(web.services.store, "c0"))
    assert [item["call_id"] for item in web.get("/v1/feedback").json()["items"]] == ["c1"]
    assert web.get(PATH).status_code == 404


def test_an_erasure_while_labelling_leaves_nothing(web: Api) -> None:
    """A call that goes between the reading of its record and the keeping of the copy takes the copy along."""
    services = web.services
    put = services.documents.put

    class Late:
        """Documents; an erasure comes just before one is written."""

        def __getattr__(self, name: str) -> Any:
            return getattr(services.documents, name)

        async def put(self, *args: Any, **kwargs: Any) -> Any:
            """Erases, then writes."""
            await erase_call(services.store, "c0")
            return await put(*args, **kwargs)

    late = Api(web.app, replace(services, documents=Late()))
    assert label(late, label=category(web)).status_code == 404
    assert late.get("/v1/feedback").json()["items"] == []


def test_a_label_is_taken_back(web: Api) -> None:
    """204, once; without a labeller, one's own."""
    label(web, label=category(web), labeller="anna")
    label(web, label=category(web))
    assert web.request("DELETE", f"{PATH}?labeller=anna").status_code == 204
    again = web.request("DELETE", f"{PATH}?labeller=anna")
    assert (again.status_code, again.json()["code"]) == (404, "feedback_not_found")
    assert web.request("DELETE", PATH).status_code == 204
    assert web.get(PATH).json() == {"items": [], "next": None}


def test_labels_leave_as_a_file(web: Api) -> None:
    """With what they are about, for retraining; filtered by label, line and time."""
    label(web, label=category(web), labeller="anna", confidence=0.5)
    advance(web, 10.0)
    label(web, label="site/cross", labeller="anna", path="/v1/utterances/c1.customer.0000/feedback")

    def rows(query: str) -> list[dict[str, Any]]:
        *found, _ = [orjson.loads(line) for line in web.get(f"/v1/exports/feedback?{query}").iter_lines()]
        return found

    both = rows("")
    assert [(row["label"], row["label_confidence"], row["label_version"]) for row in both] == [
        (category(web), 0.5, 1),
        ("site/cross", None, 1),
    ]
    assert both[0]["scores"] == {"anger": 0.7, "neutral": 0.3}
    assert (both[0]["model_bundle"], both[0]["line_profile_n"]) == ("tiny", 0)
    assert rows("label=site/cross") == both[1:]
    assert rows("line=sales&team=north&until=2023-11-14T22:13:25Z") == both[:1]
    assert rows("line=other") == []
    csv = web.get("/v1/exports/feedback?format=csv")
    assert csv.text.startswith("label,label_confidence,note,labeller,labelled_at")


@pytest.mark.parametrize(
    "body",
    [
        {"label": "site/ANGRY"},
        {"label": "xsite/cross"},
        {"label": "site/cross\n"},
        {"label": ""},
        {"label": "x" * 65},
        {"label": 5},
        {"label": None},
        {"label": ["site/cross"]},
        {"confidence": 1.1},
        {"confidence": -0.1},
        {"confidence": "0.5"},
        {"confidence": True},
        {"note": "x" * 501},
        {"labeller": ""},
        {"labeller": "a\x00"},
        {"labeller": "x" * 101},
        {"audio": "UklGRg=="},
    ],
)
def test_a_wrong_label_is_a_problem(web: Api, body: dict[str, Any]) -> None:
    """422, and nothing is kept."""
    answer = web.request("POST", PATH, json={"label": "site/cross"} | body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("invalid_request", "unknown_label")
    assert web.get("/v1/feedback").json()["items"] == []


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b'{"label": "site/a", "label": "site/b"}', 422, "duplicate_key"),
        (b'{"label": "site/a", "confidence": NaN}', 422, "invalid_json"),
        (b"[" * 50_000, 422, "invalid_json"),
        (b'{"label": "site/a", "note": "' + b"x" * 70_000 + b'"}', 413, "body_too_big"),
        (b" " * 10_000_000, 413, "body_too_big"),
    ],
)
def test_a_bomb_does_not_go_off(web: Api, raw: bytes, status: int, code: str) -> None:
    """Refused before it costs anything."""
    answer = web.request("POST", PATH, content=raw, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_only_known_labels_are_taken(plain: Settings) -> None:
    """The head's categories, where a site has no pattern; the answer names them."""
    with api(plain) as web:
        asyncio.run(put_calls(web.services.store))
        answer = label(web, label="site/cross")
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_label")
        assert category(web) in answer.json()["detail"]
        assert label(web, label=category(web)).status_code == 201


def test_who_labels_is_who_asks(bundle: Path, tenants: Tenants) -> None:
    """Unless the request says it; writing needs `label`, reading `read:scores`; tenants see their own."""
    alpha, beta = tenants.all
    with api(make_settings(bundle, **tenants.groups)) as web:
        asyncio.run(put_calls(web.services.store, tenant=alpha.name))
        allowed = alpha.headers(Scope.LABEL)
        name = category(web)
        kept = label(web, label=name, headers=allowed)
        assert kept.status_code == 201
        assert kept.json()["labeller"]
        assert web.get(PATH, headers=allowed).status_code == 403
        assert label(web, label=name, headers=alpha.headers(Scope.READ_SCORES)).status_code == 403
        assert label(web, label=name).status_code == 401
        assert len(web.get("/v1/feedback", headers=alpha.headers()).json()["items"]) == 1
        assert web.get("/v1/feedback", headers=beta.headers()).json()["items"] == []
        for method, path in (("GET", PATH), ("DELETE", PATH)):
            assert web.request(method, path, headers=beta.headers()).status_code == 404
        foreign = label(web, label=name, headers=beta.headers())
        unknown = label(web, PATH.replace("c0", "c9"), beta.headers(), label=name)
        assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
        assert web.request("DELETE", PATH, headers=alpha.headers(Scope.LABEL)).status_code == 204


@pytest.mark.parametrize("utterance_id", ["c0", "%00", "%2e%2e", "c0.customer.9999", "c0.customer.0000:anna"])
def test_odd_utterances_have_no_labels(web: Api, utterance_id: str) -> None:
    """404 for each route."""
    path = f"/v1/utterances/{utterance_id}/feedback"
    assert web.get(path).status_code == 404
    assert label(web, path, label=category(web)).status_code == 404
    assert web.request("DELETE", path).status_code == 404


def test_the_copy_fits_whatever_the_ids(web: Api) -> None:
    """The longest id of a call and the longest name of a labeller make a key that a store takes."""
    call_id = "c" * 128
    record: UtteranceRecord = make_record(call_id, 0)
    asyncio.run(put_call(web.services.store, call_id, [record]))
    answer = label(web, f"/v1/utterances/{record.utterance_id}/feedback", label="site/a", labeller="ü" * 100)
    assert answer.status_code == 201


def test_a_pattern_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any label is refused by mistake."""
    monkeypatch.setenv("KOWAIRO_LABELS__PATTERN", "(")
    with pytest.raises(SettingsError, match="KOWAIRO_LABELS__PATTERN"):
        load_settings()
