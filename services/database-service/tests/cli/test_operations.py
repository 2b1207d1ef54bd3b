"""What `dbs` tells of long work: news while it goes, and in the end a code that a script can rely on."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.test_errors import run
from database_service.cli.exits import Exit

POOL = {"id": "11111111-1111-4111-8111-111111111111", "name": "pool-a"}


def operation(state: str, step: str, error: str | None = None) -> dict[str, Any]:
    over = "2026-01-01T00:00:01Z" if state not in ("pending", "running", "paused") else None
    return {
        "id": "22222222-2222-4222-8222-222222222222", "kind": "rollout", "state": state, "target": {"cpu_limit": 1},
        "wish": None, "error": error, "created_by": "me", "created_at": "2026-01-01T00:00:00Z", "finished_at": over,
        "steps": [{"ordinal": 1, "name": "pool-a", "state": step, "error": error, "finished_at": over, "progress": None}],
    }  # fmt: skip


class Api:
    """Answers with one after the other, and remembers what was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers: Iterator[dict[str, Any]] = iter(answers)
        self.asked: list[tuple[str, str]] = []
        self.sent: list[object] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path.removeprefix("/api/database")))
        if request.content:
            self.sent.append(json.loads(request.content))
        if request.url.path.endswith("/pools"):
            return httpx.Response(200, json={"pools": [POOL], "next_cursor": None})
        return httpx.Response(202 if request.method == "POST" else 200, json=next(self._answers))


def test_a_rollout_tells_its_news_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(operation("pending", "pending"), operation("running", "running"), operation("succeeded", "succeeded"))
    assert run(api, "pools", "rollout", "pool-a", "--memory", "1G", "--slots", "7", "--wait") == Exit.OK
    assert api.sent == [{"memory_limit": 1024**3, "max_instances": 7, "pools": [POOL["id"]]}]
    said = capsys.readouterr().out
    assert said.index("pool-a: running") < said.index("pool-a: succeeded")


@pytest.mark.parametrize(
    ("state", "code"), [("failed", Exit.FAILURE), ("cancelled", Exit.REFUSED), ("paused", Exit.REFUSED)]
)
def test_a_rollout_that_did_not_succeed_is_no_success(
    state: str, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(operation(state, "failed", "it refuses"))
    assert run(api, "operations", "show", "22222222-2222-4222-8222-222222222222", "--wait") == code
    said = capsys.readouterr()
    assert f"The operation is {state}." in said.err
    assert "it refuses" in said.out


def test_without_waiting_it_is_only_begun(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api(operation("pending", "pending"))
    assert run(api, "pools", "rotate-password", "--all", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["state"] == "pending"
    assert (api.asked, api.sent) == ([("POST", "/admin/pools/rotate-admin-password")], [{"pools": "all"}])


def test_pools_by_name_and_all_of_them_contradict_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Api(), "pools", "rollout", "pool-a", "--all", "--slots", "3") == Exit.USAGE
    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_an_operation_is_steered_by_its_id(verb: str) -> None:
    api = Api(operation("running", "running"))
    assert run(api, "operations", verb, "a/b") == Exit.OK
    assert api.asked == [("POST", f"/operations/a/b/{verb}")]


def test_operations_are_listed_with_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api({"operations": [operation("failed", "failed", "it refuses")], "next_cursor": None})
    assert run(api, "operations", "ls", "--state", "failed") == Exit.OK
    assert "0 of 1" in capsys.readouterr().out
