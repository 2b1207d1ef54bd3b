"""The models say what the contract says: the same fields, of the same types."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from database_service_client import models

CONTRACT = json.loads((Path(__file__).parents[3] / "docs" / "reference" / "openapi.json").read_text())
SCHEMAS = CONTRACT["components"]["schemas"]

MODELS = {
    "AdoptionOut": models.AdoptionReport,
    "AliveOut": models.Alive,
    "AllocationOut": models.Allocation,
    "AuthoritiesOut": models.AuthorityList,
    "AuthorityOut": models.Authority,
    "CheckOut": models.Check,
    "CredentialsOut": models.Credentials,
    "DatabaseChangeOut": models.DatabaseChange,
    "DatabaseHistoryOut": models.DatabaseHistory,
    "DatabaseOut": models.Database,
    "DedicatedOut": models.DedicatedServer,
    "DriftOut": models.Drift,
    "DriftsOut": models.DriftPage,
    "EventOut": models.Event,
    "EventsOut": models.EventPage,
    "FaultOut": models.Fault,
    "FieldError": models.FieldError,
    "HealthCheckOut": models.HealthCheck,
    "IssuedOut": models.IssuedToken,
    "KeyOut": models.Key,
    "KeysOut": models.KeyRing,
    "LimitsOut": models.Limits,
    "LoginOut": models.Login,
    "LookOut": models.Look,
    "MoveOut": models.Progress,
    "MoveReportOut": models.MoveReport,
    "NeighbourOut": models.Neighbour,
    "NeighboursOut": models.NeighbourList,
    "OfferOut": models.RemovalOffer,
    "OperationOut": models.OperationRecord,
    "OperationsOut": models.OperationPage,
    "PendingOut": models.Pending,
    "PoolHistoryOut": models.PoolHistory,
    "PoolOut": models.Pool,
    "PoolThenOut": models.PoolThen,
    "PoolsOut": models.PoolPage,
    "Problem": models.Problem,
    "ReadyOut": models.Readiness,
    "RequestOut": models.LoggedRequest,
    "RequestsOut": models.RequestPage,
    "RotationOut": models.Rotation,
    "ServerRefOut": models.ServerRef,
    "SharesOut": models.Shares,
    "SizeThenOut": models.SizeThen,
    "StatsOut": models.Stats,
    "StepOut": models.OperationStep,
    "TokenOut": models.Token,
    "TokensOut": models.TokenList,
    "UnlookedOut": models.Unlooked,
    "UsageOut": models.Usage,
    "VerificationOut": models.Verification,
}


def answered() -> set[str]:
    """Every schema that is, or is part of, an answer. What is sent is checked with the verbs."""
    roots = [
        content["schema"]
        for path in CONTRACT["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
    ]
    found: set[str] = set()
    while roots:
        for name in refs(roots.pop()) - found:
            found.add(name)
            roots.append(SCHEMAS[name])
    return {name for name in found if "properties" in SCHEMAS[name]}


def refs(schema: Any) -> set[str]:
    match schema:
        case {"$ref": ref}:
            return {ref.rsplit("/", 1)[1]}
        case dict():
            return {name for part in schema.values() for name in refs(part)}
        case list():
            return {name for part in schema for name in refs(part)}
        case _:
            return set()


def plain(schema: dict[str, Any], definitions: dict[str, Any], names: dict[str, str]) -> Any:
    """Its shape alone: enumerations are texts, models are named, what describes is left out."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return plain(definitions[name], definitions, names) if "enum" in definitions[name] else names.get(name, name)
    if "anyOf" in schema:
        return sorted((plain(part, definitions, names) for part in schema["anyOf"]), key=repr)
    shape = {key: schema[key] for key in ("type", "format") if key in schema}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            shape[key] = plain(schema[key], definitions, names)
    return shape


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_has_the_fields_of_the_contract_and_no_others(name: str) -> None:
    ours = TypeAdapter(MODELS[name]).json_schema()
    mine = {model.__name__: schema for schema, model in MODELS.items()}
    told = {f: plain(s, SCHEMAS, {}) for f, s in SCHEMAS[name]["properties"].items()}
    have = {f: plain(s, ours.get("$defs", {}), mine) for f, s in ours["properties"].items()}
    assert have == told


def test_every_answer_of_the_contract_has_a_model() -> None:
    assert set(MODELS) == answered() - {"HTTPValidationError", "ValidationError"}


def test_a_field_that_a_newer_service_adds_is_ignored() -> None:
    told = b'{"status": "alive", "checked": [], "mood": {"since": "monday"}}'
    assert models.parse(models.Alive, told) == models.Alive(status="alive", checked=())


@pytest.mark.parametrize("told", [b"", b"<html>", b"[]", b'{"status": 7}', b'{"status": "a", "checked": "s3cret"}'])
def test_what_is_no_such_model_is_refused_without_repeating_it(told: bytes) -> None:
    with pytest.raises(models.Mismatch) as refused:
        models.parse(models.Alive, told)
    assert "s3cret" not in str(refused.value)
