"""A home for local servers: whatever a test leaves running in it is stopped."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime


@pytest.fixture
def home(runtime: PostgresRuntime) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="dbs-test-home-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    asyncio.run(ProcessProvisioner(runtime, directory).stop_all())
    shutil.rmtree(directory)


@pytest.fixture
def local(runtime: PostgresRuntime, home: Path) -> ProcessProvisioner:
    return ProcessProvisioner(runtime, home)
