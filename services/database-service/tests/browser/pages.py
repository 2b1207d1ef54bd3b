"""Every page there is, and how to get at it. Who adds a page to the hub adds a line here: all that is promised of pages is then
tried on it, and its pictures are wanted in the manual (`make screenshots`)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from browser.scene import Scene
from browser.window import Window

Steps = Callable[[Window, Scene], Awaitable[None]]


async def nothing(window: Window, scene: Scene) -> None:
    """It is there as soon as it is loaded."""


async def fleet_drawn(window: Window, scene: Scene) -> None:
    await window.page.locator(".map rect").first.wait_for()


async def retire_the_wrong_one(window: Window, scene: Scene) -> None:
    window.expects = 422
    form = window.page.locator("form[action$='/retire']")
    await form.get_by_role("textbox").fill("pool-other")
    await form.get_by_role("button").click()
    await window.page.get_by_role("alert").wait_for()


async def show_credentials(window: Window, scene: Scene) -> None:
    await window.press("Show credentials")
    await window.page.get_by_role("heading", name="How to reach it").wait_for()


async def ask_what_would_be_removed(window: Window, scene: Scene) -> None:
    await window.press("Remove …")
    await window.page.get_by_role("heading", name="Remove this?").wait_for()


async def issue_a_token(window: Window, scene: Scene) -> None:
    form = window.page.locator("form[action='/admin/tokens']")
    await form.get_by_label("Name").fill("deploy")
    await form.get_by_label("databases:read").check()
    await form.get_by_role("button", name="Issue").click()
    await window.page.get_by_role("status").wait_for()


async def show_bodies(window: Window, scene: Scene) -> None:
    await window.page.get_by_text("Show", exact=True).nth(1).click()


@dataclass(frozen=True)
class Page:
    """`steps` lead from the address to what is to be seen. What is `secret` is not pictured, and what is for nobody who only
    looks is `for_verbs`."""

    name: str
    path: str
    tells: str
    """What it shows, for who cannot see its picture."""
    steps: Steps = nothing
    expects: int = 200
    signed_in: bool = True
    for_verbs: bool = False
    secret: str | None = None
    on_a_phone: bool = False
    """Whether the manual shows it on a phone, too."""


PAGES = (
    Page("sign-in", "/sign-in", "The page for signing in, with one field for the token", signed_in=False),
    Page(
        "hub",
        "",
        "The hub: servers, slots, databases and allocations, and below what needs somebody",
        on_a_phone=True,
    ),
    Page("pools", "/pools", "All servers, as a map of their slots and as a table", fleet_drawn, on_a_phone=True),
    Page("pool", "/pools/{pool}", "One server: its state, what happened to it, and its verbs"),
    Page(
        "failed-form",
        "/pools/{pool}",
        "The same page after a form that was refused, with the reason at its top",
        retire_the_wrong_one,
        for_verbs=True,
    ),
    Page("databases", "/databases", "The page for finding a database, with those that were handed out last"),
    Page("found", "/databases?q=shop", "What was found: instances, customers and names that begin so"),
    Page("database", "/databases/{instance}", "One database: its plan, what it uses, its logins, and its verbs"),
    Page(
        "credentials",
        "/databases/{instance}",
        "The same page with its credentials, each with a button to copy it",
        show_credentials,
        for_verbs=True,
        secret="#shown-password, #shown-DSN, #shown-env",
    ),
    Page("not-found", "/databases/nobody-has-this", "The page for what is not there", expects=404),
    Page("operations", "/operations", "Operations, with how far each is"),
    Page("operation", "/operations/{operation}", "One operation and its steps"),
    Page("events", "/events?instance={instance}", "The audit trail of one database: when, who, what, on what, and why"),
    Page("requests", "/requests", "The request log with its filters, and one request opened", show_bodies),
    Page("plans", "/plans", "Plans with what they allow, and what new databases and servers are made from"),
    Page("drift", "/drift", "Drift: a server's directory that no row knows"),
    Page(
        "drift-offer",
        "/drift",
        "What exactly would be removed, and the button that agrees to it",
        ask_what_would_be_removed,
        for_verbs=True,
    ),
    Page("tokens", "/tokens", "API tokens, with the form that issues one", for_verbs=True),
    Page(
        "new-token",
        "/tokens",
        "A token that was just issued, shown this once",
        issue_a_token,
        for_verbs=True,
        secret="#new-token",
    ),
)
