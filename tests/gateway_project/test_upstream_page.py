"""An upstream's page: its trial, its models and its health, against upstreams on real sockets."""

import json
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

from chat_app.models import UpstreamMinute
from chat_app.upstream_trial import OUTPUT_TOKENS, QUESTION
from tenants_app.models import Model, Route, Upstream
from tests.admin_site import logged_in, text_of, url_of
from tests.factories import make_model, make_route, make_tenant, make_upstream
from tests.loopback import Loopback
from tests.loopback_plays import failure, plain
from usage_app.models import LedgerEntry

TOKEN = "sk-secret-of-the-upstream"
OPERATOR = (
    "tenants_app.change_upstream",
    "tenants_app.view_upstream",
    "tenants_app.add_model",
    "tenants_app.add_route",
)

pytestmark = pytest.mark.django_db


def openai_like(loopback: Loopback, **fields: Any) -> Upstream:
    return make_upstream("up", kind="openai", base_url=loopback.url, token=TOKEN, **fields)


def trial_of(client: Client, upstream: Upstream, model: str) -> str:
    page = text_of(client.post(url_of(Upstream, "test_connection", upstream.pk), {"model": model}))
    return " ".join(page.split())


def test_connection_is_tested_by_a_smallest_real_call(loopback: Loopback) -> None:
    upstream = openai_like(loopback)
    make_route(make_model("public"), upstream, upstream_model="their-name")
    client = logged_in(*OPERATOR)
    form = client.get(url_of(Upstream, "test_connection", upstream.pk))
    assert 'value="their-name"' in text_of(form)
    assert not loopback.requests
    with capture_logs() as logs:
        page = trial_of(client, upstream, "their-name")
    assert "It answered." in page
    assert "<dd>ok, HTTP 200</dd>" in page
    assert "<dd>Hello from the loopback upstream.</dd>" in page
    assert "<dd>10 in, 6 out</dd>" in page
    asked = loopback.last.body
    assert (asked["model"], asked["max_tokens"]) == ("their-name", OUTPUT_TOKENS)
    assert asked["messages"] == [{"role": "user", "content": QUESTION}]
    assert loopback.last.headers["authorization"] == f"Bearer {TOKEN}"
    assert not LedgerEntry.objects.exists()
    told = [line for line in logs if line["event"] == "upstream_tested"]
    assert [(line["upstream"], line["outcome"]) for line in told] == [("up", "ok")]


def test_failed_test_tells_the_providers_message_and_no_secret(loopback: Loopback) -> None:
    upstream = openai_like(loopback)
    loopback.plays["m"] = failure(401, f"wrong key {TOKEN}")
    page = trial_of(logged_in(*OPERATOR), upstream, "m")
    assert "<dd>rejected, HTTP 401</dd>" in page
    assert "wrong key [key]" in page
    assert "see its token" in page
    assert TOKEN not in page


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "openai", "base_url": "http://169.254.169.254/v1"}, "is not allowed"),
        ({"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}, "could not be reached"),
        ({"kind": "demo"}, "no such demo model"),
    ],
)
def test_every_failure_of_a_test_is_told_in_words(fields: dict[str, str], told: str) -> None:
    assert told in trial_of(logged_in(*OPERATOR), make_upstream("up", **fields), "m")


def offered(loopback: Loopback, *names: object) -> None:
    models = [{"id": name, "object": "model"} for name in names]
    loopback.plays["/v1/models"] = plain(json.dumps({"object": "list", "data": models}).encode())


def import_of(client: Client, upstream: Upstream, **data: Any) -> Any:
    return client.post(url_of(Upstream, "import_models", upstream.pk), data)


def test_models_are_listed_chosen_and_made(loopback: Loopback) -> None:
    upstream = openai_like(loopback)
    make_model("known")
    make_route(make_model("ours"), upstream, upstream_model="routed")
    offered(loopback, "new-2", "known", "routed", "new-1", 7, "two words", "<script>")
    client = logged_in(*OPERATOR)
    client.get(url_of(Upstream, "import_models", upstream.pk))
    assert not loopback.requests, "looking at the page asks nobody"
    page = import_of(client, upstream, list="1")
    assert [(one.name, one.is_model, one.is_routed) for one in page.context["offers"]] == [
        ("<script>", False, False),
        ("known", True, False),
        ("new-1", False, False),
        ("new-2", False, False),
        ("routed", False, True),
    ]
    assert "&lt;script&gt;" in text_of(page)
    assert TOKEN not in text_of(page)
    assert not Model.objects.filter(public_id="new-1").exists()

    for _ in range(2):  # twice is once
        import_of(client, upstream, add="1", name=["new-1", "known", "routed"])
    assert set(Model.objects.values_list("public_id", flat=True)) == {"known", "new-1", "ours"}
    routes = Route.objects.filter(upstream=upstream).values_list("model__public_id", "tenant")
    assert set(routes) == {("known", None), ("new-1", None), ("ours", None)}


