"""`python -m database_service.api` prints what docs/reference/openapi.json must hold."""

import json

from database_service.api.app import routes
from database_service.api.openapi import document

if __name__ == "__main__":
    print(json.dumps(document(routes()), indent=2, ensure_ascii=False))  # noqa: T201  its purpose
