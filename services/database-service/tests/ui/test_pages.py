"""Pages and verbs of the hub, over real servers."""

import asyncio
import hashlib
import re
from datetime import timedelta
from typing import Any

import pytest
from markupsafe import escape

from database_service.actions.allocate import allocate
from database_service.admission.gate import Gate, Why
from database_service.auth.scopes import Scope
from database_service.domain.answers import Allocation
from database_service.domain.credentials import psql, uri
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.domain.servers import Status
from database_service.ui import rendering
from database_service.views import fleet as fleet_view
from support.house import WHO, House, ask
from support.hub import Hub, Visit

STATIC = rendering.STATIC
PAGES = (
    "",
    "/pools",
    "/databases",
    "/operations",
    "/events",
    "/requests",
    "/drift",
    "/plans",
    "/tokens",
    "/parts/hub",
    "/sign-in",
)


async def test_every_page_is_sent_with_a_strict_policy_and_asks_nobody_else_for_anything(
    hub: Hub, house: House
) -> None:
    pool = await house.pool()
    async with hub.visit() as visitor:
        for path in (*PAGES, f"/pools/{pool.id}", f"/parts/pools/{pool.id}/growth", "/pools/not-an-id"):
            answer = await visitor.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-frame-options"] == "DENY"
            asked = re.findall(r'(?:src|href|action|hx-get|data-live)="([^"]*)"', answer.text)
            assert [each for each in asked if not each.startswith(("/admin", "#"))] == []
            assert not re.search(r"<script>|<style|\son\w+=|\sstyle=|hx-on", answer.text), "the policy forbids it"


async def test_the_files_that_pages_ask_for_are_there_and_are_what_their_packages_hold(hub: Hub, house: House) -> None:
    async with hub.visit() as visitor:
        page = (await visitor.get()).text + (await visitor.get(f"/pools/{(await house.pool()).id}")).text
        for path in re.findall(r'(?:src|href)="/admin(/static/[^"]+)"', page):
            assert (await visitor.get(path)).status_code == 200, path


async def test_the_hub_tells_what_there_is_and_what_needs_somebody(hub: Hub, house: House) -> None:
    pool = await house.pool(slots=4)
    await house.spares(2)
    await allocate(house.deps, ask(), WHO)
    async with hub.visit() as visitor:
        told = await visitor.shows()
        assert "Servers 1 active 1" in told
        assert "of 4" in told
        assert "1 ready" in told
        assert "Nothing. All servers answer" in told
        async with house.deps.db.connection() as conn:
            await conn.execute("UPDATE servers SET health_status = 'unhealthy', health_message = 'It is <gone>.'")
        told = await visitor.shows("/parts/hub")
        assert f"unhealthy {pool.name} since" in told
        assert "It is <gone>." in told


async def test_a_control_plane_that_nobody_backs_up_needs_somebody(hub: Hub, house: House) -> None:
    await house.pool()
    assert "backed up" not in await told_by(hub), "there is hardly anything yet"
    house.clock.forward(house.deps.policy.backup_within + timedelta(seconds=1))
    assert "has never been backed up" in await told_by(hub)
    async with house.deps.db.connection() as conn:
        await conn.execute("INSERT INTO backups VALUES ($1, 'tests', 1, '')", house.clock())
    assert "backed up" not in await told_by(hub)
    house.clock.forward(house.deps.policy.backup_within + timedelta(seconds=1))
    assert "stale The control plane was last backed up" in await told_by(hub)


async def told_by(hub: Hub) -> str:
    async with hub.visit() as visitor:
        return await visitor.shows()


