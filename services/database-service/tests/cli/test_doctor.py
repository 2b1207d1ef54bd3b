"""`dbs doctor` on the key ring: a key that went too early is named, with what needs it."""

import pytest

from database_service.cli.doctor import examine
from database_service.secretbox import new_key
from database_service.settings import Settings
from support.cluster import Cluster, blocking, execute, fresh_database

TOKEN = """
INSERT INTO tokens (id, name, hash, hash_key, scopes, created_at, created_by)
VALUES (gen_random_uuid(), 't', '\\x00', '{key}', '{{databases:read}}', now(), 'tests')"""


def told_of_keys(dsn: str, ring: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, str]:
    settings = Settings(database_url=dsn, secret_keys=ring, data_dir=tmp_path_factory.mktemp("data"))
    found = next(each for each in examine(settings, "http://127.0.0.1:1") if each.subject == "keys")
    return found.ok, found.told


def test_a_ring_that_has_every_key_is_well(control_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    blocking(execute(control_dsn, TOKEN.format(key="k1")))
    ring = f"{new_key('k3')},{new_key('k2')},{new_key('k1')}"
    told = told_of_keys(control_dsn, ring, tmp_path_factory)
    assert told == (True, "k3: seals, k2: can be removed, k1: needed")


def test_a_key_that_something_needs_and_that_is_gone_is_named(
    control_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blocking(execute(control_dsn, TOKEN.format(key="k1")))
    ok, told = told_of_keys(control_dsn, new_key("k2"), tmp_path_factory)
    assert not ok
    assert "1 token(s) need the key 'k1'" in told


def test_a_database_without_the_schema_is_said_to_be_older(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with fresh_database(cluster) as empty:
        ok, told = told_of_keys(cluster.dsn(empty), new_key("k1"), tmp_path_factory)
    assert not ok
    assert "older than this release" in told
