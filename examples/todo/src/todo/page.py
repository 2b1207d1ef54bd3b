"""The page: plain HTML, everything of a user's in it escaped, nothing fetched from anywhere."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape

from todo.store import LONGEST_TEXT, Item

STYLE = """
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; color: #223 }
form { display: inline } ul { list-style: none; padding: 0 } li { display: flex; gap: .6rem; padding: .3rem 0 }
li span { flex: 1; overflow-wrap: anywhere } .done span { text-decoration: line-through; color: #889 }
.add { display: flex; gap: .6rem } .add input { flex: 1 } input, button { font: inherit; padding: .2rem .6rem }
"""
_STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: no script runs on this page, whatever somebody writes into the list."""


def list_page(items: Sequence[Item]) -> str:
    rows = "\n".join(_row(item) for item in items) or "<li><span>Nothing to do.</span></li>"
    return _page(
        f"""<form class="add" method="post" action="/items">
<input name="text" required maxlength="{LONGEST_TEXT}" placeholder="What is to be done?" aria-label="What is to be done?" autofocus>
<button>Add</button></form>
<ul>
{rows}
</ul>"""
    )


def message_page(message: str) -> str:
    return _page(f'<p>{escape(message)}</p>\n<p><a href="/">Back to the list</a></p>')


def _row(item: Item) -> str:
    mark, tick = ("done", "Not done") if item.done else ("open", "Done")
    return (
        f'<li class="{mark}"><span>{escape(item.text)}</span>'
        f'<form method="post" action="/items/{item.id}/tick"><button>{tick}</button></form>'
        f'<form method="post" action="/items/{item.id}/delete"><button>Delete</button></form></li>'
    )


def _page(body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>To do</title><style>{STYLE}</style></head>
<body><h1>To do</h1>
{body}
</body></html>
"""
