"""Settings: one reader of the environment, which refuses what anybody could guess."""

from pathlib import Path

import pytest

from database_service.asgi import sign_in_of
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


WHOLE = {
    "OIDC_ISSUER": "https://login.example.com/realms/ours",
    "OIDC_CLIENT_ID": "hub",
    "OIDC_CLIENT_SECRET": STRONG,
    "PUBLIC_URL": "https://databases.example.com",
    "OIDC_VIEWERS": "support, on call",
}


def with_oidc(production: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in (WHOLE | changes).items():
        production.setenv(name, value)
    return load_settings()


def test_without_a_provider_there_is_none(production: pytest.MonkeyPatch) -> None:
    production.setenv("PUBLIC_URL", WHOLE["PUBLIC_URL"])
    assert sign_in_of(load_settings()) is None


def test_a_whole_sign_in_is_as_it_was_set(production: pytest.MonkeyPatch) -> None:
    sign_in = sign_in_of(with_oidc(production, OIDC_SESSION_S="1800"))
    assert sign_in is not None
    assert sign_in.provider.client.redirect_uri == "https://databases.example.com/admin/oidc/callback"
    assert (sign_in.label, sign_in.lasts.total_seconds()) == ("login.example.com", 1800)
    assert sign_in.roles.viewers == {"support", "on call"}
    assert STRONG not in repr(sign_in.provider.client)


@pytest.mark.parametrize("lacking", sorted(WHOLE))
def test_half_a_sign_in_is_refused_and_what_lacks_is_named(production: pytest.MonkeyPatch, lacking: str) -> None:
    settings = with_oidc(production, **{lacking: ""})
    with pytest.raises(SettingsError, match=lacking):
        sign_in_of(settings)


@pytest.mark.parametrize("name", [*sorted(WHOLE), "OIDC_ROLE_CLAIM"])
@pytest.mark.parametrize("blank", [" ", "\t"])
def test_a_blank_is_not_set(production: pytest.MonkeyPatch, name: str, blank: str) -> None:
    with pytest.raises(SettingsError, match=f"in part: .*{name}"):
        sign_in_of(with_oidc(production, **{name: blank}))


def test_commas_alone_let_nobody_in_and_are_refused(production: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="in part: OIDC_VIEWERS or OIDC_OPERATORS"):
        sign_in_of(with_oidc(production, OIDC_VIEWERS=" , ,", OIDC_OPERATORS=","))
    assert sign_in_of(with_oidc(production, OIDC_VIEWERS=" , ,", OIDC_OPERATORS=" ,dba"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OIDC_ISSUER", "http://login.example.com"),
        ("OIDC_ISSUER", "http://127.0.0.1.example.com"),
        ("OIDC_ISSUER", "login.example.com"),
        ("OIDC_ISSUER", "https://user@login.example.com"),
        ("OIDC_ISSUER", "https://login.example.com:port"),
        ("PUBLIC_URL", "http://databases.example.com"),
        ("PUBLIC_URL", "https://databases.example.com/admin"),
        ("PUBLIC_URL", "https://databases.example.com?x"),
        ("PUBLIC_URL", "https://databases.example.com?"),
        ("PUBLIC_URL", "https://databases.example.com#"),
        ("PUBLIC_URL", "https://databases .example.com"),
        ("PUBLIC_URL", "https://databases.\u200bexample.com"),
        ("OIDC_ISSUER", "https:// login.example.com"),
        ("OIDC_ISSUER", " https://login.example.com"),
        ("OIDC_ISSUER", "https://login.exam\tple.com"),
        ("OIDC_ISSUER", "https://login.example.com/?a=b"),
        ("OIDC_ISSUER", "https://login.example.com/?"),
        ("OIDC_ISSUER", "https://login.example.com/#"),
        ("OIDC_SCOPES", "profile email"),
    ],
)
def test_a_sign_in_that_others_could_read_along_with_is_refused(
    production: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        sign_in_of(with_oidc(production, **{name: value}))


@pytest.mark.parametrize("host", ["127.0.0.1:9400", "localhost", "[::1]:9400"])
def test_a_provider_on_this_machine_needs_no_tls(production: pytest.MonkeyPatch, host: str) -> None:
    assert sign_in_of(with_oidc(production, OIDC_ISSUER=f"http://{host}", PUBLIC_URL=f"http://{host}"))


def test_no_sign_in_lasts_longer_than_eight_hours(production: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="OIDC_SESSION_S"):
        with_oidc(production, OIDC_SESSION_S="28801")


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
