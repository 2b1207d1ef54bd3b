"""`python -m database_service …` is `dbs …`."""

from database_service.cli.signals import silent


def main() -> None:
    """Read the commands' code, which takes longest of what most of them do, and run one."""
    with silent():
        from database_service.cli.root import main as run  # noqa: PLC0415  Ctrl-C may come before it is read
    run()


if __name__ == "__main__":
    main()
