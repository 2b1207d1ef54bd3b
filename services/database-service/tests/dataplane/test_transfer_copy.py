"""A copy that is cut off, refused or attacked leaves nothing running, tells nobody's rows, and makes nobody a superuser."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from database_service.dataplane.transfer import moving
from database_service.dataplane.transfer.moving import TenantTransfers
from database_service.domain.errors import NameTaken, TenantServerUnavailable, TransferFailed
from database_service.domain.tenancy import LoginSpec
from database_service.domain.transfers import Passage
from database_service.secretbox import new_password
from dataplane.house import Fuse, Killed, until
from dataplane.move import NOW, Move

EVERY = 8
"""Of so many moments around an effect one is died at: the operation that moves a database is killed at each."""

HOSTILE = """
CREATE TABLE witness (session name, acting name, super boolean);
CREATE FUNCTION grab() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.witness SELECT session_user, current_user, rolsuper FROM pg_roles WHERE rolname = session_user;
    EXECUTE format('ALTER ROLE %I SUPERUSER', session_user);
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    INSERT INTO public.witness SELECT session_user, current_user, rolsuper FROM pg_roles WHERE rolname = session_user;
    RETURN true;
END $$;
CREATE FUNCTION sneak(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM public.grab(); RETURN n;
END $$;
CREATE TABLE guarded (n integer CHECK (public.grab()));
CREATE FUNCTION as_text(guarded) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.grab(); RETURN ''; END $$;
CREATE CAST (guarded AS text) WITH FUNCTION as_text(guarded) AS IMPLICIT;
INSERT INTO guarded VALUES (1), (2);
CREATE INDEX sneaking ON guarded (sneak(n));
TRUNCATE witness;
"""

SPY = """
CREATE TABLE loot (who text, what text);
CREATE TABLE target AS SELECT 1 AS id;
CREATE FUNCTION try(query text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN
    EXECUTE query INTO found; RETURN found;
EXCEPTION WHEN insufficient_privilege THEN RETURN NULL;
END $$;
CREATE FUNCTION spy(i integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.loot VALUES (session_user, 'been here'),
        (session_user, public.try('SELECT string_agg(rolpassword, $s$,$s$) FROM pg_catalog.pg_authid')),
        (session_user, public.try('SELECT string_agg(setconfig::text, $s$,$s$) FROM pg_catalog.pg_db_role_setting')),
        (session_user, public.try('SELECT string_agg(rolconfig::text, $s$,$s$) FROM pg_catalog.pg_roles'));
    RETURN true;
END $$;
ALTER TABLE target ADD CHECK (spy(id));
TRUNCATE loot;
"""

RENAMES_THE_KEY = """
CREATE FUNCTION lock_out(i integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF session_user LIKE 'mover%' THEN EXECUTE format('ALTER ROLE %I PASSWORD %L', session_user, 'known'); END IF;
    RETURN true;
END $$;
CREATE TABLE target AS SELECT 1 AS id;
ALTER TABLE target ADD CHECK (lock_out(id));
"""

SLOW = """
CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() LIKE 'staging%' THEN PERFORM pg_sleep(600); END IF; RETURN true;
END $$;
CREATE TABLE held (n integer CHECK (public.slow()));
INSERT INTO held VALUES (1);
CREATE TABLE in_the_way (n integer) PARTITION BY LIST (n);
"""

INDISCREET = """
CREATE FUNCTION tell(t text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() LIKE 'staging%' THEN RAISE EXCEPTION 'the secret is "%"', t; END IF; RETURN true;
END $$;
CREATE TABLE told (t text CHECK (public.tell(t)));
INSERT INTO told VALUES ('hunter2');
"""


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_tenants_functions_run_as_its_mover_and_never_as_a_superuser(move: Move) -> None:
    tenant = await move.tenant(HOSTILE)
    passage = move.passage(tenant)
    await move.transfers.fence(passage.source, tenant, NOW)
    # With several jobs each table is emptied before it is filled, the one with the witnesses as well.
    async with TenantTransfers(move.transfers._programs.bin_dir, jobs=1) as transfers:
        await transfers.copy(passage, move.folder, move.progress.append)
    async with move.there.superuser(passage.staging) as conn:
        seen = await conn.fetch("SELECT DISTINCT session::text, super FROM witness")
        acting = {row["acting"] for row in await conn.fetch("SELECT DISTINCT acting::text FROM witness")}
    assert [tuple(row) for row in seen] == [(passage.mover.role, False)]
    assert acting == {passage.mover.role, tenant.owner_role}
    assert not await move.there.ask("SELECT rolsuper FROM pg_roles WHERE rolname = $1", passage.mover.role)
    (difference,) = await move.differences(passage)
    assert difference.startswith("The table public.witness has 0 row(s) on the source and ")


async def test_a_tenants_functions_learn_nothing_of_the_server_they_are_moved_to(move: Move) -> None:
    tenant = await move.tenant(SPY)
    passage = move.passage(tenant)
    await move.transfers.fence(passage.source, tenant, NOW)
    async with TenantTransfers(move.transfers._programs.bin_dir, jobs=1) as transfers:
        await transfers.copy(passage, move.folder, move.progress.append)
    async with move.there.superuser(passage.staging) as conn:
        loot = {(row["who"], row["what"]) for row in await conn.fetch("SELECT who, what FROM loot")}
    assert loot == {(passage.mover.role, "been here"), (passage.mover.role, None)}


async def test_a_mover_is_a_member_of_its_tenants_roles_and_of_no_others(move: Move) -> None:
    tenant = await move.tenant("CREATE TABLE t (); REVOKE ALL ON t FROM CURRENT_USER")
    passage = await move.copied(tenant)
    assert await move.differences(passage) == []
    lent = "SELECT array_agg(roleid::regrole::text) FROM pg_auth_members WHERE member = $1::text::regrole"
    roles = {tenant.owner_role, tenant.logins[0].role}
    for house in (move.here, move.there):
        assert {*await house.ask(lent, passage.mover.role)} == roles


async def test_what_a_mover_was_shown_is_hidden_again(move: Move) -> None:
    tenant = await move.tenant("CREATE TABLE t (); REVOKE ALL ON t FROM CURRENT_USER")
    passage = await move.copied(tenant)
    acl = "SELECT relacl::text FROM pg_class WHERE relname = 't'"
    async with move.here.superuser(tenant.name) as conn:
        assert passage.mover.role in await conn.fetchval(acl)
        await move.transfers.dismiss(passage.source, passage.mover.role)
        assert await conn.fetchval(acl) == "{}"


async def test_a_function_that_changes_the_movers_password_fails_its_own_move(move: Move) -> None:
    tenant = await move.tenant(RENAMES_THE_KEY)
    passage = move.passage(tenant)
    await move.transfers.fence(passage.source, tenant, NOW)
    with pytest.raises((TransferFailed, TenantServerUnavailable)):
        await move.transfers.copy(passage, move.folder, move.progress.append)
    for house in (move.here, move.there):
        assert not await house.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", passage.mover.role)
        await move.transfers.dismiss(house.admin, passage.mover.role)
    await move.transfers.discard(passage.target, tenant, [passage.staging])
    await move.there.servers.drop(passage.target, tenant)
    assert await move.there.leftovers(tenant) == 0


async def test_a_full_disk_while_comparing_is_named(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    passage = await move.copied(await move.tenant())

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(moving, "write_passfile", full)
    with pytest.raises(TransferFailed, match="cannot be written here: No space left on device"):
        await move.differences(passage)


async def test_a_mover_sees_only_what_its_tenant_sees_and_is_gone_when_dismissed(move: Move) -> None:
    tenant, other = await move.tenant("CREATE TABLE t ()"), await move.tenant()
    passage = await move.copied(tenant)
    for house in (move.here, move.there):
        assert await house.can_log_in(passage.mover, passage.staging if house is move.there else tenant.name)
        assert not await house.can_log_in(passage.mover, "postgres")
    assert not await move.here.can_log_in(passage.mover, other.name)
    for house in (move.here, move.there, move.there):
        await move.transfers.dismiss(house.admin, passage.mover.role)
        assert not await house.ask("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", passage.mover.role)
    assert await move.differences(passage) == []


async def test_a_mover_that_was_forgotten_is_a_stray_of_ours(move: Move) -> None:
    tenant = await move.tenant()
    passage = await move.copied(tenant)
    found = {role.name: role.oid for role in (await move.there.servers.ours(move.there.admin)).roles}
    await move.there.servers.drop_stray_role(move.there.admin, passage.mover.role, found[passage.mover.role])
    assert passage.mover.role not in {role.name for role in (await move.there.servers.ours(move.there.admin)).roles}


async def test_a_role_that_is_not_a_mover_is_neither_used_nor_dismissed(move: Move) -> None:
    tenant = await move.tenant()
    passage = move.passage(tenant, mover=tenant.logins[0])
    await move.transfers.fence(passage.source, tenant, NOW)
    with pytest.raises(NameTaken):
        await move.transfers.copy(passage, move.folder, move.progress.append)
    with pytest.raises(NameTaken):
        await move.transfers.dismiss(passage.source, tenant.logins[0].role)


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
async def test_a_copy_that_is_cancelled_leaves_nothing_running(move: Move, program: str) -> None:
    tenant = await move.tenant(SLOW)
    passage = move.passage(tenant)
    await move.transfers.fence(passage.source, tenant, NOW)
    house = move.here if program == "pg_dump" else move.there
    async with move.here.superuser(tenant.name) as conn, conn.transaction():
        if program == "pg_dump":
            await conn.execute("LOCK TABLE in_the_way IN ACCESS EXCLUSIVE MODE")
        copying = asyncio.create_task(move.transfers.copy(passage, move.folder, move.progress.append))
        await until(lambda: _waiting(move, passage))
        assert _processes(passage)
        await until(lambda: _fraction(move))
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert _processes(passage) == []
        assert await _sessions(move, passage) == 0
    assert left_in(move.folder) == []
    assert not await house.can_log_in(passage.mover, tenant.name)


async def _waiting(move: Move, passage: Passage) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event IN ('relation', 'PgSleep')"
    return bool([n for house in (move.here, move.there) if (n := await house.ask(query, passage.mover.role))])


async def _fraction(move: Move) -> bool:
    await asyncio.sleep(0)
    return move.progress[-1].fraction is not None


async def _sessions(move: Move, passage: Passage) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
    return sum([int(str(await house.ask(query, passage.mover.role))) for house in (move.here, move.there)])


def _processes(passage: Passage) -> list[str]:
    """Command lines of programs that log in as this mover."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if passage.mover.role in line:
            assert passage.mover.password.reveal() not in line
            found.append(line)
    return found


async def test_what_a_row_says_is_not_in_the_error(move: Move) -> None:
    tenant = await move.tenant(INDISCREET)
    with pytest.raises(TransferFailed, match="pg_restore failed: it gave a reason that may quote rows") as failed:
        await move.copied(tenant)
    assert '(at table "told")' in str(failed.value)
    assert "hunter2" not in str(failed.value)
    assert left_in(move.folder) == []


async def test_what_a_restore_misses_is_named(move: Move) -> None:
    tenant = await move.tenant(
        "CREATE TABLE looked_up (n integer); CREATE FUNCTION known(n integer) RETURNS boolean LANGUAGE sql"
        " AS 'SELECT count(*) >= 0 FROM looked_up'; CREATE TABLE t (n integer CHECK (known(n))); INSERT INTO t VALUES (1)"
    )
    with pytest.raises(TransferFailed, match=r'relation "looked_up" does not exist \(at table "t"\)'):
        await move.copied(tenant)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_is_named(move: Move, small_disk: Path) -> None:
    tenant = await move.tenant(
        "CREATE TABLE big AS SELECT repeat('x', 1000) || n AS t FROM generate_series(1, 5000) AS n"
    )
    move.folder = small_disk
    with pytest.raises(TransferFailed, match="pg_dump failed: No space left on device"):
        await move.copied(tenant)
    assert left_in(small_disk) == []


async def test_programs_that_are_not_there_are_named(move: Move, tmp_path: Path) -> None:
    async with TenantTransfers(tmp_path) as transfers:
        with pytest.raises(TransferFailed, match=f"pg_dump cannot be run in {tmp_path}"):
            await transfers.survey(move.here.admin, await move.tenant(), None)


async def test_an_attempt_that_died_is_swept_up_by_the_next(move: Move) -> None:
    """What a killed worker leaves may write on: into a database that nobody will use."""
    tenant = await move.tenant("CREATE TABLE t AS SELECT 1 AS n")
    dead = await move.copied(tenant)
    async with move.there.session(dead.mover, dead.staging) as orphan:
        following = move.passage(tenant, mover=dead.mover, stale=(dead.staging,))
        await move.transfers.copy(following, move.folder, move.progress.append)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await orphan.execute("INSERT INTO t VALUES (2)")
    assert not await move.there.ask("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", dead.staging)
    assert await move.differences(following) == []


async def test_a_copy_is_not_laid_over_a_database_of_the_same_name(move: Move) -> None:
    tenant = await move.tenant("CREATE TABLE t ()")
    await move.opened(await move.copied(tenant))
    with pytest.raises(NameTaken, match="on the target already"):
        await move.copied(tenant)


async def test_a_move_cut_off_anywhere_is_finished_by_the_next_attempt(move: Move) -> None:
    deaths: list[str] = []
    for n in count(1, EVERY):
        tenant = await move.tenant("CREATE TABLE t AS SELECT 1 AS n; CREATE EXTENSION citext; SELECT lo_create(7)")
        first = move.passage(tenant)
        async with TenantTransfers(move.transfers._programs.bin_dir, jobs=1, on_statement=Fuse(n)) as dying:
            try:
                await _whole(dying, first, move)
            except Killed as death:
                deaths.append(str(death))
            else:
                break
        following = replace(first, staging=f"{first.staging}_again", stale=(first.staging,))
        await _whole(move.transfers, following, move)
        await _as_it_was(move, following)
    sys.stdout.write(f"move: cut off at {len(deaths)} moments\n")
    assert len(deaths) >= 50 // EVERY


async def _whole(transfers: TenantTransfers, passage: Passage, move: Move) -> None:
    await transfers.fence(passage.source, passage.tenant, NOW)
    await transfers.copy(passage, move.folder, move.progress.append)
    assert await transfers.compare(passage) == []
    for admin in (passage.source, passage.target):
        await transfers.dismiss(admin, passage.mover.role)


async def _as_it_was(move: Move, passage: Passage) -> None:
    stranger = LoginSpec(passage.mover.role, new_password())
    for house in (move.here, move.there):
        assert not await house.can_log_in(stranger, "postgres")
        assert not await house.ask("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", stranger.role)
    assert await move.there.ask("SELECT array_agg(datname::text) FROM pg_database WHERE pg_get_userbyid(datdba) = $1",
                                passage.tenant.owner_role) == [passage.staging]  # fmt: skip
    assert left_in(move.folder) == []