def test_models_of_a_tenants_upstream_get_routes_of_the_tenants(loopback: Loopback) -> None:
    acme = make_tenant("acme")
    upstream = openai_like(loopback, tenant=acme)
    answer = import_of(logged_in(*OPERATOR), upstream, add="1", name=["m"])
    assert Route.objects.get().tenant == acme
    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert told[0] == "Made 1 model and 1 route."
    assert told[1].startswith("m: no price yet")


def test_bad_names_make_nothing() -> None:
    upstream = make_upstream("up")
    answer = import_of(logged_in(*OPERATOR), upstream, add="1", name=["good", "x" * 201])
    assert not Model.objects.exists()
    told = [str(message) for message in get_messages(answer.wsgi_request)]
    assert told == ["Ensure this value has at most 200 characters (it has 201)."]
    none = text_of(import_of(logged_in(*OPERATOR), upstream, add="1"))
    assert "Choose at least one model." in none


@pytest.mark.parametrize(
    ("play", "told"),
    [
        (plain(b"not json"), "the list is not JSON"),
        (plain(b"[]"), "its list of models has no data"),
        (plain(b'{"data": [1, null, {"id": []}]}'), "It offers no models."),
        (failure(403, f"no list for {TOKEN}"), "HTTP 403: some_code some_error no list for [key]"),
        (plain(b" " * 9_000_000), "the list has more than"),
    ],
)
def test_hostile_lists_are_told(loopback: Loopback, play: Any, told: str) -> None:
    loopback.plays["/v1/models"] = play
    page = text_of(import_of(logged_in(*OPERATOR), openai_like(loopback), list="1"))
    assert told in page
    assert TOKEN not in page


def test_models_of_cloudflare_are_read_page_by_page(loopback: Loopback) -> None:
    path = "/v1/accounts/acc-1/ai/models/search?task=Text+Generation&per_page=100&page="
    names = [f"@cf/author/model-{number:03}" for number in range(103)]
    for page, part in ((1, names[:100]), (2, names[100:])):
        result = [{"name": name, "task": {"name": "Text Generation"}} for name in part]
        loopback.plays[f"{path}{page}"] = plain(
            json.dumps({"success": True, "result": result}).encode()
        )
    ids = {"account_id": "acc-1", "gateway_id": "default", "form": "rest"}
    upstream = make_upstream("cf", kind="cloudflare", base_url=loopback.url, token=TOKEN, **ids)
    page_ = import_of(logged_in(*OPERATOR), upstream, list="1")
    assert [offer.name for offer in page_.context["offers"]] == names
    assert loopback.last.headers["authorization"] == f"Bearer {TOKEN}"
    upstream.form = "compat"
    upstream.save()
    assert "only the REST API" in text_of(import_of(logged_in(*OPERATOR), upstream, list="1"))


def test_token_of_the_environment_is_not_sent_to_an_operators_address(
    loopback: Loopback, settings: Any
) -> None:
    settings.CLOUDFLARE_API_TOKEN = "token-of-the-deployment"
    ids = {"account_id": "acc-1", "gateway_id": "default"}
    client = logged_in(*OPERATOR)
    for form in Upstream.Form.values:
        upstream = make_upstream(kind="cloudflare", base_url=loopback.url, form=form, **ids)
        trial_of(client, upstream, "@cf/author/model")
        import_of(client, upstream, list="1")
    assert len(loopback.requests) == 4, "only the REST API has a list"
    assert "token-of-the-deployment" not in repr(loopback.requests)


def test_page_and_list_tell_how_the_upstream_fared() -> None:
    upstream = make_upstream("up")
    for outcome, calls in (("ok", 98), ("broken", 1), ("cut_off", 1), ("circuit_open", 7)):
        UpstreamMinute.objects.create(
            upstream=upstream, minute=timezone.now(), outcome=outcome, calls=calls,
            latency_ms=calls * 40, status=500, message=f"why {outcome}",
        )  # fmt: skip
    client = logged_in("tenants_app.view_upstream")
    page = " ".join(text_of(client.get(url_of(Upstream, "change", upstream.pk))).split())
    assert "99 calls, 2 failed (2 %). 7 more were not made: its circuit was open." in page
    assert '<td>ok</td><td class="number">97</td>' in page
    assert "why broken" in page
    assert "99 calls, 2 % failed" in text_of(client.get(url_of(Upstream, "changelist")))


def test_who_may_only_look_neither_tests_nor_imports(loopback: Loopback) -> None:
    upstream = openai_like(loopback)
    client = logged_in("tenants_app.view_upstream")
    for name in ("test_connection", "import_models"):
        for ask in (client.get, client.post):
            assert ask(url_of(Upstream, name, upstream.pk)).status_code == 403
    assert not loopback.requests
