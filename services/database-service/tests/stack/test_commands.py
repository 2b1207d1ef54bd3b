"""`make stack-…`: what is refused before anything is told to a Swarm. Docker's own client reads the files; no
engine is asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from database_service.secretbox import SecretBox
from database_service.settings import guessable
from support.needs import without
from support.pages import REPOSITORY

STACK = REPOSITORY / "infrastructure" / "compose" / "stack"
DOCKER = """#!/bin/sh
# An engine that is a manager, and keeps secrets as files in $HELD; anything else that would change it is an error.
echo "$*" >>"$HELD.calls"
case "$1 $2" in
  "info "*) echo true ;;
  "stack config") exec "$REAL_DOCKER" "$@" ;;
  "network inspect") ;;
  "secret inspect") test -e "$HELD/$3" ;;
  "secret create") cp "$6" "$HELD/$5" ;;
  "stack deploy") echo "deployed as $(eval echo \\${$#})" ;;
  *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


@pytest.fixture
def stack(tmp_path: Path) -> "Stack":
    if (real := shutil.which("docker")) is None:
        without("not installed: docker")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return Stack(tmp_path, real)


class Stack:
    """The script, with a file of variables and a folder of secrets of a test's own."""

    def __init__(self, folder: Path, real_docker: str) -> None:
        self.folder = folder
        self.environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "REAL_DOCKER": real_docker}
        self.secrets, self.held = folder / "secrets", folder / "held"
        self.environment["HELD"] = str(self.held)
        self.secrets.mkdir()
        self.held.mkdir()

    def told_to_docker(self) -> str:
        return (self.folder / "held.calls").read_text()

    def secret(self, name: str) -> str:
        """What the engine was given."""
        return (self.held / f"dbs_{name}").read_text()

    def run(self, verb: str, variables: str = "", kind: str = "dev") -> "subprocess.CompletedProcess[str]":
        env_file = self.folder / "swarm.env"
        env_file.write_text(f"DOCKER_GID=1\nSECRETS_DIR={self.secrets}\n{variables}\n")
        return subprocess.run(
            [STACK, verb, kind, env_file],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
        )


def test_it_deploys_under_the_planes_name(stack: Stack) -> None:
    done = stack.run("deploy", "SWARM_PLANE=mine")
    assert done.returncode == 0, done.stderr
    assert "deployed as mine" in done.stdout


@pytest.mark.parametrize(
    ("variables", "kind", "sentence"),
    [
        ("TAG=change-me", "dev", "TAG in "),
        ("", "ceph", "BASE_DOMAIN is not set"),
        ("BASE_DOMAIN=change-me", "ceph", "BASE_DOMAIN is not set"),
        ("ADMIN_TOKEN=hunter2", "dev", "ADMIN_TOKEN is in clear"),
        ("OIDC_CLIENT_SECRET=hunter2", "dev", "OIDC_CLIENT_SECRET is in clear"),
        ("OIDC_ISSUER=https://login.example.com", "dev", "put it into"),
        ("CELERY_BROKER_URL=redis://:hunter2@valkey", "dev", "CELERY_BROKER_URL is in clear"),
        ("", "prod", "there is no stack 'prod'"),
    ],
)
def test_a_default_that_anybody_knows_is_refused_in_a_sentence(
    stack: Stack, variables: str, kind: str, sentence: str
) -> None:
    done = stack.run("deploy", variables, kind)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "hunter2" not in done.stderr
    assert "deployed" not in done.stdout


def test_a_secret_that_was_never_changed_is_refused(stack: Stack) -> None:
    (stack.secrets / "admin_token").write_text("change-me")
    done = stack.run("deploy")
    assert "admin_token still says change-me" in done.stderr
    assert done.returncode == 1


def test_the_secret_of_an_identity_provider_is_taken_from_its_file(stack: Stack) -> None:
    (stack.secrets / "oidc_client_secret").write_text("given by the provider")
    done = stack.run("deploy", "OIDC_ISSUER=https://login.example.com")
    assert done.returncode == 0, done.stderr
    assert stack.secret("oidc_client_secret") == "given by the provider"
    assert "docker-compose.oidc.yml" in stack.told_to_docker()


def test_nothing_is_removed_without_being_told_twice(stack: Stack) -> None:
    done = stack.run("rm")
    assert "say so with YES=1" in done.stderr
    assert done.returncode == 1


def test_the_file_with_variables_is_read_and_not_run(stack: Stack) -> None:
    stack.run("deploy", f"TAG=$(touch {stack.folder}/ran)")
    assert not (stack.folder / "ran").exists()


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_are_made_at_random_for_their_owner_alone_and_are_in_no_argument(stack: Stack) -> None:
    done = stack.run("secrets")
    assert done.returncode == 0, done.stderr
    made = [file.read_text().strip() for file in stack.secrets.iterdir()]
    assert len(set(made)) == 10
    assert {file.stat().st_mode & 0o777 for file in stack.secrets.iterdir()} == {0o600}
    told = stack.told_to_docker() + done.stdout + done.stderr
    assert not [secret for secret in made if secret.split()[-1] in told]


def test_they_are_what_the_service_takes(stack: Stack) -> None:
    stack.run("secrets")
    SecretBox.from_ring(stack.secret("secret_keys").strip())
    for name, database in (("broker_url", 0), ("instances_broker_url", 1)):
        assert stack.secret(name) == f"redis://:{stack.secret('broker_conf').split()[1]}@valkey:6379/{database}\n"
    for name in ("secret_keys", "admin_token", "consumer_token", "service_password"):
        assert not guessable(name, stack.secret(name).strip())


def test_what_is_there_is_never_made_again(stack: Stack) -> None:
    stack.run("secrets")
    before = {file.name: file.read_text() for file in stack.held.iterdir()}
    stack.run("secrets")
    assert stack.told_to_docker().count("secret create") == len(before)
    (stack.held / "dbs_broker_url").unlink()
    stack.run("secrets")
    assert {file.name: file.read_text() for file in stack.held.iterdir()} == before


def test_a_secret_of_ones_own_is_taken_from_its_file(stack: Stack) -> None:
    (stack.secrets / "broker_url").write_text("amqp://me:long-enough-to-be-mine@rabbit//")
    stack.run("secrets")
    assert stack.secret("broker_url") == "amqp://me:long-enough-to-be-mine@rabbit//"


def test_a_password_that_nobody_knows_any_more_is_not_guessed(stack: Stack) -> None:
    stack.run("secrets")
    (stack.secrets / "broker_conf").unlink()
    (stack.secrets / "broker_url").unlink()
    (stack.held / "dbs_broker_url").unlink()
    done = stack.run("secrets")
    assert done.returncode == 1
    assert "bring it back" in done.stderr
    assert not (stack.secrets / "broker_url").exists()
