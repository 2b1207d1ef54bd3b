"""The request log: what is kept of whom, what is never kept, and that nobody waits for it."""

import asyncio
import json
import re
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.types import Receive, Scope, Send

from database_service.actions.record_requests import Keeping, RequestLog
from database_service.api import openapi
from database_service.api.app import Door, routes
from database_service.api.middleware import Doorway
from database_service.api.redaction import HIDDEN, LONGEST_TEXT, redacted
from database_service.api.schemas.databases import AllocateIn
from database_service.api.schemas.pools import AdoptIn
from database_service.api.turning_away import TurningAway
from database_service.auth.tokens import Caller, new_token
from database_service.domain.ids import TokenId
from database_service.domain.requests import Request
from database_service.observability import metrics
from database_service.reconcilers.upkeep import forget_requests
from support.house import House
from support.secrets import KNOWN, refuse_in_rows
from support.web import Web, open_web

ALL = Keeping(reads=1)


async def written(web: Web) -> None:
    await asyncio.sleep(0)  # what is noted of a request is noted a turn after it was answered
    log: RequestLog = web.app.state.requests
    await log.write()


async def listed(web: Web, **wanted: object) -> list[dict[str, Any]]:
    await written(web)
    found = await web.client.get("/admin/requests", params=wanted)  # type: ignore[arg-type]
    assert found.status_code == 200, found.text
    requests: list[dict[str, Any]] = found.json()["requests"]
    return requests


