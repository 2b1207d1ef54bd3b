"""A new certificate for a server that runs: written beside its data, and shown to whoever comes from then on."""

import asyncio
import ssl
from contextlib import closing

from database_service.dataplane.connect import OnStatement, Patience, Session, connect, farewell, speaking_of
from database_service.dataplane.ddl import Script
from database_service.dataplane.trust import lenient_context_of, secured
from database_service.domain.tenancy import Admin

# By a program, as it becomes the file only when it is whole: with half a certificate no server would start again.
_WRITE = """
COPY (SELECT line FROM unnest(string_to_array(%L, E'\\n')) WITH ORDINALITY AS l (line, ordinal) ORDER BY ordinal)
TO PROGRAM 'cat >tls/server.crt.new && mv tls/server.crt.new tls/server.crt'
"""
_RELOAD = "SELECT pg_reload_conf()"


async def install(admin: Admin, certificate: str, patience: Patience, on_statement: OnStatement) -> bool:
    """See Tenants.install_certificate."""
    with speaking_of(admin):
        if await _shown(admin, patience) == ssl.PEM_cert_to_DER_cert(certificate):
            return True
        conn = await connect(admin, patience, trust=lenient_context_of(admin))
        try:
            session = Session(conn, on_statement)
            await session.run(Script(_WRITE, (certificate.rstrip("\n"),)))
            await session.row(_RELOAD)
        finally:
            await farewell(conn)
    return False


async def _shown(admin: Admin, patience: Patience) -> bytes | None:
    """What it shows to whoever comes now."""
    async with asyncio.timeout(patience.connect.total_seconds()):
        _, writer = await secured(admin, lenient_context_of(admin))
    with closing(writer):
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return shown
