"""Signing in by OpenID Connect: a real provider over HTTP, a browser's cookies, and everything that must not get in."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse

from database_service.admission.bounds import BOUNDS
from database_service.admission.gate import Why
from database_service.auth.oidc.people import Roles
from database_service.auth.oidc.provider import Client, Provider
from database_service.auth.oidc.sign_in import SignIn
from database_service.auth.rate import Pace, Rate
from database_service.domain.secret import Secret
from database_service.observability import metrics
from database_service.ui import session
from database_service.ui.pages.oidc import CALLBACK
from database_service.ui.pages.oidc import COOKIE as FLOW
from support.house import House
from support.hub import Hub, Visit, open_hub
from support.identity_provider import CLIENT, SECRET, Claims, IdentityProvider, ec_key, rsa_key, running_provider

HOME = "http://test"
ROLES = Roles("groups", frozenset({"support"}), frozenset({"dba"}), frozenset({"vault"}))


@dataclass(frozen=True)
class Stage:
    provider: IdentityProvider
    sign_in: SignIn
    hub: Hub

    async def out(self, visit: Visit, wanted: str = "/admin") -> str:
        """The address at the provider that a browser is sent to."""
        answer = await visit.get(f"/oidc/start?next={wanted}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def back(self, visit: Visit, wanted: str = "/admin") -> str:
        """The address that the provider sends the browser back to."""
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(await self.out(visit, wanted))
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def come(self, visit: Visit, wanted: str = "/admin") -> httpx.Response:
        """The whole way."""
        return await visit.browser.get(await self.back(visit, wanted))

    @asynccontextmanager
    async def signed_in(self) -> AsyncIterator[Visit]:
        async with self.hub.stranger() as visit:
            answer = await self.come(visit)
            assert answer.status_code == 303, answer.text
            await visit.get()
            yield visit


def sign_in_at(provider: IdentityProvider, patience_s: float = 10, **changes: object) -> SignIn:
    client = Client(provider.issuer, CLIENT, Secret(SECRET), f"{HOME}{CALLBACK}")
    given = SignIn(Provider(client, patience_s=patience_s, again_s=0), ROLES, "The Provider", HOME, session.LASTS)
    return replace(given, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with running_provider(f"{HOME}{CALLBACK}") as running:
        yield running


@pytest.fixture
async def stage(house: House, provider: IdentityProvider) -> AsyncIterator[Stage]:
    sign_in = sign_in_at(provider)
    async with open_hub(house, sign_in) as hub:
        yield Stage(provider, sign_in, hub)


@pytest.fixture
async def visit(stage: Stage) -> AsyncIterator[Visit]:
    async with stage.hub.stranger() as stranger:
        yield stranger


def count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("dbs_sign_ins_total", {"how": "oidc", "outcome": outcome}) or 0


async def refused(stage: Stage, visit: Visit, status: int, told: str) -> None:
    """Who comes back now is told this on a page, and is not signed in."""
    is_not_in(await stage.come(visit), status, told)
    assert (await visit.get()).status_code == 303


def is_not_in(answer: httpx.Response, status: int, told: str) -> None:
    assert answer.status_code == status, answer.text
    assert told in answer.text.replace("&#39;", "'"), answer.text
    assert session.COOKIE not in answer.cookies


# -- the way in -------------------------------------------------------------------------------------------------------


async def test_a_person_comes_in_by_the_provider_and_is_led_to_the_page_that_was_asked_for(
    stage: Stage, visit: Visit
) -> None:
    asked = await visit.get("/events")
    page = await visit.browser.get(asked.headers["location"])
    link = re.search(r'href="([^"]+/oidc/start[^"]+)">Sign in with The Provider<', page.text)
    assert link
    assert link[1] == f"{HOME}/admin/oidc/start?next=/admin/events"
    before = count("ok")
    answer = await stage.come(visit, "/admin/events")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/events")
    assert "oidc:anna/24400320" in await visit.shows("/events")
    assert count("ok") == before + 1


async def test_an_elliptic_key_and_a_secret_in_the_form_do_as_well(stage: Stage, visit: Visit) -> None:
    stage.provider.turn(ec_key("elliptic"))
    stage.provider.says = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await stage.come(visit)).status_code == 303
    assert (await visit.get()).status_code == 200


async def test_the_cookies_are_kept_from_scripts_and_other_sites_and_tell_nothing(stage: Stage, visit: Visit) -> None:
    started = await visit.get("/oidc/start")
    flow = started.headers["set-cookie"]
    for said in ("HttpOnly", "SameSite=lax", "Path=/admin/oidc", "Max-Age=600"):
        assert said in flow
    asked = parse_qs(urlsplit(started.headers["location"]).query)
    assert not [value for name in ("state", "nonce") for value in asked[name] if value in flow]
    answer = await stage.come(visit)
    kept = answer.headers.get_list("set-cookie")
    for said in ("HttpOnly", "SameSite=lax", "Path=/admin", f"Max-Age={int(session.LASTS.total_seconds())}"):
        assert said in kept[0]
    assert f'{FLOW}=""' in kept[1], "the way is over"
    assert "anna" not in base64.urlsafe_b64decode(answer.cookies[session.COOKIE]).decode(errors="replace")


async def test_where_the_hub_is_found_by_https_its_cookies_go_nowhere_else(
    house: House, provider: IdentityProvider
) -> None:
    async with open_hub(house, sign_in_at(provider, home="https://hub.example.com")) as hub, hub.stranger() as visit:
        assert "Secure" in (await visit.get("/oidc/start")).headers["set-cookie"]


async def test_all_changes_are_signed_with_who_the_person_is(stage: Stage, house: House) -> None:
    pool = await house.pool()
    async with stage.signed_in() as visit:
        await visit.get(f"/pools/{pool.id}")
        assert (await visit.post(f"/pools/{pool.id}/cordon")).status_code == 303
    assert (await house.server(pool.id)).cordoned
    assert await house.value("SELECT actor FROM events WHERE action = 'server.cordoned'") == "oidc:anna/24400320"


async def test_a_form_of_another_session_changes_nothing(stage: Stage, house: House) -> None:
    async with stage.signed_in() as visit, stage.signed_in() as other:
        for csrf in ("", "guess", other.csrf):
            assert (await visit.post("/pools", csrf=csrf)).status_code == 403
    assert await house.value("SELECT count(*) FROM servers") == 0


# -- roles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "verbs", "secrets"),
    [
        (["support"], False, False),
        ("support", False, False),
        (["x", "dba"], True, False),
        (["support", "vault"], False, True),
        (["dba", "vault"], True, True),
    ],
)
async def test_the_claim_says_what_is_shown_and_offered(
    stage: Stage, house: House, groups: object, verbs: bool, secrets: bool
) -> None:
    pool = await house.pool()
    stage.provider.person["groups"] = groups
    async with stage.signed_in() as visit:
        page = await visit.get(f"/pools/{pool.id}")
        assert (f"/pools/{pool.id}/cordon" in page.text) == verbs
        answer = await visit.post(f"/pools/{pool.id}/cordon")
        assert answer.status_code == (303 if verbs else 403)
        assert verbs or "This sign-in lacks the scope" in answer.text
        opened = session.opened(visit.browser.cookies[session.COOKIE], house.deps.secrets, house.clock())
        assert opened
        caller = stage.sign_in.caller(opened.holder, opened.until)  # type: ignore[arg-type]
        assert caller
        assert ("databases:secrets" in caller.scopes) == secrets


@pytest.mark.parametrize(
    "groups", [None, [], ["vault"], ["nobody-knows"], "", {"dba": True}, 7, [["dba"]], "dba,support"]
)
async def test_a_person_without_a_role_is_told_which_claim_was_looked_at_and_not_what_is_in_it(
    stage: Stage, visit: Visit, groups: object
) -> None:
    before = count("no_role")
    stage.provider.person["groups"] = groups
    answer = await stage.come(visit)
    is_not_in(answer, 403, "the claim 'groups'")
    for value in ("dba", "support", "nobody-knows"):
        assert value not in answer.text
    assert count("no_role") == before + 1


async def test_a_person_in_a_thousand_groups_has_a_session_that_a_browser_keeps(stage: Stage, visit: Visit) -> None:
    stage.provider.person["groups"] = [*(f"group-{number:04}" for number in range(1000)), "dba"]
    answer = await stage.come(visit)
    assert len(answer.headers["set-cookie"]) < 1000
    assert (await visit.get()).status_code == 200


async def test_a_role_that_is_taken_away_here_is_gone_with_the_next_page(
    stage: Stage, house: House, provider: IdentityProvider
) -> None:
    async with stage.signed_in() as visit:
        for now in (
            None,
            replace(stage.sign_in, roles=replace(ROLES, operators=frozenset())),
            sign_in_at(replace(provider, issuer="https://elsewhere.example.com")),
        ):
            stage.hub.web.app.state.hub_sign_in = now
            assert (await visit.get()).status_code == 303
        stage.hub.web.app.state.hub_sign_in = stage.sign_in
        assert (await visit.get()).status_code == 200


async def test_a_person_makes_no_token_that_outlives_the_sign_in(stage: Stage, house: House) -> None:
    async with stage.signed_in() as visit:
        page = await visit.get("/tokens")
        assert 'action="/admin/tokens"' not in page.text
        for days in ("", "1"):
            answer = await visit.post("/tokens", {"name": "mine", "days": days, "admin:read": "on"})
            assert (answer.status_code, "expires_at" in answer.text) == (422, True)
    assert await house.value("SELECT count(*) FROM tokens WHERE name = 'mine'") == 0


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "anna", "email": "a@example.com"}, "oidc:anna/24400320"),
        ({"preferred_username": None, "email": "a@example.com"}, "oidc:a@example.com/24400320"),
        ({"preferred_username": "bert/1"}, "oidc:/24400320"),
        ({"preferred_username": "x" * 65}, "oidc:/24400320"),
        ({"preferred_username": "\u202eanna"}, "oidc:/24400320"),
        ({"preferred_username": "a\nb", "sub": "auth0|a/b"}, "oidc:/auth0|a/b"),
    ],
)
async def test_nobody_chooses_a_name_that_reads_like_anothers(
    stage: Stage, visit: Visit, claims: Claims, name: str
) -> None:
    stage.provider.person |= claims
    await stage.come(visit)
    page = await visit.get("/events")
    assert f'<span class="who">{name}</span>' in page.text


async def test_two_people_of_one_name_are_two(stage: Stage, house: House) -> None:
    """Each with a rate of their own, and told apart in the request log."""
    async with stage.signed_in() as visit:
        stage.provider.person["sub"] = "another"
        async with stage.signed_in() as other:
            assert (await visit.get("/nowhere/at/all")).status_code == 404
            await visit.get(f"/pools/{'0' * 8}-0000-0000-0000-{'0' * 12}")
            await other.get(f"/pools/{'0' * 8}-0000-0000-0000-{'0' * 12}")
    await stage.hub.logged()
    names = await house.value(
        "SELECT array_agg(token_name ORDER BY token_name) FROM requests WHERE token_id IS NOT NULL AND status = 404"
    )
    assert names == ["oidc:anna/24400320", "oidc:anna/another"]
    assert (
        await house.value("SELECT count(DISTINCT token_id) FROM requests WHERE status = 404 AND token_id IS NOT NULL")
        == 2
    )


async def test_who_asks_too_often_is_told_so(stage: Stage) -> None:
    async with stage.signed_in() as visit:
        stage.hub.web.app.state.rate = Rate("token", Pace(0.001, 2))
        assert [(await visit.get()).status_code for _ in range(3)] == [200, 200, 429]
        stage.provider.person["sub"] = "another"
        async with stage.hub.stranger() as other:
            assert (await stage.come(other)).status_code == 303


# -- how long ---------------------------------------------------------------------------------------------------------


async def test_a_session_lasts_as_long_as_is_set_and_no_longer(stage: Stage, house: House) -> None:
    short = replace(stage.sign_in, lasts=timedelta(minutes=30))
    stage.hub.web.app.state.hub_sign_in = short
    async with stage.signed_in() as visit:
        house.clock.forward(timedelta(minutes=29))
        assert (await visit.get()).status_code == 200
        house.clock.forward(timedelta(minutes=2))
        assert (await visit.get()).status_code == 303


async def test_signing_out_ends_it(stage: Stage) -> None:
    async with stage.signed_in() as visit:
        assert (await visit.post("/sign-out")).headers["location"] == "/admin/sign-in"
        assert (await visit.get()).status_code == 303


async def test_the_ring_turns_under_a_persons_session_and_under_a_way_to_the_provider(
    stage: Stage, visit: Visit, house: House
) -> None:
    from database_service.secretbox import SecretBox

    old = house.deps.secrets.keys
    address = await stage.back(visit)
    async with stage.signed_in() as other:
        stage.hub.web.app.state.deps = replace(house.deps, secrets=SecretBox({"new": b"n" * 32, **old}))
        assert (await other.get()).status_code == 200
        assert (await visit.browser.get(address)).status_code == 303
        assert (await visit.get()).status_code == 200
        stage.hub.web.app.state.deps = replace(house.deps, secrets=SecretBox({"new": b"n" * 32}))
        assert (await other.get()).status_code == 303


# -- who comes back otherwise than they went --------------------------------------------------------------------------


async def test_an_answer_that_this_browser_did_not_ask_for_lets_nobody_in(stage: Stage, visit: Visit) -> None:
    async with stage.hub.stranger() as other:
        address = await stage.back(other)
        is_not_in(await visit.browser.get(address), 400, "not begun in this browser")
        await stage.out(visit)
        is_not_in(await visit.browser.get(address), 400, "not begun in this browser")
    assert stage.provider.asked["/token"] == 0


async def test_an_answer_to_something_else_does_not_end_the_way_that_this_browser_is_on(
    stage: Stage, visit: Visit
) -> None:
    address = await stage.back(visit)
    is_not_in(await visit.get("/oidc/callback?state=x&code=x"), 400, "begin it again")
    assert (await visit.browser.get(address)).status_code == 303


@pytest.mark.parametrize("query", ["", "?state=&code=x", "?state=x&code=x", "?error=access_denied", "?state=\u2603"])
async def test_an_answer_without_the_state_is_none(stage: Stage, visit: Visit, query: str) -> None:
    await stage.out(visit)
    is_not_in(await visit.get(f"/oidc/callback{query}"), 400, "begin it again")
    assert stage.provider.asked["/token"] == 0


async def test_an_answer_that_is_shown_again_lets_nobody_in(stage: Stage, visit: Visit) -> None:
    address = await stage.back(visit)
    flow = visit.browser.cookies[FLOW]
    assert (await visit.browser.get(address)).status_code == 303
    visit.browser.cookies.clear()
    is_not_in(await visit.browser.get(address), 400, "begin it again")
    visit.browser.cookies.set(FLOW, flow, domain="test", path="/admin/oidc")  # a thief of all there was
    is_not_in(await visit.browser.get(address), 400, "is over already")


async def test_a_way_that_took_too_long_is_begun_again(stage: Stage, visit: Visit, house: House) -> None:
    address = await stage.back(visit)
    house.clock.forward(timedelta(minutes=10, seconds=1))
    is_not_in(await visit.browser.get(address), 400, "more than 10 minutes ago")


async def test_one_cookie_does_not_pass_for_another(stage: Stage, visit: Visit) -> None:
    await stage.out(visit)
    flow = visit.browser.cookies[FLOW]
    assert (await visit.get(headers={"Cookie": f"{session.COOKIE}={flow}"})).status_code == 303
    await stage.come(visit)
    kept = visit.browser.cookies[session.COOKIE]
    is_not_in(
        await visit.get("/oidc/callback?state=x&code=x", headers={"Cookie": f"{FLOW}={kept}"}), 400, "begin it again"
    )


@pytest.mark.parametrize(
    "wanted",
    ["https://elsewhere.example/admin", "//elsewhere.example", "/admin\\@elsewhere.example", "/adminelsewhere", ""],
)
async def test_nobody_is_led_anywhere_else(stage: Stage, visit: Visit, wanted: str) -> None:
    answer = await stage.come(visit, wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_begins_nothing(stage: Stage, visit: Visit, site: str) -> None:
    answer = await visit.get("/oidc/start?next=/admin/events", headers={"Sec-Fetch-Site": site})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/sign-in?next=/admin/events")
    assert FLOW not in answer.cookies


@pytest.mark.parametrize(
    ("error", "told"),
    [("access_denied", "did not let you in"), ("invalid_scope", "invalid_scope"), ("<b>Call 555", "without a reason")],
)
async def test_a_refusal_of_the_provider_is_told(stage: Stage, visit: Visit, error: str, told: str) -> None:
    stage.provider.refuses = error
    answer = await stage.come(visit)
    is_not_in(answer, 403, told)
    assert "555" not in answer.text


async def test_an_answer_of_another_provider_is_not_taken(stage: Stage, visit: Visit) -> None:
    address = (await stage.back(visit)).partition("&iss=")[0]
    is_not_in(
        await visit.browser.get(f"{address}&iss=https%3A%2F%2Felsewhere.example"), 502, "another identity provider"
    )
    assert stage.provider.asked["/token"] == 0


# -- id tokens that are not to be believed ----------------------------------------------------------------------------


def without(left_out: str) -> Callable[[Claims], Claims]:
    return lambda claims: {name: claims[name] for name in claims if name != left_out}


BENT: dict[str, tuple[Callable[[Claims], Claims], str]] = {
    "nonce": (lambda claims: claims | {"nonce": "of another sign-in"}, "'nonce'"),
    "no nonce": (without("nonce"), "'nonce'"),
    "audience": (lambda claims: claims | {"aud": "another"}, "'aud'"),
    "no audience": (without("aud"), "'aud'"),
    "an empty audience": (lambda claims: claims | {"aud": []}, "'aud'"),
    "no issuer": (without("iss"), "'iss'"),
    "issuer": (lambda claims: claims | {"iss": claims["iss"] + "/"}, "'iss'"),
    "expired": (lambda claims: claims | {"exp": claims["iat"] - 61}, "compare the clocks"),
    "no expiry": (without("exp"), "'exp'"),
    "endless": (lambda claims: claims | {"exp": None}, "'exp'"),
    "no time": (without("iat"), "'iat'"),
    "future": (lambda claims: claims | {"iat": claims["iat"] + 70}, "compare the clocks"),
    "not yet": (lambda claims: claims | {"nbf": claims["iat"] + 70}, "compare the clocks"),
    "azp": (lambda claims: claims | {"azp": "another"}, "'azp'"),
    "several": (lambda claims: claims | {"aud": [CLIENT, "another"]}, "'azp'"),
    "nobody": (lambda claims: claims | {"sub": ""}, "'sub'"),
    "no subject": (without("sub"), "'sub'"),
    "subject of lines": (lambda claims: claims | {"sub": "a\nb"}, "'sub'"),
}


@pytest.mark.parametrize("how", BENT)
async def test_an_id_token_that_says_something_else_lets_nobody_in(stage: Stage, visit: Visit, how: str) -> None:
    before = count("provider_mistrusted")
    stage.provider.bends, told = BENT[how]
    await refused(stage, visit, 502, told)
    assert count("provider_mistrusted") == before + 1


@pytest.mark.parametrize(
    "bend",
    [
        lambda claims: claims | {"aud": [CLIENT, "another"], "azp": CLIENT},
        lambda claims: claims | {"exp": claims["iat"] - 50},
        lambda claims: claims | {"iat": claims["iat"] + 50, "nbf": claims["iat"] + 50},
    ],
)
async def test_what_is_for_others_too_or_a_little_off_in_time_is_good(
    stage: Stage, visit: Visit, bend: Callable[[Claims], Claims]
) -> None:
    stage.provider.bends = bend
    assert (await stage.come(visit)).status_code == 303


def segment(told: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()


def unsigned(provider: IdentityProvider) -> Callable[[Claims], str]:
    return lambda claims: f"{segment({'alg': 'none', 'kid': provider.key.kid})}.{segment(claims)}."


def signed_with_the_public_key(provider: IdentityProvider) -> Callable[[Claims], str]:
    """As a shared secret: everybody has it."""
    public = OctKey.import_key(provider.key.as_pem(private=False).replace(b"-----", b"     "))
    header = {"alg": "HS256", "kid": provider.key.kid}
    return lambda claims: jwt.encode(header, claims, public)


def signed_with_the_client_secret(provider: IdentityProvider) -> Callable[[Claims], str]:
    header = {"alg": "HS256", "kid": provider.key.kid}
    return lambda claims: jwt.encode(header, claims, OctKey.import_key(SECRET))


def signed_by_a_stranger(provider: IdentityProvider) -> Callable[[Claims], str]:
    stranger = rsa_key(str(provider.key.kid))
    return lambda claims: jwt.encode({"alg": "RS256", "kid": provider.key.kid}, claims, stranger)


def with_a_key_of_its_own(provider: IdentityProvider) -> Callable[[Claims], str]:
    stranger = rsa_key("mine")
    header = {"alg": "RS256", "kid": "mine", "jwk": stranger.as_dict(private=False)}
    return lambda claims: jwt.encode(header, claims, stranger)


def changed_afterwards(provider: IdentityProvider) -> Callable[[Claims], str]:
    def changed(claims: Claims) -> str:
        header, _, signature = provider.signed(claims).split(".")
        return f"{header}.{segment(claims | {'sub': 'somebody-else'})}.{signature}"

    return changed


def nonsense(text: str) -> Callable[[IdentityProvider], Callable[[Claims], str]]:
    return lambda _: lambda __: text


@pytest.mark.parametrize(
    "how",
    [
        unsigned,
        signed_with_the_public_key,
        signed_with_the_client_secret,
        signed_by_a_stranger,
        with_a_key_of_its_own,
        changed_afterwards,
        *(
            nonsense(text)
            for text in ("", "a.b.c", "....", "\u2603", f"{segment([])}.{segment([])}.x", f"{segment(7)}.x.x")
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*oct key:UserWarning")
async def test_an_id_token_that_the_provider_did_not_sign_lets_nobody_in(
    stage: Stage, visit: Visit, how: Callable[[IdentityProvider], Callable[[Claims], str]]
) -> None:
    stage.provider.signs = how(stage.provider)
    await refused(stage, visit, 502, "The identity provider's id token")


async def test_a_key_for_something_else_signs_nothing(stage: Stage, visit: Visit) -> None:
    for wrong in ({"use": "enc"}, {"alg": "RS512"}):
        key = rsa_key("other")
        stage.provider.turn(key)
        stage.provider.answers["/keys"] = JSONResponse(
            {"keys": [key.as_dict(private=False) | wrong, rsa_key("x").as_dict()]}
        )
        await refused(stage, visit, 502, "identity provider's id token")


# -- keys that turn ---------------------------------------------------------------------------------------------------


async def test_keys_that_turned_are_picked_up_and_others_are_not_asked_for_again(stage: Stage) -> None:
    for _ in range(3):
        async with stage.signed_in():
            pass
    assert (stage.provider.asked["/keys"], stage.provider.asked["/.well-known/openid-configuration"]) == (1, 1)
    stage.provider.turn(rsa_key("second"))
    async with stage.signed_in():
        pass
    assert stage.provider.asked["/keys"] == 2


async def test_a_key_that_nobody_knows_is_not_looked_for_time_and_again(
    house: House, provider: IdentityProvider
) -> None:
    given = sign_in_at(provider)
    patient = replace(given, provider=Provider(given.provider.client, again_s=3600))
    async with open_hub(house, patient) as hub:
        stage = Stage(provider, patient, hub)
        async with stage.signed_in():
            pass
        provider.key = rsa_key("hidden")
        for _ in range(3):
            async with hub.stranger() as visit:
                await refused(stage, visit, 502, "with a key that it does not show")
        assert provider.asked["/keys"] == 1


async def test_a_withdrawn_key_is_believed_no_longer_than_the_set_is_kept(
    house: House, provider: IdentityProvider
) -> None:
    given = sign_in_at(provider)
    forgetful = replace(given, provider=Provider(given.provider.client, kept_s=0))
    async with open_hub(house, forgetful) as hub, hub.stranger() as visit:
        stage = Stage(provider, forgetful, hub)
        async with stage.signed_in():
            pass
        provider.shows = [rsa_key("second")]
        await refused(stage, visit, 502, "with a key that it does not show")


# -- a provider that does not answer, or not as it should --------------------------------------------------------------

DISCOVERY = "/.well-known/openid-configuration"


async def test_a_provider_that_is_down_is_told_and_tokens_still_let_in(
    house: House, provider: IdentityProvider
) -> None:
    nowhere = replace(provider, issuer="http://127.0.0.1:1")
    before = count("provider_unavailable")
    async with open_hub(house, sign_in_at(nowhere)) as hub, hub.stranger() as visit:
        is_not_in(await visit.get("/oidc/start"), 503, "cannot be reached")
        assert count("provider_unavailable") == before + 1
        async with hub.visit() as other:
            assert (await other.get()).status_code == 200


@pytest.mark.parametrize(
    ("path", "answer", "status", "told"),
    [
        (DISCOVERY, PlainTextResponse("down", 500), 503, "answered 500"),
        (DISCOVERY, PlainTextResponse("<html>"), 502, "another issuer"),
        (DISCOVERY, JSONResponse([]), 502, "another issuer"),
        (DISCOVERY, RedirectResponse("https://elsewhere.example"), 503, "answered 307"),
        (DISCOVERY, PlainTextResponse("x" * 300_000), 502, "more than"),
        (DISCOVERY, PlainTextResponse("[" * 100_000), 502, "another issuer"),
    ],
)
async def test_what_is_no_discovery_document_leads_nowhere(
    stage: Stage, visit: Visit, path: str, answer: PlainTextResponse, status: int, told: str
) -> None:
    stage.provider.answers[path] = answer
    is_not_in(await visit.get("/oidc/start"), status, told)
    stage.provider.answers.clear()
    assert (await stage.come(visit)).status_code == 303, "and is looked at again"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url", ["http://elsewhere.example/x", "https://127.0.0.1/x", "javascript:alert(1)", "//x", 7, None, "http://[x"]
)
async def test_a_discovery_document_leads_to_private_places_alone(
    stage: Stage, visit: Visit, name: str, url: object
) -> None:
    stage.provider.says = {name: url}
    is_not_in(await visit.get("/oidc/start"), 502, name)


@pytest.mark.parametrize(
    ("path", "answer", "status", "told"),
    [
        ("/token", PlainTextResponse("down", 500), 503, "answered 500"),
        ("/token", JSONResponse({"error": "invalid_client"}, 401), 502, "OIDC_CLIENT_ID"),
        ("/token", JSONResponse({"error": "invalid_grant"}, 400), 400, "begin it again"),
        ("/token", JSONResponse({"access_token": "x"}), 502, "without one"),
        ("/token", PlainTextResponse("what?"), 502, "without one"),
        ("/token", RedirectResponse("http://127.0.0.1:1/"), 502, "answered 307"),
        ("/keys", PlainTextResponse("down", 500), 503, "answered 500"),
        ("/keys", JSONResponse({"keys": []}), 502, "has no key"),
        ("/keys", JSONResponse({"keys": [{"kty": "oct", "k": "AAAA", "kid": "first"}, 7, {}]}), 502, "has no key"),
        ("/keys", JSONResponse(7), 502, "has no key"),
    ],
)
async def test_a_provider_that_fails_at_the_exchange_lets_nobody_in(
    stage: Stage, visit: Visit, path: str, answer: PlainTextResponse, status: int, told: str
) -> None:
    stage.provider.answers[path] = answer
    await refused(stage, visit, status, told)


async def test_a_provider_that_was_away_for_a_moment_is_asked_again_by_loading_the_page_again(
    stage: Stage, visit: Visit
) -> None:
    address = await stage.back(visit)
    stage.provider.answers["/token"] = PlainTextResponse("down", 503)
    is_not_in(await visit.browser.get(address), 503, "answered 503")
    stage.provider.answers.clear()
    assert (await visit.browser.get(address)).status_code == 303


async def test_a_provider_that_is_slow_holds_nobody_up(house: House, provider: IdentityProvider) -> None:
    """More people than the API works on at once wait for it, and everybody else is served."""
    async with open_hub(house, sign_in_at(provider, patience_s=60)) as hub, hub.visit() as other:
        provider.open.clear()
        gate = hub.web.app.state.gate

        async def waits() -> int:
            async with hub.stranger() as visit:
                return (await visit.get("/oidc/start")).status_code

        waiting = [asyncio.create_task(waits()) for _ in range(40)]
        async with asyncio.timeout(30):
            while gate.inside or gate.aside(Why.PROVIDER) < BOUNDS.at_provider:  # noqa: ASYNC110  the gate tells nobody
                await asyncio.sleep(0.01)
        assert (await other.get()).status_code == 200
        assert (await hub.web.client.get("/admin/stats")).status_code == 200
        assert gate.aside(Why.PROVIDER) == BOUNDS.at_provider, "they waited all the while"
        provider.open.set()
        assert sorted([await each for each in waiting]) == [303] * BOUNDS.at_provider + [503] * (
            40 - BOUNDS.at_provider
        )
        assert provider.asked[DISCOVERY] == 1, "one asks for all"


async def test_a_provider_that_never_answers_is_given_up(house: House, provider: IdentityProvider) -> None:
    provider.open.clear()
    async with open_hub(house, sign_in_at(provider, patience_s=0.5)) as hub, hub.stranger() as visit:
        is_not_in(await visit.get("/oidc/start"), 503, "no whole answer within 0.5 s")


async def test_a_provider_that_dribbles_is_given_up_too(house: House, provider: IdentityProvider) -> None:
    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    provider.answers["/token"] = StreamingResponse(forever())
    given = sign_in_at(provider, patience_s=0.5)
    async with open_hub(house, given) as hub, hub.stranger() as visit:
        await refused(Stage(provider, given, hub), visit, 503, "no whole answer within 0.5 s")


async def test_who_comes_back_as_nobody_too_often_is_held_off(stage: Stage, visit: Visit) -> None:
    slow = replace(stage.sign_in, strangers=Rate("address", Pace(0.001, 2)))
    stage.hub.web.app.state.hub_sign_in = slow
    for _ in range(3):
        assert (await stage.come(visit)).status_code == 303, "who is somebody is not counted"
    stage.provider.bends = BENT["nonce"][0]
    assert [(await stage.come(visit)).status_code for _ in range(3)] == [502, 502, 429]
    assert stage.provider.asked["/token"] == 5


# -- what is told of it -----------------------------------------------------------------------------------------------


async def test_neither_log_nor_request_log_tells_a_code_a_state_or_a_token(
    stage: Stage, visit: Visit, house: House, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for name in ("httpx", "httpcore", "uvicorn.access"):  # as in the service; here browser and provider log, too
        caplog.set_level("WARNING", logger=name)
    assert (await stage.come(visit)).status_code == 303
    stage.provider.bends = BENT["nonce"][0]
    address = await stage.back(visit)
    await visit.browser.get(address)
    stage.provider.answers["/token"] = PlainTextResponse("down", 500)
    await stage.come(visit)
    await stage.hub.logged()
    rows = await house.value("SELECT string_agg(to_jsonb(r)::text, ' ') FROM requests r")
    assert "/admin/oidc/callback" in rows
    told = "".join((rows, *capsys.readouterr(), caplog.text))
    assert "/admin/oidc/callback" in told
    states = parse_qs(urlsplit(address).query)["state"]
    assert len(stage.provider.sent) >= 4
    for secret in (*stage.provider.sent, *states, SECRET):
        assert secret not in told
    assert "state=" not in told
    assert "code=" not in told
