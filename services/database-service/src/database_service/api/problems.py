"""Errors as RFC 9457 problems. Domain errors know what they mean; only this table knows HTTP."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from database_service.api.schemas.problems import FieldError, Problem
from database_service.auth.rate import TooManyRequests
from database_service.domain import errors

MEDIA_TYPE = "application/problem+json"
DOCS = "/api/database/docs"
_MOST_ERRORS = 20
_LONGEST = 300

STATUS: Mapping[type[errors.ServiceError], int] = {
    errors.ServiceError: 500,
    errors.UnknownPlan: 422,
    errors.UnknownTemplate: 422,
    errors.PlanHasNoDedicated: 400,
    errors.InvalidField: 422,
    errors.DatabaseNotFound: 404,
    errors.ServerNotFound: 404,
    errors.TokenNotFound: 404,
    errors.DriftNotFound: 404,
    errors.OperationNotFound: 404,
    errors.NoAuthority: 404,
    errors.DatabaseGone: 410,
    errors.AskDiffers: 409,
    errors.DatabaseReleased: 409,
    errors.DatabaseNotReady: 409,
    errors.DatabaseMoving: 409,
    errors.DatabaseBusy: 409,
    errors.SamePlan: 409,
    errors.SameServer: 409,
    errors.NoRoom: 409,
    errors.DatabaseHasOwnServer: 409,
    errors.MoveNotReversible: 409,
    errors.NothingToRetry: 409,
    errors.DatabaseNotReleased: 409,
    errors.DatabaseProtected: 409,
    errors.TooManyLogins: 409,
    errors.ServerNotEmpty: 409,
    errors.ServerNotActive: 409,
    errors.ServerBusy: 409,
    errors.SlotsInUse: 409,
    errors.MoveBlocked: 409,
    errors.OperationOver: 409,
    errors.AdoptionRefused: 422,
    errors.AdoptionChanged: 409,
    errors.DriftNotRemovable: 409,
    errors.DriftInGrace: 409,
    errors.ConfirmationMismatch: 409,
    errors.ConfirmationExpired: 409,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.CustomerForbidden: 403,
    TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.Overloaded: 503,
    errors.ControlDatabaseUnavailable: 503,
    errors.SchemaInUse: 503,
    errors.TenantServerUnavailable: 503,
    errors.TenantDatabaseMissing: 500,  # its data is lost or moved by hand: only an operator can help
    errors.SecretUnreadable: 500,  # a key is missing from the ring: only an operator can help
    errors.NameTaken: 409,
    errors.ProvisioningFailed: 503,
    errors.TransferFailed: 503,
}

_OF_HTTP: Mapping[int, str] = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
}
_NOT_READY_RETRY_S = 2


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def title_of(code: str) -> str:
    return code.replace("_", " ").capitalize()


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)  # noqa: S101  Starlette calls by type but cannot say so
    return answer_of(error, request.url.path, _request_id(request))


def status_of(error: errors.ServiceError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer_of(error: errors.ServiceError, path: str, request_id: str) -> Response:
    """The problem that this error is, to who asked for `path`."""
    status = status_of(error)
    problem = _problem(path, request_id, status, error.code, str(error), errors=_fields(error))
    return _rendered(problem, _headers(error))


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
    problem = _problem(request.url.path, _request_id(request), status, code, detail, errors=errors)
    return _rendered(problem, headers or {})


def _problem(
    path: str, request_id: str, status: int, code: str, detail: str, *, errors: Sequence[FieldError] = ()
) -> Problem:
    return Problem(
        type=f"{DOCS}#{code}",
        title=title_of(code) if code != "http_error" else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=path[:_LONGEST],
        code=code,
        request_id=request_id,
        errors=list(errors) or None,
    )


def _rendered(problem: Problem, headers: Mapping[str, str]) -> Response:
    return Response(problem.model_dump_json(exclude_none=True), problem.status, dict(headers), MEDIA_TYPE)


def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


def _field_error(where: Sequence[str | int], message: str) -> FieldError:
    """Names the field and never repeats what was sent: it may be a password, or ten kilobytes."""
    place, *path = where or ("body",)
    return FieldError.of(".".join(str(part) for part in path) or str(place), message, place=str(place))


def _fields(error: errors.ServiceError) -> Sequence[FieldError]:
    match error:
        case errors.InvalidField(field=field):
            return (FieldError.of(field, str(error)),)
        case errors.UnknownPlan():
            return (FieldError.of("plan_tier", str(error)),)
        case errors.UnknownTemplate():
            return (FieldError.of("template", str(error)),)
        case _:
            return ()


def _headers(error: errors.ServiceError) -> Mapping[str, str]:
    match error:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="database-service"'}
        case errors.Forbidden():
            return {"WWW-Authenticate": 'Bearer realm="database-service", error="insufficient_scope"'}
        case errors.Unavailable(retry_after_s=seconds) | TooManyRequests(retry_after_s=seconds):
            return {"Retry-After": str(seconds)}
        case errors.DatabaseNotReady():
            return {"Retry-After": str(_NOT_READY_RETRY_S)}
        case _:
            return {}
