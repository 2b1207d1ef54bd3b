"""Who gets in, for how long, and what a form from elsewhere comes to."""

import re
from datetime import timedelta
from html import unescape

import pytest

from database_service.actions.tokens import revoke
from database_service.api import problems
from database_service.auth.scopes import Scope
from database_service.domain.ids import TokenId
from database_service.observability import metrics
from database_service.ui.app import install
from database_service.ui.session import COOKIE, LASTS
from support.house import WHO, House
from support.hub import Hub

PAGES = (
    *("", "/pools", "/databases", "/operations", "/events", "/requests", "/drift", "/plans", "/tokens"),
    *("/parts/hub", "/parts/pools", "/parts/map", "/parts/operations", "/live"),
)
READER = (Scope.ADMIN_READ,)


@pytest.mark.parametrize("page", PAGES)
async def test_without_a_session_every_page_is_the_one_for_signing_in(hub: Hub, page: str) -> None:
    async with hub.stranger() as stranger:
        answer = await stranger.get(page)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/admin/sign-in")
        part = await stranger.get(page, headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/admin/sign-in")


async def test_signing_in_leads_to_the_page_that_was_asked_for_and_nowhere_else(hub: Hub) -> None:
    async with hub.stranger() as stranger:
        asked = await stranger.get("/events")
        assert asked.headers["location"] == "/admin/sign-in?next=/admin/events"
        for wanted, where in (
            ("/admin/events", "/admin/events"),
            ("https://elsewhere.example/admin", "/admin"),
            ("//elsewhere.example", "/admin"),
            ("/admin\\@elsewhere.example", "/admin"),
            ("/adminelsewhere", "/admin"),
            ("/admin/../../evil", "/admin"),
            ("/admin/..//elsewhere.example", "/admin"),
            ("/admin/%2e%2e/evil", "/admin"),
            ("/admin/./pools/../events/", "/admin/events"),
            ("//admin/events", "/admin"),
            ("/admin/sign-out", "/admin"),
            ("/admin/pools/../sign-out?x", "/admin"),
            ("/admin/sign-in", "/admin"),
            ("/admin/oidc/start", "/admin"),
            ("/admin/parts/hub", "/admin"),
            ("/admin/live", "/admin"),
            ("/admin/static/hub.css", "/admin"),
            ("/admin/databases/live", "/admin/databases/live"),
            ("/admin/live-1", "/admin/live-1"),
            ("/admin/events?instance=a b", "/admin"),
            ("/admin?" + "x" * 1000, "/admin"),
            ("/admin/requests?status=403&endpoint=a%2Fb", "/admin/requests?status=403&endpoint=a%2Fb"),
        ):
            answer = await stranger.browser.post("/admin/sign-in", data={"token": await hub.token(), "next": wanted})
            assert (answer.status_code, answer.headers["location"]) == (303, where)


async def test_who_signs_in_comes_back_with_what_they_asked(hub: Hub) -> None:
    wanted = "/admin/requests?status=403&endpoint=a%2Fb"
    async with hub.stranger() as stranger:
        asked = await stranger.browser.get(wanted)
        page = await stranger.browser.get(asked.headers["location"])
        shown = re.search(r'name="next" value="([^"]+)"', page.text)
        assert shown
        assert unescape(shown[1]) == wanted
        sent = {"token": await hub.token(), "next": wanted}
        assert (await stranger.browser.post("/admin/sign-in", data=sent)).headers["location"] == wanted


def count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("dbs_sign_ins_total", {"how": "token", "outcome": outcome}) or 0


async def test_every_sign_in_is_counted_by_what_came_of_it(hub: Hub) -> None:
    tokens = {
        "ok": await hub.token(READER),
        "unauthenticated": "dbs_nobody",
        "forbidden": await hub.token([Scope.DATABASES_READ]),
    }
    async with hub.stranger() as stranger:
        for outcome, token in tokens.items():
            before = count(outcome)
            await stranger.browser.post("/admin/sign-in", data={"token": token})
            assert count(outcome) == before + 1


@pytest.mark.parametrize("token", ["", "dbs_nobody", "x" * 300, "\u2603"])
async def test_a_token_that_nobody_has_does_not_get_in(hub: Hub, token: str) -> None:
    async with hub.stranger() as stranger:
        answer = await stranger.browser.post("/admin/sign-in", data={"token": token})
        assert answer.status_code == 401
        assert "Nobody has this token" in answer.text
        assert COOKIE not in answer.cookies


URLENCODED = "application/x-www-form-urlencoded"


def multipart(charset: str, name: str, more: str = "") -> tuple[str, bytes]:
    body = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n\\ud800\r\n--b--\r\n'
    return f"multipart/form-data; boundary=b; charset={charset}", body.encode()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *(
            multipart(charset, name)
            for charset in ("unicode_escape", "punycode", "idna", "utf-8")
            for name in ("token", "next", "csrf")
        ),
        multipart("utf-8", "token", '; filename="x"'),
        ("multipart/form-data", b"token=x"),
        ("application/json", b'{"token": "\\ud800"}'),
        ("", b"token=x"),
        (URLENCODED, b"token=%ED%A0%80"),
        (URLENCODED, b"token=%FF"),
        (URLENCODED, b"token=\xff"),
        (URLENCODED, b"token=x&next=%00"),
        (URLENCODED, b"&".join(b"f%d=x" % n for n in range(30))),
    ],
)
@pytest.mark.parametrize("form", ["/sign-in", "/sign-out", "/pools"])
async def test_what_no_form_of_ours_sends_is_answered_with_a_page_and_breaks_nothing(
    hub: Hub, form: str, kind: str, body: bytes
) -> None:
    async with hub.visit() as visitor:
        answer = await visitor.browser.post(f"/admin{form}", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, "not what a form of ours sends" in answer.text) == (400, True), answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_form_may_say_how_it_is_written_and_holds_every_letter(hub: Hub) -> None:
    async with hub.visit() as visitor:
        body = f"csrf={visitor.csrf}&name=caf%C3%A9+\u2603&admin:read=on".encode()
        answer = await visitor.browser.post(
            "/admin/tokens", content=body, headers={"Content-Type": f"{URLENCODED}; charset=UTF-8"}
        )
        assert (answer.status_code, "caf\u00e9 \u2603" in answer.text) == (201, True)


