"""The demo seed: complete, repeatable, and careful with what an operator edited."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from gateway_project.embedded import demo, home, local_model, real_upstream
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
OPENAI = {
    "OPENAI_API_KEY": "sk-test-0123456789",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_MODEL": "gpt-test",
}
CLOUDFLARE = {
    "CLOUDFLARE_ACCOUNT_ID": "acc1",
    "CLOUDFLARE_GATEWAY_ID": "gate_1",
    "CLOUDFLARE_API_TOKEN": "cf-test-0123456789",
}
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fast"
LOCAL = {local_model.URL: "http://127.0.0.1:8", local_model.KEY: "local-0123456789"}
COUNTED = (ApiKey, Budget, Model, Price, Route, Tenant, TenantFallback, Upstream)


def seed(environment: Mapping[str, str] | None = None) -> Tenant:
    wanted = real_upstream.asked_for(environment or {})
    demo.seed(admin_password="password", demo_key=KEY, real=wanted, examples=EXAMPLES)
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
    tenant = seed(OPENAI)
    upstream = Upstream.objects.for_tenant(tenant).get()
    assert (str(tenant.default_model), tenant.default_upstream) == ("gpt-test", upstream)
    assert (upstream.base_url, upstream.open_token()) == (
        "http://127.0.0.1:9/v1",
        "sk-test-0123456789",
    )

    other = OPENAI | {"OPENAI_API_KEY": "sk-other-0123456789", "OPENAI_MODEL": "gpt-other"}
    tenant = seed(other)
    upstream.refresh_from_db()
    assert (str(tenant.default_model), upstream.open_token()) == (
        "gpt-other",
        "sk-other-0123456789",
    )

    tenant = seed()
    upstream.refresh_from_db()
    assert (str(tenant.default_model), tenant.default_upstream) == ("demo-echo", None)
    assert not upstream.enabled

    tenant = seed(other)
    upstream.refresh_from_db()
    assert (str(tenant.default_model), upstream.enabled) == ("gpt-other", True)


def test_local_model_serves_in_place_of_openai_until_it_is_gone() -> None:
    seed(OPENAI)
    tenant = seed(OPENAI | LOCAL)
    upstream = Upstream.objects.for_tenant(tenant).get(enabled=True)
    model = tenant.default_model
    assert (str(model), tenant.default_upstream) == (local_model.MODEL_ID, upstream)
    assert (upstream.name, upstream.base_url) == ("local-model", "http://127.0.0.1:8/v1")
    assert model is not None
    assert (model.context_window, model.max_output) == (local_model.CONTEXT_TOKENS, 1024)
    assert Price.objects.filter(model=model).count() == 1

    tenant = seed(OPENAI)
    upstream = Upstream.objects.for_tenant(tenant).get(enabled=True)
    assert (str(tenant.default_model), tenant.default_upstream) == ("gpt-test", upstream)

    seed(LOCAL)
    tenant = seed()
    assert (str(tenant.default_model), tenant.default_upstream) == ("demo-echo", None)
    assert not Upstream.objects.for_tenant(tenant).filter(enabled=True).exists()
    assert Price.objects.filter(model=model).count() == 1


def test_local_model_seeded_twice_changes_nothing() -> None:
    seed(LOCAL)
    before = counts(), list(ConfigurationVersion.objects.values("tenant", "version"))
    seed(LOCAL)
    assert (counts(), list(ConfigurationVersion.objects.values("tenant", "version"))) == before


def test_openai_at_an_address_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(ValidationError):
        seed(OPENAI | {"OPENAI_BASE_URL": "http://10.1.2.3/v1"})


def test_cloudflare_serves_the_default_model_until_it_is_gone() -> None:
    tenant = seed(CLOUDFLARE)
    upstream = Upstream.objects.for_tenant(tenant).get()
    assert (str(tenant.default_model), tenant.default_upstream) == (LLAMA, upstream)
    assert (upstream.kind, upstream.form, upstream.account_id, upstream.gateway_id) == (
        "cloudflare",
        "rest",
        "acc1",
        "gate_1",
    )
    # Both are the deployment's: only without an address of its own it is sent the token.
    assert (upstream.base_url, upstream.sealed_token) == ("", None)
    assert Price.objects.filter(model=tenant.default_model).count() == 1
    assert Route.objects.filter(model=tenant.default_model, tenant=None).exists()

    seen = counts(), list(ConfigurationVersion.objects.values("tenant", "version"))
    seed(CLOUDFLARE)
    assert (counts(), list(ConfigurationVersion.objects.values("tenant", "version"))) == seen

    tenant = seed(CLOUDFLARE | {"CLOUDFLARE_FORM": "workers-ai", "CLOUDFLARE_MODEL": "@cf/a/b"})
    upstream.refresh_from_db()
    assert (str(tenant.default_model), upstream.form) == ("@cf/a/b", "workers-ai")

    tenant = seed()
    upstream.refresh_from_db()
    assert (str(tenant.default_model), tenant.default_upstream) == ("demo-echo", None)
    assert not upstream.enabled


def test_openai_comes_before_cloudflare_and_one_gives_way_to_the_other() -> None:
    for environment, name in (
        (CLOUDFLARE, "cloudflare"),
        (CLOUDFLARE | OPENAI, "openai"),
        (CLOUDFLARE, "cloudflare"),
        (CLOUDFLARE | OPENAI | LOCAL, "local-model"),
        (OPENAI, "openai"),
    ):
        tenant = seed(environment)
        upstream = Upstream.objects.for_tenant(tenant).get(enabled=True)
        assert (upstream.name, tenant.default_upstream) == (name, upstream)
        assert Route.objects.filter(model=tenant.default_model, upstream=upstream).exists()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ""),
        (CLOUDFLARE, ""),
        (OPENAI, ""),
        (CLOUDFLARE | LOCAL, ""),
        (
            CLOUDFLARE | OPENAI,
            "CLOUDFLARE_API_TOKEN is not used: OPENAI_API_KEY serves the demo tenant.",
        ),
        (
            {"CLOUDFLARE_API_TOKEN": "cf-test-0123456789"},
            (
                "CLOUDFLARE_API_TOKEN is not used for the demo tenant:"
                " CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_GATEWAY_ID not set."
            ),
        ),
    ],
)
def test_command_says_what_is_set_to_no_effect(
    environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out, errors = StringIO(), StringIO()
    call_command("seed_demo", verbosity=0, stdout=out, stderr=errors)
    assert (errors.getvalue().strip(), out.getvalue()) == (told, "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"CLOUDFLARE_FORM": "soap"}, "CLOUDFLARE_FORM: Value 'soap' is not a valid choice."),
        (
            {"CLOUDFLARE_BASE_URL": "http://10.1.2.3/v1"},
            (
                "CLOUDFLARE_BASE_URL: The address 10.1.2.3 is not public and not in"
                " UPSTREAM_ALLOWED_NETWORKS."
            ),
        ),
        (
            {"CLOUDFLARE_GATEWAY_ID": "../x"},
            (
                "CLOUDFLARE_*: A Cloudflare AI Gateway needs its account id and gateway id, of"
                " letters, digits, - and _ only."
            ),
        ),
    ],
)
def test_command_names_the_variable_that_is_wrong(
    change: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (CLOUDFLARE | change).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CommandError) as caught:
        call_command("seed_demo", verbosity=0)
    assert str(caught.value) == told
    assert not Upstream.objects.filter(kind="cloudflare").exists()


def test_what_serves_is_read_from_the_environment() -> None:
    assert real_upstream.asked_for({}) is None
    assert real_upstream.asked_for({"CLOUDFLARE_API_TOKEN": "t"}) is None
    openai = real_upstream.asked_for({"OPENAI_API_KEY": "sk-secret"})
    assert openai
    assert (openai.columns["base_url"], openai.model, openai.token) == (
        "https://api.openai.com/v1",
        "gpt-4o-mini",
        "sk-secret",
    )
    assert "sk-secret" not in repr(openai)
    cloudflare = real_upstream.asked_for(CLOUDFLARE)
    assert cloudflare
    assert (cloudflare.columns["form"], cloudflare.model, cloudflare.token) == ("rest", LLAMA, "")


def test_command_keeps_its_secrets_to_itself() -> None:
    call_command("seed_demo", verbosity=0)
    path = settings.TOLLGATE_HOME / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = home.read_secrets(settings.TOLLGATE_HOME)
    assert ApiKey.objects.filter(digest=keys.digest(kept["demo_key"])).exists()
