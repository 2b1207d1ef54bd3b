"""Commands about the whole fleet: its numbers, and API tokens."""

from datetime import datetime
from typing import Annotated

import typer

from database_service.auth.scopes import Scope
from database_service.cli import render
from database_service.cli.client import segment
from database_service.cli.session import Json, Yes, confirmed, err, out, session, show_json

tokens = typer.Typer(no_args_is_help=True, help="API tokens: scoped, expiring, shown once.")


def stats(context: typer.Context, as_json: Json = False) -> None:
    """The whole fleet in numbers."""
    with session(context).client() as client:
        found = client.get("/admin/stats").body
    if as_json:
        show_json(found)
        return
    flat = {name.replace("_", " "): value for name, value in found.items() if not isinstance(value, dict)}
    groups = {name.replace("_", " "): _counts(value) for name, value in found.items() if isinstance(value, dict)}
    render.facts(out, flat | groups)


@tokens.command("ls")
def list_tokens(context: typer.Context, as_json: Json = False) -> None:
    """List tokens, without their texts."""
    with session(context).client() as client:
        found = client.get("/admin/tokens").body
    if as_json:
        show_json(found)
        return
    rows = (token | {"scopes": " ".join(token["scopes"])} for token in found["tokens"])
    render.rows(
        out, rows, ("id", "name", "customer_id", "scopes", "created_by", "expires_at", "revoked_at", "last_used_at")
    )


@tokens.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    expires: Annotated[datetime | None, typer.Option(help="When it ends, UTC.")] = None,
    customer: Annotated[str | None, typer.Option(help="For this customer's databases alone.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token. Its text is printed this once, alone on standard output."""
    until = f"{expires.isoformat()}Z" if expires else None
    wanted = {"name": name, "scopes": list(scope), "expires_at": until, "customer_id": customer}
    with session(context).client() as client:
        made = client.post("/admin/tokens", wanted).body
    if as_json:
        show_json(made)
        return
    err.print(f"Token {made['id']}; its text is shown this once:", highlight=False)
    print(made["token"])


@tokens.command()
def revoke(
    context: typer.Context, token: Annotated[str, typer.Argument(help="The token's id.")], yes: Yes = False
) -> None:
    """Make a token stop working, everywhere and at once."""
    confirmed(f"Revoke the token {token}?", yes=yes)
    with session(context).client() as client:
        client.delete(f"/admin/tokens/{segment(token)}")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Fleet")(stats)
    app.add_typer(tokens, name="tokens", rich_help_panel="Fleet")


def _counts(groups: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in groups.items())
