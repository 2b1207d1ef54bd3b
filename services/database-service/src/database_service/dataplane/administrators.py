"""Our own role on a tenant server: a new password, without ending anybody's session."""

import asyncpg

from database_service.dataplane import ddl
from database_service.dataplane.connect import OnStatement, Patience, Session, connect, farewell, speaking_of
from database_service.domain.tenancy import Admin


async def change_password(
    current: Admin, following: Admin, verifier: str, patience: Patience, on_statement: OnStatement
) -> None:
    """See Tenants.change_password. `verifier` is of the password that follows."""
    with speaking_of(current):
        try:
            conn = await connect(current, patience)
        except asyncpg.InvalidPasswordError:
            # Told before, by somebody who died before it was recorded: whoever may log in with it has it already.
            await farewell(await connect(following, patience))
            return
        try:
            await Session(conn, on_statement).run(ddl.change_password(current.user, verifier))
        finally:
            await farewell(conn)
