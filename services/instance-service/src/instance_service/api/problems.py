"""Errors as RFC 9457 problems. Domain errors know what they mean; only this table knows HTTP."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from instance_service.api.schemas.problems import FieldError, Problem
from instance_service.domain import errors

MEDIA_TYPE = "application/problem+json"
DOCS = "/api/instances/docs"
_MOST_ERRORS = 20
_LONGEST = 300

STATUS: Mapping[type[errors.ServiceError], int] = {
    errors.ServiceError: 500,
    errors.InvalidField: 422,
    errors.InstanceNotFound: 404,
    errors.InstanceDiffers: 409,
    errors.InstanceBusy: 409,
    errors.InstanceEnded: 410,
    errors.Unauthenticated: 401,
    errors.Unavailable: 503,
    errors.OwnDatabaseUnavailable: 503,
    errors.DatabasesUnavailable: 503,
    errors.DatabaseRefused: 409,
    errors.WorkloadFailed: 503,
}

_OF_HTTP: Mapping[int, str] = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
_BUSY_RETRY_S = 2


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def title_of(code: str) -> str:
    return code.replace("_", " ").capitalize()


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)  # noqa: S101  Starlette calls by type but cannot say so
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return _respond(request, status, error.code, str(error), errors=_fields(error), headers=_headers(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  as above
    found = [_field_error(e["loc"], e["msg"]) for e in error.errors()[:_MOST_ERRORS]]
    return _respond(
        request, 422, "invalid_request", "; ".join(f"{e.field}: {e.message}" for e in found)[:1000], errors=found
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    code = _OF_HTTP.get(error.status_code, "http_error")
    return _respond(request, error.status_code, code, error.detail, headers=error.headers or {})


async def _unexpected(request: Request, _: Exception) -> Response:
    """A defect. It is raised on after this, so that the server logs it once, with the request's id."""
    headers = {"X-Request-ID": _request_id(request)}  # the middleware that adds it elsewhere is behind us here
    detail = "Something went wrong that should not have; the request id leads to it in the log."
    return _respond(request, 500, "internal_error", detail, headers=headers)


def _respond(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = Problem(
        type=f"{DOCS}#{code}",
        title=title_of(code) if code != "http_error" else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path[:_LONGEST],
        code=code,
        request_id=_request_id(request),
        errors=list(errors) or None,
    )
    return Response(problem.model_dump_json(exclude_none=True), status, dict(headers or {}), MEDIA_TYPE)


def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


def _field_error(where: Sequence[str | int], message: str) -> FieldError:
    """Names the field and never repeats what was sent: it may be a password, or ten kilobytes."""
    place, *path = where or ("body",)
    return FieldError.of(".".join(str(part) for part in path) or str(place), message, place=str(place))


def _fields(error: errors.ServiceError) -> Sequence[FieldError]:
    return (FieldError.of(error.field, str(error)),) if isinstance(error, errors.InvalidField) else ()


def _headers(error: errors.ServiceError) -> Mapping[str, str]:
    match error:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="instance-service"'}
        case errors.Unavailable(retry_after_s=seconds):
            return {"Retry-After": str(seconds)}
        case errors.InstanceBusy():
            return {"Retry-After": str(_BUSY_RETRY_S)}
        case _:
            return {}
