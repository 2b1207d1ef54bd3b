"""What others said, as text that can be stored and shown."""


def plain(text: str) -> str:
    """Without what PostgreSQL cannot store or a terminal would obey: NUL, escapes, half a character."""
    return "".join(character if character.isprintable() else " " for character in text)
