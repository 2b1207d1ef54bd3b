"""A function called without a statement, by libpq's own `PQfn`: no driver of Python has it."""

import asyncio
import ctypes
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from database_service.domain.tenancy import LoginSpec
from database_service.provisioners.runtime import PostgresRuntime
from support.cluster import Cluster

CONNECTION_OK, COMMAND_OK = 0, 1


class _Argument(ctypes.Structure):
    _fields_ = (("len", ctypes.c_int), ("isint", ctypes.c_int), ("ptr", ctypes.c_char_p))


class Caller:
    """One connection of libpq's. All calls block."""

    def __init__(self, conninfo: str) -> None:
        self._libpq = ctypes.CDLL(str(PostgresRuntime.find().bin_dir.parent / "lib" / "libpq.so.5"))
        for name in ("PQconnectdb", "PQexec", "PQfn"):
            getattr(self._libpq, name).restype = ctypes.c_void_p
        self._conn = ctypes.c_void_p(self._libpq.PQconnectdb(conninfo.encode()))
        assert self._libpq.PQstatus(self._conn) == CONNECTION_OK

    def run(self, statement: str) -> None:
        result = ctypes.c_void_p(self._libpq.PQexec(self._conn, statement.encode()))
        assert self._libpq.PQresultStatus(result) == COMMAND_OK
        self._libpq.PQclear(result)

    def call(self, function: int, number: float) -> bool:
        """Whether it came to its end."""
        told = struct.pack(">d", number)
        arguments = (_Argument * 1)(_Argument(len(told), 0, told))
        answer, length = ctypes.create_string_buffer(8), ctypes.c_int()
        result = ctypes.c_void_p(self._libpq.PQfn(self._conn, function, answer, ctypes.byref(length), 0, arguments, 1))
        came_out = self._libpq.PQresultStatus(result) == COMMAND_OK
        self._libpq.PQclear(result)
        return came_out

    def close(self) -> None:
        self._libpq.PQfinish(self._conn)


@asynccontextmanager
async def calling(
    cluster: Cluster, database: str, login: LoginSpec, function: int, number: float
) -> AsyncIterator["asyncio.Task[bool]"]:
    """The call, under way, with no time-out of the session's own."""
    conninfo = f"host={cluster.host} port={cluster.port} dbname={database} user={login.role} password={login.password.reveal()}"
    caller = await asyncio.to_thread(Caller, conninfo)
    await asyncio.to_thread(caller.run, "SET statement_timeout = 0")
    call = asyncio.create_task(asyncio.to_thread(caller.call, function, number))
    try:
        yield call
    finally:
        await call
        caller.close()
