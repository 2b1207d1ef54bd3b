"""Work beside the requests."""

import asyncio

import pytest

from database_service.observability.rounds import regularly


async def test_a_round_that_fails_is_told_and_the_next_one_comes(capsys: pytest.CaptureFixture[str]) -> None:
    third, rounds = asyncio.Event(), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            third.set()
        raise ValueError(f"round {rounds}")

    working = asyncio.create_task(regularly(0, work))
    async with asyncio.timeout(10):
        await third.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    told = "".join(capsys.readouterr())
    assert told.count("round.failed") >= 2
    assert "round 1" in told
