"""Staff comes in by the company's provider, and nobody comes in by what only looks like it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from structlog.testing import capture_logs

from gateway_project.login import checks
from gateway_project.login import oidc as flow
from gateway_project.login import provider as providers
from gateway_project.login.models import OidcIdentity
from tenants_app import staff
from tenants_app.models import Change
from tests.admin_site import text_of
from tests.factories import make_tenant
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, Claims, OidcProvider

pytestmark = pytest.mark.django_db

FAILED = "This login did not succeed. Try again."


def come(oidc: OidcProvider, client: Client | None = None, **query: str) -> tuple[Client, Any]:
    """Press the button, log in at the provider, come back."""
    client = client or Client()
    begun = client.get(reverse("oidc_login"), query)
    assert begun.status_code == 302
    return client, client.get(oidc.authorize(begun["Location"]))


def refusal(client: Client, answer: Any) -> str:
    """What the login page says to somebody who was not let in."""
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:login"))
    assert client.get(reverse("admin:index")).status_code == 302
    page = text_of(client.get(answer["Location"]))
    told = [text for text in (FAILED, *TOLD) if text in page]
    return told[0] if told else page


TOLD = (
    "None of your groups has a role here.",
    "Superusers log in with their password.",
    "Your account here is closed.",
    "single sign-on did not answer as it should.",
    "single sign-on cannot be reached. Try again later.",
)


def roles_of(user: User) -> list[str]:
    return sorted(user.groups.values_list("name", flat=True))


def test_somebody_with_a_role_comes_in_and_gets_it(oidc: OidcProvider) -> None:
    client, answer = come(oidc, next="/admin/tenants_app/tenant/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/tenants_app/tenant/")
    user = User.objects.get()
    assert (user.username, user.is_staff, user.is_superuser) == ("alice", True, False)
    assert roles_of(user) == ["Operator"]
    assert not user.has_usable_password()
    assert client.get("/admin/tenants_app/tenant/").status_code == 200
    assert client.get(reverse("admin:auth_user_changelist")).status_code == 403


def test_same_subject_is_the_same_account_whatever_it_is_called(oidc: OidcProvider) -> None:
    come(oidc)
    oidc.person |= {"preferred_username": "alice-smith", "email": "new@example.com"}
    come(oidc)
    assert list(User.objects.values_list("username", flat=True)) == ["alice"]


def test_what_the_provider_took_away_is_gone(oidc: OidcProvider) -> None:
    oidc.person["groups"] = ["ops", "money", "unknown"]
    client, _ = come(oidc)
    user = User.objects.get()
    assert roles_of(user) == ["Auditor", "Finance", "Operator"]
    user.groups.add(Group.objects.create(name="by hand"))
    oidc.person["groups"] = ["ops"]
    come(oidc)
    assert roles_of(user) == ["Operator"]
    oidc.person["groups"] = []
    assert refusal(*come(oidc)) == "None of your groups has a role here."
    user.refresh_from_db()
    assert (roles_of(user), user.is_staff) == ([], False)
    # The session that was open meanwhile opens nothing either.
    assert client.get(reverse("admin:index")).status_code == 302


def test_changed_rights_are_in_the_audit_trail_and_in_the_log(oidc: OidcProvider) -> None:
    counts = [Change.objects.across().count()]
    with capture_logs() as logs:
        come(oidc)
        counts.append(Change.objects.across().count())
        come(oidc)
        counts.append(Change.objects.across().count())
        oidc.person["groups"] = ["money"]
        come(oidc)
    assert counts[0] < counts[1] == counts[2], "a login that changes nothing tells nothing"
    events = Change.objects.across("tenants_app.AccountGroupEvent").order_by("pgh_id")
    names = dict(Group.objects.values_list("pk", "name"))
    told = [(event.pgh_label, names[event.pgh_data["group_id"]]) for event in events]
    assert told[:2] == [("insert", "Operator"), ("delete", "Operator")]
    assert sorted(told[2:]) == [("insert", "Auditor"), ("insert", "Finance")]
    assert {event.reason for event in events} == {"groups at single sign-on"}
    assert {event.pgh_context["command"] for event in events} == {"login"}
    changed = [line for line in logs if line["event"] == "staff_rights_changed"]
    assert [(line["given"], line["taken"]) for line in changed] == [
        (["Operator"], []),
        (["Auditor", "Finance"], ["Operator"]),
    ]
    assert [line["by"] for line in logs if line["event"] == "staff_logged_in"] == ["oidc"] * 3


def test_somebody_without_a_role_gets_no_account(oidc: OidcProvider) -> None:
    oidc.person["groups"] = ["lunch"]
    assert refusal(*come(oidc)) == "None of your groups has a role here."
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["admin", "ADMIN"])
def test_nobody_is_taken_over_by_name_or_address(oidc: OidcProvider, name: str) -> None:
    local = User.objects.create_superuser("admin", "root@example.com", "x")
    oidc.person |= {"preferred_username": name, "email": "root@example.com"}
    come(oidc)
    local.refresh_from_db()
    assert (local.is_superuser, roles_of(local), local.check_password("x")) == (True, [], True)
    other = User.objects.exclude(pk=local.pk).get()
    assert (other.is_superuser, roles_of(other)) == (False, ["Operator"])


def test_superuser_is_not_entered_by_oidc_even_when_linked(oidc: OidcProvider) -> None:
    local = User.objects.create_superuser("admin", password="x")
    OidcIdentity.objects.create(user=local, issuer=oidc.issuer, subject="s-alice")
    assert refusal(*come(oidc)) == "Superusers log in with their password."
    local.refresh_from_db()
    assert (local.is_superuser, local.is_staff, roles_of(local)) == (True, True, [])


def test_subject_of_another_issuer_is_somebody_else(oidc: OidcProvider) -> None:
    other = User.objects.create_user("alice")
    OidcIdentity.objects.create(user=other, issuer="https://other.example", subject="s-alice")
    come(oidc)
    assert roles_of(other) == []
    assert User.objects.count() == 2


def test_closed_account_stays_closed(oidc: OidcProvider) -> None:
    come(oidc)
    User.objects.update(is_active=False)
    assert refusal(*come(oidc)) == "Your account here is closed."


def test_tenants_are_the_providers_too(oidc: OidcProvider, settings: Any) -> None:
    acme, globex = make_tenant("acme"), make_tenant("globex")
    settings.OIDC_TENANTS = {"of-acme": ("acme",), "of-both": ("acme", "globex"), "all": ("*",)}
    oidc.person["groups"] = ["ops", "of-acme"]
    client, _ = come(oidc)
    assert seen() == {acme.pk}
    page = text_of(client.get("/admin/tenants_app/tenant/"))
    assert ("acme" in page, "globex" in page) == (True, False)
    for groups, expected in ((["of-both"], {acme.pk, globex.pk}), (["all", "of-acme"], None)):
        oidc.person["groups"] = ["ops", *groups]
        come(oidc)
        assert seen() == expected


def test_losing_the_last_tenant_never_shows_all(oidc: OidcProvider, settings: Any) -> None:
    make_tenant("acme")
    settings.OIDC_TENANTS = {"of-acme": ("acme",)}
    oidc.person["groups"] = ["ops", "of-acme"]
    come(oidc)
    oidc.person["groups"] = ["ops"]
    assert refusal(*come(oidc)) == "None of your groups has a role here."
    assert (seen(), roles_of(User.objects.get())) == (set(), [])


def test_tenants_given_by_hand_stay_where_the_provider_has_none(oidc: OidcProvider) -> None:
    acme = make_tenant("acme")
    come(oidc)
    staff.hold_to(User.objects.get(), [acme])
    come(oidc)
    assert seen() == {acme.pk}


def seen() -> Any:
    return staff.tenants_of(User.objects.get())


# --- hostile answers ----------------------------------------------------------------------------


def unsigned(provider: OidcProvider, claims: Claims) -> str:
    parts = [{"alg": "none", "kid": provider.kid}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b""]).decode()


def by_another_key(provider: OidcProvider, claims: Claims) -> str:
    return provider.signed(claims, key=rsa.generate_private_key(65537, 2048))


def by_the_public_key(provider: OidcProvider, claims: Claims) -> str:
    """A text that everybody knows, used as an HMAC's secret."""
    return provider.signed(
        claims, key=json.dumps(provider.public_key()).encode() * 2, algorithm="HS256"
    )


