"""One way to log for everything: structlog's events and the standard library's records.

Lines are JSON in production and readable in development, go to standard error, carry the context
variables of their request, and lose every secret before they are rendered.
"""

from __future__ import annotations

import io
import logging
import logging.config
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

# By name: what must not be looked at. `tokens_in` and `key_id` are figures and stay.
SECRET_NAME = re.compile(
    r"(^|[_\-.])(authorization|api[_-]?key|password|secret|secret[_-]?key|token|cookie|pepper"
    r"|key[_-]?ring|credentials?|prompt|messages|content)$",
    re.IGNORECASE,
)
# By looks: bearer credentials, our keys, providers' keys, passwords inside of URLs.
SECRET_TEXT = re.compile(
    r"(\bbearer )\S+|\btg_\w{6,}|\bsk-[\w-]{6,}|(://)[^\s/:@]*:[^\s/@]+(?=@)", re.IGNORECASE
)
# SECRET_TEXT matches nothing that has none of these.
SECRET_SIGNS = ("bearer ", "tg_", "sk-", "://")
REPLACEMENT = rf"\1\2{REDACTED}"

# Bound to the descriptor, not to sys.stderr, which test runners replace and close.
_stderr = open(2, "wb", closefd=False)  # noqa: SIM115 - a descriptor, open for good
STREAM = io.TextIOWrapper(_stderr, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """The last processor before rendering: takes out secrets at any depth."""
    if _is_plain(event_dict):
        return event_dict
    return {name: _redacted(name, value) for name, value in event_dict.items()}


def configure(config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: set up the standard library and structlog alike."""
    logging.config.dictConfig(config)
    as_json = config["formatters"]["line"]["as_json"]
    level = logging.getLevelNamesMapping()[config["root"]["level"]]
    factory = (
        structlog.BytesLoggerFactory(_stderr) if as_json else structlog.WriteLoggerFactory(STREAM)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *_shared(),
            redact,
            _renderer(as_json),
        ],
        # Not through the standard library: each request writes a line, and this is the cheaper way.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def logging_config(line_format: str, level: str) -> dict[str, Any]:
    """What settings.LOGGING holds, for `json` or `console`."""
    handled = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": "gateway_project.logging.Formatter", "as_json": line_format == "json"}
        },
        "filters": {"refusals": {"()": "gateway_project.logging.RefusalsAreLines"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://gateway_project.logging.STREAM",
                "formatter": "line",
                "filters": ["refusals"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            # Django and uvicorn bring handlers of their own: everything goes to the root instead.
            **dict.fromkeys(("django", "django.server", "uvicorn", "uvicorn.error"), handled),
            # Without a handler uvicorn does not even make its access lines; ours say more.
            "uvicorn.access": {"handlers": [], "propagate": False},
            # These tell each request and each task; ours tell what matters about both.
            **dict.fromkeys(QUIET, handled | {"level": "WARNING"}),
        },
    }


QUIET = ("aiohttp", "asyncio", "celery", "httpx", "httpcore", "kombu", "psycopg.pool")


class RefusalsAreLines(logging.Filter):
    """Django's records of what was refused or not found tell so, without where in the code."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True


class Formatter(structlog.stdlib.ProcessorFormatter):
    """Renders the standard library's records as structlog's events are rendered."""

    def __init__(self, *, as_json: bool) -> None:
        remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        super().__init__(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                *_shared(),
            ],
            processors=[remove, redact, _text(_renderer(as_json))],
        )


def _shared() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def _renderer(as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_dumps)
    return structlog.dev.ConsoleRenderer(
        colors=STREAM.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _text(renderer: Processor) -> Processor:
    def render(logger: WrappedLogger, method: str, event_dict: EventDict) -> str:
        line = renderer(logger, method, event_dict)
        return line.decode() if isinstance(line, bytes) else str(line)

    return render


def _dumps(event: EventDict, default: Any) -> bytes:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS)


@lru_cache(maxsize=2048)
def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


def _redacted(name: object, value: object) -> object:
    if value is None:
        return None
    if isinstance(name, str) and _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        return SECRET_TEXT.sub(REPLACEMENT, value)
    if isinstance(value, Mapping):
        return {key: _redacted(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(None, inner) for inner in value]
    if isinstance(value, bytes):
        return SECRET_TEXT.sub(REPLACEMENT, value.decode(errors="replace"))
    return value


def _is_plain(event_dict: EventDict) -> bool:
    """Whether nothing can be in it that must be taken out: what nearly every line is, cheaply."""
    texts = []
    for name, value in event_dict.items():
        if _is_secret(name):
            return False
        if isinstance(value, str):
            texts.append(value)
        elif value is not None and not isinstance(value, int | float):
            return False
    text = " ".join(texts).lower()
    return not any(sign in text for sign in SECRET_SIGNS)
