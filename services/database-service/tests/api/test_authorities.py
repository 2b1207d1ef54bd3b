"""Authorities over HTTP: what clients trust, how another one takes over, and what credentials say of it."""

from datetime import timedelta

from database_service.reconcilers import certifying
from support.web import Web


async def with_tls(web: Web) -> None:
    """The rows of a server that speaks TLS."""
    house = web.house
    server = await house.pool()
    async with house.deps.db.transaction() as conn:
        await certifying.equip(conn, house.deps, server)


async def test_whom_to_trust_is_told_to_everybody_once_there_is_anybody(web: Web) -> None:
    nobody = await web.client.get("/ca.pem")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "no_authority")
    refused = await web.client.post("/admin/authorities/rotate")
    assert (refused.status_code, refused.json()["code"]) == (404, "no_authority")
    await with_tls(web)
    told = await web.client.get("/ca.pem", headers={"Authorization": ""})
    assert (told.status_code, told.headers["content-type"]) == (200, "application/x-pem-file")
    [only] = (await web.client.get("/admin/authorities")).json()["authorities"]
    assert told.text == only["certificate"]
    assert (only["generation"], only["issues"], only["servers"]) == (1, True, 1)


async def test_credentials_say_verify_full_and_who_vouches_only_where_the_server_speaks_tls(web: Web) -> None:
    pool = await web.house.pool()
    plain = (await web.allocate("plain")).json()
    assert (plain["ssl_mode"], plain["ssl_root_cert"]) == ("prefer", None)
    assert "sslmode" not in (await web.client.get("/databases/plain/credentials?format=uri")).text
    async with web.house.deps.db.transaction() as conn:
        await certifying.equip(conn, web.house.deps, pool)
    found = (await web.client.get("/databases/plain/credentials")).json()
    assert (found["ssl_mode"], found["ssl_root_cert"]) == ("verify-full", (await web.client.get("/ca.pem")).text)
    assert (await web.client.get("/databases/plain")).json()["ssl_root_cert"] == found["ssl_root_cert"]
    for form in ("uri", "jdbc"):
        assert "sslmode=verify-full" in (await web.client.get(f"/databases/plain/credentials?format={form}")).text
    assert "PGSSLMODE=verify-full\n" in (await web.client.get("/databases/plain/credentials?format=env")).text


async def test_another_authority_is_trusted_before_it_vouches_and_no_third_comes_meanwhile(web: Web) -> None:
    await with_tls(web)
    for _ in range(2):
        told = await web.client.post("/admin/authorities/rotate", json={"overlap_seconds": 60})
        assert told.status_code == 202
        assert [one["issues"] for one in told.json()["authorities"]] == [True, False]
    assert (await web.client.get("/ca.pem")).text.count("BEGIN CERTIFICATE") == 2
    web.house.clock.forward(timedelta(seconds=61))
    after = (await web.client.get("/admin/authorities")).json()["authorities"]
    assert [one["issues"] for one in after] == [False, True]
