"""`python -m instance_service …` is `instances …`."""

from instance_service.cli.root import main

if __name__ == "__main__":
    main()
