"""What people do in the hub from beginning to end, in the browser, on a whole system."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.async_api import Locator, expect

from browser.scene import Scene, until
from browser.window import LONGEST_MS, PHONE, Window
from e2e.test_hardness import program

pytestmark = [pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]

ROTATED = "database.rotated"
GO_THERE = """() => {
  const wide = document.querySelector(".wide");
  wide.querySelector("a").focus({preventScroll: true});
  wide.scrollLeft = 40;
  wide.dataset.old = "yes";
}"""
"""At one go: the table is shown anew at any moment."""
SEEN = """(so) => {
  Object.defineProperty(document, "hidden", {value: !so, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""A browser that is driven says of each tab that it is seen."""
CLICKED_TWICE = """() => {
  const dropped = [];
  addEventListener("submit", (event) => { dropped.push(event.defaultPrevented); event.preventDefault(); });
  const button = document.querySelector("form[action='/admin/pools'][method=post] button");
  button.click();
  button.click();
  return dropped;
}"""
"""Whether each of the two was dropped; none is sent."""
LONGEST_ID = "w" * 64
QUICK_MS = 15_000
TABS = 8
"""More than a browser has connections to one address."""


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=LONGEST_MS)


async def test_from_a_first_visit_to_a_rotation_in_the_events(stranger: Window, scene: Scene) -> None:
    page = stranger.page
    await page.goto(f"{scene.url}/admin")
    await page.get_by_label("Token").fill(scene.operator)
    await stranger.press("Sign in")
    await expect(page.get_by_role("heading", name="The fleet")).to_be_visible()

    await go(stranger, "Servers")
    await page.get_by_role("textbox", name="Slots").fill("12")  # more than spares take: it stays active
    await stranger.press("Order")
    await expect(page.get_by_role("heading", name=re.compile("^pool-"))).to_be_visible()
    await stranger.plant()
    await expect(state(page.locator("main"), "active")).to_be_visible()
    await expect(state(page.locator("main"), "healthy")).to_be_visible()
    assert await stranger.was_not_loaded_again()

    await go(stranger, "Databases")
    await page.get_by_label("Instance, customer or name").fill("initech")
    await stranger.press("Find")
    await page.get_by_role("row").filter(has_text="initech").get_by_role("link", name="tickets").click()
    await expect(page.get_by_role("heading", name="tickets")).to_be_visible()
    logins = page.locator("section", has=page.get_by_role("heading", name="Logins")).locator("tbody tr")
    await expect(logins).to_have_count(1)
    await stranger.press("Rotate")
    await expect(logins).to_have_count(2)

    await go(stranger, "Events")
    rotation = page.get_by_role("row").filter(has_text=ROTATED).filter(has_text="tickets")
    await expect(rotation).to_contain_text("bootstrap")
    assert stranger.faults == []


async def test_a_pool_that_is_killed_turns_red_and_green_again_on_a_page_that_is_not_loaded_again(
    operator: Window, scene: Scene
) -> None:
    page = operator.page
    await operator.go("/pools")
    row = page.get_by_role("row").filter(has_text=scene.pool_name)
    on_map = page.locator(".map a").first
    await expect(state(row, "healthy")).to_be_visible()
    await expect(on_map.locator("rect.h").first).to_be_visible()
    await operator.plant()
    with killed(scene):
        await expect(state(row, "unhealthy")).to_be_visible()
        await expect(state(row, "unhealthy")).to_have_class(re.compile(r"\bbad\b"))
        await expect(on_map.locator("rect.u").first).to_be_visible()
    await expect(state(row, "healthy")).to_be_visible()
    await expect(on_map.locator("rect.h").first).to_be_visible()
    assert await operator.was_not_loaded_again()
    await page.get_by_role("link", name=scene.pool_name).click()
    await expect(page.get_by_role("row").filter(has_text="server.health_unhealthy").first).to_be_visible()
    assert operator.faults == []


async def test_a_page_says_when_the_service_does_not_answer_and_catches_up_by_itself(
    operator: Window, scene: Scene
) -> None:
    await operator.go("")
    await operator.plant()
    told = operator.page.get_by_role("status")
    await expect(told).to_be_hidden()
    os.kill(program(scene.stack, "serve", "api"), signal.SIGKILL)
    await expect(told).to_contain_text("may be out of date")
    await expect(told).to_be_hidden()
    assert await operator.was_not_loaded_again()
    with scene.stack.client() as client:
        until(lambda: client.get("/health").ready, "the API is back for other tests")


async def test_a_page_says_when_the_service_hangs_and_catches_up_by_itself(operator: Window, scene: Scene) -> None:
    await operator.page.clock.install()
    await operator.go("")
    await operator.plant()
    told = operator.page.get_by_role("status")
    api = program(scene.stack, "serve", "api")
    os.kill(api, signal.SIGSTOP)
    try:
        await expect(told).to_be_hidden()
        await operator.page.clock.fast_forward(31_000)
        await expect(told).to_contain_text("may be out of date")
    finally:
        os.kill(api, signal.SIGCONT)
    await expect(told).to_be_hidden()
    assert await operator.was_not_loaded_again()


async def test_more_tabs_than_a_browser_has_connections_are_loaded_and_each_is_live_when_it_is_seen(
    operator: Window, scene: Scene
) -> None:
    first = operator.page
    await operator.go(scene.place("/pools/{pool}"))
    await operator.plant()
    for tab in range(1, TABS):
        await first.context.pages[-1].evaluate(SEEN, False)
        page = await first.context.new_page()
        await page.goto(f"{scene.url}/admin/pools", timeout=QUICK_MS)
        await expect(page.locator(".map rect").first, f"tab {tab + 1} has its parts").to_be_visible(timeout=QUICK_MS)
    with scene.stack.client() as client:
        client.post(f"/admin/pools/{scene.pool}/cordon", {"reason": "nobody looks"})
        await expect(first.get_by_text("nobody looks")).to_have_count(0)
        await page.evaluate(SEEN, False)
        await first.evaluate(SEEN, True)
        await expect(first.get_by_text("nobody looks").first).to_be_visible()
        client.post(f"/admin/pools/{scene.pool}/uncordon", {})
        await expect(first.get_by_role("row").filter(has_text="server.uncordoned").first).to_be_visible()
    assert await operator.was_not_loaded_again()


async def test_a_verb_that_is_clicked_twice_is_sent_once(operator: Window) -> None:
    await operator.go("/pools")
    assert await operator.measure(CLICKED_TWICE) == [False, True]
    await expect(operator.page.get_by_role("button", name="Order", exact=True)).to_be_disabled()


@pytest.mark.parametrize(("asked", "where"), [("", ".nothing"), ("&by=customer", "h2, .nothing")])
async def test_the_longest_id_fits_on_a_phone(operator: Window, asked: str, where: str) -> None:
    await operator.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await operator.go(f"/databases?q={LONGEST_ID}{asked}")
    await expect(operator.page.locator(where).filter(has_text=LONGEST_ID).first).to_be_visible()
    assert await operator.measure("() => document.documentElement.scrollWidth") == PHONE["width"]


async def test_the_journey_is_done_with_keys_alone(stranger: Window, scene: Scene) -> None:
    page, keys = stranger.page, stranger.page.keyboard
    await page.goto(f"{scene.url}/admin")
    await keys.type(scene.operator)  # the field has the focus already
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="The fleet")).to_be_visible()

    await keys.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await keys.press("Enter")
    await expect(page.locator("main")).to_be_focused()

    await go_by_keys(stranger, "Servers")
    await stranger.tab_to(page.get_by_role("textbox", name="Slots"))
    await keys.type("many")
    await keys.press("Enter")
    await expect(page.get_by_role("textbox", name="Slots")).to_be_focused()  # the browser says what is wrong with it
    await keys.press("ControlOrMeta+a")
    await keys.type("12")
    await stranger.tab_to(page.get_by_role("button", name="Order"))
    await keys.press("Enter")
    await expect(state(page.locator("main"), "active")).to_be_visible()
    await stranger.tab_to(page.locator("form[action$='/cordon']").get_by_role("textbox"))
    await keys.type("only for a try")
    await keys.press("Enter")
    await expect(page.get_by_role("button", name="Uncordon")).to_be_visible()

    await go_by_keys(stranger, "Databases")
    await keys.type("wiki")  # the field has the focus already
    await keys.press("Enter")
    await stranger.tab_to(page.get_by_role("rowheader").get_by_role("link", name="wiki"))
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="wiki")).to_be_visible()
    await stranger.tab_to(page.get_by_role("button", name="Rotate"))
    await keys.press("Enter")
    await expect(page.get_by_role("row").filter(has_text=ROTATED)).to_be_visible()
    assert stranger.faults == []


async def test_who_is_on_something_that_is_shown_anew_stays_there(operator: Window, scene: Scene) -> None:
    page = operator.page
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await operator.go("/pools")
    await page.locator(".wide").wait_for()
    await operator.measure(GO_THERE)
    with scene.stack.client() as client:
        client.post(f"/admin/pools/{scene.pool}/health-check", {})
    await expect(page.locator("[data-old]")).to_have_count(0)
    await expect(page.locator(".wide a").first).to_be_focused()
    assert await operator.measure("() => document.querySelector('.wide').scrollLeft") == 40


async def test_what_is_offered_follows_the_state_but_not_under_who_is_filling_it_in(
    operator: Window, scene: Scene
) -> None:
    page, cordoned = operator.page, f"/admin/pools/{scene.pool}"
    offers = {verb: page.get_by_role("button", name=verb, exact=True) for verb in ("Cordon", "Uncordon")}
    await operator.go(f"/pools/{scene.pool}")
    await operator.plant()
    name = page.locator("form[action$='/retire'] input[name=name]")
    with scene.stack.client() as client:
        client.post(f"{cordoned}/cordon", {"reason": "for a try"})
        try:
            await expect(offers["Uncordon"]).to_be_visible()
            await expect(offers["Cordon"]).to_have_count(0)
            await name.fill(scene.pool_name[:3])
        finally:
            client.post(f"{cordoned}/uncordon", {})
        await expect(page.locator("dt").get_by_text("Cordoned", exact=True)).to_have_count(0)  # the page knows
        await expect(name).to_have_value(scene.pool_name[:3])
        await expect(offers["Uncordon"]).to_be_visible()
        await name.fill("")
        await name.blur()
        client.post(f"{cordoned}/health-check", {})
        await expect(offers["Cordon"]).to_be_visible()
    assert await operator.was_not_loaded_again()
    assert operator.faults == []


async def test_credentials_are_copied_as_they_are(operator: Window, scene: Scene) -> None:
    page = operator.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await operator.go(scene.place("/databases/{instance}"))
    await operator.press("Show credentials")
    await operator.press("Copy password")
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    with scene.stack.client() as client:
        known = client.get(f"/databases/{scene.instance}/credentials").body["db_password"]
    assert await operator.measure("() => navigator.clipboard.readText()") == known
    assert operator.faults == []


async def test_nothing_offers_to_copy_where_the_browser_cannot(operator: Window, scene: Scene) -> None:
    await operator.page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await operator.go(scene.place("/databases/{instance}"))
    await operator.press("Show credentials")
    await expect(operator.page.locator("#shown-password")).to_be_visible()
    await expect(operator.page.get_by_role("button", name="Copy password")).to_be_hidden()
    assert operator.faults == []


async def test_dark_or_light_is_remembered(operator: Window) -> None:
    page = operator.page
    await page.emulate_media(color_scheme="light")
    await operator.go("")
    light = await paper(operator)
    await operator.press("Dark or light")
    dark = await paper(operator)
    assert light != dark
    await operator.go("/events")
    assert await paper(operator) == dark
    await operator.press("Dark or light")
    assert await paper(operator) == light
    assert operator.faults == []


async def test_who_signs_out_is_out(stranger: Window, scene: Scene) -> None:
    await stranger.sign_in(scene.viewer)
    await stranger.press("Sign out")
    await expect(stranger.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await stranger.page.goto(f"{scene.url}/admin/events")
    await expect(stranger.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert stranger.faults == []


async def test_a_token_that_nobody_has_is_refused_on_the_page(stranger: Window) -> None:
    stranger.expects = 401
    await stranger.page.goto(f"{stranger.url}/admin/sign-in")
    await stranger.page.get_by_label("Token").fill("dbs_of-nobody")
    await stranger.press("Sign in")
    await expect(stranger.page.get_by_role("alert")).to_contain_text("Nobody has this token")
    assert stranger.faults == []


async def test_a_page_of_another_site_does_nothing_in_the_name_of_who_is_signed_in(
    operator: Window, scene: Scene
) -> None:
    page, elsewhere = operator.page, f"http://localhost:{scene.stack.port}/lure"
    form = f'<form method="post" action="{scene.url}/admin/pools"><input name="max_instances" value="7"><button>Win</button></form>'
    await page.route(elsewhere, lambda route: route.fulfill(body=form, content_type="text/html"))
    await page.goto(elsewhere)
    async with page.expect_navigation():
        await page.get_by_role("button", name="Win").click()
    assert page.url.startswith(f"{scene.url}/admin/")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    with scene.stack.client() as client:
        assert 7 not in [pool["max_instances"] for pool in client.get("/admin/pools").body["pools"]]


def state(where: Locator, word: str) -> Locator:
    """The word of a state, which is coloured by what it means."""
    return where.locator(".state").get_by_text(word, exact=True)


@contextmanager
def killed(scene: Scene) -> Iterator[None]:
    """Found out by the worker, which is held then: a browser on a machine that stands still would miss the seconds until the
    pool is back."""
    worker = program(scene.stack, "serve", "worker")
    os.kill(scene.stack.postmaster(scene.pool), signal.SIGKILL)
    with scene.stack.client() as client:
        until(lambda: client.get(f"/admin/pools/{scene.pool}").body["health_status"] == "unhealthy", "found out")
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def link_to(window: Window, where: str) -> Locator:
    return window.page.get_by_role("navigation").get_by_role("link", name=where)


async def go(window: Window, where: str) -> None:
    await link_to(window, where).click()
    await expect(link_to(window, where)).to_have_attribute("aria-current", "page")


async def go_by_keys(window: Window, where: str) -> None:
    await window.tab_to(link_to(window, where))
    await window.page.keyboard.press("Enter")
    await expect(link_to(window, where)).to_have_attribute("aria-current", "page")


async def paper(window: Window) -> str:
    return str(await window.measure("() => getComputedStyle(document.body).backgroundColor"))