async def test_the_table_shows_filters_and_pages_servers(
    hub: Hub, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database_service.ui.pages.pools.A_PAGE", 2)
    pools = [await house.pool(slots=1) for _ in range(3)]
    async with hub.visit() as visitor:
        first = await visitor.get("/pools?status=active")
        assert [pool.name in first.text for pool in pools] == [True, True, False]
        [following] = re.findall(r'rel="next" href="/admin([^"]+)"', first.text)
        second = await visitor.get(following.replace("&amp;", "&"))
        assert [pool.name in second.text for pool in pools] == [False, False, True]
        assert "Page 2 of 2" in second.text
        assert "no such server" in await visitor.shows("/pools?status=full")
        assert "no such server" in await visitor.shows("/pools?status=active&server_type=dedicated")


async def test_the_table_is_told_in_the_order_that_is_asked_for(hub: Hub, house: House) -> None:
    first, second, third = [await house.pool(slots=slots) for slots in (3, 1, 2)]
    async with house.deps.db.connection() as conn:
        for server, name, health, ago in (
            (first, "b", "unknown", 2),
            (second, "c", "healthy", 3),
            (third, "a", "unhealthy", 1),
        ):
            await conn.execute(
                "UPDATE servers SET name = $1, health_status = $2, last_health_check = now() - $3::interval WHERE id = $4",
                name, health, timedelta(minutes=ago), server.id,
            )  # fmt: skip
    orders = {"made": "bca", "name": "abc", "room": "cab", "health": "abc", "looked_at": "cba"}
    async with hub.visit() as visitor:
        for order, wanted in orders.items():
            told = (await visitor.get(f"/pools?sort={order}")).text
            assert "".join(re.findall(r'<th scope="row"><a[^>]*>(\w)</a>', told)) == wanted, order
            assert f'<option value="{order}" selected>' in told


async def test_a_map_that_does_not_show_all_says_so(hub: Hub, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        await house.pool()
    async with hub.visit() as visitor:
        assert "there are more" not in await visitor.shows("/parts/map")
        monkeypatch.setattr("database_service.ui.pages.pools.ON_MAP", 2)
        assert "there are more" not in await visitor.shows("/parts/map?again")
        monkeypatch.setattr("database_service.ui.pages.pools.ON_MAP", 1)
        assert "the first 1 servers; there are more" in await visitor.shows("/parts/map?once-more")


async def test_plans_are_shown_with_what_they_allow_and_templates_with_their_spares(hub: Hub, house: House) -> None:
    await house.pool()
    await house.spares(3)
    async with hub.visit([Scope.ADMIN_READ]) as visitor:
        told = await visitor.shows("/plans")
    assert "free shared 1.07 GB 5 30 s 60 s 15 min 268 MB 3 d" in told
    assert "professional shared, or its own: 1 CPU" in told
    assert "premium its own: 2 CPU" in told
    assert "Spares now default 3" in told


async def test_a_pool_is_ordered_and_followed(hub: Hub, house: House) -> None:
    async with hub.visit() as visitor:
        for slots in ("0", "10001", "-1", "many", "1.5", "\u0663"):
            answer = await visitor.post("/pools", {"max_instances": slots})
            assert (answer.status_code, "max_instances" in answer.text) == (422, True), slots
        answer = await visitor.post("/pools", {"max_instances": "3"})
        assert answer.status_code == 303
        shown = await visitor.shows(answer.headers["location"].removeprefix("/admin"))
        assert "provisioning" in shown
        assert "0 of 3" in shown
        assert "server.ordered" in shown


async def verb(visitor: Visit, where: str, what: str, **fields: str) -> tuple[int, str]:
    answer = await visitor.post(f"{where}/{what}", fields)
    return answer.status_code, answer.text


async def test_the_verbs_do_what_they_say_and_destroy_only_what_was_named(hub: Hub, house: House) -> None:
    pool = await house.pool()
    where = f"/pools/{pool.id}"
    async with hub.visit() as visitor:
        assert (await verb(visitor, where, "cordon", reason="new disks"))[0] == 303
        assert "new disks" in await visitor.shows(where)
        assert (await house.server(pool.id)).cordoned
        assert (await verb(visitor, where, "uncordon"))[0] == 303
        assert not (await house.server(pool.id)).cordoned
        assert (await verb(visitor, where, "check"))[0] == 303
        for wrong in ("", "other", pool.name.upper() + " "):
            status, text = await verb(visitor, where, "retire", name=wrong)
            assert (status, "so that it is the one that is meant" in text) == (422, True)
            assert (await verb(visitor, where, "drain", name=wrong))[0] == 422
        assert (await verb(visitor, where, "explode", name=pool.name))[0] == 422
        assert (await house.server(pool.id)).status is Status.ACTIVE
        assert not (await house.server(pool.id)).cordoned
        assert (await verb(visitor, where, "drain", name=pool.name))[0] == 303
        assert (await house.server(pool.id)).cordoned
        assert (await verb(visitor, where, "retire", name=pool.name))[0] == 303
        assert (await house.server(pool.id)).status is Status.DEPROVISIONING


async def test_what_cannot_be_done_is_said_on_the_page(hub: Hub, house: House) -> None:
    pool = await house.pool()
    await allocate(house.deps, ask(), WHO)
    async with hub.visit() as visitor:
        status, text = await verb(visitor, f"/pools/{pool.id}", "retire", name=pool.name)
        assert status == 409
        assert f"<h1>{pool.name}</h1>" in text
        assert 'role="alert"' in text


async def test_what_is_not_there_is_a_page_that_says_so(hub: Hub) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    async with hub.visit() as visitor:
        for path in (
            f"/pools/{nobody}",
            "/pools/at/7",
            f"/pools/at/{10**30}",
            "/pools/nonsense",
            "/pools/nonsense?number=-1",
        ):
            answer = await visitor.get(path)
            assert answer.status_code == 404, path
            assert "<h1>Not found</h1>" in answer.text
            assert 'href="/admin/pools"' in answer.text, "who is signed in finds the way on from here"


ODD = (
    "/pools?sort=none",
    "/pools?status=odd",
    "/pools?number=0",
    *(f"{path}={10**30}" for path in ("/pools?number", "/events?before", "/operations?before")),
    "/events?before=0",
    "/requests?before=nonsense",
    "/databases?level=<b>",
)


async def test_what_is_asked_of_a_page_and_makes_no_sense_is_named(hub: Hub) -> None:
    async with hub.visit() as visitor:
        for path in ODD:
            answer = await visitor.get(path)
            assert answer.status_code == 422, path
            where, _, asked = path.partition("?")
            assert f"{asked.partition('=')[0]}&#39; in the address is wrong: " in answer.text
            assert f'<a href="/admin{where}">This page without it</a>' in answer.text
            assert "<b>" not in answer.text


async def test_a_database_is_found_and_shown_with_what_it_may_use(hub: Hub, house: House) -> None:
    pool = await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        assert 'href="/admin/databases/one"' in (await visitor.get("/databases?q=on")).text
        told = await visitor.shows("/databases/one")
        for said in (
            "State ready",
            "Customer c-1",
            "Plan free, shared",
            pool.name,
            "not measured yet",
            "database.built",
        ):
            assert said in told, said
        assert (await visitor.get("/databases/nobody")).status_code == 404
        odd = await visitor.get("/databases?q=a/b")
        assert (odd.status_code, "A-Z a-z" in odd.text) == (422, True)


async def test_one_search_finds_instances_customers_and_names(
    hub: Hub, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database_service.ui.pages.databases.A_PAGE", 2)
    monkeypatch.setattr("database_service.ui.pages.databases.OF_EACH", 1)
    for instance, customer, name in (
        ("x1", "c-1", "n1"),
        ("a1", "x-2", "n2"),
        ("a2", "x-2", "x3"),
        ("a3", "x-3", "n4"),
    ):
        await allocate(house.deps, ask(instance, customer=customer, database_name=name), WHO)
    async with hub.visit() as visitor:
        newest = await visitor.get("/databases")
        assert "Handed out last" in newest.text
        found = (await visitor.get("/databases?q=x")).text
        for instance, said in (("x1", "Instances"), ("a1", "Customers"), ("a2", "Names of databases")):
            assert f"{said} that begin with x" in found
            assert f'<th scope="row"><a href="/admin/databases/{instance}">' in found
        assert found.count("All that begin so") == 1, "only of customers are there more than one"
        first = (await visitor.get("/databases?q=x&by=customer")).text
        assert [f">{instance}<" in first for instance in ("a1", "a2", "a3", "x1")] == [True, True, False, False]
        [following] = re.findall(r'rel="next" href="/admin([^"]+)"', first)
        second = (await visitor.get(following.replace("&amp;", "&"))).text
        assert [f">{instance}<" in second for instance in ("a1", "a2", "a3", "x1")] == [False, False, True, False]
        assert "Nothing begins with nobody" in await visitor.shows("/databases?q=nobody")
        assert [f">{each}<" in (await visitor.get("/databases?status=waiting")).text for each in ("x1", "a3")] == [
            True
        ] * 2
        assert "There are none" in await visitor.shows("/databases?status=released")
        assert "There are none" in await visitor.shows("/databases?level=critical")


async def test_credentials_are_shown_when_asked_for_and_that_is_noted(hub: Hub, house: House) -> None:
    await house.pool()
    allocated = await allocate(house.deps, ask("one"), WHO)
    assert isinstance(allocated, Allocation)
    async with hub.visit() as visitor:
        page = await visitor.get("/databases/one")
        assert allocated.password.reveal() not in page.text
        assert "database.credentials_read" not in page.text
        shown = await visitor.post("/databases/one/reveal")
        for text in (allocated.password.reveal(), uri(allocated.credentials), psql(allocated.credentials)):
            assert f">{escape(text)}</" in shown.text
        assert shown.headers["cache-control"] == "no-store"
        again = await visitor.get("/databases/one")
        assert allocated.password.reveal() not in again.text
        assert "database.credentials_read" in again.text
    async with hub.visit([Scope.ADMIN_READ, Scope.ADMIN_WRITE]) as visitor:
        page = await visitor.get("/databases/one")
        assert "/reveal" not in page.text
        assert "/rotate" not in page.text
        for what in ("reveal", "rotate", "release"):
            assert (await visitor.post(f"/databases/one/{what}", {"name": "one"})).status_code == 403


async def test_the_verbs_of_a_database_do_what_they_say_and_take_away_only_what_was_named(
    hub: Hub, house: House
) -> None:
    await house.pool()
    await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        where = "/databases/one"
        await visitor.get(where)
        assert (await verb(visitor, where, "rotate"))[0] == 303
        assert len(await house.logins("one")) == 2
        assert (await verb(visitor, where, "protect"))[0] == 303
        assert (await verb(visitor, where, "release", name="one"))[0] == 409
        assert (await verb(visitor, where, "unprotect"))[0] == 303
        assert (await verb(visitor, where, "plan", plan_tier="no such plan"))[0] == 422
        assert (await verb(visitor, where, "plan", plan_tier="starter"))[0] == 303
        assert (await house.database("one")).plan_tier == "starter"
        for what in ("release", "move"):
            status, text = await verb(visitor, where, what, name="other")
            assert (status, "so that it is the one that is meant" in text) == (422, True)
        assert (await verb(visitor, where, "undelete"))[0] == 409
        assert (await verb(visitor, where, "release", name="one", why="moved out"))[0] == 303
        assert "moved out" in await visitor.shows(where)
        assert (await verb(visitor, where, "undelete"))[0] == 303
        assert (await verb(visitor, where, "explode"))[0] == 422
        status, _ = await verb(visitor, where, "move", name="one")
        assert status == 303
        assert "move pending" in (await visitor.shows("/operations"))


async def test_an_operation_is_followed_and_steered(hub: Hub, house: House) -> None:
    pool = await house.pool()
    await house.pool()
    await allocate(house.deps, ask(), WHO)
    async with hub.visit() as visitor:
        assert "none yet" in await visitor.shows("/operations")
        await verb(visitor, f"/pools/{pool.id}", "drain", name=pool.name)
        listed = await visitor.get("/operations?state=pending")
        [found] = re.findall(r'href="/admin(/operations/[0-9a-f-]{36})"', listed.text)
        assert "pending" in await visitor.shows(found)
        status, text = await verb(visitor, found, "rollback")
        assert (status, 'role="alert"' in text) == (409, True)
        assert (await verb(visitor, found, "explode"))[0] == 422
        assert (await verb(visitor, found, "cancel"))[0] == 303
        told = await visitor.shows(found)
        assert "cancelled" in told
        assert "operation.asked_for" in told
        status, text = await verb(visitor, found, "retry")
        assert (status, 'role="alert"' in text) == (303, False)
        assert "none yet" in await visitor.shows("/parts/operations?state=failed")


async def test_requests_are_shown_as_far_as_they_may_be_and_found_again(hub: Hub, house: House) -> None:
    await house.pool()
    await hub.web.allocate("one")
    await hub.web.allocate("two", tier="no such plan")
    await hub.logged()
    async with hub.visit() as visitor:
        told = await visitor.shows("/requests?instance=one")
        assert "POST /api/database/allocate one 200" in told
        assert '"db_password": "***"' in told
        assert "422" not in told
        assert "422 invalid_request" in await visitor.shows("/requests?errors=true")
        assert "No such request" in await visitor.shows("/requests?endpoint=/nowhere")
        assert "No such request" in await visitor.shows("/requests?since=2999-01-01")
        assert "422 invalid_request" in await visitor.shows("/requests?status=422")
        assert "one 200" not in await visitor.shows("/requests?status=422")
        today = f"{house.clock():%Y-%m-%d}"
        assert "one 200" in await visitor.shows(f"/requests?since={today}&until={today}")
        assert "No such request" in await visitor.shows(f"/requests?until={house.clock() - timedelta(days=1):%Y-%m-%d}")
        for wrong, status in (
            ("until=9999-12-31", 422),
            ("status=teapot", 422),
            ("status=99", 422),
            ("since=yesterday", 422),
            ("since=2026-02-30", 422),
            ("before=nonsense", 422),
            ("before=1.2.3", 422),
            ("before=" + "9" * 18 + ".1", 422),
            ("before=1." + "9" * 19, 422),
            ("token=somebody", 422),
        ):
            answer = await visitor.get(f"/requests?{wrong}")
            assert (answer.status_code, 'role="alert"' in answer.text) == (status, True), wrong


async def test_the_log_is_read_page_by_page(hub: Hub, house: House) -> None:
    for number in range(60):
        await hub.web.client.get(f"/databases/nobody-{number}")
    await hub.logged()
    seen: set[str] = set()
    async with hub.visit() as visitor:
        path = "/requests?errors=true"
        while path:
            answer = await visitor.get(path)
            seen.update(re.findall(r">(nobody-\d+)<", answer.text))
            older = re.findall(r'rel="next" href="/admin([^"]+)"', answer.text)
            path = older[0].replace("&amp;", "&") if older else ""
    assert len(seen) == 60


async def test_a_look_for_drift_is_asked_for_and_what_was_found_is_removed_as_it_was_shown(
    hub: Hub, house: House
) -> None:
    async with hub.visit() as visitor:
        assert "Nobody has looked yet" in await visitor.shows("/drift")
        assert (await visitor.post("/drift/find")).status_code == 303
        assert "another look is wanted" in await visitor.shows("/drift")
        nobody = "00000000-0000-4000-8000-000000000000"
        for what in ("offer", "confirm"):
            answer = await visitor.post(f"/drift/{nobody}/{what}", {"confirmation": "x"})
            assert (answer.status_code, 'role="alert"' in answer.text) == (404, True)


async def test_tokens_are_issued_shown_once_and_revoked_by_name(hub: Hub) -> None:
    async with hub.visit() as visitor:
        await visitor.get("/tokens")
        for fields, told in (
            ({"name": "new"}, "scopes"),
            ({"name": "new", "admin:read": "on", "days": "many"}, "days"),
            ({"name": "", "admin:read": "on"}, "name"),
            ({"name": "new", "admin:read": "on", "customer": "c-1"}, "customer"),
        ):
            answer = await visitor.post("/tokens", fields)
            assert (answer.status_code, told in answer.text) == (422, True), fields
        made = await visitor.post("/tokens", {"name": "new", "admin:read": "on", "days": "7"})
        assert made.status_code == 201
        [text] = re.findall(r">(dbs_[\w-]{40,})<", made.text)
        assert text not in (await visitor.get("/tokens")).text
        async with hub.stranger() as other:
            assert (await other.browser.post("/admin/sign-in", data={"token": text})).status_code == 303
        [where] = re.findall(r'action="/admin(/tokens/[^"]+)/revoke"', made.text.partition(">new<")[2])[:1]
        assert (await visitor.post(f"{where}/revoke", {"name": "other"})).status_code == 422
        assert (await visitor.post(f"{where}/revoke", {"name": "new"})).status_code == 303
        assert "revoked" in await visitor.shows("/tokens")


async def test_a_token_gives_no_scope_that_it_does_not_hold(hub: Hub, house: House) -> None:
    async with hub.visit([Scope.ADMIN_READ, Scope.ADMIN_WRITE]) as visitor:
        assert "databases:secrets" not in (await visitor.get("/tokens")).text.partition("Issue a token")[2]
        answer = await visitor.post("/tokens", {"name": "more", "databases:secrets": "on"})
        assert (answer.status_code, "databases:secrets" in answer.text) == (403, True)
    assert await house.value("SELECT count(*) FROM tokens WHERE name = 'more'") == 0


async def test_events_are_found_by_instance_and_by_what_they_are_about(hub: Hub, house: House) -> None:
    pool = await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    await allocate(house.deps, ask("two"), WHO)
    async with hub.visit() as visitor:
        of_one = await visitor.shows("/events?instance=one")
        assert "one" in of_one
        assert " two " not in of_one
        assert "server.ordered" in await visitor.shows(f"/events?subject={pool.id}")
        assert "Nothing happened to that" in await visitor.shows("/events?instance=nobody")


async def test_an_instance_named_like_a_tag_is_text(hub: Hub, house: House) -> None:
    await house.pool()
    async with hub.visit() as visitor:
        answer = await visitor.get('/events?instance="><script>alert(1)</script>')
        assert "<script>alert" not in answer.text


async def test_the_stream_tells_of_a_change_and_holds_no_place_of_the_gate(hub: Hub, house: House) -> None:
    pool = await house.pool()
    async with hub.visit() as visitor, asyncio.timeout(20):
        cookies = "; ".join(f"{name}={value}" for name, value in visitor.browser.cookies.items())
        told: asyncio.Queue[bytes] = asyncio.Queue()
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/admin/live", "raw_path": b"/admin/live", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"test"), (b"cookie", cookies.encode())], "client": ("127.0.0.1", 1), "server": ("test", 80),
        }  # fmt: skip

        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: "dict[str, object]") -> None:
            if body := message.get("body"):
                assert isinstance(body, bytes)
                told.put_nowait(body)

        stream = asyncio.create_task(hub.web.app(scope, receive, send))  # type: ignore[arg-type]
        first = await told.get()
        assert first.startswith(b"event: fleet\n")
        assert hub.web.app.state.gate.inside == 0
        async with house.deps.db.connection() as conn:
            await conn.execute("UPDATE servers SET version = version + 1 WHERE id = $1", pool.id)
        assert await told.get() != first
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)