def by_the_client_secret(provider: OidcProvider, claims: Claims) -> str:
    return provider.signed(claims, key=CLIENT_SECRET.encode(), algorithm="HS256")


def changed_afterwards(provider: OidcProvider, claims: Claims) -> str:
    head, _, signature = provider.signed(claims).split(".")
    body = json.dumps(claims | {"sub": "s-root"}).encode()
    return f"{head}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize(
    "sign", [unsigned, by_another_key, by_the_public_key, by_the_client_secret, changed_afterwards]
)
def test_token_that_the_provider_did_not_sign_is_refused(oidc: OidcProvider, sign: Any) -> None:
    oidc.sign = sign
    assert refusal(*come(oidc)) == FAILED
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": [CLIENT_ID, "another-client"]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"iss": "https://other.example"},
        {"iss": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
    ],
    ids=str,
)
def test_token_for_another_time_client_or_login_is_refused(
    oidc: OidcProvider, change: Claims
) -> None:
    oidc.change = change
    assert refusal(*come(oidc)) == FAILED
    assert not User.objects.exists()


def test_answer_is_taken_once(oidc: OidcProvider) -> None:
    client = Client()
    back = oidc.authorize(client.get(reverse("oidc_login"))["Location"])
    assert client.get(back)["Location"] == reverse("admin:index")
    oidc.codes["again"] = {}
    assert client.get(back)["Location"] == reverse("admin:login")


