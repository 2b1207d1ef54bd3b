"""The contract: openapi.json, and a page that shows it and loads nothing from anywhere.

`python -m database_service.api` prints what docs/reference/openapi.json must hold.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from http import HTTPStatus
from inspect import getdoc
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from database_service import __version__
from database_service.api.problems import MEDIA_TYPE, STATUS, title_of
from database_service.api.schemas.problems import Problem
from database_service.auth.guard import requires
from database_service.auth.scopes import Scope

TITLE = "database-service"
DESCRIPTION = "PostgreSQL databases on demand. Errors are RFC 9457 problems with a stable `code`."
_GUARDED = (401, 403, 429, 503)


def document(routes: Iterable[APIRoute]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes, with the scope each needs and the problems it may answer."""
    routes = list(routes)
    described = get_openapi(title=TITLE, version=__version__, description=DESCRIPTION, routes=routes)
    described["components"]["schemas"] = dict(sorted((described["components"]["schemas"] | _problem_schemas()).items()))
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for route in routes:
        for method in route.methods or ():
            _complete(described["paths"][route.path_format][method.lower()], scope_of(route))
    return described


def guard_of(route: APIRoute) -> requires | None:
    """None where the route is open."""
    return next((d.call for d in route.dependant.dependencies if isinstance(d.call, requires)), None)


def scope_of(route: APIRoute) -> Scope | None:
    """The scope a route's guard asks for; None where it is open."""
    guard = guard_of(route)
    return guard.scope if guard else None


def page(described: Mapping[str, Any]) -> str:
    """The contract for people: operations and problems. Plain HTML, no script, nothing from elsewhere."""
    operations = "".join(_operation_row(*operation) for operation in _operations(described))
    problems = "".join(_problem_rows())
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{TITLE}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;vertical-align:top;padding:.4rem;border-bottom:1px solid #ccc}}
:target{{background:#ffc}}</style>
<h1>{TITLE} {__version__}</h1><p>The whole contract: <a href="openapi.json">openapi.json</a>.</p>
<h2>Operations</h2><table><tr><th>Operation<th>Scope<th>What it does</tr>{operations}</table>
<h2>Problems</h2><table><tr><th>Code<th>Status<th>Meaning</tr>{problems}</table></html>"""


def _complete(operation: dict[str, Any], scope: Scope | None) -> None:
    responses = operation["responses"]
    if scope is not None:
        operation["security"] = [{"token": [scope.value]}]
        responses |= {str(status): _problem(HTTPStatus(status).phrase) for status in _GUARDED}
    if "422" in responses:
        responses["422"] = _problem("Bad input; `errors` names the fields.")
    responses["default"] = _problem("Any other problem; `code` says which.")


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**schema.pop("$defs"), "Problem": schema}


def _operations(described: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def _operation_row(method: str, path: str, operation: Mapping[str, Any]) -> str:
    scope = operation["security"][0]["token"][0] if "security" in operation else "open"
    what = escape(operation.get("description", operation["summary"]))
    return f"<tr><td><code>{method.upper()} {escape(path)}</code><td>{scope}<td>{what}</tr>"


def _problem_rows() -> Iterator[str]:
    for error, status in sorted(STATUS.items(), key=lambda entry: (entry[1], entry[0].code)):
        meaning = escape(getdoc(error) or title_of(error.code)) if "__doc__" in vars(error) else title_of(error.code)
        yield f'<tr id="{error.code}"><td><code>{error.code}</code><td>{status}<td>{meaning}</tr>'
