"""`dbs events` and `dbs keys`: what is wrong is said, with a code that a script can rely on."""

import json
from typing import Any

import httpx
import pytest

from cli.test_errors import run
from database_service.cli.exits import Exit

HEAD = f"3:{'ab' * 32}"
WELL = {
    "ok": True, "complete": True, "verified": 2, "unlinked": 1, "head": HEAD, "fault": None,
    "checked_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
EVENT = {
    "id": 1, "at": "2026-01-01T00:00:00Z", "actor": "me", "action": "server.cordoned", "instance_id": None, "before": None,
    "after": None, "why": "a disk",
}  # fmt: skip


class Api:
    """Answers with one after the other, and remembers what was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = iter(answers)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url).partition("/api/database")[2])
        return httpx.Response(202 if request.method == "POST" else 200, json=next(self._answers))


def test_a_long_trail_is_verified_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(WELL | {"complete": False, "unlinked": None, "verified": 100}, WELL)
    assert run(api, "events", "verify", "--json") == Exit.OK
    assert api.asked == ["/admin/events/verification", f"/admin/events/verification?since={HEAD.replace(':', '%3A')}"]
    told = json.loads(capsys.readouterr().out)
    assert (told["verified"], told["unlinked"]) == (102, 1)


def test_a_trail_that_was_edited_is_a_failure_and_the_event_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    fault = {"flaw": "changed", "event_id": 7, "told": "event 7 is not what was linked"}
    assert run(Api(WELL | {"ok": False, "fault": fault}), "events", "verify") == Exit.FAILURE
    assert "event 7 is not what was linked" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("events",), ("events", "ls")])
def test_events_are_listed_with_and_without_the_word(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api({"events": [EVENT], "next_cursor": None})
    assert run(api, *words, "--limit", "5") == Exit.OK
    assert api.asked == ["/admin/events?limit=5"]
    assert "server.cordoned" in capsys.readouterr().out


def test_the_keys_are_told_with_what_can_be_done_about_each(capsys: pytest.CaptureFixture[str]) -> None:
    key = {"on_ring": True, "seals": False, "secrets": 0, "links": 0, "tokens": 0, "removable": False}
    keys = [
        key | {"id": "k4", "seals": True}, key | {"id": "k3", "secrets": 5}, key | {"id": "k2", "removable": True},
        key | {"id": "k1", "on_ring": False, "tokens": 1},
    ]  # fmt: skip
    assert run(Api({"keys": keys, "plain_tokens": 2}), "keys", "status") == Exit.OK
    said = capsys.readouterr().out
    for told in ("seals", "in use", "can be removed", "missing: put it back on the ring", "2 token(s)"):
        assert told in said


def test_a_reseal_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api({"keys": [], "plain_tokens": 0})
    assert run(api, "keys", "reseal") == Exit.OK
    assert api.asked == ["/admin/keys/reseal"]
