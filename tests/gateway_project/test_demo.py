"""The demo seed: complete, repeatable, and careful with what an operator edited."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command

from gateway_project.embedded import demo, home, local_model
from tenants_app import keys
from tenants_app.models import (
    ApiKey,
    Budget,
    ConfigurationVersion,
    Model,
    Route,
    Tenant,
    TenantFallback,
    Upstream,
)
from usage_app.models import Price

pytestmark = pytest.mark.django_db

KEY = keys.new_secret()
EXAMPLES = demo.read_examples(Path(settings.BASE_DIR) / "docs" / "examples")
SERVER = demo.OpenAI("sk-test-0123456789", "http://127.0.0.1:9/v1", "gpt-test")
OPENAI = {"OPENAI_API_KEY": "sk-test-0123456789"}
LOCAL = {local_model.URL: "http://127.0.0.1:8", local_model.KEY: "local-0123456789"}
COUNTED = (ApiKey, Budget, Model, Price, Route, Tenant, TenantFallback, Upstream)


def seed(openai: demo.OpenAI | None = None) -> Tenant:
    demo.seed(admin_password="password", demo_key=KEY, openai=openai, examples=EXAMPLES)
    return Tenant.objects.get(slug="demo")


def counts() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in COUNTED}


def test_seed_makes_a_tenant_that_can_chat() -> None:
    tenant = seed()
    assert tenant.default_model == Model.objects.get(public_id="demo-echo")
    assert ApiKey.objects.get(digest=keys.digest(KEY)).tenant == tenant
    assert Budget.objects.for_tenant(tenant).count() == 2
    assert Price.objects.filter(model=tenant.default_model).exists()


def test_seed_twice_is_seed_once() -> None:
    seed()
    before = counts(), list(ConfigurationVersion.objects.values("tenant", "version"))
    seed()
    assert (counts(), list(ConfigurationVersion.objects.values("tenant", "version"))) == before


@pytest.mark.parametrize(
    ("slug", "gateway"), [("mrrainbowsmoke", "ai-gate"), ("rainbowsmokeofficial", "ai_gateway")]
)
def test_seed_makes_the_example_tenants(slug: str, gateway: str) -> None:
    seed()
    tenant = Tenant.objects.get(slug=slug)
    assert str(tenant.default_model) == "@cf/meta/llama-3.1-8b-instruct-fast"
    assert [str(step.model) for step in TenantFallback.objects.for_tenant(tenant)] == [
        "@cf/meta/llama-3.1-8b-instruct"
    ]
    assert Upstream.objects.for_tenant(tenant).get().gateway_id == gateway
    assert tenant.allow_list_enabled
    assert tenant.allowed_models.count() == 2


def test_seed_keeps_what_an_operator_edited() -> None:
    tenant = seed()
    Budget.objects.for_tenant(tenant).delete()
    Tenant.objects.filter(pk=tenant.pk).update(
        name="Ours", default_model=Model.objects.get(public_id="demo-slow")
    )
    ApiKey.objects.for_tenant(tenant).get().delete()
    tenant = seed()
    assert (tenant.name, str(tenant.default_model)) == ("Ours", "demo-slow")
    assert not Budget.objects.for_tenant(tenant).exists()
    # The key is printed at each start, so it is made to work again.
    assert ApiKey.objects.for_tenant(tenant).count() == 1


def test_openai_serves_the_default_model_until_it_is_gone() -> None:
    tenant = seed(SERVER)
    upstream = Upstream.objects.for_tenant(tenant).get()
    assert (str(tenant.default_model), tenant.default_upstream) == ("gpt-test", upstream)
    assert (upstream.base_url, upstream.open_token()) == (SERVER.base_url, SERVER.api_key)

    other = demo.OpenAI("sk-other-0123456789", SERVER.base_url, "gpt-other")
    tenant = seed(other)
    upstream.refresh_from_db()
    assert (str(tenant.default_model), upstream.open_token()) == ("gpt-other", other.api_key)

    tenant = seed()
    upstream.refresh_from_db()
    assert (str(tenant.default_model), tenant.default_upstream) == ("demo-echo", None)
    assert not upstream.enabled

    tenant = seed(other)
    upstream.refresh_from_db()
    assert (str(tenant.default_model), upstream.enabled) == ("gpt-other", True)


def test_local_model_serves_in_place_of_openai_until_it_is_gone() -> None:
    seed(SERVER)
    tenant = seed(demo.OpenAI.of(OPENAI | LOCAL))
    upstream = Upstream.objects.for_tenant(tenant).get(enabled=True)
    model = tenant.default_model
    assert (str(model), tenant.default_upstream) == (local_model.MODEL_ID, upstream)
    assert (upstream.name, upstream.base_url) == ("local-model", "http://127.0.0.1:8/v1")
    assert model is not None
    assert (model.context_window, model.max_output) == (local_model.CONTEXT_TOKENS, 1024)
    assert Price.objects.filter(model=model).count() == 1

    tenant = seed(SERVER)
    upstream = Upstream.objects.for_tenant(tenant).get(enabled=True)
    assert (str(tenant.default_model), tenant.default_upstream) == ("gpt-test", upstream)

    seed(demo.OpenAI.of(LOCAL))
    tenant = seed()
    assert (str(tenant.default_model), tenant.default_upstream) == ("demo-echo", None)
    assert not Upstream.objects.for_tenant(tenant).filter(enabled=True).exists()
    assert Price.objects.filter(model=model).count() == 1


def test_local_model_seeded_twice_changes_nothing() -> None:
    seed(demo.OpenAI.of(LOCAL))
    before = counts(), list(ConfigurationVersion.objects.values("tenant", "version"))
    seed(demo.OpenAI.of(LOCAL))
    assert (counts(), list(ConfigurationVersion.objects.values("tenant", "version"))) == before


def test_openai_at_an_address_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(ValidationError):
        seed(demo.OpenAI("sk-test-0123456789", "http://10.1.2.3/v1", "gpt-test"))


def test_openai_of_reads_the_environment() -> None:
    assert demo.OpenAI.of({}) is None
    assert demo.OpenAI.of({"OPENAI_API_KEY": "k"}) == demo.OpenAI(
        "k", "https://api.openai.com/v1", "gpt-4o-mini"
    )


def test_command_keeps_its_secrets_to_itself() -> None:
    call_command("seed_demo", verbosity=0)
    path = settings.TOLLGATE_HOME / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = home.read_secrets(settings.TOLLGATE_HOME)
    assert ApiKey.objects.filter(digest=keys.digest(kept["demo_key"])).exists()