def test_answer_is_taken_only_in_the_browser_that_asked(oidc: OidcProvider) -> None:
    mallory, victim = Client(), Client()
    back = oidc.authorize(mallory.get(reverse("oidc_login"))["Location"])
    assert refusal(victim, victim.get(back)) == FAILED
    victim.get(reverse("oidc_login"))
    assert refusal(victim, victim.get(back)) == FAILED


def test_answer_that_took_too_long_is_refused(
    oidc: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    back = oidc.authorize(client.get(reverse("oidc_login"))["Location"])
    monkeypatch.setattr(flow, "PENDING_SECONDS", -1)
    assert refusal(client, client.get(back)) == FAILED


def test_code_of_somebody_else_needs_their_verifier(oidc: OidcProvider) -> None:
    client, mallory = Client(), Client()
    stolen = oidc.authorize(client.get(reverse("oidc_login"))["Location"])
    code = stolen.partition("code=")[2].partition("&")[0]
    own = oidc.authorize(mallory.get(reverse("oidc_login"))["Location"])
    state = own.partition("state=")[2]
    answer = mallory.get(f"{reverse('oidc_callback')}?code={code}&state={state}")
    assert refusal(mallory, answer) == "single sign-on did not answer as it should."


def test_answer_of_another_issuer_is_refused(oidc: OidcProvider) -> None:
    client = Client()
    back = oidc.authorize(client.get(reverse("oidc_login"))["Location"])
    assert refusal(client, client.get(f"{back}&iss=https://other.example")) == FAILED


def test_refusal_of_the_provider_is_told_without_its_words(oidc: OidcProvider) -> None:
    client = Client()
    state = client.get(reverse("oidc_login"))["Location"].partition("&state=")[2].partition("&")[0]
    with capture_logs() as logs:
        answer = client.get(
            reverse("oidc_callback"), {"error": "access_denied <script>", "state": state}
        )
    assert refusal(client, answer) == FAILED
    assert logs[-1]["reason"] == "the provider says access_deniedscript"


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:1"])
def test_login_leads_to_no_other_site(oidc: OidcProvider, elsewhere: str) -> None:
    _, answer = come(oidc, next=elsewhere)
    assert answer["Location"] == reverse("admin:index")


# --- the provider itself ------------------------------------------------------------------------


def test_new_key_of_the_provider_is_found(
    oidc: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    come(oidc)
    monkeypatch.setattr(providers, "KEYS_AT_MOST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(oidc, "kid", "second")
    monkeypatch.setattr(oidc, "key", rsa.generate_private_key(65537, 2048))
    assert come(oidc)[1]["Location"] == reverse("admin:index")
    assert oidc.asked.count("/keys") == 2


def test_tokens_with_unknown_keys_do_not_make_us_ask_each_time(oidc: OidcProvider) -> None:
    come(oidc)
    oidc.sign = lambda provider, claims: provider.signed(claims).replace("", "", 1)
    kid, oidc.kid = oidc.kid, "unknown"
    try:
        oidc.answers["/keys"] = (200, {"keys": []})
        for _ in range(3):
            assert refusal(*come(oidc)) == FAILED
    finally:
        oidc.kid = kid
    assert oidc.asked.count("/keys") == 1


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/token", (500, {})),
        ("/token", (200, b"no JSON")),
        ("/token", (200, [])),
        ("/token", (200, {"access_token": "access"})),
        ("/token", (302, {})),
        ("/keys", (200, {})),
        ("/keys", (200, b"x" * 2_000_000)),
    ],
)
def test_failing_provider_lets_nobody_in(
    oidc: OidcProvider, path: str, answer: tuple[int, Any]
) -> None:
    oidc.answers[path] = answer
    assert refusal(*come(oidc)) == "single sign-on did not answer as it should."


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://other.example/token"},
        {"jwks_uri": ""},
    ],
    ids=str,
)
def test_discovery_that_leads_astray_is_not_followed(oidc: OidcProvider, changed: Claims) -> None:
    path = "/.well-known/openid-configuration"
    oidc.answers[path] = (200, oidc.told(path, b"", "")[1] | changed)
    client = Client()
    answer = client.get(reverse("oidc_login"))
    assert refusal(client, answer) == "single sign-on cannot be reached. Try again later."


