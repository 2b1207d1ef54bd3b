"""Whom we talk to: contexts that verify a server's certificate and its name, made of the authorities of a server's row."""

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from contextlib import ExitStack, closing
from functools import lru_cache

from database_service.domain.tenancy import Admin

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""
KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
_ASKS_FOR_TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
_AGREES = b"S"


def context_of(admin: Admin) -> ssl.SSLContext | None:
    """As libpq's `sslmode=verify-full`. None where the server speaks no TLS: then the driver takes what there is."""
    return _cached(admin.roots) if admin.roots else None


def lenient_context_of(admin: Admin) -> ssl.SSLContext:
    """For who brings a new certificate: the one that is there may have ended, or be for another address.

    It still has to be of one of our authorities, and only the server itself knows the administrator's verifier.
    """
    context = _verifying(admin.roots or "")
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    return context


async def secured(admin: Admin, context: ssl.SSLContext) -> tuple[StreamReader, StreamWriter]:
    """A connection on which TLS was agreed and nothing was said yet. Raises OSError, also where it is not trusted."""
    sock = await _agreed(admin.host, admin.port)
    return await asyncio.open_connection(sock=sock, ssl=context, server_hostname=admin.host)


async def _agreed(host: str, port: int) -> socket.socket:
    """A socket whose other side now expects TLS. Not a byte more is read of what came in clear."""
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    with ExitStack() as stack:
        sock = stack.enter_context(closing(socket.socket(family, kind, protocol)))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, _ASKS_FOR_TLS)
        if await loop.sock_recv(sock, 1) != _AGREES:
            raise ConnectionRefusedError("the server speaks no TLS")
        stack.pop_all()
        return sock


def _verifying(roots: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=roots)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


_cached = lru_cache(maxsize=16)(_verifying)
