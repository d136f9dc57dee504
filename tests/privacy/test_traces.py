"""What is held of a call is counted page by page, whatever of it is left."""

from __future__ import annotations

from app.privacy.traces import Found, Traces
from tests.privacy.support import Room, run


def test_what_is_held_is_counted() -> None:
    """Of a live call, of an ended one, of one of which only feedback is left, of none."""

    async def scenario() -> None:
        room = Room()
        await room.call("a", records=5, ended=False)
        for number in range(1_001):
            await room.memory.documents.put(
                "default", "feedback", f"b-{number}", {"subject": "p"}, call_id="b"
            )
        look = Traces(room.memory.results, room.memory.documents)
        live = await look.of_call("default", "a")
        assert (live.live, live.anything, live.started_at) == (True, True, room.clock.now())
        assert live.body() == {"calls": 1, "records": 5, "metadata": 2, "feedback": 2, "dead_letters": 1}
        rest = await look.of_call("default", "b")
        assert (rest.live, rest.calls, rest.feedback, rest.anything) == (False, 0, 1_001, True)
        assert await look.calls_of("default", "p") == ["b"]
        assert not (await look.of_call("default", "c")).anything
        assert not (await look.of_call("acme", "a")).anything

    run(scenario())


def test_counts_add_up_and_survive_being_written_down() -> None:
    """Of several calls, and of one that is counted again when half of it is gone."""
    one, two = Found(1, 5, 2, 0, 1), Found(1, 3, 0, 4, 0)
    assert (one + two) == Found(2, 8, 2, 4, 1)
    assert one.at_least(two) == Found(1, 5, 2, 4, 1)
    assert Found.from_body(one.body()) == one
