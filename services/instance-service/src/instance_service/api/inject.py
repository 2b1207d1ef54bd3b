"""What routes ask for: Deps, and who is asking."""

from typing import Annotated

from fastapi import Depends, Request

from instance_service.auth.guard import let_in
from instance_service.deps import Deps
from instance_service.domain.ids import Who


async def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Use = Annotated[Deps, Depends(_deps)]
Asked = Annotated[Who, Depends(let_in)]
