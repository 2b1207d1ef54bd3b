"""Authorities: whom clients trust when they connect to a server that speaks TLS."""

from fastapi import APIRouter
from fastapi.responses import Response

from database_service.actions.authorities import rotate_authority
from database_service.api.inject import AdminReader, AdminWriter, Use
from database_service.api.rendering import answer
from database_service.api.schemas.authorities import AuthoritiesOut, RotateAuthorityIn
from database_service.deps import Deps
from database_service.views import authorities as view

PREFIX = "/api/database"
ADMIN = f"{PREFIX}/admin/authorities"
PEM = "application/x-pem-file"
router = APIRouter(tags=["authorities"])


@router.get(f"{PREFIX}/ca.pem", responses={200: {"content": {PEM: {"schema": {"type": "string"}}}}})
async def ca(deps: Use) -> Response:
    """The certificates of all authorities that are trusted, for a client's `sslrootcert`. 404 before the first server needs one."""
    return Response(await view.roots(deps), media_type=PEM)


@router.get(ADMIN, responses={200: {"model": AuthoritiesOut}})
async def authorities(asked: AdminReader, deps: Use) -> Response:
    """Who vouches for servers, and for how many. Never a key."""
    return answer(await _all(deps))


@router.post(f"{ADMIN}/rotate", status_code=202, responses={202: {"model": AuthoritiesOut}})
async def rotate(asked: AdminWriter, deps: Use, wanted: RotateAuthorityIn = RotateAuthorityIn()) -> Response:  # noqa: B008  it is frozen
    """Another authority, trusted at once. After the overlap every server gets a certificate of it while it runs, and the old one
    leaves. One that already waits for its time is not followed by a third."""
    await rotate_authority(deps, asked.who, wanted.overlap)
    return answer(await _all(deps), 202, {"Location": ADMIN})


async def _all(deps: Deps) -> AuthoritiesOut:
    return AuthoritiesOut.of(await view.all_trusted(deps))
