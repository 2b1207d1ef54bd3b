"""`dbs drift remove`: what would go is shown before anything is agreed to, and the code is sent back as it came."""

import json

import httpx
import pytest

from cli.test_errors import run
from database_service.cli.exits import Exit

PATH = "/api/database/admin/drift/f-1/remove"
FINDING = {
    "id": "f-1", "kind": "database_without_row", "state": "open", "server_name": "pool-a", "thing": "db_x",
    "told": ["database db_x (oid 7) of own_x"], "remark": "7.5 MiB", "first_seen": "2026-11-21T12:00:00Z",
    "confirmed_by": None,
}  # fmt: skip
OFFER = {"drift": FINDING, "confirmation": "69-ab", "expires_at": "2026-11-21T12:15:00Z"}


class Api:
    """Offers without a code, takes one with it; remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == PATH
        body = json.loads(request.content)
        self.sent.append(body)
        if body:
            return httpx.Response(202, json=FINDING | {"state": "removing", "confirmed_by": "ops"})
        return httpx.Response(200, json=OFFER)


def test_without_a_terminal_it_shows_and_stops(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    assert run(api, "drift", "remove", "f-1") == Exit.USAGE
    said = capsys.readouterr()
    assert "database db_x (oid 7) of own_x" in said.out
    assert "69-ab" in said.out
    assert "--yes" in said.err
    assert api.sent == [{}]


def test_a_program_reads_the_offer_and_sends_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    assert run(api, "drift", "remove", "f-1", "--json") == Exit.USAGE
    code = json.loads(capsys.readouterr().out)["confirmation"]
    assert run(api, "drift", "remove", "f-1", "--confirm", code, "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["state"] == "removing"
    assert api.sent == [{}, {"confirm": "69-ab"}]


def test_with_yes_it_shows_and_agrees_in_one_go(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api()
    assert run(api, "drift", "remove", "f-1", "--yes") == Exit.OK
    said = capsys.readouterr().out
    assert said.index("database db_x") < said.index("removing")
    assert api.sent == [{}, {"confirm": "69-ab"}]
