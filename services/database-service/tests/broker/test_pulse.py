"""Does the broker answer? An answer in any case, and soon."""

import asyncio
from pathlib import Path

import pytest

from database_service.broker.celery import new_sender
from database_service.broker.pulse import Pulse
from database_service.domain.errors import Unavailable
from support.broker import Broker


async def test_a_broker_that_runs_answers(valkey: Broker) -> None:
    await Pulse(new_sender(valkey.url))()


async def test_a_broker_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="broker"):
        await Pulse(new_sender(f"redis+socket://{tmp_path}/nobody.sock"))()


async def test_a_broker_that_never_answers_is_unavailable_and_then_well_again(valkey: Broker) -> None:
    pulse = Pulse(new_sender(valkey.url))
    valkey.freeze()
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="broker"):
            await pulse()
    valkey.thaw()
    await pulse()