async def test_the_request_log_keeps_no_token_that_was_typed_in(hub: Hub, house: House) -> None:
    token = await hub.token()
    async with hub.stranger() as stranger:
        await stranger.browser.post("/admin/sign-in", data={"token": token})
        await stranger.browser.post("/admin/sign-in", data={"token": "dbs_mistyped-secret"})
    await hub.logged()
    kept = await house.value("SELECT string_agg(r::text, ' ') FROM requests r WHERE endpoint LIKE '/admin%'")
    assert isinstance(kept, str)
    assert token not in kept
    assert "mistyped" not in kept
    assert "/admin/sign-in" in kept


def test_what_is_served_of_others_is_named_with_its_version_and_licence() -> None:
    told = (STATIC / "vendor" / "README.md").read_text()
    files = list((STATIC / "vendor").glob("*.js"))
    assert files
    for path in files:
        [line] = [line for line in told.splitlines() if f"| {path.name} |" in line]
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line


ROLLOUT = """
WITH made AS (
  INSERT INTO operations (id, kind, state, state_since, created_by, due_at, created_at)
  VALUES (gen_random_uuid(), 'rollout', 'running', now(), 'a', now(), now()) RETURNING id
)
INSERT INTO operation_steps (operation_id, ordinal, name, subject_id, held, state, state_since, started_at, finished_at)
SELECT id, n, 'pool-' || n || '.', gen_random_uuid(), true, CASE WHEN n < 250 THEN 'succeeded' ELSE 'pending' END, now(),
  CASE WHEN n < 250 THEN now() END, CASE WHEN n < 250 THEN now() END
FROM made, generate_series(1, 20000) n RETURNING operation_id"""


