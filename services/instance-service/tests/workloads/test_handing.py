"""What a workload is handed of whom to trust."""

from pathlib import PurePosixPath
from uuid import uuid4

from instance_service.domain.ids import InstanceId
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login, WorkloadSpec
from instance_service.workloads import handing

FOLDER = PurePosixPath("/run/secrets")
PLAIN = Login(Address("pool-a", 5432), "shop", "user", Secret("password"))
VERIFIED = Login(PLAIN.address, PLAIN.database, PLAIN.user, PLAIN.password, "-----BEGIN CERTIFICATE-----\n")


def told(login: Login) -> dict[str, str]:
    return handing.environment(WorkloadSpec(InstanceId(uuid4()), "shop", login), FOLDER, "127.0.0.1", 8000)


def test_where_the_server_speaks_tls_a_workload_has_whom_to_trust_as_a_file_and_is_told_to_verify() -> None:
    held, environment = handing.files(VERIFIED, FOLDER), told(VERIFIED)
    assert held["database-ca"] == VERIFIED.roots
    assert held["database-url"].endswith("/shop?sslmode=verify-full&sslrootcert=/run/secrets/database-ca\n")
    assert (environment["PGSSLMODE"], environment["PGSSLROOTCERT"]) == ("verify-full", "/run/secrets/database-ca")


def test_where_it_speaks_none_nothing_is_said_of_it_and_another_authority_is_another_login() -> None:
    assert "database-ca" not in handing.files(PLAIN, FOLDER)
    assert not {"PGSSLMODE", "PGSSLROOTCERT"} & told(PLAIN).keys()
    assert PLAIN.version != VERIFIED.version