def test_groups_may_be_nested_or_come_with_the_user_info(oidc: OidcProvider, settings: Any) -> None:
    settings.OIDC_GROUPS_CLAIM = "realm_access.roles"
    oidc.person = {"sub": "s-bob", "realm_access": {"roles": ["money"]}}
    come(oidc)
    assert roles_of(User.objects.get()) == ["Auditor", "Finance"]
    oidc.person = {"sub": "s-bob"}
    oidc.userinfo = {"sub": "s-bob", "realm_access": {"roles": ["ops"]}}
    come(oidc)
    assert roles_of(User.objects.get()) == ["Operator"]
    oidc.userinfo = {"sub": "s-root", "realm_access": {"roles": ["ops"]}}
    assert refusal(*come(oidc)) == FAILED


# --- the login page -----------------------------------------------------------------------------


def test_nothing_is_asked_before_somebody_logs_in(oidc: OidcProvider) -> None:
    Client().get(reverse("admin:login"))
    assert oidc.asked == []


def test_button_is_there_only_where_a_provider_is(oidc: OidcProvider, settings: Any) -> None:
    url = reverse("admin:login") + "?next=/admin/usage/"
    assert "/admin/login/oidc/?next=/admin/usage/" in text_of(Client().get(url))
    settings.OIDC_ISSUER = ""
    assert "/admin/login/oidc/" not in text_of(Client().get(url))
    assert Client().get(reverse("oidc_login")).status_code == 404
    assert Client().get(reverse("oidc_callback")).status_code == 404


def test_passwords_can_be_left_to_superusers(oidc: OidcProvider, settings: Any) -> None:
    settings.OIDC_ONLY = True
    User.objects.create_user("bob", password="x", is_staff=True)
    User.objects.create_superuser("root", password="x")
    answers = [
        Client().post(reverse("admin:login"), {"username": name, "password": "x"})
        for name in ("bob", "root")
    ]
    assert [answer.status_code for answer in answers] == [200, 302]
    assert "Log in with single sign-on." in text_of(answers[0])


def test_login_makes_a_new_session_that_lasts_as_any_other(oidc: OidcProvider) -> None:
    client = Client()
    back = oidc.authorize(client.get(reverse("oidc_login"))["Location"])
    before = Session.objects.get()
    client.get(back)
    after = Session.objects.get()
    assert after.session_key != before.session_key
    assert set(after.get_decoded()) == {
        *("_auth_user_id", "_auth_user_backend", "_auth_user_hash"),
        *("logged_in_since", "last_seen"),
    }


def test_no_secret_of_the_login_is_logged(oidc: OidcProvider, capfd: Any) -> None:
    with capture_logs() as logs:
        _, answer = come(oidc)
        oidc.change = {"nonce": "another"}
        come(oidc)
        oidc.answers["/token"] = (400, {})
        come(oidc)
    told = str(logs) + str(capfd.readouterr())
    assert answer.status_code == 302
    for secret in (CLIENT_SECRET, *oidc.codes, "eyJ"):
        assert secret not in told


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"OIDC_ISSUER": "", "OIDC_ONLY": True}, 1),
        ({"OIDC_ISSUER": "http://sso.example.com"}, 2),
        ({"OIDC_CLIENT_ID": ""}, 3),
        ({"OIDC_ROLES": {}}, 4),
    ],
)
def test_settings_that_make_no_sense_are_told_of(
    oidc: OidcProvider, settings: Any, changed: dict[str, Any], number: int
) -> None:
    assert checks.logins(None) == []
    for name, value in changed.items():
        setattr(settings, name, value)
    assert [found.id for found in checks.logins(None)] == [f"tollgate.E{number:03}"]


def test_role_that_does_not_exist_lets_nobody_in(oidc: OidcProvider, settings: Any) -> None:
    settings.OIDC_ROLES = {"ops": ("Operators",)}
    with capture_logs() as logs:
        assert refusal(*come(oidc)) == "None of your groups has a role here."
    assert [line["roles"] for line in logs if line["event"] == "staff_role_unknown"] == [
        ["Operators"]
    ]
