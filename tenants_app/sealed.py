"""Encrypted values that only their owner opens: AES-256-GCM under a ring of keys.

A sealed value is bound to a context (table, column and the row's UUID), so that it opens nowhere
else. This module owns no keys: the ring comes from the settings (TOLLGATE_KEY_RING).
"""

import base64
import binascii
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class CannotOpen(Exception):
    """A sealed value was moved, changed, or sealed with a key that is not in the ring."""


class Sealed:
    """An encrypted value. It shows nothing of itself; only `open_sealed` opens it."""

    __slots__ = ("_key_id", "_stored")

    def __init__(self, stored: str) -> None:
        """From the text of the column: `key id:base64 of nonce and ciphertext`."""
        key_id, colon, payload = stored.partition(":")
        try:
            size = len(base64.b64decode(payload, validate=True))
        except binascii.Error:
            size = 0
        if not key_id or not colon or size <= NONCE_BYTES:
            raise ValueError("This is not a sealed value.")
        self._key_id = key_id
        self._stored = stored

    @property
    def key_id(self) -> str:
        """Which key of the ring it was sealed with."""
        return self._key_id

    def __repr__(self) -> str:
        return "<Sealed>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self._stored == other._stored

    def __hash__(self) -> int:
        return hash(self._stored)

    def __copy__(self) -> "Sealed":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sealed":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A sealed value is not pickled.")


def seal(text: str, *, context: str) -> Sealed:
    """Encrypt with the first key of the ring; opens only with the same context."""
    key_id, cipher = next(iter(key_ring().items()))
    nonce = os.urandom(NONCE_BYTES)
    payload = nonce + cipher.encrypt(nonce, text.encode(), context.encode())
    return Sealed(f"{key_id}:{base64.b64encode(payload).decode()}")


def open_sealed(sealed: Sealed, *, context: str) -> str:
    """The text. Raises CannotOpen, which says nothing about the value."""
    cipher = key_ring().get(sealed.key_id)
    if cipher is None:
        raise CannotOpen(f"The key {sealed.key_id!r} is not in TOLLGATE_KEY_RING.")
    payload = base64.b64decode(stored_text(sealed).partition(":")[2])
    try:
        text = cipher.decrypt(payload[:NONCE_BYTES], payload[NONCE_BYTES:], context.encode())
    except InvalidTag as error:
        raise CannotOpen("The value was changed, or sealed for another row.") from error
    return text.decode()


def is_current(sealed: Sealed) -> bool:
    """Whether it was sealed with the key that encrypts today."""
    return sealed.key_id == next(iter(key_ring()))


def stored_text(sealed: Sealed) -> str:
    """The text of the column, for the column alone."""
    return sealed._stored


def key_ring() -> dict[str, AESGCM]:
    """The keys by id, the encrypting one first. Raises ImproperlyConfigured."""
    return _parse_ring(settings.TOLLGATE_KEY_RING)


@lru_cache(maxsize=4)
def _parse_ring(text: str) -> dict[str, AESGCM]:
    ring: dict[str, AESGCM] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key_id, _, encoded = item.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not key_id or len(key) != KEY_BYTES or key_id in ring:
            raise ImproperlyConfigured(
                "TOLLGATE_KEY_RING must be a list of id:base64 of 32 bytes, each id once."
            )
        ring[key_id] = AESGCM(key)
    if not ring:
        raise ImproperlyConfigured("TOLLGATE_KEY_RING holds no key; set it to id:base64key.")
    return ring


if TYPE_CHECKING:
    SealedColumn = models.TextField[Sealed | None, Sealed | None]
else:
    SealedColumn = models.TextField


class SealedField(SealedColumn):
    """A column of sealed values; it takes nothing but `Sealed`, so no plain text lands in it."""

    description = "An encrypted value"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("editable", None)
        return name, path, args, kwargs

    def from_db_value(self, value: str | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def to_python(self, value: Any) -> Sealed | None:
        """Dumps hold the ciphertext as text; any other text is refused."""
        if value is None or isinstance(value, Sealed):
            return value
        try:
            return Sealed(value)
        except (ValueError, AttributeError) as error:
            raise ValidationError("This is not a sealed value.", code="not_sealed") from error

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise TypeError("A sealed column takes a Sealed; seal the text first.")
        return stored_text(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else stored_text(value)