def counted(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("dbs_logged_requests_total", {"outcome": outcome}) or 0


@pytest.fixture
async def all_kept(house: House) -> Any:
    async with open_web(house, Door(keeping=ALL)) as web:
        yield web


# -- what is kept -----------------------------------------------------------------------------------------------------


async def test_a_request_is_told_with_who_asked_for_what_and_what_came_of_it(pooled: Web) -> None:
    token, headers = await pooled.token(["databases:write"])
    ask = {"instance_id": "i-1", "customer_id": "c-1", "plan_tier": "free"}
    answered = await pooled.client.post("/allocate", json=ask, headers=headers | {"X-Request-ID": "r-1"})
    [told] = await listed(pooled, request_id="r-1")
    assert (told["token_id"], told["token_name"]) == (str(token.id), token.name)
    assert (told["method"], told["endpoint"], told["status"]) == ("POST", "/api/database/allocate", 200)
    assert (told["instance_id"], told["customer_id"], told["code"]) == ("i-1", "c-1", None)
    assert told["request_body"] == ask
    assert told["response_body"] == answered.json() | {"db_password": HIDDEN}
    assert 0 < told["ms"] < 60_000


async def test_what_was_refused_is_told_with_its_code_whoever_asked(web: Web) -> None:
    await web.client.get("/databases/nobody")
    await web.client.get("/databases/nobody", headers={"Authorization": "Bearer dbs_nobody"})
    await web.client.get("/nothing/here")
    unmatched, stranger, missing = await listed(web, errors=True)
    assert (missing["code"], missing["status"], missing["instance_id"]) == ("database_not_found", 404, "nobody")
    assert (stranger["code"], stranger["token_id"]) == ("unauthenticated", None)
    assert (unmatched["endpoint"], unmatched["code"]) == ("unmatched", "not_found")
    assert unmatched["response_body"]["instance"] == HIDDEN, "a path that nobody knows may be anything"


async def test_of_reads_a_share_is_kept_and_of_everything_else_all(house: House) -> None:
    log = RequestLog(house.deps, Keeping(reads=0.25))
    assert [log.keeps("GET", "/a", 200, known=True) for _ in range(8)] == [False, False, False, True] * 2
    assert not log.keeps("GET", "/b", 200, known=True), "each endpoint has its own turn"
    assert not any(log.keeps("GET", "/health", 200, known=False) for _ in range(8))
    assert log.keeps("GET", "/health", 503, known=False)
    assert log.keeps("POST", "/a", 200, known=True)


async def test_it_is_filtered_and_read_page_by_page(all_kept: Web) -> None:
    web = all_kept
    token, headers = await web.token()
    for number in range(5):
        await web.client.get(f"/databases/i-{number}", headers=headers)
    await web.client.get("/admin/stats")
    assert len(await listed(web, token_id=str(token.id))) == 5
    assert [told["instance_id"] for told in await listed(web, instance_id="i-3")] == ["i-3"]
    assert {told["endpoint"] for told in await listed(web, status=404)} == {"/api/database/databases/{instance_id}"}
    [stats] = await listed(web, endpoint="/api/database/admin/stats")
    everything = await listed(web, until=stats["at"])
    assert stats not in everything
    assert stats in await listed(web, since=stats["at"])
    pages, cursor = [], None
    while True:
        query = {"limit": 2, "until": stats["at"]} | ({"cursor": cursor} if cursor else {})
        page = (await web.client.get("/admin/requests", params=query)).json()
        pages += page["requests"]
        if not (cursor := page["next_cursor"]):
            break
    assert [told["request_id"] for told in pages] == [told["request_id"] for told in everything]


async def test_a_cursor_of_another_list_is_no_cursor_here(web: Web) -> None:
    no_such_year = urlsafe_b64encode(struct.pack(">Bqq", 2, 2**62, 1)).rstrip(b"=").decode()
    for cursor in ("AQAAAAAAAAAB", "x", no_such_year):
        refused = await web.client.get("/admin/requests", params={"cursor": cursor})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_field"), cursor


# -- what is never kept -----------------------------------------------------------------------------------------------

OF_FASTAPI = {"HTTPValidationError", "ValidationError"}
"""In its document, and in none of our answers."""


def texts(schema: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    match schema:
        case {"type": "string"}:
            yield where, schema
        case dict():
            for name, part in schema.items():
                yield from texts(part, f"{where}.{name}")
        case list():
            for part in schema:
                yield from texts(part, where)


def closed(schema: Mapping[str, Any]) -> bool:
    """Of a kind that has no room for a secret."""
    return bool({"enum", "const"} & schema.keys()) or schema.get("format") in ("uuid", "date-time")


def test_every_text_of_the_contract_says_whether_it_may_be_kept() -> None:
    schemas = openapi.document(routes())["components"]["schemas"]
    found = [each for name, schema in schemas.items() if name not in OF_FASTAPI for each in texts(schema, name)]
    unmarked = [where for where, schema in found if not closed(schema) and not {"x-logged", "x-secret"} & schema.keys()]
    assert unmarked == []
    assert len(found) > 100


SOUNDS_SECRET = re.compile(r"\.[a-z_]*(password|passwd|secret|token|dsn|key|confirm|credential)[a-z_]*$")
HOLDS_NONE = {"RequestOut.token_name", "DriftOut.confirmed_by"}


def test_what_is_named_like_a_secret_is_marked_as_one() -> None:
    schemas = openapi.document(routes())["components"]["schemas"]
    found = [
        (where.replace(".anyOf", "").replace(".properties", ""), text)
        for name, schema in schemas.items()
        for where, text in texts(schema, name)
    ]
    assert {where for where, text in found if text.get("x-secret")} == {
        "AdoptIn.password", "AdoptIn.confirm", "AdoptionOut.confirmation", "AllocationOut.db_password",
        "CredentialsOut.db_password", "IssuedOut.token", "OfferOut.confirmation", "RemoveIn.confirm", "RotationOut.db_password",
    }  # fmt: skip
    for where, text in found:
        if SOUNDS_SECRET.search(where) and where not in HOLDS_NONE:
            assert text.get("x-secret") or closed(text), where


def example(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """A value of this shape. Every text that may be one is a secret, but for those that are known to hold none."""
    match schema:
        case {"$ref": str(ref)}:
            return example(definitions[ref.rpartition("/")[2]], definitions)
        case {"anyOf": [*parts]}:
            return example(parts[0], definitions)
        case {"const": only}:
            return only
        case {"enum": [first, *_]}:
            return first
        case {"properties": properties}:
            known = {name: example(each, definitions) for name, each in properties.items()}
            return known | {new_token().reveal(): new_token().reveal(), "unheard_of": new_token().reveal()}
        case {"type": "array", "items": items}:
            return [example(items, definitions)]
        case {"type": "object"}:
            return {new_token().reveal(): new_token().reveal()}
        case {"type": "integer" | "number"}:
            return 7
        case {"type": "boolean"}:
            return True
        case {"type": "string", "x-logged": True}:
            return "said"
        case _:
            return new_token().reveal()


def planted(shape: Any, mode: Any) -> bytes:
    if shape is None:
        return b""
    schema = TypeAdapter(shape).json_schema(mode=mode)
    return json.dumps(example(schema, schema.get("$defs", {}))).encode()


def answers(route: APIRoute) -> Iterator[tuple[int, Any]]:
    yield from ((int(status), told["model"]) for status, told in route.responses.items() if "model" in told)
    yield 418, openapi.Problem


async def test_no_secret_of_any_body_reaches_the_log(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_web(house, Door(keeping=replace(ALL, body_bytes=100_000))) as web:
        passed = 0
        for route in routes():
            asked = planted(route.body_field and route.body_field.field_info.annotation, "validation")
            for status, model in answers(route):
                answered = planted(model, "serialization")
                await through_the_door(web, route, asked, status, answered)
                passed += 1
        await written(web)
        rows = await house.value("SELECT count(*) FROM requests WHERE response_body IS NOT NULL")
        assert rows == passed > 60
        assert await house.value("SELECT count(*) FROM requests WHERE request_body IS NOT NULL") > 20
        async with house.deps.db.connection() as conn:
            await refuse_in_rows(conn)
        KNOWN.refuse("".join(capsys.readouterr()), "what was logged")


CALLER = Caller(TokenId(UUID(int=1)), "test", frozenset(), None, None)


async def through_the_door(web: Web, route: APIRoute, asked: bytes, status: int, answered: bytes) -> None:
    """A request to this route that is answered with just this: the door is the real one, what is behind it is not."""

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"], scope["path_params"] = route, {"instance_id": "i-1"}
        scope["state"]["caller"] = CALLER
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answered})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        gate = web.app.state.gate
        await Doorway(behind, gate, TurningAway(gate), 1_000_000, 5)({**scope, "app": web.app}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:  # type: ignore[arg-type]
        await client.request(min(route.methods or ()), "/", content=asked)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"instance_id": "i", "plan_tier": "hunter2"}, {"instance_id": "i", "plan_tier": HIDDEN}),
        ({"instance_id": "not an id"}, {"instance_id": HIDDEN}),
        ({"instance_id": ["hunter2"], "require_dedicated": "hunter2"}, {"instance_id": HIDDEN, "require_dedicated": HIDDEN}),
        ({"hunter2": "hunter2"}, {}),
        (["hunter2"], None),
        ("hunter2", None),
        ({"require_dedicated": 1e400}, {"require_dedicated": HIDDEN}),
        ({"database_name": None}, {"database_name": None}),
    ],
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_not_kept(told: object, kept: object) -> None:
    assert redacted(json.dumps(told).encode(), AllocateIn, "validation") == kept


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 60_000, b"password=hunter2", b'{"instance_id": "\\ud800"}'])
def test_what_is_no_json_is_not_kept(body: bytes) -> None:
    assert redacted(body, AllocateIn, "validation") is None


