"""What no row of `databases` may be, whoever writes it."""

import asyncpg
import pytest

from support.house import House

UNSOUND = {
    "an unknown status": "status = 'lost'",
    "an unknown kind of server": "server_type = 'cloud'",
    "an instance id with a quote": "instance_id = 'a''b'",
    "an empty instance id": "instance_id = ''",
    "an instance id of 65 characters": "instance_id = repeat('a', 65)",
    "a customer id with a space": "customer_id = 'a b'",
    "ready and nobody's": "instance_id = NULL, customer_id = NULL, asked_tier = NULL",
    "an instance without its customer": "customer_id = NULL",
    "an instance without its plan": "asked_tier = NULL",
    "ready and nowhere": "server_id = NULL",
    "waiting and seated": "status = 'waiting', due_at = now()",
    "ready and not built": "physical_name = NULL",
    "ready under another name": "physical_name = 'another'",
    "ready without limits": "limits_tier = NULL",
    "a spare without a rank": "rank = NULL",
    "to be built and never looked at": "status = 'creating', due_at = NULL",
    "to be closed and never looked at": "status = 'releasing', due_at = NULL",
    "to be dropped and never looked at": "status = 'purged', due_at = NULL",
    "released without an end": "status = 'released', released_at = now(), purge_after = NULL",
    "a lease without an owner": "lease_until = now()",
}


@pytest.mark.parametrize("change", UNSOUND.values(), ids=UNSOUND)
async def test_no_row_can_be(house: House, change: str) -> None:
    await house.pool()
    await house.spares(1)
    async with house.deps.db.connection() as conn:
        await conn.execute(
            "UPDATE databases SET status = 'ready', instance_id = 'a', customer_id = 'c', asked_tier = 'free'"
        )
        with pytest.raises(asyncpg.CheckViolationError):
            await conn.execute(f"UPDATE databases SET {change}")
