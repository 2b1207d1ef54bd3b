"""Pages from templates: what every one of them gets, and the headers that every one is sent with."""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from database_service.ui import words
from database_service.ui.visitor import CSRF_FIELD, Visitor

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Nothing from elsewhere, nothing inline, in nobody's frame, and in no cache: pages show what only some may see."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        moment=words.moment,
        amount=words.amount,
        size=words.size,
        share=words.share,
        tone=words.tone,
        pretty=words.pretty,
        brief=words.brief,
        span=words.span,
        called=words.called,
        fact=words.fact,
        told=words.told,
    )
    return environment


def page(
    template: str, request: Request, visitor: Visitor | None, status: int = 200, /, **shown: object
) -> HTMLResponse:
    """A whole page, or a part of one. A name that a template asks for and nobody gave is an error."""
    given: dict[str, object] = {
        "visitor": visitor,
        "path": request.url.path,
        "csrf": partial(_csrf, visitor) if visitor else None,
        "refused": False,
        "entered": _nothing_entered,
    }
    html = _environment().get_template(template).render(given | shown)
    return HTMLResponse(html, status, dict(HEADERS))


def _nothing_entered(action: str, name: str) -> str:
    """A form is empty unless it comes back refused (`routing.failed`)."""
    return ""


def _csrf(visitor: Visitor) -> Markup:
    """In every form, so that it is known to come from a page of this session."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, visitor.session.csrf.reveal())
