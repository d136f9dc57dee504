"""The pages work under a strict policy: nothing inline, nothing from elsewhere, text only as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from app.api.pages import web_folder
from tests.support.service import Api

PAGES = ("index.html", "docs.html")
SCRIPTS = sorted(path.name for path in web_folder().glob("*.js"))


class Page(HTMLParser):
    """Collects what a page refers to and what it does inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self._open_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element."""
        names = dict(attrs)
        self.inline += [name for name in names if name.startswith("on") or name == "style"]
        self.links += [names[name] or "" for name in ("src", "href", "action") if name in names]
        self.ids += [names["id"] or ""] if "id" in names else []
        if tag == "style" or (tag == "script" and "src" not in names):
            self.inline.append(tag)


@pytest.mark.parametrize(("path", "title"), [("/", "Kowairo: live calls"), ("/docs", "Kowairo: API")])
def test_pages_are_served(web: Api, path: str, title: str) -> None:
    """With the policy that the rest of these tests hold them to."""
    answer = web.get(path)
    assert answer.status_code == 200
    assert f"<title>{title}</title>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_nothing_inline_and_nothing_from_elsewhere(web: Api, name: str) -> None:
    """Every reference is served by this service."""
    page = Page((web_folder() / name).read_text(encoding="utf-8"))
    assert page.inline == []
    assert page.links
    for link in page.links:
        assert link.startswith("/")
        assert not link.startswith("//")
        assert web.get(link).status_code == 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_write_text_as_text(name: str) -> None:
    """No markup from data, no code from text, no address elsewhere, nothing kept in the browser."""
    text = (web_folder() / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function"
        r"|https?://|localStorage|sessionStorage|cookie|setAttribute\([\"']style"
    )
    assert re.findall(forbidden, text) == []


def test_styles_come_from_here(web: Api) -> None:
    """No import and no address in the style sheet; both colour schemes."""
    text = web.get("/assets/live.css").text
    assert re.findall(r"@import|url\(|https?://", text) == []
    assert "prefers-color-scheme: dark" in text


def test_scripts_find_every_element_they_ask_for() -> None:
    """Every id that the live page's script names is on the page."""
    ids = Page((web_folder() / "index.html").read_text(encoding="utf-8")).ids
    asked = re.findall(r"\bat\(\"([^\"]+)\"\)", (web_folder() / "live.js").read_text(encoding="utf-8"))
    assert set(asked) <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_page_says_what_scores_are_not_for(web: Api) -> None:
    """Nobody sees a score without it."""
    text = " ".join(web.get("/").text.split())
    assert "not for judging, rating, disciplining, hiring or paying" in text
    assert "not for telling lies from truth" in text


def test_the_api_page_knows_every_route(web: Api) -> None:
    """What it renders lists all of /v1 and health, with a summary each."""
    paths = web.get("/openapi.json").json()["paths"]
    assert {"/v1/calls", "/v1/calls/{call_id}", "/v1/score", "/v1/events", "/v1/models", "/readyz"} <= set(
        paths
    )
    assert all(spec["summary"] for verbs in paths.values() for spec in verbs.values())
