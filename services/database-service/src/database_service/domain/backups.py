"""Backups of the control plane: what one says of itself, and why it is not to be restored."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

FORMAT = 1


class BackupUnusable(Exception):
    """A backup that is not to be restored, or cannot be made; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. No secret is in it: of a key there is its fingerprint alone."""

    made_at: datetime
    program: str
    """The version of the program that made it."""
    revision: str
    keys: Mapping[str, str]
    """Ids and fingerprints of the keys that something in it is sealed with."""
    rows: Mapping[str, int]
    """How many each table has."""
    settings: Mapping[str, str]
    size: int
    """Bytes of the dump."""
    sha256: str

    def text(self) -> str:
        told = asdict(self) | {"format": FORMAT, "made_at": self.made_at.isoformat()}
        return json.dumps(told, indent=1, sort_keys=True) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Manifest":
        """BackupUnusable where it is damaged or of a format we do not know."""
        try:
            told = json.loads(text)
            if told.pop("format") != FORMAT:
                raise BackupUnusable(
                    "It was made by another version of this program, in a format that is not known here."
                )
            return cls(**told | {"made_at": datetime.fromisoformat(told["made_at"])})
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise BackupUnusable("Its manifest is damaged.") from e


def refuse(manifest: Manifest, ring: Mapping[str, str], newest: str) -> None:
    """BackupUnusable where this key ring (fingerprints by id) or this program cannot do with what is in it."""
    if lacking := sorted(key for key, fingerprint in manifest.keys.items() if ring.get(key) != fingerprint):
        raise BackupUnusable(
            f"The key ring here is not the one it was made with: of the keys it needs, {', '.join(lacking)} "
            f"{'are' if len(lacking) > 1 else 'is'} lacking or another one. Set SECRET_KEYS to that ring."
        )
    if manifest.revision > newest:
        raise BackupUnusable(
            f"Its schema is at revision {manifest.revision}, and this program knows {newest} at most: "
            "restore it with the version that made it, or a newer one."
        )
