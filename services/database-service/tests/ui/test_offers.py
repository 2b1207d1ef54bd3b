"""What pages offer to do: by the state of what they show, and with what was entered where it was refused."""

import re
from datetime import timedelta

import pytest

from database_service.actions.allocate import allocate
from database_service.auth.scopes import Scope
from database_service.domain.databases import Status
from support.house import WHO, House, ask
from support.hub import Hub, Visit

EVERY = {
    "reveal": {},
    "rotate": {},
    "plan": {"plan_tier": "starter"},
    "protect": {},
    "unprotect": {},
    "move": {"name": "one"},
    "undelete": {},
    "release": {"name": "one"},
}
"""A form of each verb of a database."""
ALWAYS = {"protect", "unprotect", "release"}
"""Not refused by any state that has a page: they change nothing where it is so already."""


async def offered(visitor: Visit, path: str) -> set[str]:
    page = (await visitor.get(path)).text
    return {each.rpartition("/")[2] for each in re.findall(rf'<form[^>]* action="/admin{path}/(\w+)"', page)}


BY_HAND = {
    Status.CREATING: "due_at = $2",
    Status.READY: "due_at = NULL",
    Status.MOVING: "due_at = NULL",
    Status.RELEASING: "due_at = $2, released_at = $2, purge_after = $2",
    Status.RELEASED: "due_at = $2, released_at = $2, purge_after = $2",
}
"""What a row in each of these states has beside it; its next step comes later than the test."""


async def in_state(house: House, status: Status) -> None:
    if status is not Status.WAITING:
        await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    if more := BY_HAND.get(status):
        later = house.clock() + timedelta(hours=1)
        async with house.deps.db.connection() as conn:
            await conn.execute(
                f"UPDATE databases SET status = $1, {more} WHERE $2::timestamptz IS NOT NULL", status, later
            )


@pytest.mark.parametrize("status", [Status.WAITING, *BY_HAND])
async def test_what_a_database_is_not_offered_would_be_refused(hub: Hub, house: House, status: Status) -> None:
    await in_state(house, status)
    async with hub.visit() as visitor:
        shown = await offered(visitor, "/databases/one")
        assert "protect" in shown
        for verb in EVERY.keys() - shown - ALWAYS:
            answer = await visitor.post(f"/databases/one/{verb}", EVERY[verb])
            assert answer.status_code == 409, verb
        assert (await house.database("one")).status is status


@pytest.mark.parametrize("verb", EVERY)
async def test_what_a_database_is_offered_is_not_refused_for_its_state(hub: Hub, house: House, verb: str) -> None:
    await house.pool()
    await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        if verb == "undelete":
            await visitor.post("/databases/one/release", EVERY["release"])
        if verb == "unprotect":
            await visitor.post("/databases/one/protect")
        assert verb in await offered(visitor, "/databases/one")
        answer = await visitor.post(f"/databases/one/{verb}", EVERY[verb])
        assert answer.status_code == (200 if verb == "reveal" else 303)


async def test_what_is_protected_offers_no_release(hub: Hub, house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        assert {"protect", "release"} <= await offered(visitor, "/databases/one")
        await visitor.post("/databases/one/protect")
        assert {"unprotect", "release", "protect"} & await offered(visitor, "/databases/one") == {"unprotect"}


async def test_a_server_that_leaves_offers_nothing(hub: Hub, house: House) -> None:
    pool = await house.pool()
    async with hub.visit() as visitor:
        assert await offered(visitor, f"/pools/{pool.id}") == {"check", "cordon", "drain", "retire"}
        await visitor.post(f"/pools/{pool.id}/retire", {"name": pool.name})
        assert await offered(visitor, f"/pools/{pool.id}") == set()
        assert "Nothing any more" in await visitor.shows(f"/pools/{pool.id}")


async def test_forms_come_with_a_part_only_where_others_are_to_be_offered(hub: Hub, house: House) -> None:
    pool = await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        for where, change in ((f"/pools/{pool.id}", "cordon"), ("/databases/one", "protect")):
            [before] = re.findall(r'name="offered" value="([^"]*)"', (await visitor.get(where)).text)
            part = f"/parts{where}?offered={before.replace(' ', '+')}"
            assert "<form" not in (await visitor.get(part)).text
            assert "<form" not in (await visitor.get(f"/parts{where}")).text
            await visitor.post(f"{where}/{change}")
            changed = (await visitor.get(part)).text
            assert 'id="verbs-section" aria-labelledby="verbs" hx-swap-oob="true"' in changed
            assert f"{where}/un{change}" in changed
    async with hub.visit([Scope.ADMIN_READ]) as visitor:
        for where in (f"/pools/{pool.id}", "/databases/one"):
            assert "<form" not in (await visitor.get(f"/parts{where}?offered=nothing")).text
            assert "<form" not in (await visitor.get(where)).text.partition("<main")[2]


async def test_a_form_that_is_refused_keeps_what_was_entered_and_the_others_stay_empty(hub: Hub, house: House) -> None:
    await house.pool()
    await allocate(house.deps, ask("one"), WHO)
    async with hub.visit() as visitor:
        await visitor.get("/tokens")
        told = {"name": "a <new> one", "databases:read": "on", "customer": "c-1", "days": "none"}
        refused = (await visitor.post("/tokens", told)).text
        for said in (
            'name="name" required maxlength="100" value="a &lt;new&gt; one"',
            'name="databases:read" checked',
            'name="customer" maxlength="64" spellcheck="false" value="c-1"',
            'maxlength="4" value="none"',
        ):
            assert said in refused, said
        assert refused.count(" checked") == 1
        refused = (await visitor.post("/pools", {"max_instances": "99999"})).text
        assert 'value="99999"' in refused
        refused = (await visitor.post("/databases/one/release", {"name": "two", "why": "it moved out"})).text
        assert 'value="two"' not in refused, "what destroys is named anew"
        assert 'value="it moved out"' in refused
        refused = (await visitor.post("/databases/one/plan", {"plan_tier": "free", "require_dedicated": "on"})).text
        assert "<option selected>free" in refused
        assert 'name="require_dedicated" checked' in refused
        assert "data-refused" in refused
        assert "data-refused" not in (await visitor.get("/databases/one")).text


async def test_the_form_in_which_a_token_was_misnamed_is_open(hub: Hub) -> None:
    async with hub.visit() as visitor:
        page = (await visitor.get("/tokens")).text
        assert "<details open>" not in page
        [token, *_] = re.findall(r'action="/admin/tokens/([^/"]+)/revoke"', page)
        refused = (await visitor.post(f"/tokens/{token}/revoke", {"name": "mistyped"})).text
        assert refused.count("<details open>") == 1
        assert "mistyped" not in refused.partition("<main")[2].partition("</table>")[0]
