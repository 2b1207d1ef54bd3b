"""The API: what it takes, what it refuses and how it says so."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from instance_service.domain.ids import InstanceId
from instance_service.domain.instances import Status
from instance_service.reconcilers.sweep import sweep
from instance_service.workloads.process import ProcessWorkloads
from instance_service.workloads.swarm import SwarmWorkloads
from instance_support.house import House

PATH = "/api/instances"
ASK = {"name": "todo", "customer_id": "c-1", "plan_tier": "free"}
ID = InstanceId


async def _made(web: httpx.AsyncClient, **more: object) -> dict[str, Any]:
    answer = await web.post(PATH, json=ASK | more)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def _running(web: httpx.AsyncClient, house: House, **more: object) -> dict[str, Any]:
    made = await _made(web, **more)
    await house.until(InstanceId(UUID(made["id"])), Status.RUNNING)
    told: dict[str, Any] = (await web.get(f"{PATH}/{made['id']}")).json()
    return told


async def test_an_instance_is_accepted_and_said_where_to_look(web: httpx.AsyncClient) -> None:
    answer = await web.post(PATH, json=ASK | {"env": {"COLOUR": "blue"}, "command": ["serve", "--fast"]})
    told = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{PATH}/{told['id']}"
    assert (told["status"], told["wanted"], told["env"]) == ("pending", "running", {"COLOUR": "blue"})


async def test_the_same_ask_is_the_same_instance_and_another_one_is_refused(web: httpx.AsyncClient) -> None:
    made = await _made(web)
    assert (await _made(web))["id"] == made["id"]
    refused = await web.post(PATH, json=ASK | {"plan_tier": "premium"})
    assert (refused.status_code, refused.json()["code"]) == (409, "instance_differs")
    assert "plan_tier" in refused.json()["detail"]


async def test_the_same_key_is_the_same_instance(web: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await web.post(PATH, json=ASK, headers=key)
    again = await web.post(PATH, json=ASK, headers=key)
    other = await web.post(PATH, json=ASK | {"name": "other"}, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 409


async def test_a_running_one_tells_where_it_is_and_what_it_was_given_and_no_password(
    web: httpx.AsyncClient, house: House
) -> None:
    told = await _running(web, house)
    assert told["url"] == "http://127.0.0.1:8000"
    assert told["database"] == {"db_host": "127.0.0.1", "db_port": 5432, "db_user": "login_1"}
    everything = (await web.get(f"{PATH}/{told['id']}/events")).text + str(told)
    assert "password of" not in everything


async def test_who_waits_hears_at_once(web: httpx.AsyncClient, house: House) -> None:
    made = await _made(web)
    waiting = asyncio.create_task(web.get(f"{PATH}/{made['id']}", params={"wait": 20}, timeout=30))
    async with asyncio.timeout(20):
        while not waiting.done():
            house.clock.forward(timedelta(seconds=2))
            await sweep(house.deps)
    assert waiting.result().json()["status"] == "running"


async def test_its_events_tell_its_life_newest_first_in_pages(web: httpx.AsyncClient, house: House) -> None:
    told = await _running(web, house)
    page = (await web.get(f"{PATH}/{told['id']}/events", params={"limit": 2})).json()
    rest = (await web.get(f"{PATH}/{told['id']}/events", params={"cursor": page["next_cursor"]})).json()
    actions = [event["action"] for event in page["events"] + rest["events"]]
    assert actions == ["instance.running", "instance.workload_started", "instance.starting", "instance.asked_for"]
    assert rest["next_cursor"] is None


async def test_lists_go_page_by_page_and_show_deleted_ones_only_when_asked(
    web: httpx.AsyncClient, house: House
) -> None:
    ids = [(await _made(web, name=f"n{n}", customer_id="c-2"))["id"] for n in range(3)]
    await _made(web)
    await web.delete(f"{PATH}/{ids[0]}")
    await house.until(InstanceId(UUID(ids[0])), Status.DELETED)
    first = (await web.get(PATH, params={"customer_id": "c-2", "limit": 1})).json()
    second = (await web.get(PATH, params={"customer_id": "c-2", "cursor": first["next_cursor"]})).json()
    assert [each["id"] for each in first["instances"] + second["instances"]] == [ids[2], ids[1]]
    assert (first["total_count"], second["next_cursor"]) == (2, None)
    gone = (await web.get(PATH, params={"status": "deleted"})).json()["instances"]
    assert [each["id"] for each in gone] == [ids[0]]


async def test_every_verb_is_accepted_and_may_be_repeated(web: httpx.AsyncClient, house: House) -> None:
    told = await _running(web, house)
    where, own_id = f"{PATH}/{told['id']}", InstanceId(UUID(told["id"]))
    for verb, body, ends in (
        ("rotate-credentials", None, Status.RUNNING),
        ("change-plan", {"plan_tier": "premium"}, Status.RUNNING),
        ("stop", None, Status.STOPPED),
        ("start", None, Status.RUNNING),
    ):
        for _ in range(2):
            answer = await web.post(f"{where}/{verb}", json=body)
            assert answer.status_code == 202, answer.text
        await house.until(own_id, ends)
    assert (await web.get(where)).json()["plan_tier"] == "premium"
    for _ in range(2):
        assert (await web.delete(where)).status_code == 202
    await house.until(own_id, Status.DELETED)
    assert (await web.get(where)).json()["status"] == "deleted"
    over = await web.post(f"{where}/start")
    assert (over.status_code, over.json()["code"]) == (410, "instance_ended")


async def test_what_is_not_settled_cannot_change_its_plan_yet(web: httpx.AsyncClient) -> None:
    made = await _made(web)
    busy = await web.post(f"{PATH}/{made['id']}/change-plan", json={"plan_tier": "premium"})
    assert (busy.status_code, busy.json()["code"]) == (409, "instance_busy")
    assert busy.headers["Retry-After"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "No Good"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 64}, "name"),
        ({"customer_id": "a/b"}, "customer_id"),
        ({"plan_tier": "gold"}, "plan_tier"),
        ({"image": "-rm"}, "image"),
        ({"image": "a b"}, "image"),
        ({"command": ["a\x00b"]}, "command.0"),
        ({"command": ["x"] * 101}, "command"),
        ({"command": "sh"}, "command"),
        ({"env": {"DATABASE_URL": "x"}}, "env"),
        ({"env": {"database_url": "x"}}, "env"),
        ({"env": {"PGPASSWORD": "x"}}, "env"),
        ({"env": {"PORT": "1"}}, "env"),
        ({"env": {"A": 1}}, "env.A"),
        ({"env": {"A": "x" * 5000}}, "env.A"),
        ({"replicas": 3}, "replicas"),
    ],
)
async def test_bad_input_names_its_field_and_never_repeats_what_was_sent(
    web: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    answer = await web.post(PATH, json=ASK | change)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert field in [error["field"] for error in problem["errors"]]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["No Good", "-a", "a-", "x" * 64, "a\n"])
async def test_the_rule_for_names_is_said_in_words(web: httpx.AsyncClient, name: str) -> None:
    told = (await web.post(PATH, json=ASK | {"name": name})).json()["detail"]
    assert "1 to 63 lower-case letters, digits and hyphens, and no hyphen at either end" in told
    assert "pattern" not in told


async def test_an_image_is_refused_where_workloads_are_processes(
    web: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(house.workloads), "runs_images", ProcessWorkloads.runs_images)
    answer = await web.post(PATH, json=ASK | {"image": "shop:1"})
    problem = answer.json()
    assert (answer.status_code, [error["field"] for error in problem["errors"]]) == (422, ["image"])
    assert "run a command and no image" in problem["detail"]
    assert (await web.get(PATH)).json()["total_count"] == 0
    monkeypatch.setattr(type(house.workloads), "runs_images", SwarmWorkloads.runs_images)
    assert (await web.post(PATH, json=ASK | {"image": "shop:1"})).status_code == 202


async def test_one_that_is_being_deleted_is_nobodys_answer(web: httpx.AsyncClient, house: House) -> None:
    key = {"Idempotency-Key": "k-1"}
    made = (await web.post(PATH, json=ASK, headers=key)).json()
    await web.delete(f"{PATH}/{made['id']}")
    busy = await web.post(PATH, json=ASK)
    assert (busy.status_code, busy.json()["code"]) == (409, "instance_busy")
    assert busy.headers["Retry-After"]
    await house.until(InstanceId(UUID(made["id"])), Status.DELETED)
    spent = await web.post(PATH, json=ASK, headers=key)
    assert (spent.status_code, spent.json()["code"]) == (410, "instance_ended")
    assert (await _made(web))["id"] != made["id"]


async def test_a_variable_with_an_odd_name_is_refused(web: httpx.AsyncClient) -> None:
    answer = await web.post(PATH, json=ASK | {"env": {"A=B": "x"}})
    assert answer.status_code == 422
    assert "env" in answer.json()["errors"][0]["field"]


async def test_nobody_comes_in_without_the_token(web: httpx.AsyncClient) -> None:
    for header in ("", "Bearer", "Bearer wrong", "Basic wrong", f"Bearer {'x' * 300}"):
        answer = await web.get(PATH, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await web.get(f"{PATH}/metrics", headers={"Authorization": ""})).status_code == 401


async def test_what_is_not_there_is_said_to_be_not_there(web: httpx.AsyncClient) -> None:
    missing = await web.get(f"{PATH}/{uuid4()}")
    assert (missing.status_code, missing.json()["code"]) == (404, "instance_not_found")
    assert (await web.get(f"{PATH}/no-uuid")).status_code == 404
    assert (await web.get(f"{PATH}/{uuid4()}/events")).status_code == 404


async def test_health_and_the_contract_are_open_and_metrics_count_instances(
    web: httpx.AsyncClient, house: House
) -> None:
    await _running(web, house)
    assert (await web.get(f"{PATH}/health", headers={"Authorization": ""})).json() == {"status": "alive"}
    ready = await web.get(f"{PATH}/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert 'instances{status="running"} 1.0' in (await web.get(f"{PATH}/metrics")).text
    assert (await web.get(f"{PATH}/openapi.json")).json()["info"]["title"] == "instance-service"
    assert "instance_busy" in (await web.get(f"{PATH}/docs")).text


async def test_every_request_has_an_id_that_its_events_carry(web: httpx.AsyncClient) -> None:
    answer = await web.post(PATH, json=ASK, headers={"X-Request-ID": "req-42"})
    assert answer.headers["X-Request-ID"] == "req-42"
    events = (await web.get(f"{PATH}/{answer.json()['id']}/events")).json()["events"]
    assert events[0]["request_id"] == "req-42"


async def test_an_own_database_that_is_away_is_503_and_nothing_half_written(
    web: httpx.AsyncClient, house: House
) -> None:
    await house.deps.db._pool.close()
    answer = await web.post(PATH, json=ASK)
    assert (answer.status_code, answer.json()["code"]) == (503, "own_database_unavailable")
    assert answer.headers["Retry-After"]
    assert (await web.get(f"{PATH}/health/ready")).status_code == 503
    assert (await web.get(f"{PATH}/health")).status_code == 200
