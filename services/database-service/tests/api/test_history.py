"""What servers and databases had is told to who scripts it, as the hub shows it."""

from datetime import datetime, timedelta

from database_service.reconcilers.usage import sample_usage
from support.web import Web


async def test_a_pool_is_told_by_the_hour_or_by_the_day_and_a_database_by_the_day(pooled: Web) -> None:
    await pooled.allocate()
    pool = (await pooled.client.get("/admin/pools")).json()["pools"][0]["id"]
    assert (await pooled.client.get(f"/admin/pools/{pool}/history")).json() == {"history": [], "full_on": None}
    assert (await pooled.client.get("/admin/databases/i-1/history")).json() == {"history": [], "full_on": None}
    for _ in range(2):
        await sample_usage(pooled.house.deps)
        pooled.house.clock.forward(timedelta(days=1))
    hours = (await pooled.client.get(f"/admin/pools/{pool}/history")).json()["history"]
    days = (await pooled.client.get(f"/admin/pools/{pool}/history?by=day")).json()["history"]
    assert len(hours) == len(days) == 2
    assert hours[0]["at"] >= days[0]["at"]
    assert days[0]["at"].endswith("T00:00:00Z")
    assert (days[1]["databases"], days[1]["used_slots"], days[1]["connections"]) == (1, 1, 0)
    sizes = (await pooled.client.get("/admin/databases/i-1/history")).json()["history"]
    assert [each["size_bytes"] for each in sizes] == [days[0]["size_bytes"], *[days[1]["size_bytes"]] * 2]
    assert sizes[1]["at"].endswith("T00:00:00Z")


async def test_a_database_begins_when_it_was_handed_out_and_not_when_its_spare_was_made(pooled: Web) -> None:
    await pooled.house.spares(1)
    pooled.house.clock.forward(timedelta(days=2))
    asked = pooled.house.clock()
    await pooled.allocate()
    await sample_usage(pooled.house.deps)
    [first, *_] = (await pooled.client.get("/admin/databases/i-1/history")).json()["history"]
    assert asked <= datetime.fromisoformat(first["at"]) <= pooled.house.clock()


async def test_what_is_not_there_has_no_history(pooled: Web) -> None:
    elsewhere = "00000000-0000-4000-8000-000000000001"
    assert (await pooled.client.get(f"/admin/pools/{elsewhere}/history")).status_code == 404
    assert (await pooled.client.get("/admin/databases/nobody/history")).status_code == 404
    assert (await pooled.client.get(f"/admin/pools/{elsewhere}/history?by=week")).status_code == 422
