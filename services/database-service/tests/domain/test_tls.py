"""Identities of servers: when they are renewed, by whom, and what clients trust."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from database_service.domain.tls import CERTIFICATE_LIFE, RENEWED_BEFORE, Authority, Identity, issuer_of
from support.tls_server import Vouching

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, SECOND = UUID(int=1), UUID(int=2)
IDENTITY = Identity(
    key_id="k",
    key_sealed=b"",
    certificate="",
    names=frozenset({"pool-a"}),
    not_after=NOW + CERTIFICATE_LIFE,
    authority_id=FIRST,
    installed=True,
    authorities=(Authority(FIRST, 1, "one\n", NOW),),
)
FOLLOWED = replace(
    IDENTITY, authorities=(*IDENTITY.authorities, Authority(SECOND, 2, "two\n", NOW + timedelta(days=30)))
)


@pytest.mark.parametrize(
    ("identity", "host", "after", "due"),
    [
        (IDENTITY, "pool-a", timedelta(), False),
        (IDENTITY, "10.0.0.7", timedelta(), True),
        (IDENTITY, "pool-a", CERTIFICATE_LIFE - RENEWED_BEFORE - timedelta(seconds=1), False),
        (IDENTITY, "pool-a", CERTIFICATE_LIFE - RENEWED_BEFORE, True),
        (replace(IDENTITY, installed=False), "pool-a", timedelta(), True),
        (FOLLOWED, "pool-a", timedelta(days=29), False),
        (FOLLOWED, "pool-a", timedelta(days=30), True),
    ],
)
def test_a_certificate_is_renewed_a_month_before_its_end_for_a_new_address_and_by_a_new_authority(
    identity: Identity, host: str, after: timedelta, due: bool
) -> None:
    assert identity.due(host, NOW + after) is due


def test_an_authority_is_trusted_before_it_vouches_and_after() -> None:
    assert FOLLOWED.roots == "one\ntwo\n"
    assert issuer_of(FOLLOWED.authorities, NOW) == FOLLOWED.authorities[0]
    assert issuer_of(FOLLOWED.authorities, NOW + timedelta(days=30)) == FOLLOWED.authorities[1]
    assert issuer_of((), NOW) is None


def test_strict_clients_take_an_authority_and_it_vouches_for_no_other() -> None:
    context = ssl.create_default_context(cadata=Vouching.new().certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    [authority] = context.get_ca_certs()
    assert authority["subject"] == authority["issuer"]
