"""Deps open whatever is away, and refuse what cannot be used."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from database_service.broker.nudge import Silent
from database_service.domain.errors import ControlDatabaseUnavailable
from database_service.secretbox import new_key
from database_service.settings import Settings, SettingsError
from database_service.wiring import open_deps


def settings(folder: Path, dsn: str, ring: str) -> Settings:
    return Settings(data_dir=folder, database_url=SecretStr(dsn), secret_keys=SecretStr(ring))


async def test_what_is_opened_works_and_is_closed(folder: Path, control_dsn: str) -> None:
    async with open_deps(settings(folder, control_dsn, new_key("k1")), nudge=Silent()) as deps:
        async with deps.db.connection() as conn:
            assert await conn.fetchval("SELECT count(*) FROM servers") == 0
        assert set(deps.provisioners) == {"process", "external"}
        assert deps.now().tzinfo is not None
    with pytest.raises(ControlDatabaseUnavailable):
        async with deps.db.connection():
            pass


async def test_it_opens_while_the_database_is_away(folder: Path) -> None:
    away = settings(folder, "postgresql://nobody:nothing@127.0.0.1:1/none", new_key("k1"))
    async with open_deps(away, nudge=Silent()) as deps:
        with pytest.raises(ControlDatabaseUnavailable):
            async with deps.db.connection():
                pass


@pytest.mark.parametrize("ring", ["k1:c2hvcnQ=", "no colon", ","])
async def test_a_key_ring_that_cannot_be_used_is_refused_unseen(folder: Path, control_dsn: str, ring: str) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEYS cannot be used") as refusal:
        async with open_deps(settings(folder, control_dsn, ring), nudge=Silent()):
            pass
    assert "c2hvcnQ" not in str(refusal.value)
