"""`python -m database_service …` is `dbs …`."""

from database_service.cli.root import main

if __name__ == "__main__":
    main()