async def test_a_token_without_the_scope_or_of_one_customer_is_told_so(hub: Hub) -> None:
    async with hub.stranger() as stranger:
        for token, told in (
            (await hub.token([Scope.DATABASES_READ]), "admin:read"),
            (await hub.token([Scope.DATABASES_READ], customer="c-1"), "c-1"),
        ):
            answer = await stranger.browser.post("/admin/sign-in", data={"token": token})
            assert answer.status_code == 403
            assert told in answer.text


async def test_the_cookie_is_kept_from_scripts_and_other_sites_and_tells_nothing(hub: Hub) -> None:
    token = await hub.token()
    async with hub.stranger() as stranger:
        answer = await stranger.browser.post("/admin/sign-in", data={"token": token})
        cookie = answer.headers["set-cookie"]
        for said in ("HttpOnly", "SameSite=lax", "Path=/admin", f"Max-Age={int(LASTS.total_seconds())}"):
            assert said in cookie
        assert token not in cookie
        secure = await stranger.browser.post("https://test/admin/sign-in", data={"token": token})
        assert "Secure" in secure.headers["set-cookie"]


@pytest.mark.parametrize(
    ("home", "secure"), [("https://hub.example.com", True), ("http://127.0.0.1:8005", False), (None, False)]
)
async def test_the_cookie_goes_by_https_alone_where_that_is_how_browsers_find_the_hub(
    hub: Hub, home: str | None, secure: bool
) -> None:
    install(hub.web.app, problems.status_of, home=home)  # and a proxy takes it off: we are asked by HTTP
    async with hub.stranger() as stranger:
        answer = await stranger.browser.post("/admin/sign-in", data={"token": await hub.token()})
        assert ("Secure" in answer.headers["set-cookie"]) is secure


