"""The reference says what the code does: its tables are read and compared, row by row."""

import ast
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

import database_service
from database_service.api import openapi, problems
from database_service.api.app import routes
from database_service.auth.scopes import Scope
from database_service.domain import databases, moves, operations, servers
from database_service.domain.plans import GIB, MIB, PLANS, Plan
from database_service.observability import metrics
from support.pages import DOCS

REFERENCE = DOCS / "reference"
SOURCE = Path(database_service.__file__).parent

Row = tuple[str, ...]


def tables(page: Path) -> Iterator[list[Row]]:
    """Each table of a page, without its head; cells without their backticks."""
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        rows = [
            tuple(cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")) for line in table.splitlines()
        ]
        yield [tuple(cell.strip("| ") for cell in row) for row in rows[2:]]


def table(page: str, ordinal: int = 0) -> list[Row]:
    return list(tables(REFERENCE / page))[ordinal]


# -- plans ------------------------------------------------------------------------------------------------------------


def size(count: int) -> str:
    return f"{count // GIB} GiB" if count % GIB == 0 else f"{count // MIB} MiB"


def plan_row(plan: Plan) -> Row:
    limits, dedicated = plan.limits, plan.dedicated
    return (
        plan.tier,
        plan.server_type,
        str(limits.connections),
        f"{limits.statement_timeout.total_seconds():.0f} s",
        f"{limits.idle_in_transaction_timeout.total_seconds():.0f} s",
        f"{limits.transaction_timeout / timedelta(minutes=1):g} min",
        size(limits.temp_file_bytes),
        size(plan.storage_bytes),
        f"{plan.grace.days} days",
        f"{dedicated.cpu:g} CPU, {size(dedicated.memory_bytes)}" if dedicated else "none",
    )


def test_the_plans_are_those_of_the_code() -> None:
    assert table("plans.md") == [plan_row(plan) for plan in PLANS.values()]


# -- states -----------------------------------------------------------------------------------------------------------

SERVER_STATES, SERVER_MEANINGS, HEALTHS, DATABASE_STATES, DATABASE_MEANINGS = range(5)
OPERATION_STATES, OPERATION_MEANINGS, STEP_STATES, STEP_MEANINGS, PHASES, PHASE_MEANINGS = range(5, 11)


@pytest.mark.parametrize(
    ("ordinal", "transitions"),
    [
        (SERVER_STATES, servers.TRANSITIONS),
        (DATABASE_STATES, databases.TRANSITIONS),
        (OPERATION_STATES, operations.TRANSITIONS),
        (STEP_STATES, operations.STEP_TRANSITIONS),
        (PHASES, moves.TRANSITIONS),
    ],
)
def test_the_transitions_are_those_of_the_code(ordinal: int, transitions: Mapping[str, frozenset[str]]) -> None:
    told = {before: set(after.split()) - {"nothing"} for before, after in table("states.md", ordinal)}
    assert told == {before: set(after) for before, after in transitions.items()}


@pytest.mark.parametrize(
    ("ordinal", "words"),
    [
        (SERVER_MEANINGS, servers.Status),
        (HEALTHS, servers.Health),
        (DATABASE_MEANINGS, databases.Status),
        (OPERATION_MEANINGS, operations.State),
        (STEP_MEANINGS, operations.StepState),
        (PHASE_MEANINGS, moves.Phase),
    ],
)
def test_every_state_is_explained(ordinal: int, words: type[servers.Status]) -> None:
    assert sorted(row[0] for row in table("states.md", ordinal)) == sorted(words)


# -- the HTTP API -----------------------------------------------------------------------------------------------------

ENDPOINTS, ERRORS, OTHER_ERRORS = range(3)


def scope_of(operation: Mapping[str, list[dict[str, list[str]]]]) -> str:
    security = operation.get("security")
    return security[0]["token"][0] if security else "open"


def test_the_endpoints_and_their_scopes_are_those_of_the_contract() -> None:
    paths = openapi.document(routes())["paths"]
    contract = {(f"{m.upper()} {path}", scope_of(op)) for path, methods in paths.items() for m, op in methods.items()}
    assert {(row[0], row[1]) for row in table("http-api.md", ENDPOINTS)} == contract
    assert len(contract) == sum(len(route.methods) for route in routes() if isinstance(route, APIRoute))


def test_every_error_is_in_the_table_with_its_status() -> None:
    told = {(row[0], int(row[1])) for row in table("http-api.md", ERRORS)}
    assert told == {(kind.code, status) for kind, status in problems.STATUS.items()}


def test_the_errors_of_the_door_itself_are_in_the_table() -> None:
    told = {(row[0], int(row[1])) for row in table("http-api.md", OTHER_ERRORS)}
    assert told == {(code, status) for status, code in problems._OF_HTTP.items()} | {
        ("invalid_request", 422),
        ("internal_error", 500),
    }


def test_every_scope_is_explained() -> None:
    told = [row[0] for row in next(tables(DOCS / "howto" / "api-tokens.md"))]
    assert set(told) == set(Scope)


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_the_metrics_are_those_of_the_registry() -> None:
    ours = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in metrics.REGISTRY.collect()
    }
    assert {(row[0], row[1]) for row in table("metrics.md")} == ours


# -- events -----------------------------------------------------------------------------------------------------------

WHOLE = re.compile(r"(?:server|database|token|operation|drift|authority)\.[a-z_]+")
IN_SQL = re.compile(rf"'({WHOLE.pattern})'")
NOTED = ("_note", "_save", "_save_in")
"""Functions that are told what comes after `database.`."""


def texts(node: ast.AST) -> Iterator[str]:
    return (n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def actions_in(tree: ast.AST) -> Iterator[str]:
    """What a module writes as `action`: given as a keyword, written in SQL, or completed by a function of its own."""
    for text in texts(tree):
        yield from IN_SQL.findall(text)
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        for keyword in call.keywords:
            if keyword.arg == "action":
                yield from (text for text in texts(keyword.value) if WHOLE.fullmatch(text))
        if isinstance(call.func, ast.Name) and call.func.id in NOTED:
            said = [word for argument in call.args for word in texts(argument) if re.fullmatch(r"[a-z_]+", word)]
            yield from (f"database.{word}" for word in said)


def actions() -> set[str]:
    found = {action for path in SOURCE.rglob("*.py") for action in actions_in(ast.parse(path.read_text()))}
    completed = {"server.became_", "server.health_", "operation.became_"}
    entered = {status for after in servers.TRANSITIONS.values() for status in after} - {servers.Status.DEPROVISIONING}
    begun = {state for after in operations.TRANSITIONS.values() for state in after}
    return (
        (found - completed)
        | {f"operation.became_{state}" for state in begun}
        | {f"server.became_{status}" for status in entered}
        | {f"server.health_{health}" for health in servers.Health if health is not servers.Health.UNKNOWN}
    )


def test_the_events_are_those_the_code_writes() -> None:
    told = [row[0] for row in table("events.md")]
    assert len(told) == len(set(told))
    assert set(told) == actions()
