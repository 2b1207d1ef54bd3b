"""Every locked requirement is pinned to one version and has hashes: python3 requirements/pins.py FILE…

Needs nothing but Python, so that it can be asked before anything is installed.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

PINNED = re.compile(r"[A-Za-z0-9._-]+(?:\[[a-z0-9,_-]+\])?==[A-Za-z0-9.!+]+(?: ; .+)?")
HASHED = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def faults(text: str) -> Iterator[str]:
    """What is wrong with a file of locked requirements, line by line."""
    for requirement in re.sub(r"\\\n\s*", " \t", text).splitlines():
        name, *hashes = (part.strip() for part in requirement.split("\t"))
        if not name or name.startswith("#"):
            continue
        if not PINNED.fullmatch(name):
            yield f"{name!r} is not pinned to one version"
        if not hashes or not all(HASHED.fullmatch(each) for each in hashes):
            yield f"{name!r} has no hash, or something that is none"


def main(paths: list[str]) -> int:
    found = [f"{path}: {fault}" for path in paths for fault in faults(Path(path).read_text())]
    print(*found, sep="\n", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
