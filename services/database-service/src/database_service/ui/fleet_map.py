"""The map of all servers as one short text, which the page's script draws: a tag for each of 20,000 would be a megabyte."""

from collections.abc import Iterable, Iterator
from itertools import groupby

STATES = {
    "h": "healthy",
    "d": "degraded",
    "u": "unhealthy",
    "n": "not looked at yet",
    "c": "cordoned",
    "s": "starting",
    "l": "leaving",
    "e": "error",
}
"""Letters of the text, and what they mean to people."""

LONGEST = 150_000
"""Characters, so that a page with a map stays under 200 kB whatever the servers look like."""


def written(looks: str, most: int, longest: int = LONGEST) -> tuple[str, int]:
    """The words of `views.fleet.Looks`, each of those that are alike and follow each other told once: `@7 h50/48x3 u50/50`.

    And how many servers it tells of: those beyond `most`, and those that would make it longer than `longest`, are left out.
    """
    words, length, servers = [], -1, 0
    for word, times in _runs(_first(most, looks.split())):
        length += 1 + len(word)
        if length > longest:
            break
        words.append(word)
        servers += times
    return " ".join(words), servers


def _first(most: int, words: Iterable[str]) -> Iterator[str]:
    """Up to so many servers."""
    for word in words:
        if word[0] != "@":
            most -= 1
        if most < 0:
            return
        yield word


def _runs(words: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Each word, and of how many servers it tells."""
    for word, run in groupby(words):
        if word[0] == "@":
            yield word, 0
        elif (times := sum(1 for _ in run)) == 1:
            yield word, 1
        else:
            yield f"{word}x{times}", times
