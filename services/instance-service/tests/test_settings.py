"""Settings: what is wrong is named, and no secret is shown."""

import os
from pathlib import Path

import pytest

from instance_service.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("INSTANCES_", "DATABASE_SERVICE_")):
            monkeypatch.delenv(name)


def test_where_database_service_is_keeps_its_own_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-database-service\n")
    monkeypatch.setenv("DATABASE_SERVICE_URL", "http://db:8005")
    monkeypatch.setenv("DATABASE_SERVICE_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("INSTANCES_API_PORT", "9000")
    settings = load_settings()
    assert (settings.database_service_url, settings.api_port) == ("http://db:8005", 9000)
    assert settings.database_service_token().reveal() == "a-token-of-database-service"


def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCES_API_PORT", "none-of-your-ports")
    with pytest.raises(SettingsError, match=r"^INSTANCES_API_PORT: ") as wrong:
        load_settings()
    assert "none-of-your-ports" not in str(wrong.value)


def test_an_effect_may_not_outlast_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCES_EFFECT_TIMEOUT_S", "80")
    with pytest.raises(SettingsError, match="INSTANCES_LEASE_S"):
        load_settings()


def test_the_broker_may_be_named_by_a_file_and_not_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://somewhere/3\n")
    monkeypatch.setenv("INSTANCES_BROKER_URL_FILE", str(tmp_path / "url"))
    assert load_settings().broker_url.get_secret_value() == "redis://somewhere/3"
    monkeypatch.setenv("INSTANCES_BROKER_URL", "redis://elsewhere/3")
    with pytest.raises(SettingsError, match="not both"):
        load_settings()


def test_the_api_does_not_open_without_a_token_or_with_a_short_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="INSTANCES_TOKEN_FILE is not set"):
        Settings().api_token()
    (tmp_path / "token").write_text("short")
    with pytest.raises(SettingsError, match="less than"):
        Settings(token_file=tmp_path / "token").api_token()
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings(token_file=tmp_path / "none").api_token()


def test_a_token_for_database_service_must_be_given() -> None:
    with pytest.raises(SettingsError, match="DATABASE_SERVICE_TOKEN_FILE"):
        Settings().database_service_token()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
