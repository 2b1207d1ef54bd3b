"""What is logged is one line of JSON each, and never a secret."""

import json
import subprocess
import sys

import pytest

from database_service.domain.secret import Secret
from database_service.observability.logging import mask

TOKEN = "dbs_" + "A" * 43


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "hunter2"), ("db_password", "hunter2"), ("token", "hunter2"), ("dsn", "hunter2"),
        ("Authorization", "hunter2"), ("x-api-secret", "hunter2"), ("credentials", {"x": "hunter2"}),
        ("event", "cannot reach postgresql://bob:hunter2@db/x"), ("event", f"bad {TOKEN}"), ("anything", Secret("hunter2")),
        ("nested", {"deep": [{"password": "hunter2"}, Secret("hunter2"), "amqp://u:hunter2@h"]}),
        ("exception", "Traceback…\nOSError: redis://:hunter2@cache:6379/0"),
    ],
)  # fmt: skip
def test_a_secret_is_masked_wherever_it_hides(key: str, value: object) -> None:
    shown = str(mask(None, "info", {key: value}))
    assert "hunter2" not in shown
    assert TOKEN not in shown


def test_what_is_no_secret_is_left_as_it_is() -> None:
    event = {
        "event": "http.request",
        "token_id": "t",
        "url": "http://host:80/a@b",
        "n": 1,
        "list": ["a"],
        "dbs_name": "dbs_up",
    }
    assert mask(None, "info", dict(event)) == event


SCRIPT = """
import logging, structlog
from database_service.observability.logging import bind_request, configure_logging
configure_logging(level="INFO", look="json")
bind_request("req-1")
structlog.get_logger("x").info("ours", password="hunter2", n=1)
structlog.get_logger("x").debug("too quiet")
logging.getLogger("uvicorn.error").error("theirs %s", "postgresql://u:hunter2@h/d")
logging.getLogger("uvicorn.access").info("twice")
try:
    raise ValueError("dsn postgresql://u:hunter2@h/d")
except ValueError:
    logging.getLogger("celery.worker").exception("failed")
bind_request("req-2")
structlog.get_logger("x").info("next")
"""


def test_our_lines_and_the_library_s_look_the_same_carry_the_request_and_go_to_stderr() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "hunter2" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"].split()[0], line["level"], line["request_id"]) for line in lines] == [
        ("ours", "info", "req-1"), ("theirs", "error", "req-1"), ("failed", "error", "req-1"), ("next", "info", "req-2"),
    ]  # fmt: skip
    assert "ValueError" in lines[2]["exception"]


def test_people_get_readable_lines_without_secrets() -> None:
    script = SCRIPT.replace('look="json"', 'look="console"')
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "ours" in done.stderr
    assert "hunter2" not in done.stderr
