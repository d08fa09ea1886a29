"""Whatever is typed into an address or a form of the admin, it is no failure of the server: what
cannot be is found nowhere, or is an error of the form.
"""

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tenants_app.models import ApiKey, Team, Tenant
from tests.admin_site import form_of, logged_in, make_world, registered, text_of, url_of
from tests.admin_walk import autocompletes, pages_of

pytestmark = pytest.mark.django_db

NUL, QUOTES, NUMBER = "\0", "x'\"", "9" * 40
LONG = "x" * 1_000_000
# What Django's lists know besides their filters.
KNOWN = ("q", "o", "p", "e", "_popup", "_to_field", "_changelist_filters", "after")


@pytest.fixture
def client(caplog: pytest.LogCaptureFixture) -> Client:
    # A line for each refusal would take longer than refusing.
    caplog.set_level(logging.CRITICAL)
    make_world()
    return logged_in(superuser=True)


def test_no_filter_of_a_list_chokes(client: Client) -> None:
    client.raise_request_exception = False
    found = [
        (model._meta.label, name)
        for model in registered()
        for name in (*KNOWN, *filters_of(client, model))
        if fails(client, url_of(model, "changelist"), {name: NUL + QUOTES})
    ]
    assert found == [], "\n".join(map(str, found))


@pytest.mark.parametrize("lookup", ["", "__in", "__gt"])
def test_no_lookup_of_a_list_chokes(client: Client, lookup: str) -> None:
    client.raise_request_exception = False
    found = [
        (model._meta.label, name)
        for model in registered()
        for name in [*(field.name for field in model._meta.get_fields()), "nosuch", "a'b"]
        if fails(client, url_of(model, "changelist"), {f"{name}{lookup}": f"1{QUOTES}"})
    ]
    assert found == [], "\n".join(map(str, found))


def test_a_number_that_no_row_could_have_is_found_nowhere(client: Client) -> None:
    for query in ("tenant__id__exact", "id__in", "id", "tenant__in"):
        response = client.get(url_of(Team, "changelist"), {query: NUMBER})
        assert response.status_code in (200, 302, 400)


def test_what_refers_to_a_row_is_no_filter_of_it(client: Client) -> None:
    assert client.get(reverse("admin:auth_user_changelist"), {"change": "1"}).status_code == 400


@pytest.mark.parametrize("garbage", [NUL + QUOTES, NUMBER, LONG], ids=["text", "9", "1 MB"])
def test_no_form_chokes(client: Client, garbage: str) -> None:
    client.raise_request_exception = False
    found: list[tuple[Any, ...]] = []
    for url in forms_of(client):
        response = client.get(url)
        if response.status_code != 200 or "adminform" not in response.context:
            continue
        sent = form_of(response)
        fields = {*sent, *response.context["adminform"].form.fields, *rows_on(response)}
        # Those of rows on the page, too, but for how many there are.
        typed = {name: garbage for name in fields if not name.endswith("_FORMS")}
        if len(garbage) < 100 and fails(client, url, typed):
            found.append(("GET", url))
        for names in ({*typed}, *({name} for name in typed if related(response, name))):
            answer = client.post(url, sent | dict.fromkeys(names, garbage))
            if answer.status_code >= 500:
                found.append(("POST", url, names))
    assert found == [], "\n".join(map(str, found))


def test_no_action_on_a_list_chokes(client: Client) -> None:
    client.raise_request_exception = False
    for garbage in (NUL, QUOTES, NUMBER):
        for model in registered():
            sent = {"action": "delete_selected", ACTION_CHECKBOX_NAME: [garbage], "index": garbage}
            for action in ("delete_selected", garbage):
                url = url_of(model, "changelist")
                assert not fails(client, url, sent={**sent, "action": action}), (url, sent)


def test_no_address_of_a_row_that_cannot_be_chokes(client: Client) -> None:
    client.raise_request_exception = False
    for garbage in (NUL, QUOTES, NUMBER):
        for model in registered():
            for _, url in pages_of(model, type("Row", (), {"pk": garbage})()):
                assert not fails(client, url), url


def test_no_search_for_something_to_choose_chokes(client: Client) -> None:
    client.raise_request_exception = False
    for garbage in (NUL, QUOTES, NUMBER):
        for url in autocompletes().values():
            for name in ("term", "page"):
                assert not fails(client, f"{url}&{name}={quote(garbage)}"), url
        url = reverse("admin:autocomplete")
        query = dict.fromkeys(("app_label", "model_name", "field_name"), garbage)
        assert not fails(client, url, query)


def test_no_cookie_chokes() -> None:
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = "\0" * 32
    assert client.get(reverse("admin:index")).status_code == 302


def test_a_nul_in_a_form_is_told_in_words(client: Client) -> None:
    tenant = Tenant.objects.get()
    url = url_of(Tenant, "change", tenant.pk)
    sent = form_of(client.get(url)) | {"name": "a\0b"}
    assert "Null characters are not allowed." in text_of(client.post(url, sent))


def fails(client: Client, url: str, query: Any = None, *, sent: Any = None) -> bool:
    """Whether it is a failure of the server; what it wrote is taken back."""
    with transaction.atomic():
        response = client.get(url, query) if sent is None else client.post(url, sent)
        transaction.set_rollback(True)
    return response.status_code >= 500


def test_an_instant_in_an_address_begins_a_form(client: Client) -> None:
    url = url_of(ApiKey, "add")
    assert "2030-01-02" in text_of(client.get(url, {"expires_at": "2030-01-02 03:04"}))
    assert client.get(url, {"expires_at": "soon"}).status_code == 200


def filters_of(client: Client, model: type[Model]) -> Iterator[str]:
    """The parameters of a list's filters."""
    for one in client.get(url_of(model, "changelist")).context["cl"].filter_specs:
        yield from one.expected_parameters()


def forms_of(client: Client) -> Iterator[str]:
    for model in registered():
        row: Any = model._default_manager.first()
        yield url_of(model, "add")
        if row is not None:
            yield url_of(model, "change", row.pk)


def rows_on(response: Any) -> Iterator[str]:
    """The fields of rows on a page, and of one more of each kind."""
    for inline in response.context["inline_admin_formsets"]:
        for form in inline.formset.forms:
            yield from map(form.add_prefix, form.fields)


def related(response: Any, name: str) -> bool:
    field = response.context["adminform"].form.fields.get(name)
    return hasattr(field, "queryset")
