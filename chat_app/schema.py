"""The body of POST /chat: checked by hand, because every request pays for it. PURE.

Owns the shape of one message and one call; knows no tenant, no model and no HTTP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tenants_app.errors import InvalidRequest

MAX_MESSAGE_CHARACTERS = 10_000
MAX_MODEL_ID_CHARACTERS = 200
MAX_USER_ID_CHARACTERS = 200
MAX_TOKENS = 1_000_000
MAX_TEMPERATURE = 2
MAX_METADATA_ENTRIES = 16
MAX_METADATA_KEY_CHARACTERS = 64
MAX_METADATA_VALUE_CHARACTERS = 512
MAX_METADATA_NUMBER = 2**53

# uuid.UUID alone would also take spaces, underscores and other digits than 0-9.
_UUID_TEXT = re.compile(
    r"(?:urn:uuid:)?\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE | re.ASCII
)
# A model id is sent back in a header, so it is visible ASCII.
_MODEL_ID = re.compile(rf"[\x21-\x7e]{{1,{MAX_MODEL_ID_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat request that is well formed. Whether it may be made is decided elsewhere."""

    session_id: UUID
    message: str
    model_id: str | None = None
    stream: bool = True
    user_id: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def parse_chat(data: object) -> ChatCall:
    """The call in a decoded JSON body; an optional field that is null counts as absent.

    Raises InvalidRequest whose `fields` name every bad, missing or unknown field.
    """
    if not isinstance(data, dict):
        raise InvalidRequest.fields({"body": "must be a JSON object"})
    values: dict[str, Any] = {}
    bad: dict[str, str] = {name: "is required" for name in _REQUIRED if data.get(name) is None}
    for name, value in data.items():
        rule = _FIELDS.get(name)
        if rule is None:
            bad[str(name)] = "is not a known field"
        elif value is not None:
            attribute, read = rule
            try:
                values[attribute] = read(value)
            except _Bad as exc:
                bad[name] = str(exc)
    if bad:
        raise InvalidRequest.fields(bad)
    return ChatCall(**values)


def parse_session_id(text: str) -> UUID:
    """The session that a path names, in any way of writing a UUID. Raises InvalidRequest."""
    try:
        return _session_id(text)
    except _Bad as exc:
        raise InvalidRequest.fields({"sessionId": str(exc)}) from None


class _Bad(ValueError):
    """Why a value is refused, as the client reads it behind the field's name."""


def _session_id(value: object) -> UUID:
    if not isinstance(value, str) or not _UUID_TEXT.fullmatch(value):
        raise _Bad("must be a UUID")
    return UUID(value)


def _message(value: object) -> str:
    return _text(value, MAX_MESSAGE_CHARACTERS)


def _model_id(value: object) -> str:
    if not isinstance(value, str) or not _MODEL_ID.fullmatch(value):
        raise _Bad(f"must be 1 to {MAX_MODEL_ID_CHARACTERS} visible ASCII characters")
    return value


def _user_id(value: object) -> str:
    return _text(value, MAX_USER_ID_CHARACTERS)


def _stream(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Bad("must be true or false")
    return value


def _max_tokens(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_TOKENS:
        raise _Bad(f"must be a whole number from 1 to {MAX_TOKENS}")
    return value


def _temperature(value: object) -> float:
    # bool is an int to Python, and NaN fails every comparison.
    if type(value) not in {int, float} or not 0 <= value <= MAX_TEMPERATURE:  # type: ignore[operator]
        raise _Bad(f"must be a number from 0 to {MAX_TEMPERATURE}")
    return float(value)  # type: ignore[arg-type]


def _metadata(value: object) -> dict[str, str | int | float | bool]:
    if not isinstance(value, dict):
        raise _Bad("must be an object")
    if len(value) > MAX_METADATA_ENTRIES:
        raise _Bad(f"must have at most {MAX_METADATA_ENTRIES} entries")
    for key, entry in value.items():
        if not key or len(key) > MAX_METADATA_KEY_CHARACTERS or not _storable(key):
            raise _Bad(f"must have keys of 1 to {MAX_METADATA_KEY_CHARACTERS} characters")
        if not _metadata_value(entry):
            raise _Bad(
                f"must have values that are true, false, numbers up to 2^53 or strings of at most"
                f" {MAX_METADATA_VALUE_CHARACTERS} characters"
            )
    return value


def _metadata_value(entry: object) -> bool:
    if isinstance(entry, str):
        return len(entry) <= MAX_METADATA_VALUE_CHARACTERS and _storable(entry)
    if isinstance(entry, (int, float)):
        return math.isfinite(entry) and abs(entry) <= MAX_METADATA_NUMBER
    return False


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise _Bad(f"must be a string of 1 to {longest} characters")
    if not _storable(value):
        raise _Bad("must not contain NUL or half a surrogate pair")
    return value


def _storable(text: str) -> bool:
    """Whether Postgres and UTF-8 can hold it: one bad row would fail a whole batch of others."""
    if "\x00" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_REQUIRED = ("sessionId", "message")
_FIELDS: dict[object, tuple[str, Callable[[object], Any]]] = {
    "sessionId": ("session_id", _session_id),
    "message": ("message", _message),
    "modelId": ("model_id", _model_id),
    "stream": ("stream", _stream),
    "userId": ("user_id", _user_id),
    "maxTokens": ("max_tokens", _max_tokens),
    "temperature": ("temperature", _temperature),
    "metadata": ("metadata", _metadata),
}
