"""What of an upstream's error may be logged: a short text without keys and prompts. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable

import orjson

MAX_BODY_BYTES = 16 * 1024
MAX_CHARACTERS = 300
# Enough of a prompt to know its echo by; a shorter one counts only as a whole JSON string.
PROMPT_HEAD_CHARACTERS = 12

_SECRETS = re.compile(
    r"(?i)bearer\s+\S+|\b(?:sk|pk|tg|gsk|xai|hf|r8)[-_][\w*.-]{6,}|\b[\w*+/-]{40,}={0,2}"
)
_BLANK = re.compile(r"[\x00-\x20\x7f-\x9f]+")


def excerpt(body: bytes, *, secret: str = "", prompts: Iterable[str] = ()) -> str:
    """The telling part of an error's body, redacted and bounded.

    `secret` is the key that was sent; `prompts` the texts that were. Upstreams echo both.
    """
    text = _telling(body[:MAX_BODY_BYTES])
    if secret:
        text = text.replace(secret, "[key]")
    for prompt in prompts:
        text = _without(text, prompt)
    return _BLANK.sub(" ", _SECRETS.sub("[key]", text))[:MAX_CHARACTERS].strip()


def _telling(body: bytes) -> str:
    """The messages and codes of the error shapes we know; of any other body its beginning."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    errors = data.get("errors", data.get("error")) if isinstance(data, dict) else None
    told = [_told(error) for error in (errors if isinstance(errors, list) else [errors])]
    return "; ".join(filter(None, told)) or body.decode(errors="replace")


def _told(error: object) -> str:
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    parts = [error.get(key) for key in ("code", "type", "message")]
    return " ".join(str(part) for part in parts if isinstance(part, str | int) and part)


def _without(text: str, prompt: str) -> str:
    """`text` up to where it begins to repeat `prompt`, however much of it follows."""
    for form in (prompt, orjson.dumps(prompt).decode()[1:-1]):
        if len(form) < PROMPT_HEAD_CHARACTERS:
            text = text.replace(f'"{form}"', '"[prompt]"')
        elif (start := text.find(form[:PROMPT_HEAD_CHARACTERS])) >= 0:
            text = text[:start] + "[prompt]"
    return text
