"""`python -m database_service.cli.schema FOLDER`: the whole schema, and its way back, as two scripts."""

import sys
from pathlib import Path

from database_service.store.migrate import rollback_script, schema_script

NAME = "06-database-service-schema"


def write(folder: Path) -> None:
    (folder / f"{NAME}.sql").write_text(schema_script())
    (folder / f"{NAME}-rollback.sql").write_text(rollback_script())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
