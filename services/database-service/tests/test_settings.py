"""Settings: one reader of the environment, which refuses what anybody could guess."""

from pathlib import Path

import pytest

from database_service.cli.reference import (
    AUTHORISATION,
    COMMANDS,
    CONFIGURATION,
    EXAMPLE,
    authorised,
    commands,
    configuration,
    example,
)
from database_service.cli.stack_variables import SET_BY_STACK, VARIABLES
from database_service.domain.policy import Policy
from database_service.secretbox import new_key
from database_service.settings import SECRET_NAMES, Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[3]
STRONG = "3v7-JkQ0m1xYt_Zp9aLw"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A configuration that may go live."""
    good = {
        "ENVIRONMENT": "production",
        "POSTGRES_DATABASE_SERVICE_PASSWORD": STRONG,
        "SECRET_KEYS": new_key("k1"),
        "ADMIN_TOKEN": f"dbs_{STRONG}",
        "CELERY_BROKER_URL": f"redis://:{STRONG}@valkey:6379/0",
    }
    for name, value in good.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_without_an_environment_the_policy_is_the_documented_one() -> None:
    assert load_settings().policy() == Policy()


def test_good_secrets_are_accepted_in_production(production: pytest.MonkeyPatch) -> None:
    load_settings().refuse_unsafe()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_DATABASE_SERVICE_PASSWORD", "change-me"),
        ("POSTGRES_DATABASE_SERVICE_PASSWORD", "postgres"),
        ("SECRET_KEYS", "change-me"),
        ("ADMIN_TOKEN", "dbs_short"),
        ("CELERY_BROKER_URL", "redis://:change-me@valkey:6379/0"),
        ("CELERY_BROKER_URL", "amqp://guest:guest@rabbit:5672//"),
        ("DATABASE_URL", "postgresql://database_service:secret@postgres/database_service"),
    ],
)
def test_a_guessable_secret_is_refused_in_production_by_name_and_unseen(
    production: pytest.MonkeyPatch, name: str, value: str
) -> None:
    production.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refusal:
        load_settings().refuse_unsafe()
    assert value not in str(refusal.value)


@pytest.mark.parametrize("name", ["POSTGRES_DATABASE_SERVICE_PASSWORD", "SECRET_KEYS"])
def test_a_missing_secret_is_refused_by_name(production: pytest.MonkeyPatch, name: str) -> None:
    production.delenv(name)
    with pytest.raises(SettingsError, match=name):
        load_settings().refuse_unsafe()


def test_an_example_secret_will_do_for_development(production: pytest.MonkeyPatch) -> None:
    production.setenv("ENVIRONMENT", "development")
    production.setenv("ADMIN_TOKEN", "change-me")
    load_settings().refuse_unsafe()


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_every_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(f"{STRONG}\n")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    assert getattr(load_settings(), name).get_secret_value() == STRONG


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", STRONG)
    monkeypatch.setenv("ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(SettingsError, match="not both"):
        load_settings()


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEYS_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"SECRET_KEYS_FILE names .*none.*: No such file"):
        load_settings()


def test_a_wrong_value_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASE_S", "hunter2")
    with pytest.raises(SettingsError, match="LEASE_S") as refusal:
        load_settings()
    assert "hunter2" not in str(refusal.value)


def test_an_effect_may_not_outlast_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASE_S", "10")
    with pytest.raises(SettingsError, match="EFFECT_TIMEOUT_S must be 20 s less than LEASE_S"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "count"), [("256M", 256 * 1024**2), ("4G", 4 * 1024**3), ("1.5g", 3 * 512 * 1024**2), ("100000000", 10**8)]
)
def test_memory_is_read_with_its_unit(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setenv("DB_POOL_MEMORY_LIMIT", text)
    assert load_settings().db_pool_memory_limit == count


def test_no_secret_shows_when_settings_are_printed(production: pytest.MonkeyPatch) -> None:
    assert STRONG not in repr(load_settings())


def test_no_secret_travels_in_the_environment_of_a_child(production: pytest.MonkeyPatch) -> None:
    told = load_settings().as_environment()
    assert not set(told) & {name.upper() for name in SECRET_NAMES}
    assert STRONG not in "".join(told.values())


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_INTERVAL_S", "7")
    monkeypatch.setenv("PLACEMENT", "binpack")
    parent = load_settings()
    for name, value in parent.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == parent


def test_a_password_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DATABASE_SERVICE_PASSWORD", "a/b@c:d e%?")
    assert load_settings().database_dsn() == (
        "postgresql://database_service:a%2Fb%40c%3Ad%20e%25%3F@127.0.0.1:5432/database_service"
    )


def test_the_example_names_every_variable_and_setting_that_can_be_set_there() -> None:
    lines = [line for line in (ROOT / EXAMPLE).read_text().splitlines() if "=" in line and not line.startswith("# ")]
    settings = [name for name in Settings.model_fields if name not in SET_BY_STACK]
    assert [line.lstrip("#").partition("=")[0] for line in lines] == [variable.name for variable in VARIABLES] + [
        name.upper() for name in settings if name.removesuffix("_file") not in SECRET_NAMES
    ]


def test_the_example_changes_nothing_as_it_stands() -> None:
    assert not [line for line in (ROOT / EXAMPLE).read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(
    ("name", "make"),
    [(CONFIGURATION, configuration), (COMMANDS, commands), (AUTHORISATION, authorised), (EXAMPLE, example)],
)
def test_what_is_generated_is_the_newest(name: str, make: object) -> None:
    assert callable(make)
    assert (ROOT / name).read_text() == make(), "run `make reference`"


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in Settings.model_fields.values())
