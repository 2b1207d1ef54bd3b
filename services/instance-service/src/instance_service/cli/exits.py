"""Exit codes of `instances`, which are those of `dbs`, and how an error becomes one."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    NOT_READY = 5
    DENIED = 6
    UNAVAILABLE = 7


_BY_STATUS = {
    401: Exit.DENIED,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    410: Exit.NOT_FOUND,
    422: Exit.USAGE,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}


def exit_for(status: int) -> Exit:
    """The exit code for an HTTP status that is no success."""
    return _BY_STATUS.get(status, Exit.FAILURE)


class CommandFailed(Exception):
    """A command ends here: one sentence for a person, one exit code for a script."""

    def __init__(self, sentence: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__(sentence)
        self.code = code