async def test_an_operation_on_every_server_is_shown_around_the_step_in_hand_and_read_page_by_page(
    hub: Hub, house: House
) -> None:
    where = f"/operations/{await _written(house, ROLLOUT)}"
    async with hub.visit() as visitor:
        told = await visitor.shows(where)
        assert "249 of 20 000" in told
        assert "Steps 201 to 300 of 20 000" in told
        assert "pool-201." in told
        assert "pool-301." not in told
        assert "Steps 301 to 400" in await visitor.shows(f"{where}?first=301")
        assert "?first=301" in (await visitor.get(f"{where}?first=301")).text.partition("hx-get=")[2][:80]
        last = await visitor.shows(f"{where}?first=19901")
        assert "pool-20000." in last
        assert "Later steps" not in last
        assert "of 20 000" in await visitor.shows("/operations")
        for path in (where, "/operations"):
            assert len((await visitor.get(path)).content) < 200_000, path


async def test_tokens_are_read_page_by_page_and_each_is_on_one(hub: Hub, house: House) -> None:
    await _written(
        house,
        "INSERT INTO tokens (id, name, hash, scopes, created_at, created_by) SELECT gen_random_uuid(), 'made-' || n,"
        " sha256(n::text::bytea), '{admin:read}', now(), 'a' FROM generate_series(1, 120) n RETURNING id",
    )
    seen: list[str] = []
    async with hub.visit() as visitor:
        path = "/tokens"
        while path:
            answer = await visitor.get(path)
            assert len(answer.content) < 200_000
            seen += re.findall(r">(made-\d+)<", answer.text)
            older = re.findall(r'rel="next" href="/admin([^"]+)"', answer.text)
            path = older[0] if older else ""
        assert (await visitor.get("/tokens?before=00000000-0000-4000-8000-000000000000")).status_code == 404
    assert sorted(seen) == sorted(f"made-{n}" for n in range(1, 121))


