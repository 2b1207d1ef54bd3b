"""Rows of `requests`: the request log. Only added to, and forgotten from its old end."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime

from database_service.domain.requests import Request
from database_service.store.pool import Conn

# A batch whose answer was lost is written again.
ADD = """
INSERT INTO requests (id, at, request_id, token_id, token_name, method, endpoint, instance_id, customer_id, status, ms, code,
  request_body, response_body)
SELECT id, at, request_id, token_id, token_name, method, endpoint, instance_id, customer_id, status, ms, code,
  request_body::jsonb, response_body::jsonb
FROM unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
  $10::smallint[], $11::real[], $12::text[], $13::text[], $14::text[])
  AS r (id, at, request_id, token_id, token_name, method, endpoint, instance_id, customer_id, status, ms, code, request_body,
    response_body)
ON CONFLICT (at, id) DO NOTHING"""


async def add(conn: Conn, batch: Sequence[Request]) -> None:
    """All of them at once, in one statement."""
    await conn.execute(ADD, *map(list, zip(*map(astuple, batch), strict=True)))


FORGET = "SELECT forget_requests($1, $2)"


async def forget(conn: Conn, before: datetime, most: int) -> int:
    """Forget up to `most` of those that came before, the oldest first; how many those were.

    The service's role cannot delete rows here: the function can, and leaves the last hour alone, whoever calls it.
    """
    return int(await conn.fetchval(FORGET, before, most))
