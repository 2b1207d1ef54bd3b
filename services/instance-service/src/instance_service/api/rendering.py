"""Models to responses, once: FastAPI would validate and copy what we have just made."""

from collections.abc import Mapping

from fastapi.responses import Response
from pydantic import BaseModel

NO_STORE = {"Cache-Control": "no-store"}
"""On everything that carries a secret."""


def answer(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), status, headers and dict(headers), "application/json")