LONG = """
INSERT INTO requests (id, at, request_id, method, endpoint, status, ms, request_body, response_body)
SELECT n, now(), 'r-' || n, 'POST', '/e', 200, 1, body, body
FROM generate_series(1, 60) n, jsonb_build_object('a', repeat('<"&é', 2000)) body RETURNING id"""


async def test_a_page_of_long_bodies_tells_their_beginnings_and_that_there_is_more(hub: Hub, house: House) -> None:
    await _written(house, LONG)
    async with hub.visit() as visitor:
        answer = await visitor.get("/requests?endpoint=/e")  # the visitor's own may be written meanwhile
        assert len(answer.content) < 200_000
        assert answer.text.count("more characters, which") == 100


async def test_what_could_not_be_looked_at_fits_a_page(hub: Hub, house: House) -> None:
    await _written(
        house,
        "INSERT INTO drift_look (began_at, unlooked) SELECT now(), jsonb_agg(jsonb_build_object('where', 'pool-' || n, 'why',"
        " 'it does not answer')) FROM generate_series(1, 20000) n RETURNING began_at",
    )
    async with hub.visit() as visitor:
        told = await visitor.shows("/drift")
        assert "pool-20 could not be looked at" in told
        assert "Nor could 19 980 others" in told


async def _written(house: House, sql: str) -> object:
    """Rows, and the first value that they return."""
    async with house.deps.db.transaction() as conn:
        return await conn.fetchval(sql)


