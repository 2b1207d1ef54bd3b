"""Every query constant is prepared against the migrated schema, so that a wrong column fails at once."""

import importlib
import pkgutil

import asyncpg
import pytest

import database_service.store
import database_service.views

SQL_WORDS = ("select", "insert", "update", "delete", "with")


def _constants() -> dict[str, str]:
    found = {}
    for room in (database_service.store, database_service.views):
        for info in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            if info.ispkg:
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                texts = value if isinstance(value, dict) else {"": value}
                for key, text in texts.items():
                    if name.isupper() and isinstance(text, str) and text.strip().lower().startswith(SQL_WORDS):
                        found[f"{info.name.removeprefix('database_service.')}.{name}{key}"] = text
    return found


CONSTANTS = _constants()


def test_there_are_queries_to_prepare() -> None:
    assert len(CONSTANTS) > 40


@pytest.fixture(scope="module")
def schema(cluster, control_template):  # type: ignore[no-untyped-def]
    from support.cluster import fresh_database

    with fresh_database(cluster, control_template) as name:
        yield cluster.dsn(name)


@pytest.mark.parametrize("name", sorted(CONSTANTS))
async def test_the_query_fits_the_schema(name: str, schema: str) -> None:
    conn = await asyncpg.connect(schema)
    try:
        await conn.prepare(CONSTANTS[name])
    finally:
        await conn.close()
