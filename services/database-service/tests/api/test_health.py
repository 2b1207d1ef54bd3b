"""Health says what it looked at; metrics count what happened."""

from datetime import timedelta

from database_service.domain.errors import Unavailable
from support.web import Door, Web, open_web


async def test_liveness_says_what_it_stands_for(web: Web) -> None:
    answer = await web.client.get("/health", headers={"Authorization": ""})
    assert answer.json() == {"status": "alive", "checked": ["this process answers"]}


async def test_readiness_looks_at_the_database_and_says_how_long_work_has_waited(web: Web) -> None:
    await web.allocate("waits")
    web.house.clock.forward(timedelta(hours=1))
    answer = (await web.client.get("/health/ready", headers={"Authorization": ""})).json()
    assert answer["status"] == "ready"
    assert answer["control_database"]["ok"] is True
    assert answer["broker"] is None
    assert 3000 < answer["overdue_seconds"] <= 3601


async def test_without_a_broker_requests_are_still_served_and_that_is_told(web: Web) -> None:
    async def silent() -> None:
        raise Unavailable("The broker does not answer.")

    async with open_web(web.house, Door(ping_broker=silent)) as lonely:
        answer = await lonely.client.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["broker"]["message"] == "The broker does not answer."


async def test_metrics_show_the_fleet_and_routes_without_ids(web: Web) -> None:
    await web.house.pool(slots=3)
    await web.allocate("some-instance")
    await web.client.get("/databases/some-instance")
    answer = await web.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'dbs_servers{health="healthy",status="active"} 1.0' in lines
    assert 'dbs_slots{state="used"} 1.0' in lines
    assert 'dbs_databases{status="ready"} 1.0' in lines
    asked = 'dbs_http_requests_total{method="GET",route="/api/database/databases/{instance_id}",status="200"}'
    assert any(line.startswith(asked) for line in lines)
    assert "some-instance" not in answer.text