async def test_who_waits_for_a_part_that_is_being_made_takes_no_place_of_the_gate(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, looks = asyncio.Event(), asyncio.Event(), fleet_view.looks

    async def slow(*arguments: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await looks(*arguments)

    monkeypatch.setattr("database_service.ui.pages.pools.fleet.looks", slow)
    gate: Gate = hub.web.app.state.gate
    async with hub.visit() as visitor, asyncio.timeout(20):
        asked = [asyncio.create_task(visitor.get("/parts/map")) for _ in range(4)]
        await begun.wait()
        while gate.aside(Why.CHANGE) < 3:  # noqa: ASYNC110  the gate tells nobody when somebody stands aside
            await asyncio.sleep(0)
        assert gate.inside == 1
        go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_a_part_that_could_not_be_made_is_not_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hub.visit() as visitor:
        with monkeypatch.context() as failing:
            failing.setattr("database_service.ui.pages.pools.fleet.looks", _away)
            assert (await visitor.get("/parts/map")).status_code == 503
        assert (await visitor.get("/parts/map")).status_code == 200


async def _away(*_: object) -> None:
    raise ControlDatabaseUnavailable


@pytest.mark.parametrize(
    "asked",
    [
        *(f"/events?instance={text}" for text in ("%00", "a%0Ab", "x" * 201)),
        *(f"/requests?{name}=%00" for name in ("endpoint", "instance", "request_id", "status", "since", "until")),
        *(f"/databases?{asked}=%00" for asked in ("q", "by", "status", "level", "q=a&by=instance&after")),
        *("/databases/%00", "/parts/databases/%00", "/pools?status=%00", "/operations?state=%00", "/pools/%00"),
        *("/tokens?before=%00", "/events?subject=%00", "/requests?before=%00", "/sign-in?next=%00"),
    ],
)
async def test_what_no_column_takes_is_answered_with_a_page(hub: Hub, asked: str) -> None:
    async with hub.visit() as visitor:
        answer = await visitor.get(asked)
        assert answer.status_code in ((200,) if "next" in asked else (404, 422)), answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_audit_trail_says_what_is_wrong_with_an_instance(hub: Hub) -> None:
    async with hub.visit() as visitor:
        answer = await visitor.get("/events?instance=%00")
        assert (answer.status_code, "instance: must be one line" in answer.text) == (422, True)


@pytest.mark.parametrize("text", ["a\u202eb", "a\u2028c", "a\u200bb"])
async def test_no_text_turns_the_audit_trail_round(hub: Hub, text: str) -> None:
    async with hub.visit() as visitor:
        answer = await visitor.post("/tokens", {"name": text, Scope.ADMIN_READ: "on"})
        assert (answer.status_code, "name: must be one line" in answer.text) == (422, True)
        answer = await visitor.get("/events", params={"instance": text})
        assert (answer.status_code, "instance: must be one line" in answer.text) == (422, True)
    headers = {"Authorization": f"Bearer {await hub.token()}"}
    answer = await hub.web.client.post("/admin/tokens", json={"name": text, "scopes": ["admin:read"]}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *((method, "/nosuch", 404) for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")),
        *(("GET", path, 404) for path in ("/a/b/c/d", "/nosuch/%00", "/%E2%98%83", "/databases/a/b/c")),
        *(("PUT", path, 405) for path in ("", "/pools", "/databases/demo/rotate", "/sign-in", "/live")),
        *(("POST", path, 405) for path in ("", "/events", "/parts/hub")),
    ],
)
async def test_what_is_no_page_is_told_so_on_a_page(hub: Hub, method: str, path: str, status: int) -> None:
    async with hub.stranger() as stranger:
        answer = await stranger.browser.request(method, f"/admin{path}")
        assert (answer.status_code, "Allow" in answer.headers) == (status, status == 405)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert method == "HEAD" or "<h1>" in answer.text
    assert (await hub.web.client.get("/nosuch")).headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("verb", "page"),
    [
        ("/databases/demo/rotate", "/databases/demo"),
        ("/databases/demo/reveal", "/databases/demo"),
        ("/pools/c1ad9f39-5ba5-4b7a-a8c7-3d5a1a3a58b5/drain", "/pools/c1ad9f39-5ba5-4b7a-a8c7-3d5a1a3a58b5"),
        ("/tokens/c1ad9f39-5ba5-4b7a-a8c7-3d5a1a3a58b5/revoke", "/tokens"),
        ("/drift/find", "/drift"),
        ("/drift/c1ad9f39-5ba5-4b7a-a8c7-3d5a1a3a58b5/confirm", "/drift"),
        ("/sign-out", ""),
        ("/", ""),
        ("/events/", "/events"),
    ],
)
async def test_where_a_form_was_sent_to_leads_to_the_page_it_was_on(hub: Hub, verb: str, page: str) -> None:
    async with hub.visit() as visitor:
        answer = await visitor.get(verb)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/admin{page}")
