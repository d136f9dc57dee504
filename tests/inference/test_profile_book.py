"""The book of lines: what threads share, and what learning here adds to what all processes share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.inference.line_profile import LineProfile, ProfileError
from app.inference.profile_book import ProfileBook, line_of, profile_key, tenant_of

DIM = 3


def _assert_same(a: LineProfile, b: LineProfile) -> None:
    assert a.n == b.n
    assert a.mean == pytest.approx(b.mean, rel=1e-9, abs=1e-6)
    assert a.var == pytest.approx(b.var, rel=1e-9, abs=1e-6)


def test_an_unknown_line_is_empty_and_not_remembered() -> None:
    """Looking at a line does not create it."""
    book = ProfileBook(DIM)
    assert (book.get("new").n, book.get("new").id, len(book)) == (0, "new", 0)


def test_lines_are_apart() -> None:
    """Updating one line leaves the others."""
    book = ProfileBook(DIM)
    assert book.update("b", np.ones(DIM)).n == 1
    book.update("a", np.ones(DIM))
    book.update("b", np.ones(DIM))
    assert [(line, book.get(line).n) for line in book.ids()] == [("a", 1), ("b", 2)]


def test_updates_from_many_threads_all_count() -> None:
    """No update is lost, and the mean is that of all of them."""
    book = ProfileBook(DIM)
    values = np.random.default_rng(1).normal(size=(2000, DIM))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: book.update("line", value), values))
    _assert_same(book.get("line"), LineProfile.from_embeddings(values))


def test_freeze_thaw_and_reset() -> None:
    """A frozen line stays as it is, a thawed one learns, a reset one is gone."""
    book = ProfileBook(DIM)
    book.update("a", np.ones(DIM))
    book.set_frozen("a", True)
    assert book.update("a", np.ones(DIM)).n == 1
    book.set_frozen("a", False)
    assert book.update("a", np.ones(DIM)).n == 2
    book.reset("a")
    book.reset("a")
    assert book.ids() == []


def test_export_and_import_under_another_name() -> None:
    """What one book exports another imports, under the name that it chooses."""
    book = ProfileBook(DIM, "tiny/0.0.1")
    book.update("a", np.ones(DIM))
    other = ProfileBook(DIM, "tiny/0.0.1")
    assert other.import_json("b", book.export_json("a")).n == 1
    assert other.get("b").id == "b"
    with pytest.raises(ProfileError, match="embeddings are not comparable"):
        ProfileBook(DIM, "tiny/0.0.2").import_json("b", book.export_json("a"))


def test_a_full_book_forgets_the_line_longest_unused() -> None:
    """Client-made names cannot fill the memory; what is in use or frozen is kept."""
    book = ProfileBook(DIM, max_lines=3)
    for line in ("frozen", "old", "used"):
        book.update(line, np.ones(DIM))
    book.set_frozen("frozen", True)
    book.get("old")
    book.get("used")
    book.update("new", np.ones(DIM))
    assert book.ids() == ["frozen", "new", "used"]


def test_a_book_full_of_frozen_lines_takes_no_new_one() -> None:
    """Where every line is frozen a new one is scored cold each time rather than displacing them."""
    book = ProfileBook(DIM, max_lines=1)
    book.set_frozen("a", True)
    book.update("b", np.ones(DIM))
    assert book.ids() == ["a"]


def test_keys_keep_tenants_apart() -> None:
    """The default tenant's lines have their bare names, others' do not collide with them."""
    assert profile_key("default", "trunk") == "trunk"
    key = profile_key("acme", "trunk")
    assert (line_of(key), tenant_of(key)) == ("trunk", "acme")
    assert (line_of("trunk"), tenant_of("trunk")) == ("trunk", "default")
    book = ProfileBook(DIM)
    assert book.update(key, np.ones(DIM)).id == "trunk"
    assert (book.get("trunk").n, book.get(key).n, key in book) == (0, 1, True)


def test_lines_that_are_always_frozen_never_learn() -> None:
    """Whoever's they are, and whatever the shared profile says."""
    book = ProfileBook(DIM, frozen_lines=["studio"])
    assert book.update("acme/studio", np.ones(DIM)).n == 0
    assert book.rebase("studio", LineProfile.from_embeddings(np.ones((4, DIM)))).frozen
    assert book.update("studio", np.ones(DIM)).n == 4
    assert book.learned() == []


def test_what_was_learned_is_taken_once_and_given_back_whole() -> None:
    """Learning goes on meanwhile, and nothing is lost or counted twice."""
    values = np.random.default_rng(2).normal(size=(9, DIM))
    book = ProfileBook(DIM)
    for value in values[:4]:
        book.update("a", value)
    taken = book.take_learned("a")
    assert taken is not None
    assert book.take_learned("a") is None
    for value in values[4:]:
        book.update("a", value)
    book.give_back("a", taken)
    again = book.take_learned("a")
    assert again is not None
    _assert_same(again, LineProfile.from_embeddings(values))
    book.give_back("a", again)
    assert book.learned() == ["a"]


def test_a_shared_profile_is_installed_under_what_was_learned_since() -> None:
    """The book then holds both."""
    values = np.random.default_rng(3).normal(size=(9, DIM))
    book = ProfileBook(DIM)
    book.update("a", values[0])
    book.take_learned("a")
    book.update("a", values[1])
    _assert_same(
        book.rebase("a", LineProfile.from_embeddings(values[2:])), LineProfile.from_embeddings(values[1:])
    )
    frozen = LineProfile.from_embeddings(values[2:])
    book.rebase("a", LineProfile(frozen.n, frozen.mean, frozen.m2, "other", frozen=True))
    _assert_same(book.get("a"), frozen)
    assert (book.get("a").id, book.learned()) == ("a", [])
    with pytest.raises(ProfileError, match="3 wide"):
        book.rebase("a", LineProfile.empty(2))


def test_what_was_learned_is_bounded_too() -> None:
    """Client-made names cannot fill the memory while nobody takes it."""
    book = ProfileBook(DIM, max_lines=2)
    for line in ("a", "b", "c"):
        book.update(line, np.ones(DIM))
    assert book.learned() == ["b", "c"]
