"""Readiness as a user knows it: a real login."""

import asyncio

import asyncpg

NOT_YET = (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)
"""What a server says that is on its way; a wrong password is not among it."""


async def until_login(dsn: str, within_s: float = 60) -> None:
    """Return once a login through `dsn` ran a statement. TimeoutError carries the last refusal as its cause."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            conn = await asyncpg.connect(dsn, timeout=5)
        except NOT_YET as refusal:
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"no login within {within_s:.0f} s") from refusal
            await asyncio.sleep(0.01)
            continue
        try:
            await conn.execute("SELECT 1")
        finally:
            await conn.close()
        return