async def test_a_session_ends_after_its_time_with_its_token_and_when_it_is_tampered_with(
    hub: Hub, house: House
) -> None:
    token, headers = await hub.web.token(READER)
    async with hub.stranger() as visitor:
        text = headers["Authorization"].removeprefix("Bearer ")
        await visitor.browser.post("/admin/sign-in", data={"token": text})
        assert (await visitor.get()).status_code == 200

        good = visitor.browser.cookies[COOKIE]
        for bad in (good[:-4] + "AAAA", "", "nonsense", good[4:]):
            visitor.browser.cookies.clear()
            assert (await visitor.get(headers={"Cookie": f"{COOKIE}={bad}"})).status_code == 303
            visitor.browser.cookies.set(COOKIE, good, domain="test", path="/admin")

        await revoke(house.deps, TokenId(token.id), WHO)
        hub.web.app.state.tokens._remembered.clear()  # as its notification does, a moment later
        assert (await visitor.get()).status_code == 303


async def test_a_session_does_not_outlive_its_hours(hub: Hub, house: House) -> None:
    async with hub.visit() as visitor:
        house.clock.forward(LASTS - timedelta(minutes=1))
        assert (await visitor.get()).status_code == 200
        house.clock.forward(timedelta(minutes=2))
        assert (await visitor.get()).status_code == 303


async def test_signing_out_ends_it(hub: Hub) -> None:
    async with hub.visit() as visitor:
        assert (await visitor.post("/sign-out")).headers["location"] == "/admin/sign-in"
        assert (await visitor.get()).status_code == 303


async def test_a_form_from_elsewhere_changes_nothing(hub: Hub, house: House) -> None:
    async with hub.visit() as visitor, hub.visit() as other:
        for csrf in ("", "guess", other.csrf, "\u2603"):
            answer = await visitor.post("/pools", csrf=csrf)
            assert (answer.status_code, "did not come from a page" in answer.text) == (403, True)
    assert await house.value("SELECT count(*) FROM servers") == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_nobody_is_signed_in_by_another_sites_page(hub: Hub, site: str) -> None:
    async with hub.stranger() as stranger:
        answer = await stranger.browser.post(
            "/admin/sign-in", data={"token": await hub.token()}, headers={"Sec-Fetch-Site": site}
        )
        assert answer.status_code == 403
        assert COOKIE not in answer.cookies


HOME = "https://hub.example.com"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),  # no browser
        ({"Origin": "http://test"}, 303),
        ({"Origin": "http://TEST:80"}, 303),
        ({"Origin": "https://test"}, 303),  # behind a proxy that takes HTTPS off
        ({"Origin": HOME}, 303),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "http://test:8000"}, 403),
        ({"Origin": "http://test.elsewhere.example"}, 403),
        ({"Origin": "http://hub.example.com"}, 403),
        ({"Origin": f"{HOME}:8443"}, 403),
        ({"Origin": "https://elsewhere.example", "Host": ""}, 403),
        ({"Origin": "http://[x"}, 403),
        ({"Origin": "http://test", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_a_browser_that_names_the_page_of_a_sign_in_names_ours(
    hub: Hub, headers: dict[str, str], status: int
) -> None:
    install(hub.web.app, problems.status_of, home=HOME)
    async with hub.stranger() as stranger:
        answer = await stranger.browser.post("/admin/sign-in", data={"token": await hub.token()}, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, status == 303)


async def test_browsers_name_the_page_that_one_signs_in_on_to_us_alone(hub: Hub) -> None:
    async with hub.stranger() as stranger:
        assert (await stranger.get("/sign-in")).headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("verb", ["check", "cordon", "uncordon", "drain", "retire"])
async def test_who_may_only_look_sees_no_verb_and_is_refused_when_forging_one(
    hub: Hub, house: House, verb: str
) -> None:
    pool = await house.pool()
    async with hub.visit(READER) as visitor:
        page = await visitor.get(f"/pools/{pool.id}")
        assert page.text.count("<form") == 1, "signing out"
        assert 'action="/admin/pools"' not in (await visitor.get("/pools")).text.replace(
            'method="get" action="/admin/pools"', ""
        )
        answer = await visitor.post(f"/pools/{pool.id}/{verb}", {"name": pool.name})
        assert (answer.status_code, "admin:write" in answer.text) == (403, True)
        for form in ("/pools", "/tokens", "/drift/find"):
            assert (await visitor.post(form)).status_code == 403
        assert (await visitor.get("/tokens")).status_code == 403
        assert (await visitor.post("/sign-out")).status_code == 303
    after = await house.server(pool.id)
    assert (after.status, after.cordoned) == (pool.status, False)
