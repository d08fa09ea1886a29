"""Try it: staff sends a message by the real path, at the tenant's charge and marked as such."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client

from chat_app.models import ChatMessage
from tenants_app import keys, staff
from tenants_app.models import ApiKey, Model, Route, Tenant
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import (
    make_budget,
    make_key,
    make_model,
    make_price,
    make_route,
    make_tenant,
    make_upstream,
)
from tests.live import Frame, Server, Servers, eventually, frames
from usage_app.models import LedgerEntry, Margin, RefusalCount, Reservation

pytestmark = pytest.mark.xdist_group("live")

RIGHTS = (
    "tenants_app.view_tenant",
    "tenants_app.try_models",
    "usage_app.view_ledgerentry",
)


@dataclass(slots=True)
class Browser:
    """A member of staff, logged in to a real server, on the page of acme's playground."""

    server: Server
    user: User
    url: str
    headers: dict[str, str]

    def send(self, **asked: Any) -> httpx.Response:
        return self.server.client.post(self.url, **self._sent(asked))

    def frames(self, **asked: Any) -> list[Frame]:
        return frames(self.send(**asked).text)

    @contextmanager
    def streaming(self, **asked: Any) -> Iterator[httpx.Response]:
        with self.server.client.stream("POST", self.url, **self._sent(asked)) as response:
            yield response

    def _sent(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"headers": self.headers, "json": {"message": "hello", **asked}}


Open = Callable[..., Browser]


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    model = make_model()
    make_route(model)
    make_price(model, input="1", output="2")
    return make_tenant(default_model=model)


@pytest.fixture
def browse(live: Server, acme: Tenant) -> Open:
    def opened(*permissions: str, server: Server = live) -> Browser:
        user, client = make_staff(*(permissions or RIGHTS)), Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"].value
        url = url_of(Tenant, "try_it", acme.pk)
        page = server.get(url, cookie=f"sessionid={cookie}")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        cookies = f"sessionid={cookie}; csrftoken={page.cookies.get('csrftoken', '')}"
        csrf = {"x-csrftoken": token[1]} if token else {}
        return Browser(server, user, url, {"cookie": cookies, **csrf})

    return opened


def facts(told: dict[str, Any]) -> dict[str, str]:
    return dict(told["facts"])


def test_answer_streams_is_told_charged_and_marked(browse: Open, acme: Tenant) -> None:
    Margin.objects.create(tenant=acme, valid_from="2026-01-01", percent="50")
    browser = browse()
    answer = browser.send()

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *texts, done, (event, told) = frames(answer.text)
    assert "".join(data["content"] for _, data in texts) == "You said: hello"
    assert len(texts) > 1
    assert (done[0], event) == ("done", "tried")
    entry = LedgerEntry.objects.get()
    assert (entry.tenant, entry.outcome, entry.total_tokens) == (acme, "ok", 6)
    assert entry.api_key == ApiKey.objects.get(kind="playground")
    assert entry.metadata == {"playground": browser.user.username}
    assert str(entry.id) == answer.headers["x-request-id"]
    assert told["failed"] is None
    assert told["entryUrl"] == url_of(LedgerEntry, "change", entry.id)
    assert told["attempts"][0][1:3] == ["demo-echo", "answered, HTTP 200"]
    shown = facts(told)
    assert shown["Model"] == "demo-echo: it is the tenant's default model"
    assert shown["Tokens"] == "2 in, 4 out; counted by the provider"
    assert shown["Cost"] == "0.00001 USD"
    assert shown["Price"] == "0.000015 USD, with a margin of 50 %"
    assert shown["Request"] == str(entry.id)
    assert "Budget" not in shown


def test_who_tried_is_logged_and_what_was_said_is_not(browse: Open, acme: Tenant) -> None:
    browser = browse()
    told = facts(browser.frames(message="a private sentence")[-1][1])
    (line,) = browser.server.logs("playground_used")
    assert (line["by"], line["tenantId"]) == (browser.user.username, "acme")
    assert line["requestId"] == told["Request"]
    assert "private" not in browser.server.log_text()
    assert not ChatMessage.objects.exists()
    events: Any = apps.get_model("tenants_app.ApiKeyEvent").objects
    made = events.get(kind="playground")
    assert made.pgh_context.metadata["user"] == browser.user.pk


