"""The guard: outlives a harness that is killed, and leaves nothing of its system behind.

It is started before anything else with the folder as its argument, and waits for the end of its input. Told that the harness
has ended in order, it leaves the folder to whoever made it.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.sweeping import clear, remove

IN_ORDER = b"in order"
WAIT_S = 60


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Whatever happens to us, everything that has to do with `folder` ends."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "chaos.guard", str(folder)],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        start_new_session=True,  # Ctrl-C is for the harness
    )
    try:
        yield
    finally:
        guard.communicate(IN_ORDER, timeout=WAIT_S)


def main(folder: Path) -> None:
    in_order = sys.stdin.buffer.read() == IN_ORDER
    left = clear(folder)
    if left:
        print(f"{len(left)} processes had to be ended: {left[:5]}", file=sys.stderr)
    if not in_order:
        remove(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
