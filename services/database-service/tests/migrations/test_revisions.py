"""The schema is what its revisions say: forward, back, at once, and as one script for psql."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from database_service.cli import schema
from database_service.domain.errors import ControlDatabaseUnavailable, InvalidField, SchemaInUse
from database_service.provisioners.runtime import PostgresRuntime
from database_service.store.migrate import migrate, newest, revisions
from support.cluster import Cluster, fresh_database
from support.passfile import with_password

ROOT = Path(__file__).parents[4]
SHARED = ROOT / "shared" / "configs" / "postgres"


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        yield cluster.dsn(name)


@pytest.fixture
def another(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        yield cluster.dsn(name)


def catalog(runtime: PostgresRuntime, dsn: str) -> str:
    """Everything in the database as pg_dump tells it, rows of alembic_version included."""
    return run(runtime, "pg_dump", dsn, "--inserts", "--restrict-key=same")


def psql(runtime: PostgresRuntime, dsn: str, script: Path) -> None:
    run(runtime, "psql", dsn, "-qX", "-v", "ON_ERROR_STOP=1", "-f", str(script))


def run(runtime: PostgresRuntime, program: str, dsn: str, *arguments: str) -> str:
    """What one of PostgreSQL's programs prints about this database."""
    to = urlsplit(dsn)
    where = ["-h", str(to.hostname), "-p", str(to.port), "-U", str(to.username), "-d", to.path.removeprefix("/")]
    with with_password(unquote(str(to.password))) as environment:
        command = [runtime.bin_dir / program, *where, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def alembic(dsn: str, secret: Path, *arguments: str) -> None:
    """The `alembic` command, with the DSN in a file as `DATABASE_URL_FILE` has it."""
    secret.write_text(dsn)
    command = [sys.executable, "-m", "alembic", "-c", ROOT / "services" / "database-service" / "alembic.ini"]
    subprocess.run([*command, *arguments], env={"DATABASE_URL_FILE": str(secret)}, check=True, capture_output=True)


async def test_the_script_and_the_revisions_make_the_same_database(
    runtime: PostgresRuntime, empty: str, another: str
) -> None:
    await migrate(empty)
    psql(runtime, another, SHARED / f"{schema.NAME}.sql")
    assert catalog(runtime, empty) == catalog(runtime, another)


async def test_a_database_made_from_the_script_is_not_migrated_again(runtime: PostgresRuntime, empty: str) -> None:
    psql(runtime, empty, SHARED / f"{schema.NAME}.sql")
    assert await migrate(empty) == (newest(), newest())


async def test_the_rollback_script_leaves_nothing(runtime: PostgresRuntime, empty: str) -> None:
    untouched = catalog(runtime, empty)
    psql(runtime, empty, SHARED / f"{schema.NAME}.sql")
    psql(runtime, empty, SHARED / f"{schema.NAME}-rollback.sql")
    assert catalog(runtime, empty) == untouched


async def test_down_and_up_again_is_the_same(runtime: PostgresRuntime, empty: str) -> None:
    await migrate(empty)
    before = catalog(runtime, empty)
    assert await migrate(empty, "base") == (newest(), "base")
    assert "servers" not in catalog(runtime, empty)
    assert await migrate(empty) == ("base", newest())
    assert catalog(runtime, empty) == before


async def test_two_who_migrate_at_once_both_succeed_and_one_does_the_work(empty: str) -> None:
    done = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(before for before, _ in done) == sorted([newest()] * 3 + ["base"])


async def test_whoever_migrates_waits_for_the_one_who_is_at_it(cluster: Cluster, empty: str) -> None:
    holder = await asyncpg.connect(empty)
    async with holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock(7233470805205149554)")
        late = asyncio.create_task(migrate(empty))
        await until_waiting(holder)
        assert not late.done()
    assert await late == ("base", newest())
    await holder.close()


async def until_waiting(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with asyncio.timeout(20):
        while not await conn.fetchval(  # noqa: ASYNC110  PostgreSQL does not announce who waits
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            await asyncio.sleep(0.01)


async def test_a_table_that_somebody_holds_is_not_waited_for_while_everybody_else_would_queue(empty: str) -> None:
    await migrate(empty, "0001")
    dump = await asyncpg.connect(empty)
    async with dump.transaction():
        await dump.execute("LOCK TABLE servers IN ACCESS SHARE MODE")
        with pytest.raises(SchemaInUse):
            await migrate(empty)
        assert (await revisions(empty))[0] == "0001"
    await dump.close()
    assert (await migrate(empty))[1] == newest()


async def test_a_failing_revision_leaves_the_database_as_it_was(runtime: PostgresRuntime, empty: str) -> None:
    conn = await asyncpg.connect(empty)
    await conn.execute("CREATE TABLE tokens (stranger int)")
    await conn.close()
    before = catalog(runtime, empty)
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty)
    assert catalog(runtime, empty) == before


async def test_the_revision_is_told_without_changing_anything(runtime: PostgresRuntime, empty: str) -> None:
    untouched = catalog(runtime, empty)
    assert await revisions(empty) == ("base", newest())
    assert catalog(runtime, empty) == untouched


async def test_an_unknown_revision_is_named(empty: str) -> None:
    with pytest.raises(InvalidField, match="no revision '9999'"):
        await migrate(empty, "9999")


async def test_a_database_that_is_away_is_said_to_be_away() -> None:
    with pytest.raises(ControlDatabaseUnavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


async def test_the_alembic_command_goes_the_same_way(
    runtime: PostgresRuntime, empty: str, another: str, tmp_path: Path
) -> None:
    alembic(empty, tmp_path / "database.url", "upgrade", "head")
    await migrate(another)
    assert catalog(runtime, empty) == catalog(runtime, another)


def test_the_scripts_in_the_tree_are_the_newest(tmp_path: Path) -> None:
    schema.write(tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_text() == (SHARED / made.name).read_text(), "run `make schema`"