def test_a_password_is_hidden_whatever_it_is_and_texts_are_cut_and_cleaned() -> None:
    told = {"password": {"a": ["hunter2"]}, "user": "a" * 200 + "a" * LONGEST_TEXT, "confirm": "hunter2", "name": None}
    kept = redacted(json.dumps(told).encode(), AdoptIn, "validation")
    assert kept == {"password": HIDDEN, "user": "a" * LONGEST_TEXT, "confirm": HIDDEN, "name": None}
    kept = redacted(json.dumps({"detail": "a\0b"}).encode(), openapi.Problem, "serialization")
    assert kept == {"detail": "a\ufffdb"}
    kept = redacted(json.dumps({"user": "postgresql://u:hunter2@h/d"}).encode(), AdoptIn, "validation")
    assert kept == {"user": f"postgresql://u:{HIDDEN}@h/d"}


async def test_a_body_that_is_long_is_not_kept_but_its_request_is(house: House) -> None:
    async with open_web(house, Door(keeping=Keeping(body_bytes=50))) as web:
        await web.client.post("/admin/tokens", json={"name": "n" * 60, "scopes": ["admin:read"]})
        [told] = await listed(web, endpoint="/api/database/admin/tokens")
        assert (told["status"], told["request_body"], told["response_body"]) == (201, None, None)


