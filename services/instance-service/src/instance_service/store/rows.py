"""Rows become values here, and nowhere above."""

import asyncpg

from instance_service.domain.ids import CustomerId, InstanceId
from instance_service.domain.instances import Ask, Given, Instance, Status, Wanted
from instance_service.domain.plans import Tier
from instance_service.domain.workloads import Address

INSTANCE = """i.id, i.seq, i.name, i.customer_id, i.asked_tier, i.image, i.command, i.env, i.plan_tier, i.placed_tier, i.wanted,
 i.status, i.status_since, i.given_host, i.given_port, i.given_user, i.given_version, i.host, i.port, i.errand, i.operation_id,
 i.progress, i.budget_until, i.failures, i.due_at, i.version, i.attempts, i.last_error, i.created_at, i.deleted_at"""


def instance_of(row: asyncpg.Record) -> Instance:
    return Instance(
        id=InstanceId(row["id"]),
        seq=row["seq"],
        ask=_ask_of(row),
        plan_tier=Tier(row["plan_tier"]),
        placed_tier=Tier(row["placed_tier"]),
        wanted=Wanted(row["wanted"]),
        status=Status(row["status"]),
        status_since=row["status_since"],
        given=_given_of(row),
        address=Address(row["host"], row["port"]) if row["host"] else None,
        errand=row["errand"],
        operation_id=row["operation_id"],
        progress=row["progress"],
        budget_until=row["budget_until"],
        failures=row["failures"],
        due_at=row["due_at"],
        version=row["version"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        created_at=row["created_at"],
        deleted_at=row["deleted_at"],
    )


def _ask_of(row: asyncpg.Record) -> Ask:
    return Ask(
        name=row["name"],
        customer_id=CustomerId(row["customer_id"]),
        plan_tier=Tier(row["asked_tier"]),
        image=row["image"],
        command=tuple(row["command"]),
        env=row["env"],
    )


def _given_of(row: asyncpg.Record) -> Given | None:
    if row["given_version"] is None:
        return None
    return Given(Address(row["given_host"], row["given_port"]), row["given_user"], row["given_version"])
