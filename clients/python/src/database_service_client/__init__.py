"""The client of database-service: databases on demand, typed, sync and async."""

from database_service_client.asking import Retries, Time, request_id
from database_service_client.client import (
    Admin,
    AsyncAdmin,
    AsyncDatabaseService,
    AsyncOperation,
    AsyncOperations,
    DatabaseService,
    Operation,
    Operations,
)
from database_service_client.models import Address, Allocation, Credentials, Database, Moved, MoveReport
from database_service_client.watching import AsyncWatch, Watch

__all__ = [
    "Address", "Admin", "Allocation", "AsyncAdmin", "AsyncDatabaseService", "AsyncOperation", "AsyncOperations", "AsyncWatch",
    "Credentials", "Database", "DatabaseService", "MoveReport", "Moved", "Operation", "Operations", "Retries",
    "Time", "Watch", "request_id",
]  # fmt: skip
