"""The contract: written down, unchanged unless on purpose, and kept for whatever is sent."""

import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from database_service.api.app import routes
from database_service.api.openapi import document
from support.web import Web

WRITTEN = Path(__file__).parents[4] / "docs" / "reference" / "openapi.json"
KEPT = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OUTWARD = "/api/database/admin/pools/adopt"
"""Left out: it would connect to whatever host is made up."""

OPERATIONS = [
    found.ok()
    for found in schemathesis.openapi.from_dict(document(routes())).get_all_operations()
    if found.ok().path != OUTWARD
]


def test_the_written_contract_is_what_the_service_offers() -> None:
    """Changed on purpose? `python -m database_service.api > docs/reference/openapi.json`."""
    assert json.loads(WRITTEN.read_text()) == document(routes())


async def test_the_contract_is_served(web: Web) -> None:
    answer = await web.client.get("/openapi.json", headers={"Authorization": ""})
    assert answer.json() == json.loads(WRITTEN.read_text())


async def test_the_page_about_it_explains_every_code_and_loads_nothing(web: Web) -> None:
    page = (await web.client.get("/docs", headers={"Authorization": ""})).text
    assert 'id="database_not_found"' in page
    assert re.findall(r'(?:src|href)="([^"]*)"|<script|@import|url\(', page) == ["openapi.json"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
async def test_whatever_is_sent_the_contract_holds(pooled: Web, operation: schemathesis.APIOperation) -> None:
    here = asyncio.get_running_loop()

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case: schemathesis.Case) -> None:
        answer = asyncio.run_coroutine_threadsafe(_send(pooled.client, case), here).result()
        case.validate_response(answer, checks=KEPT)

    await asyncio.to_thread(check)


async def _send(client: httpx.AsyncClient, case: schemathesis.Case) -> httpx.Response:
    asked = requests.Request(**case.as_transport_kwargs(base_url="http://test")).prepare()
    body = asked.body.encode() if isinstance(asked.body, str) else asked.body
    headers = {name: value for name, value in asked.headers.items() if name.lower() != "authorization"}
    return await client.request(str(asked.method), str(asked.url), headers=headers, content=body)
