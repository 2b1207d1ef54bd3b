"""Exit codes of `dbs`, and how an error becomes one."""

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


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILURE: "it failed; the message says why",
    Exit.USAGE: "the command or a value in it is wrong",
    Exit.NOT_FOUND: "there is no such thing (also: no longer)",
    Exit.REFUSED: "it is there, but not in a state that allows this",
    Exit.NOT_READY: "accepted, not ready yet; ask again",
    Exit.DENIED: "no valid token, or one without the scope",
    Exit.UNAVAILABLE: "the API, or something behind it, does not answer now",
}

_BY_STATUS = {
    400: Exit.REFUSED,
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    410: Exit.NOT_FOUND,
    422: Exit.USAGE,
    429: Exit.UNAVAILABLE,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}


def exit_for(status: int) -> Exit:
    """The exit code for an HTTP status."""
    if status == 202:
        return Exit.NOT_READY
    return Exit.OK if status < 400 else _BY_STATUS.get(status, Exit.FAILURE)


class CommandFailed(Exception):
    """A command ends here: one sentence for a person, one exit code for a script."""

    def __init__(self, sentence: str, code: Exit = Exit.FAILURE, problem: dict[str, object] | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.problem = problem
        """The API's own words (RFC 9457), where they came from there; shown with --json."""
