"""A home for local servers: whatever a test leaves running in it is stopped."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from support.folders import open_folder


@pytest.fixture
def home(runtime: PostgresRuntime) -> Iterator[Path]:
    with open_folder() as directory:
        yield directory
        asyncio.run(ProcessProvisioner(runtime, directory).stop_all())


@pytest.fixture
def local(runtime: PostgresRuntime, home: Path) -> ProcessProvisioner:
    return ProcessProvisioner(runtime, home)
