"""Views read, and only read."""

from importlib import import_module
from pathlib import Path

import pytest

from database_service import views
from database_service.domain.errors import ServerNotFound
from database_service.domain.ids import ServerId
from database_service.views import servers
from support.house import House

VIEWS = Path(views.__file__).parent
QUERIES = [
    (module, name, sql)
    for module in map(import_module, sorted(f"{views.__name__}.{path.stem}" for path in VIEWS.glob("[!_]*.py")))
    for name, sql in vars(module).items()
    if name.isupper()
    and isinstance(sql, str)
    and sql.lstrip().startswith(("SELECT", "WITH"))
    and not name.startswith("_")
]


@pytest.mark.parametrize(
    "sql", [sql for _, _, sql in QUERIES], ids=[f"{m.__name__.split('.')[-1]}.{n}" for m, n, _ in QUERIES]
)
async def test_every_query_fits_the_schema(house: House, sql: str) -> None:
    async with house.deps.db.reading() as conn:
        await conn.prepare(sql)


def test_no_view_can_write() -> None:
    for source in VIEWS.glob("*.py"):
        text = source.read_text()
        assert "transaction(" not in text, source.name
        assert "db.connection(" not in text, source.name


@pytest.mark.parametrize("sql", ["DELETE FROM tokens", "WITH gone AS (DELETE FROM tokens RETURNING 1) SELECT 1", ""])
async def test_a_row_is_read_by_a_select_alone(house: House, sql: str) -> None:
    with pytest.raises(ValueError, match="only a SELECT"):
        await house.deps.db.row(sql)
    assert (await house.deps.db.row("SELECT 7"))[0] == 7


async def test_a_gone_server_is_shown_but_not_listed_unless_asked_for(house: House) -> None:
    pool = await house.pool()
    async with house.deps.db.transaction() as conn:
        await conn.execute("UPDATE servers SET status = 'gone' WHERE id = $1", pool.id)
    assert (await servers.one(house.deps, pool.id)).shown is servers.Shown.GONE
    assert (await servers.page(house.deps)).total == 0
    assert (await servers.page(house.deps, status=servers.Shown.GONE)).total == 1


async def test_a_server_that_never_was_is_not_found(house: House) -> None:
    from uuid import uuid4

    with pytest.raises(ServerNotFound):
        await servers.one(house.deps, ServerId(uuid4()))
