"""Errors: each has a place in the table, says what is wrong, and gives nothing away."""

from collections.abc import AsyncIterator, Iterator

import pytest

import database_service.auth.rate  # noqa: F401  its error belongs to the tree
from database_service.api.problems import STATUS
from database_service.domain.errors import ServiceError
from support.web import Web

HOSTILE = [
    "",
    "é",
    "😀",
    "a b",
    "a\x00b",
    "a\n",
    "a'; DROP TABLE databases; --",
    'a"b',
    "../x",
    "x" * 65,
    "x" * 10_000,
    "%",
    "a;b",
]


def _tree(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    # An error that is not in the table is one that adds nothing for a caller: it shares its parent's code.
    missing = {kind.__name__ for kind in _tree(ServiceError) if kind not in STATUS and "code" in vars(kind)}
    assert missing == set()
    assert len({kind.code for kind in STATUS}) == len(STATUS)


@pytest.mark.parametrize("bad", HOSTILE)
async def test_a_hostile_id_is_422_and_names_the_field_wherever_it_is_sent(web: Web, bad: str) -> None:
    for field in ("instance_id", "customer_id"):
        wanted = {"instance_id": "i", "customer_id": "c", "plan_tier": "free", field: bad}
        for path in ("/allocate", "/provision-dedicated"):
            await _names(web, "POST", path, field, json=wanted)
    await _names(web, "GET", "/admin/events", "instance_id", params={"instance_id": bad})


@pytest.mark.parametrize("bad", [bad for bad in HOSTILE if bad and "/" not in bad])
async def test_a_hostile_id_in_a_path_is_422_and_names_the_field(web: Web, bad: str) -> None:
    from urllib.parse import quote

    for method, end in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/credentials"),
        ("POST", "/rotate"),
        ("POST", "/undelete"),
    ):
        await _names(web, method, f"/databases/{quote(bad, safe='')}{end}", "instance_id")
    await _names(web, "GET", f"/admin/pools/{quote(bad, safe='')}", "pool_id")
    await _names(web, "DELETE", f"/admin/tokens/{quote(bad, safe='')}", "token_id")


async def _names(web: Web, method: str, path: str, field: str, **more: object) -> None:
    answer = await web.client.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.status_code == 422, (method, path[:80], answer.text[:200])
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_problem_has_all_that_rfc_9457_asks_for_and_the_request_id(web: Web) -> None:
    answer = await web.client.get("/databases/nobody", headers={"X-Request-ID": "abc.DEF-1_2"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/api/database/docs#database_not_found",
        "title": "Database not found",
        "status": 404,
        "detail": "Instance 'nobody' has no database.",
        "instance": "/api/database/databases/nobody",
        "code": "database_not_found",
        "request_id": "abc.DEF-1_2",
    }
    assert answer.headers["x-request-id"] == "abc.DEF-1_2"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "a;b", "ä"])
async def test_a_request_id_that_is_none_is_replaced(web: Web, bad: str) -> None:
    answer = await web.client.get("/health", headers={b"X-Request-ID": bad.encode("latin-1")})
    assert answer.headers["x-request-id"] not in {"", bad}
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing-here", 404, "not_found"),
        ("PUT", "/allocate", 405, "method_not_allowed"),
        ("GET", "http://test/", 404, "not_found"),
    ],
)
async def test_a_wrong_address_is_a_problem_too(web: Web, method: str, path: str, status: int, code: str) -> None:
    answer = await web.client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"1", b'{"instance_id": NaN}', b"[" * 20_000]
)
async def test_a_body_that_is_no_object_is_refused_in_words(web: Web, body: bytes) -> None:
    answer = await web.client.post("/allocate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_was_sent_is_not_repeated_in_the_answer(web: Web) -> None:
    wanted = {"host": "127.0.0.1", "port": "no port", "user": "u", "password": ["hunter2"], "max_instances": 1}
    answer = await web.client.post("/admin/pools/adopt", json=wanted)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert "no port" not in answer.text


async def test_strange_field_names_neither_break_the_answer_nor_swell_it(web: Web) -> None:
    body = '{"\\ud800": 1, "' + "x" * 50_000 + '": 1}'
    answer = await web.client.post("/allocate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert len(answer.content) < 4000


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_64_kilobytes_is_413_whether_it_says_so_or_not(web: Web, declared: bool) -> None:
    content = b"x" * 70_000 if declared else _pieces(70_000)
    answer = await web.client.post("/allocate", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_defect_is_500_with_the_request_id_and_without_its_insides(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("database_service.api.routers.admin.stats_view.stats", broken)
    answer = await web.client.get("/admin/stats", headers={"X-Request-ID": "find-me"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "find-me"
    assert "hunter2" not in answer.text