def test_chosen_model_and_its_failure_and_fallback_are_told(browse: Open, acme: Tenant) -> None:
    broken = make_model("demo-error")
    make_route(broken)
    browser = browse()
    event, told = browser.frames(modelId="demo-error", maxTokens=5)[-1]
    assert (event, told["failed"]["code"], told["failed"]["status"]) == ("tried", "ai_error", 502)
    assert facts(told)["Tokens"] == "none charged"
    acme.fallbacks.create(model=Model.objects.get(public_id="demo-echo"), position=1)
    told = browser.frames(modelId="demo-error")[-1][1]
    assert told["failed"] is None
    assert facts(told)["Model"] == "demo-echo: what came before it failed, or may not be used"
    assert [(row[1], row[2]) for row in told["attempts"]][-2:] == [
        ("demo-error", "failed, HTTP 500"),
        ("demo-echo", "answered, HTTP 200"),
    ]
    # The one that answered waited for those before it.
    began, took = ([milliseconds(row[at]) for row in told["attempts"]] for at in (3, 4))
    assert began == sorted(began)
    assert began[-1] >= began[-2] + took[-2]


def milliseconds(told: str) -> int:
    return int(told.removesuffix(" ms").replace(",", ""))


def test_why_the_route_was_taken_is_told_as_the_tenants_page_does(
    browse: Open, acme: Tenant
) -> None:
    browser, model = browse(), Model.objects.get(public_id="demo-echo")

    def route() -> str:
        return facts(browser.frames()[-1][1])["Route"]

    assert route().startswith("the route of all tenants for this model")
    own = make_route(model, make_upstream("own", tenant=acme), tenant=acme)
    assert route() == "the tenant's own route for this model"
    own.delete()
    Route.objects.all().delete()
    default = make_upstream("all", is_default=True)
    assert route().startswith("the default upstream of all tenants: no route")
    acme.default_upstream = default
    acme.save()
    assert route().startswith("the tenant's default upstream: no route")


def test_budgets_and_allow_list_and_suspension_hold(browse: Open, acme: Tenant) -> None:
    other = make_model("demo-slow")
    make_route(other)
    acme.allow_list_enabled = True
    acme.save()
    acme.allowed_models.add(Model.objects.get(public_id="demo-echo"))
    browser = browse()
    ((event, told),) = browser.frames(modelId="demo-slow")
    assert (event, told["failed"]["code"]) == ("refused", "model_not_allowed")
    budget = make_budget(acme, "tokens", "day", 1)
    ((event, told),) = browser.frames()
    assert (event, told["failed"]["code"], told["failed"]["status"]) == (
        "refused", "budget_exceeded", 429,
    )  # fmt: skip
    assert (
        "The budget of the tenant: 1 tokens per day, 0 used and 0 held."
        in (told["failed"]["sentences"])
    )
    refused = eventually(lambda: RefusalCount.objects.filter(code="budget_exceeded").first())
    assert refused.api_key.is_playground
    budget.delete()
    Tenant.objects.update(status="suspended")
    ((event, told),) = browser.frames()
    assert (event, told["failed"]["code"]) == ("refused", "tenant_suspended")
    assert "can resume it there" in told["failed"]["sentences"][-1]
    assert not LedgerEntry.objects.exists()
    Tenant.objects.update(status="active")
    assert browser.frames()[-1][0] == "tried"


def test_playground_may_have_a_budget_of_its_own(browse: Open, acme: Tenant) -> None:
    make_budget(acme, "requests", "day", 1, api_key=keys.playground(acme))
    browser, key = browse(), make_key(acme)
    event, told = browser.frames()[-1]
    assert (event, facts(told)["Budget"]) == ("tried", "0 of 1 requests left of the key's day")
    assert browser.frames()[-1][1]["failed"]["code"] == "budget_exceeded"
    assert browser.server.chat(key).status_code == 200


def test_revoked_playground_is_over(browse: Open, acme: Tenant) -> None:
    browser = browse()
    assert browser.frames()[-1][0] == "tried"
    keys.revoke(keys.playground(acme))
    ((event, told),) = browser.frames()
    assert (event, told["failed"]["sentences"][0]) == (
        "refused",
        "The tenant's playground key is revoked.",
    )
    assert ApiKey.objects.count() == LedgerEntry.objects.count() == 1


def test_hang_up_settles(browse: Open, acme: Tenant) -> None:
    long = make_model("demo-long")
    make_route(long)
    browser = browse()
    with browser.streaming(modelId="demo-long") as answer:
        parts = answer.iter_bytes()  # httpx hangs up when nobody holds it any more
        next(parts)
        assert Reservation.objects.exists()
    entry = eventually(LedgerEntry.objects.first)
    assert (entry.outcome, entry.usage_source) == ("aborted", "partial")
    assert 0 < entry.output_tokens < 500
    assert eventually(lambda: not Reservation.objects.exists())


def test_stopping_server_settles(browse: Open, servers: Servers) -> None:
    (server,) = servers.start(graceful_seconds=1)
    make_route(make_model("demo-slow"))
    browser = browse(server=server)
    with browser.streaming(modelId="demo-slow", message="one two three four five six") as answer:
        parts = answer.iter_bytes()  # httpx hangs up when nobody holds it any more
        next(parts)
        server.terminate()
    entry = LedgerEntry.objects.get()
    assert (entry.outcome, entry.output_tokens > 0) == ("aborted", True)
    assert not Reservation.objects.exists()


