"""Every line goes one way, carries its context and has lost its secrets."""

import json
import logging

import pytest
import structlog
from django.conf import settings

from gateway_project.logging import REDACTED, configure, logging_config, redact

KEY = "tg_0123456789abcdefghijklmnopqrstuvABCDEF"


def last_line(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    line = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert isinstance(line, dict)
    return line


@pytest.mark.parametrize(
    "name",
    ["authorization", "api_key", "x-api-key", "password", "upstream_token", "Set-Cookie", "prompt"],
)
def test_redact_hides_by_name(name: str) -> None:
    assert redact(None, "info", {name: "something"}) == {name: REDACTED}


@pytest.mark.parametrize("name", ["tokens_in", "total_tokens", "key_id", "model", "cookies_seen"])
def test_redact_keeps_figures(name: str) -> None:
    assert redact(None, "info", {name: "something"}) == {name: "something"}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        (f"key {KEY} refused", f"key {REDACTED} refused"),
        ("sk-proj-abcdef123456 expired", f"{REDACTED} expired"),
        ("postgres://me:hunter2@host/db", f"postgres://{REDACTED}@host/db"),
    ],
)
def test_redact_hides_by_looks_at_any_depth(text: str, left: str) -> None:
    event = {"event": text, "attempts": [{"excerpt": text}], "raw": text.encode()}
    assert redact(None, "info", event) == {
        "event": left,
        "attempts": [{"excerpt": left}],
        "raw": left,
    }


def test_structlog_line_carries_its_context(capfd: pytest.CaptureFixture[str]) -> None:
    with structlog.contextvars.bound_contextvars(tenantId="acme", traceId="t-1"):
        structlog.get_logger().info("chat", tokens=3, password="x")
    line = last_line(capfd)
    assert line.pop("timestamp")
    assert line == {
        "event": "chat",
        "level": "info",
        "tenantId": "acme",
        "traceId": "t-1",
        "tokens": 3,
        "password": REDACTED,
    }


def test_standard_library_line_goes_the_same_way(capfd: pytest.CaptureFixture[str]) -> None:
    with structlog.contextvars.bound_contextvars(tenantId="acme"):
        logging.getLogger("django.request").warning("refused %s", KEY)
    line = last_line(capfd)
    assert line.pop("timestamp")
    assert line == {
        "event": f"refused {REDACTED}",
        "level": "warning",
        "logger": "django.request",
        "tenantId": "acme",
    }


def test_exception_text_is_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError(KEY)
    except ValueError:
        structlog.get_logger().exception("failed")
    line = last_line(capfd)
    assert f"ValueError: {REDACTED}" in str(line["exception"])
    assert KEY not in str(line)


def test_console_format_is_readable(capfd: pytest.CaptureFixture[str]) -> None:
    configure(logging_config("console", "INFO"))
    try:
        structlog.get_logger().info("chat", tenantId="acme", secret="x")
        logging.getLogger("anything").info("hello")
        logging.getLogger("httpx").info("too chatty")
    finally:
        configure(settings.LOGGING)
    shown = capfd.readouterr().err
    assert "tenantId=acme" in shown
    assert f"secret={REDACTED}" in shown
    assert "hello" in shown
    assert "too chatty" not in shown
