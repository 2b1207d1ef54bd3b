"""What a cookie holds: values that only we can read and make."""

import base64
import binascii
import json
from typing import Any

from database_service.domain.errors import SecretUnreadable
from database_service.domain.secret import Secret
from database_service.secretbox import SecretBox


def sealed(told: object, place: str, box: SecretBox) -> str:
    """`place` says what it is: a cookie that was made as another thing does not open as this one."""
    return base64.urlsafe_b64encode(box.seal(Secret(json.dumps(told)), place)).decode()


def opened(cookie: str, place: str, box: SecretBox) -> Any:
    """What we sealed; None where it is none of ours, is another thing, or was changed."""
    try:
        return json.loads(box.open(base64.urlsafe_b64decode(cookie), place).reveal())
    except (binascii.Error, ValueError, SecretUnreadable):
        return None
