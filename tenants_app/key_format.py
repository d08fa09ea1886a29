"""What an API key looks like: ours, and those made elsewhere.

Ours is `tg_`, 32 base62 characters and 6 more of their CRC32, so that scanners know it and a typo
costs no query. Whose it is, and whether it is anyone's, `keys` knows.
"""

import re
import secrets
import zlib
from typing import Final

PREFIX: Final = "tg_"
RANDOM_CHARACTERS: Final = 32
CHECK_CHARACTERS: Final = 6
BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Of a key's beginning, for people to know it by.
SHOWN_CHARACTERS: Final = 7
# What a key may do unless its issuer says otherwise.
DEFAULT_SCOPES: Final = ("chat", "usage:read")
# Imported keys may be any text, but nobody sends a novel; and a short one could be guessed.
SECRET_MIN: Final = 16
SECRET_MAX: Final = 512

_shape = re.compile(f"{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECK_CHARACTERS}}}").fullmatch


def new_secret() -> str:
    """190 random bits in the form of a key."""
    text = "".join(secrets.choice(BASE62) for _ in range(RANDOM_CHARACTERS))
    return f"{PREFIX}{text}{_checksum(text)}"


def well_formed(secret: str) -> bool:
    """Whether this may be one of our keys: its form, and its checksum against typos."""
    if _shape(secret) is None:
        return False
    return _checksum(secret[len(PREFIX) : -CHECK_CHARACTERS]) == secret[-CHECK_CHARACTERS:]


def worth_a_query(secret: str) -> bool:
    """Whether this may be a key at all, ours or an imported one."""
    if secret.startswith(PREFIX):
        return well_formed(secret)
    return SECRET_MIN <= len(secret) <= SECRET_MAX


def importable(secret: str) -> str:
    """The secret itself. Raises ValueError if it could never be recognised or easily be guessed."""
    if not worth_a_query(secret) or not secret.isascii() or not secret.isprintable():
        raise ValueError("An imported key is printable ASCII of 16 to 512 characters, not tg_….")
    if secret != secret.strip() or " " in secret:
        raise ValueError("An imported key holds no spaces.")
    return secret


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), []
    for _ in range(CHECK_CHARACTERS):
        number, rest = divmod(number, 62)
        digits.append(BASE62[rest])
    return "".join(reversed(digits))
