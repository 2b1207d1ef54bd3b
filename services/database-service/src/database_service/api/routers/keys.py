"""The key ring: what needs which of its keys."""

from fastapi import APIRouter
from fastapi.responses import Response

from database_service.actions.keys import want_reseal
from database_service.api.inject import AdminReader, AdminWriter, Use
from database_service.api.rendering import answer
from database_service.api.schemas.keys import KeysOut
from database_service.deps import Deps
from database_service.views import keys as view

PREFIX = "/api/database/admin/keys"
router = APIRouter(prefix=PREFIX, tags=["keys"])


@router.get("", responses={200: {"model": KeysOut}})
async def keys(asked: AdminReader, deps: Use) -> Response:
    """Which keys of the ring are in use, and which can be removed. Never a key."""
    return answer(await _keys(deps))


@router.post("/reseal", status_code=202, responses={202: {"model": KeysOut}})
async def reseal(asked: AdminWriter, deps: Use) -> Response:
    """Have a worker seal and sign everything with the ring's newest key; the list tells when it did."""
    await want_reseal(deps)
    return answer(await _keys(deps), 202, {"Location": PREFIX})


async def _keys(deps: Deps) -> KeysOut:
    return KeysOut.of(await view.in_use(deps.db, deps.secrets, deps.now()))
