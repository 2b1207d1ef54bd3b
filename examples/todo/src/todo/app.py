"""The web application: who may do what, and what is answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from todo import page
from todo.settings import Settings
from todo.store import LONGEST_TEXT, DatabaseAway, Store

LONGEST_BODY = 8 * 1024
LARGEST_ID = 2**63 - 1
RETRY_AFTER_S = 2


def make_app(settings: Settings) -> Starlette:
    store = Store(settings)
    doors = Doors(store)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with suppress(DatabaseAway):  # whoever asks next makes the tables, once it is there
            await store.prove()
        yield
        await store.close()

    return Starlette(
        routes=[
            Route("/", doors.show),
            Route("/healthz", doors.health),
            Route("/items", doors.add, methods=["POST"]),
            Route("/items/{id:int}/tick", doors.tick, methods=["POST"]),
            Route("/items/{id:int}/delete", doors.delete, methods=["POST"]),
        ],
        exception_handlers={DatabaseAway: _away, HTTPException: _refused},
        lifespan=lifespan,
    )


class Doors:
    """One method per path."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def show(self, _: Request) -> Response:
        return HTMLResponse(page.list_page(await self._store.items()), headers=page.HEADERS)

    async def health(self, _: Request) -> Response:
        await self._store.prove()
        return PlainTextResponse("ok\n", headers=page.HEADERS)

    async def add(self, request: Request) -> Response:
        refuse_other_sites(request)
        await self._store.add(await _text(request))
        return _back()

    async def tick(self, request: Request) -> Response:
        refuse_other_sites(request)
        await self._store.tick(_id(request))
        return _back()

    async def delete(self, request: Request) -> Response:
        refuse_other_sites(request)
        await self._store.delete(_id(request))
        return _back()


def refuse_other_sites(request: Request) -> None:
    """403 where a browser says that a page of another site sends this. What is no browser says nothing, and may."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    ours = (
        site in ("same-origin", "none")
        if site
        else origin is None or urlsplit(origin).netloc == request.headers.get("host")
    )
    if not ours:
        raise HTTPException(403, "This was sent by a page of another site.")


async def _text(request: Request) -> str:
    """What is to be added; 400 or 413 says what is wrong with it."""
    fields = parse_qs((await _body(request)).decode(errors="replace"), max_num_fields=10)
    text = " ".join(fields.get("text", [""])[0].replace("\0", "").split())
    if not 0 < len(text) <= LONGEST_TEXT:
        raise HTTPException(400, f"Say what is to be done, in 1 to {LONGEST_TEXT} characters.")
    return text


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, "That is too long.")
    return body


def _id(request: Request) -> int:
    number: int = request.path_params["id"]
    if number > LARGEST_ID:
        raise HTTPException(404, "There is no such thing to do.")
    return number


def _back() -> Response:
    return RedirectResponse("/", status_code=303, headers=page.HEADERS)


async def _away(request: Request, _: Exception) -> Response:
    told = "The database is away. Try again in a moment."
    headers = {**page.HEADERS, "Retry-After": str(RETRY_AFTER_S)}
    if request.url.path == "/healthz":
        return PlainTextResponse(f"{told}\n", 503, headers)
    return HTMLResponse(page.message_page(told), 503, headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  it is registered for no other
    return HTMLResponse(page.message_page(error.detail), error.status_code, {**page.HEADERS, **(error.headers or {})})
