"""The search for secrets finds what it is there to find."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from database_service.auth.tokens import new_token
from database_service.secretbox import new_password
from support.house import House
from support.secrets import KNOWN, Leak, Remembered, refuse_in_rows
from support.web import refuse_in_error

LEAKY = """
from database_service.secretbox import new_password

def test_that_tells():
    print("postgresql://bob:" + new_password().reveal() + "@db")
"""


@pytest.mark.parametrize("around", ["{}", "a-{}-b", "postgresql://bob:{}@db/x", '"{}"', "x" * 500 + "{}"])
def test_a_secret_is_found_whatever_stands_around_it(around: str) -> None:
    for secret in (new_password().reveal(), new_token().reveal()):
        with pytest.raises(Leak, match="SECRET") as found:
            KNOWN.refuse(around.format(secret), "a text")
        assert secret.removeprefix("dbs_") not in str(found.value)


def test_what_is_no_secret_is_left_alone() -> None:
    known = Remembered()
    known.remember("s" * 32)
    known.remember("too-short-to-be-random")
    known.refuse("too-short-to-be-random " + "t" * 64 + " 0189c1f4-8d3b-7c4e-9f4e-000000000000", "a text")


def test_a_process_is_not_started_with_a_secret() -> None:
    secret = new_password().reveal()
    with pytest.raises(Leak, match="arguments"):
        subprocess.run([sys.executable, "-c", "pass", secret], check=False)
    with pytest.raises(Leak, match="environment"):
        subprocess.run([sys.executable, "-c", "pass"], env=dict(os.environ) | {"PGPASSWORD": secret}, check=False)


@pytest.fixture
async def pool(house: House) -> object:
    return (await house.pool()).id


@pytest.mark.parametrize(
    "column",
    [
        "last_error = $2",
        "health_message = $2",
        "facts = jsonb_build_object('a', $2)",
        "admin_password_sealed = $2::bytea",
    ],
)
async def test_a_secret_in_any_column_is_found_also_where_it_was_not_sealed(
    house: House, pool: object, column: str
) -> None:
    secret: str = house.tenant.password.reveal()
    async with house.deps.db.transaction() as conn:
        await refuse_in_rows(conn)
        given = secret.encode() if "bytea" in column else secret
        before = await conn.fetchrow("SELECT * FROM servers WHERE id = $1", pool)
        await conn.execute(f"UPDATE servers SET {column.replace('$2)', '$2::text)')} WHERE id = $1", pool, given)
        with pytest.raises(Leak, match="table servers"):
            await refuse_in_rows(conn)
        await conn.execute(
            """UPDATE servers SET last_error = NULL, health_message = NULL, facts = '{}', admin_password_sealed = $2
            WHERE id = $1""",
            pool,
            before["admin_password_sealed"],
        )


async def test_a_secret_in_the_answer_of_an_error_is_found() -> None:
    asked = httpx.Request("POST", "http://test/x")
    told = {"detail": f"wrong: {new_password().reveal()}"}
    await refuse_in_error(httpx.Response(200, json=told, request=asked))
    with pytest.raises(Leak, match="the answer 422"):
        await refuse_in_error(httpx.Response(422, json=told, request=asked))


def test_a_test_that_prints_a_secret_fails(tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["support.fixtures"]')
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert "1 failed" in ran.stdout, ran.stdout
    assert "postgresql://bob:<SECRET>@db" in ran.stdout
