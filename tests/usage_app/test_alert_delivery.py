"""Alerts on their way: real receivers on real sockets, which fail, lie and hang."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from tenants_app.models import AlertTargets
from tests.usage_app import receivers
from tests.usage_app.alerting import SECRET, hurry, make_watched, run
from tests.usage_app.receivers import MailServer, Webhook
from usage_app.alerts import channels, delivery, watch
from usage_app.models import Alert, AlertDelivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with receivers.webhook() as one:
        yield one


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[MailServer]:
    with receivers.mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield server


def documented_check() -> Any:
    """The receiver's verification, as the page about alerts has it."""
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    names: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], names)
    return names["is_genuine"]


def states() -> list[tuple[str, str, int, str]]:
    rows = AlertDelivery.objects.order_by("channel", "target")
    return list(rows.values_list("target", "state", "attempts", "last_error"))


def test_mail_says_what_was_used_and_when_it_resets(mail_server: MailServer) -> None:
    make_watched(tokens=962, emails=["ops@acme.example", "cfo@acme.example"])
    run()
    run()
    assert sorted(to for to, _ in mail_server.mails) == ["cfo@acme.example", "ops@acme.example"]
    _, message = mail_server.mails[0]
    alert = Alert.objects.get(percent=95)
    assert message["Subject"] == "[Tollgate] acme: 95 % of 1,000 tokens per day used"
    text = str(message.get_payload())
    for part in ("Acme (acme)", "962 tokens (96.2 %)", "Europe/Vienna (UTC+0"):
        assert part in text
    own = alert.deliveries.get(target=mail_server.mails[0][0]).pk
    assert message["Message-ID"] == f"<{own}@localhost>"
    assert [row[1:] for row in states()] == [("sent", 1, "")] * 2


def test_webhook_is_signed_and_its_receiver_can_tell(webhook: Webhook) -> None:
    make_watched(tokens=800, webhook_url=webhook.url)
    run()
    [call] = webhook.calls
    alert = Alert.objects.get()
    assert call.line == "POST /hooks/tollgate HTTP/1.1"
    assert call.headers["webhook-id"] == f"alert_{alert.pk}"
    stamp = call.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = f"alert_{alert.pk}.{stamp}.".encode() + call.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert call.headers["webhook-signature"] == f"v1,{digest}"
    assert documented_check()(SECRET, call.headers, call.body)
    assert not documented_check()(SECRET, call.headers, call.body + b" ")
    told = json.loads(call.body)
    assert told["type"] == "budget.threshold_crossed"
    assert told["data"] == {
        "tenantId": "acme", "scope": "tenant", "team": None, "key": None, "metric": "tokens",
        "period": "day", "percent": 80, "used": 800, "limit": 1000, "currency": None,
        "startsAt": f"{alert.starts_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "resetsAt": f"{alert.ends_at:%Y-%m-%dT%H:%M:%S.%fZ}", "timezone": "Europe/Vienna",
    }  # fmt: skip


def test_webhook_that_fails_is_tried_again_with_the_same_id(webhook: Webhook) -> None:
    webhook.answers += [receivers.BROKEN]
    make_watched(tokens=800, webhook_url=webhook.url)
    run()
    assert states() == [(webhook.url, "pending", 1, "it answered 500")]
    assert AlertDelivery.objects.get().next_attempt_at > timezone.now()
    assert delivery.due() == []
    run()
    assert states() == [(webhook.url, "sent", 2, "")]
    first, second = webhook.calls
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body


def test_attempts_are_bounded_and_staff_sends_again(webhook: Webhook) -> None:
    webhook.answers += [receivers.BROKEN] * 20
    make_watched(tokens=800, webhook_url=webhook.url)
    for _ in range(12):
        run()
    assert states() == [(webhook.url, "failed", delivery.MOST_ATTEMPTS, "it answered 500")]
    assert len(webhook.calls) == delivery.MOST_ATTEMPTS
    webhook.answers.clear()
    for pk in delivery.send_again(Alert.objects.get()):
        delivery.deliver(pk)
    assert states() == [(webhook.url, "sent", 1, "")]
    assert delivery.send_again(Alert.objects.get()) == []


