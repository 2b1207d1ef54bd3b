"""What routes ask for: Deps, and who is asking."""

from typing import Annotated

from fastapi import Depends, Request

from database_service.auth.guard import Asked, requires
from database_service.auth.scopes import Scope
from database_service.deps import Deps


async def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Use = Annotated[Deps, Depends(_deps)]

DatabasesReader = Annotated[Asked, Depends(requires(Scope.DATABASES_READ))]
DatabasesWriter = Annotated[Asked, Depends(requires(Scope.DATABASES_WRITE))]
SecretsReader = Annotated[Asked, Depends(requires(Scope.DATABASES_SECRETS))]
AdminReader = Annotated[Asked, Depends(requires(Scope.ADMIN_READ))]
AdminWriter = Annotated[Asked, Depends(requires(Scope.ADMIN_WRITE))]
OwnDatabasesReader = Annotated[Asked, Depends(requires(Scope.DATABASES_READ, keeps_to_customer=True))]
OwnDatabasesWriter = Annotated[Asked, Depends(requires(Scope.DATABASES_WRITE, keeps_to_customer=True))]
"""For routes that name neither an instance nor an operation in their path, and keep a bound caller to its customer themselves."""
MetricsReader = Annotated[Asked, Depends(requires(Scope.METRICS_READ))]
