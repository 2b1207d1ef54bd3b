"""The hot path's short cut: a route whose signature is its contract, served without FastAPI's solving of dependencies.

That solving is 40 % of what the web stack costs one request; `POST /allocate` is the request that everybody waits for.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from database_service.api.openapi import guard_of


class Direct(APIRoute):
    """Its endpoint takes, in this order and nothing else: the body's model, Asked, Deps, and the `Prefer` header."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        let_in, model = guard_of(self), self.body_field.field_info.annotation if self.body_field else None
        if let_in is None or not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{self.path} needs a guard and a model as its body")
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            asked = await let_in(request)
            wanted = await _read(model, request)
            answer: Response = await endpoint(wanted, asked, request.app.state.deps, request.headers.get("prefer"))
            return answer

        return handle


async def _read(model: type[BaseModel], request: Request) -> BaseModel:
    """The body as `model`; RequestValidationError as FastAPI would raise it."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as e:
        found = [error | {"loc": ("body", *error["loc"])} for error in e.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from None
    except ClientDisconnect:
        raise HTTPException(400, "The body ended early.") from None
