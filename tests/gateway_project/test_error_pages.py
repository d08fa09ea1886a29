"""What staff see when a page is refused, is not there, or fails."""

import json
from typing import Any

import pytest
from django.test import Client, RequestFactory

from gateway_project import error_pages
from tests.admin_site import external_urls, logged_in, text_of
from tests.gateway_project.test_headers import refused

FRONT = 'href="/admin/"'


@pytest.mark.django_db
def test_a_page_that_is_not_there_leads_back() -> None:
    response = logged_in().get("/admin/nowhere/")
    assert response.status_code == 404
    assert_page(response, 404)


@pytest.mark.django_db
def test_a_refused_page_leads_back_to_where_one_was() -> None:
    response = logged_in().get(
        "/admin/tenants_app/tenant/",
        headers={"referer": "http://testserver/admin/?a=1", "host": "testserver"},
    )
    assert response.status_code == 403
    page = assert_page(response, 403)
    assert 'href="/admin/?a=1"' in page


def test_no_page_leads_to_another_site() -> None:
    for came in ("https://evil.example/admin/", "javascript:alert(1)", "//evil.example/x", "x"):
        request = RequestFactory().get("/admin/x/", headers={"referer": came})
        assert "evil" not in text_of(error_pages.page_not_found(request))
        assert "alert(1)" not in text_of(error_pages.page_not_found(request))


@pytest.mark.django_db
def test_what_no_page_understands_is_told() -> None:
    response = logged_in(superuser=True).get(
        "/admin/auth/user/?groups__permissions__content_type=1"
    )
    assert response.status_code == 400
    assert_page(response, 400)


@pytest.mark.django_db
def test_a_stale_form_says_what_to_do() -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post("/admin/login/", {"username": "x", "password": "y"})
    assert response.status_code == 403
    assert "too old" in assert_page(response, 403)


# No database: pytest-django refuses each query.
def test_a_failure_tells_no_details_and_asks_no_database() -> None:
    request = RequestFactory().get("/admin/")
    try:
        raise RuntimeError("sk-secret of a defect")
    except RuntimeError:
        response = error_pages.server_error(request)
    page = assert_page(response, 500)
    assert "RuntimeError" not in page
    assert "defect" not in page


@pytest.mark.django_db
def test_a_page_that_fails_is_that_page(monkeypatch: pytest.MonkeyPatch) -> None:
    client = logged_in(superuser=True)
    client.raise_request_exception = False
    monkeypatch.setattr("gateway_project.views.render", None)
    response = client.get("/")
    assert response.status_code == 500
    assert_page(response, 500)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "event"),
    [
        ("/admin/tenants_app/tenant/", "Forbidden (Permission denied): /admin/tenants_app/tenant/"),
        ("/admin/nowhere/", "Not Found: /admin/nowhere/"),
    ],
)
def test_a_refusal_is_one_line_of_the_log(
    path: str, event: str, capfd: pytest.CaptureFixture[str]
) -> None:
    client = logged_in()
    capfd.readouterr()
    client.get(path)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    (told,) = [json.loads(line) for line in lines]
    assert told.pop("timestamp")
    assert told == {"event": event, "level": "warning", "logger": "django.request"}


def assert_page(response: Any, status: int) -> str:
    assert response.status_code == status
    page = text_of(response)
    assert FRONT in page
    assert f"· {status}" in page
    assert external_urls(page) == []
    assert refused(page) == []
    return page
