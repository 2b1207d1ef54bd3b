"""What a service sees of its database over HTTP."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from support.web import Web

NAMES = ("db_server_id", "db_host", "db_port", "db_name", "db_user", "db_password")


async def test_an_allocation_answers_with_credentials_that_work_and_are_not_cached(pooled: Web) -> None:
    answer = await pooled.allocate()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    got = answer.json()
    assert got["status"] == "allocated"
    conn = await asyncpg.connect(
        host=got["db_host"],
        port=got["db_port"],
        database=got["db_name"],
        user=got["db_user"],
        password=got["db_password"],
    )
    assert await conn.fetchval("SELECT current_database()") == got["db_name"]
    await conn.close()


async def test_the_same_request_gets_the_same_answer_and_another_is_a_conflict(pooled: Web) -> None:
    first, again, other = [await pooled.allocate(tier=tier) for tier in ("free", "free", "starter")]
    assert first.json() == again.json()
    assert other.status_code == 409
    assert other.json()["code"] == "allocation_differs"


async def test_without_room_the_answer_is_202_with_where_and_when_to_ask_again(web: Web) -> None:
    answer = await web.allocate("alone")
    assert answer.status_code == 202
    assert answer.json() | {"message": ""} == {
        "status": "provisioning", "instance_id": "alone", "database_status": "waiting", "db_server_id": None,
        "retry_after": 2, "message": "",
    }  # fmt: skip
    assert answer.headers["retry-after"] == "2"
    seen = await web.client.get(f"http://test{answer.headers['location']}")
    assert seen.json()["status"] == "waiting"


async def test_a_preference_to_wait_is_honoured_up_to_thirty_seconds_and_said_so(pooled: Web) -> None:
    wanted = {"instance_id": "i", "customer_id": "c", "plan_tier": "free"}
    answer = await pooled.client.post("/allocate", json=wanted, headers={"Prefer": "respond-async, wait=100"})
    assert answer.headers["preference-applied"] == "wait=30"


async def test_who_waits_is_answered_as_soon_as_there_is_room(web: Web) -> None:
    wanted = {"instance_id": "i", "customer_id": "c", "plan_tier": "free"}
    waiting = asyncio.create_task(web.client.post("/allocate", json=wanted, headers={"Prefer": "wait=25"}))
    while not await web.house.value("SELECT count(*) FROM databases WHERE status = 'waiting'"):  # noqa: ASYNC110  a row sets no Event
        await asyncio.sleep(0.01)
    await web.house.pool()
    await web.house.until_quiet()
    assert (await waiting).status_code == 200


async def test_the_status_shows_plan_limits_and_logins_and_no_secret(pooled: Web) -> None:
    password = (await pooled.allocate()).json()["db_password"]
    answer = await pooled.client.get("/databases/i-1?wait=1")
    assert answer.json()["status"] == "ready"
    assert answer.json()["limits"]["connections"] == 5
    assert [login["state"] for login in answer.json()["logins"]] == ["active"]
    assert password not in answer.text


async def test_an_instance_without_a_database_is_404(web: Web) -> None:
    for answer in (await web.client.get("/databases/nobody"), await web.client.delete("/databases/nobody")):
        assert (answer.status_code, answer.json()["code"]) == (404, "database_not_found")


@pytest.mark.parametrize("how", ["uri", "env", "jdbc", "pgpass"])
async def test_credentials_come_as_text_in_the_form_that_is_asked_for(pooled: Web, how: str) -> None:
    got = (await pooled.allocate()).json()
    answer = await pooled.client.get(f"/databases/i-1/credentials?format={how}")
    host, port, name, user, password = (str(got[n]) for n in NAMES[1:])
    expected = {
        "uri": f"postgresql://{user}:{password}@{host}:{port}/{name}",
        "env": f"PGHOST={host}\nPGPORT={port}\nPGDATABASE={name}\nPGUSER={user}\nPGPASSWORD={password}\n"
        f"DATABASE_URL=postgresql://{user}:{password}@{host}:{port}/{name}",
        "jdbc": f"jdbc:postgresql://{host}:{port}/{name}?user={user}&password={password}",
        "pgpass": f"{host}:{port}:{name}:{user}:{password}",
    }
    assert answer.text == expected[how] + "\n"
    assert answer.headers["cache-control"] == "no-store"


async def test_reading_credentials_leaves_an_event_with_name_and_request(pooled: Web) -> None:
    allocated = (await pooled.allocate()).json()
    answer = await pooled.client.get("/databases/i-1/credentials", headers={"X-Request-ID": "who-read-it"})
    assert answer.json() == {name: allocated[name] for name in ("instance_id", *NAMES, "ssl_mode", "ssl_root_cert")}
    events = (await pooled.client.get("/admin/events?instance_id=i-1")).json()["events"]
    assert (events[0]["actor"], events[0]["request_id"]) == ("test", "who-read-it")


async def test_a_rotation_gives_a_new_login_once_per_key_and_says_when_the_old_one_ends(pooled: Web) -> None:
    old = (await pooled.allocate()).json()
    key = {"Idempotency-Key": "k-1"}
    first = await pooled.client.post("/databases/i-1/rotate", json={"overlap_seconds": 600}, headers=key)
    again = await pooled.client.post("/databases/i-1/rotate", json={"overlap_seconds": 600}, headers=key)
    assert first.json() == again.json()
    new = first.json()
    assert new["db_user"] != old["db_user"]
    ends = {login["db_user"]: login["expires_at"] for login in new["logins"]}
    assert ends[new["db_user"]] is None
    left = datetime.fromisoformat(ends[old["db_user"]]) - datetime.now(UTC)
    assert 590 < left.total_seconds() <= 600


async def test_a_release_can_be_taken_back_with_the_same_credentials(pooled: Web) -> None:
    before = (await pooled.allocate()).json()
    released = await pooled.client.delete("/databases/i-1?why=test")
    assert released.status_code == 202
    assert released.json()["purge_after"]
    await pooled.house.until_quiet()
    assert (await pooled.allocate()).json()["code"] == "database_released"
    assert (await pooled.client.post("/databases/i-1/undelete")).json() == before


async def test_a_protected_database_is_not_released(pooled: Web) -> None:
    await pooled.allocate()
    for protected, status in ((True, 409), (False, 202)):
        changed = await pooled.client.post("/databases/i-1/protection", json={"protected": protected})
        assert changed.json()["protected"] is protected
        assert (await pooled.client.delete("/databases/i-1")).status_code == status


async def test_what_is_purged_is_gone_for_good(pooled: Web) -> None:
    await pooled.allocate()
    await pooled.client.delete("/databases/i-1")
    await pooled.house.until_quiet()
    purge_after = (await pooled.house.database("i-1")).purge_after
    assert purge_after
    await pooled.house.later(purge_after - pooled.house.clock())
    for answer in (await pooled.client.get("/databases/i-1"), await pooled.allocate()):
        assert (answer.status_code, answer.json()["code"]) == (410, "database_gone")


async def test_a_plan_without_dedicated_servers_is_400(web: Web) -> None:
    asked = await web.allocate(require_dedicated=True)
    ordered = await web.client.post(
        "/provision-dedicated", json={"instance_id": "i", "customer_id": "c", "plan_tier": "free"}
    )
    assert [(a.status_code, a.json()["code"]) for a in (asked, ordered)] == [(400, "plan_has_no_dedicated")] * 2


async def test_a_dedicated_server_is_ordered_once_and_told_of(web: Web) -> None:
    wanted = {"instance_id": "big", "customer_id": "c", "plan_tier": "premium"}
    first, again = [await web.client.post("/provision-dedicated", json=wanted) for _ in range(2)]
    assert first.status_code == 202
    assert first.json() == again.json()
    assert (first.json()["status"], first.headers["retry-after"]) == ("provisioning", "2")


async def test_unknown_plans_templates_and_fields_are_named(web: Web) -> None:
    for more, field in (({"tier": "gold"}, "plan_tier"), ({"template": "odoo"}, "template"), ({"plan": 1}, "plan")):
        answer = await web.allocate(**more)  # type: ignore[arg-type]
        assert answer.status_code == 422, more
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_database_may_be_named_but_not_with_a_reserved_or_strange_name(pooled: Web) -> None:
    assert (await pooled.allocate("a", database_name="shop_1")).json()["db_name"] == "shop_1"
    for number, name in enumerate(("postgres", "pg_x", "Shop", 'x"; DROP DATABASE postgres; --', "a\n", "", "é")):
        answer = await pooled.allocate(f"b-{number}", database_name=name)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "database_name"), name
