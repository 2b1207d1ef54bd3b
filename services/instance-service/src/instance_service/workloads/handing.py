"""How a workload is handed the login to its database: files that hold the password and whom to trust, and an environment that
names them."""

from collections.abc import Mapping
from pathlib import PurePath
from urllib.parse import quote, urlencode

from instance_service.domain.workloads import Login, WorkloadSpec

URL, PASSFILE, ROOTS = "database-url", "pgpass", "database-ca"
"""The files' names, in whichever folder a runner puts them."""
VERIFIED = "verify-full"


def files(login: Login, folder: PurePath) -> Mapping[str, str]:
    """What is in each file, of those that come to lie in `folder`. They hold the password: only the workload may read them."""
    held = {URL: f"{_url(login, folder)}\n", PASSFILE: f"{_passfile(login)}\n"}
    return held | ({ROOTS: login.roots} if login.roots else {})


def environment(spec: WorkloadSpec, folder: PurePath, host: str, port: int) -> dict[str, str]:
    """All that a workload is told beside the files, which it finds in `folder`; it is to listen on `host` and `port`.

    What the caller asked for comes first: it cannot name another database, nor another port.
    """
    login = spec.login
    return {
        **spec.env,
        "INSTANCE_ID": str(spec.id),
        "INSTANCE_NAME": spec.name,
        "HOST": host,
        "PORT": str(port),
        "DATABASE_URL_FILE": str(folder / URL),
        "PGHOST": login.address.host,
        "PGPORT": str(login.address.port),
        "PGDATABASE": login.database,
        "PGUSER": login.user,
        "PGPASSFILE": str(folder / PASSFILE),
        **({"PGSSLMODE": VERIFIED, "PGSSLROOTCERT": str(folder / ROOTS)} if login.roots else {}),
    }


def _url(login: Login, folder: PurePath) -> str:
    user, password, database = (quote(part, safe="") for part in (login.user, login.password.reveal(), login.database))
    host = f"[{login.address.host}]" if ":" in login.address.host else login.address.host
    verified = urlencode({"sslmode": VERIFIED, "sslrootcert": folder / ROOTS}, safe="/")
    return f"postgresql://{user}:{password}@{host}:{login.address.port}/{database}" + (
        f"?{verified}" if login.roots else ""
    )


def _passfile(login: Login) -> str:
    told = (login.address.host, str(login.address.port), login.database, login.user, login.password.reveal())
    return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in told)
