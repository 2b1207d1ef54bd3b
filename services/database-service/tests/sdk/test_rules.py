"""What the client and its stand-in know by heart is what the service says."""

from typing import Literal
from uuid import uuid4

import pytest

from database_service.api.schemas.databases import CredentialsOut, LimitsOut
from database_service.domain import credentials as texts
from database_service.domain import databases, operations
from database_service.domain.plans import PLANS, Plan
from database_service.domain.policy import Policy
from database_service.domain.secret import Secret
from database_service_client import models, waiting
from database_service_client.models import Credentials
from database_service_client.testing import rules
from support.house import POLICY


def as_rule(plan: Plan) -> rules.Plan:
    limits = models.Limits(**LimitsOut.of(plan).model_dump())
    return rules.Plan(plan.server_type, plan.dedicated is not None, int(plan.grace.total_seconds()), limits)


def test_the_plans_of_the_stand_in_are_the_services() -> None:
    assert {tier.value: as_rule(plan) for tier, plan in PLANS.items()} == rules.PLANS


def test_its_numbers_are_the_services() -> None:
    policy = Policy()
    assert policy.rotation_overlap.total_seconds() == rules.OVERLAP_S
    assert policy.most_logins == rules.MOST_LOGINS
    assert POLICY.retry_after.total_seconds() == rules.RETRY_AFTER_S
    assert policy.longest_wait.total_seconds() == waiting.LONGEST_HELD_S


def test_the_states_in_which_things_stay_are_the_services() -> None:
    assert set(models.OVER) == set(operations.OVER)
    assert set(databases.Status) >= models.ENDED


@pytest.mark.parametrize(("ssl_mode", "root"), [("prefer", None), ("verify-full", "a certificate")])
@pytest.mark.parametrize("host", ["db-1", "10.0.0.1", "fd00::1"])
def test_credentials_read_as_the_service_writes_them(
    host: str, ssl_mode: Literal["prefer", "verify-full"], root: str | None
) -> None:
    told = CredentialsOut(
        instance_id="i", db_server_id=uuid4(), db_host=host, db_port=6432, db_name="a-b", db_user="u:x",
        db_password="p:\\/?#&= é%", ssl_mode=ssl_mode, ssl_root_cert=root,
    )  # fmt: skip
    ours = Credentials(**told.model_dump())
    theirs = texts.Credentials(
        host, 6432, told.db_name, told.db_user, Secret(told.db_password), verified=root is not None
    )
    assert ours.dsn() == texts.uri(theirs)
    assert ours.jdbc() == texts.jdbc(theirs)
    assert ours.pgpass() == texts.pgpass(theirs)
    assert "\n".join(f"{name}={value}" for name, value in ours.env().items()) == texts.env(theirs)
