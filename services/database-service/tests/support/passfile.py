"""PostgreSQL's own programs get passwords from a file: never as an argument, never in their environment."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def with_password(password: str) -> Iterator[Mapping[str, str]]:
    """The environment for a program of PostgreSQL that is to log in with this password."""
    with tempfile.NamedTemporaryFile("w") as passfile:  # made for its owner alone, as libpq demands
        passfile.write(f"*:*:*:*:{password}\n")
        passfile.flush()
        yield os.environ | {"PGPASSFILE": passfile.name}
