"""`todo`: serve the list until SIGTERM."""

import uvicorn

from todo.app import make_app
from todo.settings import Settings

DRAIN_S = 3


def main() -> None:
    settings = Settings.load()
    uvicorn.run(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


if __name__ == "__main__":
    main()
