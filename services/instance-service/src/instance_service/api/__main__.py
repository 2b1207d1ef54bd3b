"""`python -m instance_service.api` prints what docs/reference/instance-service-openapi.json must hold."""

import json

from instance_service.api.app import routes
from instance_service.api.openapi import document

if __name__ == "__main__":
    print(json.dumps(document(routes()), indent=2, ensure_ascii=False))  # noqa: T201  its purpose
