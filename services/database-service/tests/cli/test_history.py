"""`dbs pools history`: a line for each day, and when it will be full."""

import json

import httpx
import pytest

from cli.test_errors import run
from database_service.cli.exits import Exit

POOL = {"id": "11111111-1111-4111-8111-111111111111", "name": "pool-a"}
DAY = {"at": "2026-11-22T00:00:00Z", "used_slots": 7, "databases": 5, "connections": 31, "size_bytes": 3 * 1024**3}


@pytest.mark.parametrize("full_on", ["2026-12-01", None])
def test_a_pools_history_is_a_table_with_what_is_expected(
    capsys: pytest.CaptureFixture[str], full_on: str | None
) -> None:
    asked: list[httpx.URL] = []
    found = {"history": [DAY], "full_on": full_on}

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        pools = request.url.path.endswith("/pools")
        return httpx.Response(200, json={"pools": [POOL], "next_cursor": None} if pools else found)

    assert run(answer, "pools", "history", "pool-a", "--by", "hour") == Exit.OK
    assert (asked[-1].path, asked[-1].query) == (f"/api/database/admin/pools/{POOL['id']}/history", b"by=hour")
    said = capsys.readouterr().out
    assert " ".join(said.split("\n")[1].split()).endswith("7 5 31 3 GiB")
    assert ("will all be taken on about 2026-12-01" in said) == (full_on is not None)
    assert run(answer, "pools", "history", "pool-a", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out) == found
    assert asked[-1].query == b"by=day"
