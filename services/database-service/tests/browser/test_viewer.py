"""Who may only look: sees no verb, and is refused when forging one."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from browser.pages import PAGES, Page
from browser.scene import Scene
from browser.window import Window, open_window

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]

OPEN = [page for page in PAGES if page.signed_in and not page.for_verbs]
VERBS = (
    "/pools",
    *(f"/pools/{{pool}}/{verb}" for verb in ("check", "cordon", "uncordon", "drain", "retire")),
    *(
        f"/databases/{{instance}}/{verb}"
        for verb in ("reveal", "rotate", "plan", "protect", "unprotect", "move", "undelete", "release")
    ),
    *(f"/operations/{{operation}}/{verb}" for verb in ("pause", "resume", "cancel", "rollback")),
    *("/drift/find", "/tokens"),
)
SENT = {"name": "{pool_name}", "admin:read": "on", "reason": "forged", "plan_tier": "enterprise", "max_instances": "9"}
CSRF = "() => document.querySelector('input[name=csrf]').value"


@pytest.mark.parametrize("page", OPEN, ids=lambda page: page.name)
async def test_no_verb_is_on_any_page(viewer: Window, operator: Window, scene: Scene, page: Page) -> None:
    await viewer.go(scene.place(page.path), page.expects)
    await page.steps(viewer, scene)
    forms = viewer.page.locator("form:not([method='get'])")
    assert await forms.evaluate_all("all => all.map((it) => it.getAttribute('action'))") == ["/admin/sign-out"]
    submits = viewer.page.locator("form:not([method='get']) button")
    await expect(submits).to_have_text(["Sign out"])
    await expect(
        viewer.page.locator("[hx-post], [hx-put], [hx-patch], [hx-delete], a[href='/admin/tokens']")
    ).to_have_count(0)
    assert viewer.faults == []


async def test_pages_that_are_there_for_their_verbs_alone_are_refused(viewer: Window) -> None:
    await viewer.go("/tokens", 403)
    await expect(viewer.page.get_by_role("alert")).to_contain_text("admin:write")
    assert viewer.faults == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def on_the_hub(chromium: Browser, scene: Scene, viewers_session: Any) -> AsyncIterator[Window]:
    async with open_window(chromium, scene.url, viewers_session) as window:
        await window.go("")
        yield window


@pytest.mark.parametrize("path", VERBS)
async def test_a_forged_verb_is_refused_however_it_is_sent_and_changes_nothing(
    on_the_hub: Window, scene: Scene, path: str
) -> None:
    own = await on_the_hub.measure(CSRF)
    before = fleet(scene)
    for csrf, headers in (
        (own, {}),
        ("", {}),
        ("guess", {}),
        (own, {"Sec-Fetch-Site": "cross-site", "Origin": "http://elsewhere.example"}),
        (own, {"Origin": "http://elsewhere.example"}),
    ):
        answer = await on_the_hub.page.context.request.post(
            f"{scene.url}/admin{scene.place(path)}", form=sent(scene, csrf), headers=headers, max_redirects=0
        )
        assert answer.status == 403, (answer.status, headers)
    assert fleet(scene) == before


async def test_a_verb_forged_by_a_script_on_the_page_is_refused(viewer: Window, scene: Scene) -> None:
    """With all that the browser itself says of it: cookie, origin, and that it is from the same site."""
    await viewer.go("")
    before = fleet(scene)
    status = await viewer.page.evaluate(
        "async ([path, body]) => (await fetch(path, {method: 'POST', body: new URLSearchParams(body)})).status",
        [f"/admin/pools/{scene.pool}/cordon", sent(scene, await viewer.measure(CSRF))],
    )
    assert status == 403
    assert fleet(scene) == before


@pytest.mark.parametrize("path", ["/pools/{pool}/cordon", "/databases/{instance}/rotate", "/tokens", "/pools"])
async def test_who_may_act_is_refused_as_well_where_the_form_is_not_from_a_page_of_theirs(
    chromium: Browser, operators_session: Any, viewer: Window, scene: Scene, path: str
) -> None:
    await viewer.go("")
    of_another = await viewer.measure(CSRF)
    before = fleet(scene)
    async with open_window(chromium, scene.url, operators_session) as operator:
        await operator.go("")
        own = await operator.measure(CSRF)
        for csrf, headers in (
            ("", {}),
            (of_another, {}),
            (own, {"Sec-Fetch-Site": "cross-site"}),
            (own, {"Sec-Fetch-Site": "same-site"}),
        ):
            answer = await operator.page.context.request.post(
                f"{scene.url}/admin{scene.place(path)}", form=sent(scene, csrf), headers=headers, max_redirects=0
            )
            assert answer.status == 403, (answer.status, headers)
    assert fleet(scene) == before


def sent(scene: Scene, csrf: str) -> dict[str, str]:
    return {"csrf": csrf, **{name: scene.place(value) for name, value in SENT.items()}}


def fleet(scene: Scene) -> object:
    """What a verb could have changed, and the events of people."""
    with scene.stack.client() as client:
        pools = client.get("/admin/pools").body["pools"]
        database = client.get(f"/databases/{scene.instance}").body
        events = client.get("/admin/events", limit=100).body["events"]
        return (
            [(pool["id"], pool["status"], pool["max_instances"]) for pool in pools],
            [database[name] for name in ("status", "plan_tier", "protected")],
            [event["id"] for event in events if event["actor"] != "reconciler"],
            len(client.get("/admin/tokens").body["tokens"]),
        )
