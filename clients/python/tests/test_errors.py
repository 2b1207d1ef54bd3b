"""Every code has its class, and the class tells all that the answer told."""

import re

import httpx
import pytest

from database_service.api import problems
from database_service_client import errors
from database_service_client.testing.rules import STATUS

DOOR = {code: status for status, code in problems._OF_HTTP.items()} | {"invalid_request": 422, "internal_error": 500}
"""Codes of the HTTP door itself."""
SERVICE = {kind.code: status for kind, status in problems.STATUS.items()}


def test_every_code_of_the_service_has_a_class_of_its_own() -> None:
    ours = set(errors.BY_CODE) - {errors.UnexpectedAnswer.code, errors.HttpError.code}
    assert ours == set(SERVICE) | set(DOOR)


def test_a_class_is_named_as_its_code() -> None:
    assert [
        k.__name__ for c, k in errors.BY_CODE.items() if c != re.sub(r"(?<!^)([A-Z])", r"_\1", k.__name__).lower()
    ] == []


def test_the_stand_in_knows_the_status_of_each() -> None:
    assert STATUS == SERVICE | DOOR


def answer(status: int, content: str, **headers: str) -> httpx.Response:
    request = httpx.Request("GET", "http://x/api/database/health")
    return httpx.Response(status, content=content, headers=headers, request=request)


PROBLEM = (
    '{"type": "t", "title": "T", "status": 409, "detail": "No.", "instance": "/i", "code": "%s", "request_id": "r-1",'
    ' "errors": [{"field": "f", "message": "m"}]}'
)


def test_an_error_has_all_that_the_answer_told() -> None:
    error = errors.error_of(answer(409, PROBLEM % "server_busy", **{"Retry-After": "7"}))
    assert isinstance(error, errors.ServerBusy)
    assert (error.code, error.detail, error.status, error.request_id, error.retry_after) == (
        "server_busy",
        "No.",
        409,
        "r-1",
        7,
    )
    assert [(each.field, each.message, each.place) for each in error.fields] == [("f", "m", "body")]
    assert str(error) == "No. (server_busy, request r-1)"


def test_a_code_that_this_version_does_not_know_keeps_its_name() -> None:
    error = errors.error_of(answer(409, PROBLEM % "too_blue"))
    assert (type(error), error.code) == (errors.ApiError, "too_blue")


@pytest.mark.parametrize("content", ["", "<html>Bad Gateway</html>", '{"detail": "password=hunter2"}'])
def test_an_answer_that_is_no_problem_is_told_of_and_not_repeated(content: str) -> None:
    error = errors.error_of(answer(502, content))
    assert isinstance(error, errors.UnexpectedAnswer)
    assert (error.status, error.passing) == (502, True)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize("told", ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-1", "soon"])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(told: str) -> None:
    assert errors.error_of(answer(503, PROBLEM % "unavailable", **{"Retry-After": told})).retry_after is None
