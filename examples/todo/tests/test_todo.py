"""The list over HTTP, on a real PostgreSQL."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from support.cable import Cable, cable_to
from support.cluster import Cluster, execute
from todo.app import LONGEST_BODY, make_app
from todo.settings import Settings
from todo.store import LONGEST_TEXT, Store, migrations


def settings(dsn: str) -> Settings:
    return Settings.of({"DATABASE_URL": dsn})


@asynccontextmanager
async def opened(given: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who looks at the list. What goes wrong unforeseen is raised here."""
    app = make_app(given)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://todo", follow_redirects=True) as client,
    ):
        yield client


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(settings(dsn)) as made:
        yield made


async def shown(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    """`[(open or done, text as it stands in the page), …]`"""
    return re.findall(r'<li class="(\w+)"><span>(.*?)</span>', (await client.get("/")).text)


async def test_what_is_added_is_listed_ticked_and_deleted(client: httpx.AsyncClient) -> None:
    for text in ("milk", "bread"):
        assert (await client.post("/items", data={"text": text})).status_code == 200
    assert await shown(client) == [("open", "milk"), ("open", "bread")]
    await client.post("/items/1/tick")
    assert await shown(client) == [("open", "bread"), ("done", "milk")]
    await client.post("/items/1/tick")
    assert await shown(client) == [("open", "milk"), ("open", "bread")]
    await client.post("/items/1/delete")
    await client.post("/items/1/delete")
    assert await shown(client) == [("open", "bread")]


async def test_what_somebody_writes_is_text_and_neither_page_nor_sql(client: httpx.AsyncClient) -> None:
    odd = "<script>alert(1)</script> '); DROP TABLE items; -- & \u00fc\u202e\U0001f4a3"
    await client.post("/items", data={"text": odd})
    assert await shown(client) == [
        ("open", odd.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;"))
    ]
    assert "script-src" not in (policy := (await client.get("/")).headers["content-security-policy"])
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("text", ["", " \t\n", "\0", "x" * (LONGEST_TEXT + 1)])
async def test_what_says_nothing_or_too_much_is_refused(client: httpx.AsyncClient, text: str) -> None:
    assert (await client.post("/items", data={"text": text})).status_code == 400
    assert await shown(client) == []


async def test_a_body_that_never_ends_is_cut_off(client: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(10_000):
            read += 1024
            yield b"x" * 1024

    assert (await client.post("/items", content=endless())).status_code == 413
    assert read <= 2 * LONGEST_BODY


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"origin": "http://todo"}, 303),
        ({"sec-fetch-site": "cross-site", "origin": "http://todo"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil"}, 403),
        ({"origin": "null"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/items", "/items/1/tick", "/items/1/delete"])
async def test_only_its_own_page_may_change_the_list(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], code: int
) -> None:
    answer = await client.post(path, data={"text": "milk"}, headers=headers, follow_redirects=False)
    assert answer.status_code == code


@pytest.mark.parametrize("path", ["/items/1/tick", f"/items/{2**63}/tick", "/items/x/tick", "/nothing"])
async def test_what_cannot_be_asked_is_answered_in_a_sentence(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code in (404, 405)
    assert "Back to the list" in answer.text


def through(cable: Cable, cluster: Cluster, dsn: str) -> Settings:
    return settings(dsn.replace(f":{cluster.port}/", f":{cable.port}/"))


# -- its database -----------------------------------------------------------------------------------------------------


async def test_many_that_start_at_once_make_the_tables_once(dsn: str) -> None:
    stores = [Store(settings(dsn)) for _ in range(8)]
    await asyncio.gather(*(store.prove() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))
    conn = await asyncpg.connect(dsn)
    try:
        assert await conn.fetchval("SELECT array_agg(name ORDER BY at, name) FROM applied_migrations") == [
            name for name, _ in migrations()
        ]
    finally:
        await conn.close()


async def test_a_list_of_an_earlier_version_is_brought_up_to_date(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("todo.store.migrations", lambda: migrations()[:1])
        store = Store(settings(dsn))
        await store.prove()
        await store.add("milk")
        await store.close()
    async with opened(settings(dsn)) as client:
        assert await shown(client) == [("open", "milk")]


async def test_a_database_that_goes_away_and_comes_back_is_used_again(cluster: Cluster, dsn: str) -> None:
    async with cable_to(cluster.host, cluster.port) as cable, opened(through(cable, cluster, dsn)) as client:
        await client.post("/items", data={"text": "milk"})
        await cable.pull()
        for path in ("/", "/healthz"):
            away = await client.get(path)
            assert away.status_code == 503
            assert "The database is away" in away.text
            assert away.headers["retry-after"]
        await cable.plug()
        assert (await client.get("/healthz")).status_code == 200
        assert await shown(client) == [("open", "milk")]


async def test_one_that_is_away_at_the_start_is_made_ready_when_it_is_there(cluster: Cluster, dsn: str) -> None:
    async with cable_to(cluster.host, cluster.port) as cable:
        await cable.pull()
        async with opened(through(cable, cluster, dsn)) as client:
            assert (await client.get("/healthz")).status_code == 503
            await cable.plug()
            assert (await client.post("/items", data={"text": "milk"})).status_code == 200


async def test_a_new_login_in_its_file_is_used_without_a_restart(cluster: Cluster, dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    await execute(cluster.dsn(), "CREATE ROLE before LOGIN SUPERUSER; CREATE ROLE after LOGIN SUPERUSER")
    for role in ("before", "after"):
        await execute(cluster.dsn(), f"ALTER ROLE {role} PASSWORD '{cluster.password.reveal()}'")
    file.write_text(dsn.replace(f"//{cluster.superuser}:", "//before:"))
    async with opened(Settings.of({"DATABASE_URL_FILE": str(file)})) as client:
        assert (await client.get("/healthz")).status_code == 200
        await execute(
            cluster.dsn(),
            "ALTER ROLE before NOLOGIN; SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'before'",
        )
        assert (await client.get("/healthz")).status_code == 503
        file.write_text(dsn.replace(f"//{cluster.superuser}:", "//after:"))
        assert (await client.get("/healthz")).status_code == 200


def test_a_file_wins_and_without_one_libpqs_own_variables_count(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from-a-file\n")
    both = {"DATABASE_URL_FILE": str(tmp_path / "url"), "DATABASE_URL": "postgresql://in-clear"}
    assert Settings.of(both).dsn() == "postgresql://from-a-file"
    assert Settings.of({"DATABASE_URL": "postgresql://in-clear"}).dsn() == "postgresql://in-clear"
    assert Settings.of({}).dsn() is None
