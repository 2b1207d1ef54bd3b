"""A database-service without servers, for the tests of its consumers.

It answers the real client over HTTP that is never sent, keeps the service's rules about databases, moves and
operations, and has a clock of its own: waiting takes no time. There is no PostgreSQL behind it.
"""

from database_service_client.testing.clock import FakeClock
from database_service_client.testing.fake import FakeDatabaseService, NotFaked

__all__ = ["FakeClock", "FakeDatabaseService", "NotFaked"]