def test_worker_that_dies_between_sending_and_marking_sends_again(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_watched(tokens=800, webhook_url=webhook.url)

    def die(row: AlertDelivery, **_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(delivery, "_mark", die)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert delivery.due() == [], "its claim holds for a while"
    hurry()
    run()
    assert states() == [(webhook.url, "sent", 2, "")]
    assert len({call.headers["webhook-id"] for call in webhook.calls}) == 1


def test_what_kills_every_worker_is_given_up() -> None:
    make_watched(tokens=800, emails=["ops@acme.example"])
    watch.note_crossed()
    AlertDelivery.objects.update(attempts=delivery.MOST_ATTEMPTS)
    assert delivery.due() == []
    assert states()[0][1:] == ("failed", 8, "its worker ended before it could tell")


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_send_it_once(webhook: Webhook) -> None:
    make_watched(tokens=800, webhook_url=webhook.url)
    [pk] = watch.note_crossed().deliveries

    def work(_: int) -> None:
        delivery.deliver(pk)
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert len(webhook.calls) == 1
    assert states() == [(webhook.url, "sent", 1, "")]


def test_redirect_is_not_followed(webhook: Webhook) -> None:
    webhook.answers.append(receivers.REDIRECT)
    make_watched(tokens=800, webhook_url=webhook.url)
    run()
    assert states() == [(webhook.url, "pending", 1, "it answered 302")]


def endless(out: Any) -> None:
    out.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        out.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def drip(out: Any) -> None:
    for byte in b"HTTP/1.1 200" + b" " * 1000:
        out.write(bytes([byte]))
        time.sleep(0.05)


def interim(out: Any) -> None:
    out.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (endless, "sent", ""),
        (interim, "sent", ""),
        (b"", "pending", "what it answered is not HTTP"),
        (b"220 a mail server\r\n" * 2000, "pending", "what it answered is not HTTP"),
        (drip, "pending", "no answer within 0.4 seconds"),
        (lambda _: time.sleep(1), "pending", "no answer within 0.4 seconds"),
        (b"HTTP/1.1 410 Gone\r\n\r\n", "failed", "it answered 410"),
    ],
    ids=["endless", "interim", "hang-up", "no HTTP", "drip", "silence", "gone"],
)
def test_hostile_receiver_costs_little(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, answer: Any, state: str, why: str
) -> None:
    monkeypatch.setattr(channels, "WEBHOOK_SECONDS", 0.4)
    webhook.answers.append(answer)
    make_watched(tokens=800, webhook_url=webhook.url)
    run()
    assert states() == [(webhook.url, state, 1, why)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/x", "http://internal.test:{}/x"])
def test_internal_address_is_refused_at_connect(
    webhook: Webhook, settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    def resolve(host: str, port: int, **_: Any) -> Any:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("usage_app.alerts.wire.socket.getaddrinfo", resolve)
    settings.UPSTREAM_ALLOWED_NETWORKS = []
    make_watched(tokens=800, webhook_url=url.format(webhook.url.split(":")[2].split("/")[0]))
    run()
    [(_, state, attempts, why)] = states()
    assert (state, attempts) == ("failed", 1)
    assert "127.0.0.1 is not" in why
    assert webhook.calls == []


def test_address_that_was_taken_away_gets_nothing(webhook: Webhook) -> None:
    make_watched(tokens=800, webhook_url=webhook.url, emails=["left@acme.example"])
    watch.note_crossed()
    AlertTargets.objects.update(emails=["new@acme.example"], webhook_url="")
    run()
    assert {row[1:] for row in states()} == {
        ("failed", 1, "the tenant's alerts do not go there any more")
    }
    assert webhook.calls == []
    assert mail.outbox == []
    for pk in delivery.send_again(Alert.objects.get()):
        delivery.deliver(pk)
    assert [message.to for message in mail.outbox] == [["new@acme.example"]]


def test_tenants_are_told_of_their_own(webhook: Webhook) -> None:
    with receivers.webhook() as other:
        make_watched("acme", tokens=800, webhook_url=webhook.url)
        make_watched("globex", tokens=960, webhook_url=other.url)
        run()
        assert [json.loads(call.body)["data"]["tenantId"] for call in webhook.calls] == ["acme"]
        assert [json.loads(call.body)["data"]["tenantId"] for call in other.calls] == ["globex"]


def test_failures_are_told_without_secrets(
    mail_server: MailServer, webhook: Webhook, settings: Settings
) -> None:
    mail_server.refused.add("nobody@acme.example")
    make_watched(tokens=800, emails=["nobody@acme.example"], webhook_url=webhook.url)
    AlertTargets.objects.update(sealed_secret=None)
    run()
    assert [row[3] for row in states()] == [
        "the mail server refused the address: 550",
        "the webhook has no signing secret that can be used",
    ]
    settings.EMAIL_URL = ""
    run()
    assert states()[0][3] == "no mail server is set: EMAIL_URL"