def test_not_more_than_a_few_at_once(browse: Open, acme: Tenant) -> None:
    make_route(make_model("demo-slow"))
    browser = browse()
    with (
        browser.streaming(modelId="demo-slow"),
        browser.streaming(modelId="demo-slow"),
        browser.streaming(modelId="demo-slow"),
        browser.streaming(modelId="demo-slow"),
    ):
        ((event, told),) = browser.frames()
        assert (event, told["failed"]["code"]) == ("refused", "service_unavailable")
    assert eventually(lambda: browser.frames()[-1][0] == "tried")


def test_bad_messages_are_refused_by_field(browse: Open) -> None:
    browser = browse()
    answer = browser.send(message="", maxTokens="many", sessionId="nobody's business")
    assert answer.status_code == 400
    assert answer.json()["error"]["fields"] == {
        "message": "must be a string of 1 to 10000 characters",
        "maxTokens": "must be a whole number from 1 to 1000000",
    }
    plain = browser.server.client.post(browser.url, content="{", headers=browser.headers)
    assert (plain.status_code, plain.json()["error"]["code"]) == (400, "invalid_json")
    assert not LedgerEntry.objects.exists()


def test_nothing_is_sent_without_csrf_token_permission_or_tenant(
    browse: Open, acme: Tenant
) -> None:
    browser = browse()
    del browser.headers["x-csrftoken"]
    assert browser.send().status_code == 403
    assert browser.server.client.post(browser.url, json={"message": "x"}).status_code == 403
    nobody = Client()
    nobody.force_login(make_staff("tenants_app.view_tenant", "tenants_app.change_tenant"))
    sent: Any = {"data": json.dumps({"message": "x"}), "content_type": "application/json"}
    assert nobody.get(browser.url).status_code == 403
    assert nobody.post(browser.url, **sent).status_code == 403
    user = make_staff(*RIGHTS)
    staff.hold_to(user, [make_tenant("globex")])
    nobody.force_login(user)
    assert nobody.get(browser.url).status_code == 404
    assert nobody.post(browser.url, **sent).status_code == 404
    assert not ApiKey.objects.exists()


def test_key_is_no_credential_and_stays_what_it_is(browse: Open, acme: Tenant) -> None:
    key = keys.playground(acme)
    assert keys.playground(acme) == key
    assert (key.name, key.prefix, key.scopes, str(key)) == ("Playground", "", [], "Playground")
    with pytest.raises(ValueError, match="no secret"):
        keys.rotate(key)
    # Even with a secret that somebody gave it, behind all code, it opens nothing.
    for change in ({"digest": keys.digest("x" * 20)}, {"kind": "client"}, {"scopes": ["chat"]}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApiKey.objects.filter(pk=key.pk).update(**change)
    known = ApiKey.objects.create(
        tenant=make_tenant("globex"), kind="playground", name="x", digest=keys.digest("y" * 20),
        scopes=[],
    )  # fmt: skip
    browser = browse()
    for path in ("/usage", "/budgets"):
        answer = browser.server.get(path, authorization="Bearer " + "y" * 20)
        assert answer.status_code == 401, known


@pytest.mark.django_db
def test_pages_show_the_key_and_do_not_rotate_it() -> None:
    acme = make_tenant()
    key = keys.playground(acme)
    client = logged_in(superuser=True)
    page = text_of(client.get(url_of(ApiKey, "change", key.pk)))
    assert "none: it marks what staff tried" in page
    assert 'name="scopes"' not in page
    answer = client.post(url_of(ApiKey, "rotate", key.pk), {"confirmed": ""}, follow=True)
    assert "The playground&#x27;s key has no secret to rotate." in text_of(answer)
    page = text_of(client.get(url_of(Tenant, "change", acme.pk)))
    assert "mark what staff tried" in page
    assert "Rotate Playground" not in page
    question = text_of(client.get(url_of(ApiKey, "revoke", key.pk)))
    assert "nobody can try models at a tenant" in question
    page = text_of(client.get(url_of(Tenant, "try_it", acme.pk)))
    assert "Default: there is none" in page


@pytest.mark.django_db
def test_page_offers_the_models_that_would_answer() -> None:
    model = make_model()
    acme = make_tenant(default_model=model)
    make_model("without-a-route")
    make_route(make_model("off", enabled=False))
    make_route(model)
    page = logged_in(*RIGHTS).get(url_of(Tenant, "try_it", acme.pk))
    offered = page.context["form"].fields["model"].choices
    assert offered == [("", "Default: demo-echo"), ("demo-echo", "demo-echo")]
