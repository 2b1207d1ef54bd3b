"""What a command says, and how it ends, when the API refuses or is not there."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from database_service.cli.client import Client
from database_service.cli.exits import Exit
from database_service.cli.root import main
from database_service.cli.session import Session
from database_service.settings import Settings

Reply = Callable[[httpx.Request], httpx.Response]


def run(reply: Reply, *arguments: str, token_file: Path | None = None) -> int:
    """Run a command against an API that replies like this, and give the exit code."""
    session = Session(Settings(data_dir=Path("/nowhere")), token_file=token_file, transport=httpx.MockTransport(reply))
    with pytest.raises(SystemExit) as ended:
        main(list(arguments), session)
    return int(ended.value.code or 0)


def problem(status: int, detail: str, code: str = "some_code") -> Reply:
    body = {
        "type": "about:blank",
        "title": "Title",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "r-1",
    }
    return lambda _: httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Exit.REFUSED),
        (401, Exit.DENIED),
        (403, Exit.DENIED),
        (404, Exit.NOT_FOUND),
        (409, Exit.REFUSED),
        (410, Exit.NOT_FOUND),
        (422, Exit.USAGE),
        (429, Exit.UNAVAILABLE),
        (500, Exit.FAILURE),
        (503, Exit.UNAVAILABLE),
    ],
)
def test_each_refusal_has_its_exit_code_and_its_sentence(
    status: int, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(problem(status, "It is so."), "status", "demo") == code
    said = capsys.readouterr()
    assert "It is so." in said.err
    assert said.out == ""


def test_with_json_a_program_gets_the_problem_itself(capsys: pytest.CaptureFixture[str]) -> None:
    run(problem(409, "Taken.", "allocation_differs"), "allocate", "a", "--customer", "c", "--json")
    assert json.loads(capsys.readouterr().out)["code"] == "allocation_differs"


def test_a_defect_of_the_server_names_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    run(problem(500, "Something went wrong."), "stats")
    assert "(request r-1)" in capsys.readouterr().err


def test_not_ready_yet_is_told_and_has_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {
        "status": "provisioning",
        "instance_id": "a",
        "database_status": "waiting",
        "retry_after": 2,
        "message": "No room yet.",
    }
    assert run(lambda _: httpx.Response(202, json=waiting), "allocate", "a", "--customer", "c") == Exit.NOT_READY
    assert "No room yet." in capsys.readouterr().out


def test_an_api_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    assert run(refuse, "stats") == Exit.UNAVAILABLE
    assert "There is no API at http://127.0.0.1:8005: Connection refused." in capsys.readouterr().err


def test_an_api_that_hangs_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    assert run(hang, "stats") == Exit.UNAVAILABLE
    assert "did not answer in time" in capsys.readouterr().err


def test_something_else_on_that_port_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: httpx.Response(200, text="<html>"), "stats") == Exit.FAILURE
    assert "is not this API" in capsys.readouterr().err


def test_a_gateway_that_answers_html_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: httpx.Response(502, text="<html>"), "stats") == Exit.UNAVAILABLE
    assert "502 Bad Gateway" in capsys.readouterr().err


def test_the_token_travels_in_the_header_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("dbs_abc\n")
    asked: list[httpx.Request] = []

    def remember(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"tokens": []})

    assert run(remember, "tokens", "ls", token_file=tmp_path / "token") == Exit.OK
    assert asked[0].headers["Authorization"] == "Bearer dbs_abc"
    assert "dbs_abc" not in str(asked[0].url)


def test_a_token_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(problem(401, ""), "stats", token_file=tmp_path / "none") == Exit.USAGE
    assert "none cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("held", [b"", b"dbs_a\ndbs_b\n", b"dbs_a dbs_b", b"dbs_\xff", b"dbs_\x07"])
def test_a_token_file_without_one_token_is_named_and_not_shown(
    held: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_bytes(held)
    assert run(problem(401, ""), "stats", token_file=tmp_path / "token") == Exit.USAGE
    said = capsys.readouterr().err
    assert "token does not hold one API token" in said
    assert "dbs_" not in said


@pytest.mark.parametrize("cpu", ["nan", "inf"])
def test_a_number_of_cpus_that_is_none_is_refused(cpu: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(problem(500, ""), "pools", "order", "--cpu", cpu) == Exit.USAGE
    assert "no number of CPUs" in capsys.readouterr().err


def test_the_address_that_is_printed_works_too() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={})

    with Client("http://there:8005/api/database/", None, httpx.MockTransport(answer)) as client:
        client.get("/health")
    assert asked == ["http://there:8005/api/database/health"]


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    paths: list[str] = []

    def remember(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return problem(404, "No.")(request)

    run(remember, "status", "../admin/stats?x=1")
    assert paths == ["/api/database/databases/..%2Fadmin%2Fstats%3Fx%3D1"]


def test_markup_in_an_answer_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    run(problem(404, "There is no [red]server[/red]."), "stats")
    assert "There is no [red]server[/red]." in capsys.readouterr().err


def test_what_ends_sessions_is_not_done_unasked_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.method} {request.url}")

    assert run(never, "release", "demo") == Exit.USAGE
    assert "--yes" in capsys.readouterr().err


def test_a_wrong_option_is_a_usage_error() -> None:
    assert run(problem(500, ""), "allocate", "a", "--customer", "c", "--plan", "gold") == Exit.USAGE