# -- nobody waits for it ----------------------------------------------------------------------------------------------


async def test_what_the_database_refuses_is_lost_and_told_and_keeps_none_of_the_next_waiting(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_web(house, Door(keeping=Keeping(every_s=3600))) as web:
        requests: RequestLog = web.app.state.requests
        lost = counted("lost")
        nobody = Request(
            id=requests.new_id(), at=requests.now(), request_id="r", token_id=None, token_name=None, method="GET", endpoint="/",
            instance_id=None, customer_id=None, status=2**40, ms=1.0, code=None, request_body=None, response_body=None,
        )  # fmt: skip
        requests.add(nobody)
        await requests.write()
        assert counted("lost") == lost + 1
        assert "requests.refused" in "".join(capsys.readouterr())
        await web.client.get("/databases/somebody")
        assert [one["instance_id"] for one in await listed(web, errors=True)] == ["somebody"]


async def test_while_the_table_is_held_requests_are_answered_and_rows_beyond_the_queue_are_counted(
    house: House, control_dsn: str
) -> None:
    async with open_web(house, Door(keeping=Keeping(queue=3, every_s=0.01))) as web:
        before = counted("lost"), counted("written")
        holder = await asyncpg.connect(control_dsn)
        async with holder.transaction():
            await holder.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
            for number in range(8):
                assert (await web.client.get(f"/databases/i-{number}")).status_code == 404
        await holder.close()
        found = await listed(web, errors=True)
        assert [told["instance_id"] for told in found] == ["i-2", "i-1", "i-0"]
        assert (counted("lost") - before[0], counted("written") - before[1] >= 3) == (5, True)


async def test_a_batch_whose_answer_was_lost_is_written_once(web: Web) -> None:
    log: RequestLog = web.app.state.requests
    await web.client.get("/databases/nobody")
    await asyncio.sleep(0)
    waiting = tuple(log._waiting)
    await log.write()
    log._waiting.extend(waiting)
    assert len(await listed(web, errors=True)) == 1


async def test_what_waits_is_written_when_the_service_ends(house: House) -> None:
    async with open_web(house) as web:
        await web.client.get("/databases/nobody")
    assert await house.value("SELECT count(*) FROM requests WHERE status = 404") == 1


# -- it ends ----------------------------------------------------------------------------------------------------------

ROWS = """
INSERT INTO requests (id, at, request_id, method, endpoint, status, ms)
SELECT n, $1::timestamptz + n * interval '1 ms', 'r', 'GET', '/', 200, 1 FROM generate_series(1, $2::int) n"""


async def test_what_is_old_is_forgotten_in_short_transactions_and_the_rest_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database_service.reconcilers.upkeep.MOST_FORGOTTEN_AT_ONCE", 100)
    now = datetime.now(UTC)
    async with house.deps.db.connection() as conn:
        await conn.execute(ROWS, now - timedelta(days=8), 250)
        await conn.execute(ROWS, now - timedelta(days=6), 5)
    assert await forget_requests(house.deps) == 250
    assert await forget_requests(house.deps) == 0
    assert await house.value("SELECT count(*) FROM requests") == 5


async def test_the_last_hour_is_forgotten_for_nobody(house: House) -> None:
    async with house.deps.db.connection() as conn:
        await conn.execute(ROWS, datetime.now(UTC) - timedelta(minutes=50), 3)
        assert await conn.fetchval("SELECT forget_requests('infinity', 100)") == 0
    assert await house.value("SELECT count(*) FROM requests") == 3


def test_the_example_plants_secrets() -> None:
    """Else nothing found would mean nothing."""
    before = len(KNOWN)
    assert b"dbs_" in planted(openapi.Problem, "serialization")
    assert len(KNOWN) > before
