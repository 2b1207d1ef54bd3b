"""What people read: numbers as they read them, and lines that say what they seem to say."""

from unicodedata import category

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, formats (such as those that turn a line round), halves of letters, ends of lines."""


def size(count: int) -> str:
    """Bytes as `256 MiB`."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.4g} {unit}"


def is_one_line(text: str) -> bool:
    """Whether it is read as it is written: nothing in it breaks the line, turns it round or cannot be seen."""
    return all(category(each) not in _UNSEEN for each in text)
