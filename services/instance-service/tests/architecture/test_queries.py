"""Every query constant is prepared against the migrated schema, so that a wrong column fails at once."""

import importlib
import pkgutil

import asyncpg
import pytest

import instance_service.store
import instance_service.views

SQL_WORDS = ("select", "insert", "update", "delete", "with")


def _constants() -> dict[str, str]:
    found = {}
    for room in (instance_service.store, instance_service.views):
        for info in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            if not info.ispkg:
                module = importlib.import_module(info.name)
                texts = {name: text for name, text in vars(module).items() if name.isupper() and isinstance(text, str)}
                found |= {f"{info.name}.{name}": text for name, text in texts.items()}
    return {name: text for name, text in found.items() if text.strip().lower().startswith(SQL_WORDS)}


CONSTANTS = _constants()


def test_there_are_queries_to_prepare() -> None:
    assert len(CONSTANTS) > 15


@pytest.mark.parametrize("name", sorted(CONSTANTS))
async def test_the_query_fits_the_schema(name: str, own_dsn: str) -> None:
    conn = await asyncpg.connect(own_dsn)
    try:
        await conn.prepare(CONSTANTS[name])
    finally:
        await conn.close()
