"""Who has which rights is in the audit trail: by whom, when and why, whoever wrote it."""

from typing import Any

import pghistory
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client

from tenants_app import staff
from tenants_app.models import Change
from tests.admin_site import form_of, logged_in, make_staff, text_of, url_of
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db

CHANGES = "/admin/tenants_app/change/"
WORD = "a long word of staff"


def events(name: str) -> Any:
    return Change.objects.across(f"tenants_app.{name}Event").order_by("pgh_id")


def told(client: Client, **filters: str) -> list[str]:
    """The page of changes, each in words."""
    rows = client.get(CHANGES, filters).context["cl"].result_list
    page: Any = client.get(CHANGES, filters).context["cl"].model_admin
    return [f"{page.what(row)}: {page.verb(row)}" for row in rows]


def history(client: Client, row: Any) -> list[Any]:
    changes: list[Any] = client.get(url_of(type(row), "history", row.pk)).context["changes"]
    return changes


def test_rights_given_by_sql_are_recorded_with_before_and_after() -> None:
    bob, group = make_staff(), Group.objects.create(name="Helpers")
    permission = Permission.objects.get(codename="change_upstream")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE auth_user SET is_superuser = true WHERE id = %s", [bob.pk])
        for table, columns, pair in (
            ("user_groups", "user_id, group_id", (bob.pk, group.pk)),
            ("user_user_permissions", "user_id, permission_id", (bob.pk, permission.pk)),
            ("group_permissions", "group_id, permission_id", (group.pk, permission.pk)),
        ):
            cursor.execute(f"INSERT INTO auth_{table} ({columns}) VALUES (%s, %s)", pair)
        cursor.execute("UPDATE auth_group SET name = 'Others' WHERE id = %s", [group.pk])
        cursor.execute("DELETE FROM auth_user_groups WHERE user_id = %s", [bob.pk])
    assert events("Account").last().pgh_diff == {"is_superuser": [False, True]}
    assert events("PermissionGroup").last().pgh_diff == {"name": ["Helpers", "Others"]}
    assert [event.pgh_label for event in events("AccountGroup")] == ["insert", "delete"]
    page = told(logged_in(superuser=True))
    for words in (
        f"user {bob.username}: changed",
        f"group of user {bob.username}, Others: added",
        f"group of user {bob.username}, Others: deleted",
        f"permission of user {bob.username}, {permission}: added",
        f"permission of group Others, {permission}: added",
    ):
        assert words in page


def test_password_is_told_to_have_changed_and_nothing_of_it() -> None:
    bob = make_staff()
    bob.set_password("another one")
    bob.save()
    assert [event.pgh_label for event in events("Account")] == ["insert", "password"]
    assert f"user {bob.username}: password changed" in told(logged_in(superuser=True))
    # What the same statement changes beside it is told by an event of its own.
    bob.set_password("a third one")
    bob.is_superuser = True
    bob.save()
    assert events("Account").filter(pgh_obj_id=bob.pk).last().pgh_diff["is_superuser"] == [
        False,
        True,
    ]
    assert bob.password not in str(list(events("Account").values()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(e)::text FROM tenants_app_accountevent e")
        assert "md5$" not in str(cursor.fetchall())


def test_login_alone_leaves_no_event() -> None:
    before = Change.objects.across().count()
    bob = User.objects.create_user("bob", password=WORD, is_staff=True)
    made = Change.objects.across().count()
    assert made == before + 1
    client = Client()
    assert client.login(username=bob.username, password=WORD)
    assert User.objects.get(pk=bob.pk).last_login is not None
    assert Change.objects.across().count() == made


def test_pages_of_users_and_groups_ask_why_and_keep_it() -> None:
    bob, group = make_staff(), Group.objects.create(name="Helpers")
    alice = make_staff(superuser=True)
    client = Client()
    client.force_login(alice)
    for row, values, field in (
        (bob, {"is_superuser": "on"}, "superuser status"),
        (group, {"name": "Others"}, "name"),
    ):
        url = url_of(type(row), "change", row.pk)
        page = client.get(url)
        assert 'name="_reason"' in text_of(page)
        sent = form_of(page) | values | {"_reason": "the new rota"}
        assert client.post(url, sent).status_code == 302
        newest = history(client, row)[0]
        assert (newest.who, newest.verb, newest.why) == (alice.username, "changed", "the new rota")
        assert [one.name for one in newest.fields] == [field]
    assert "the new rota" in text_of(client.get(CHANGES))


def test_user_is_added_and_its_password_changed_on_its_pages() -> None:
    client = logged_in(superuser=True)
    page = client.get(url_of(User, "add"))
    sent = form_of(page) | {"username": "bob", "password1": WORD, "password2": WORD}
    assert 'name="_reason"' in text_of(page)
    assert client.post(url_of(User, "add"), sent | {"_reason": "is new"}).status_code == 302
    bob = User.objects.get(username="bob")
    again = {"password1": WORD * 2, "password2": WORD * 2, "set-password": "1"}
    url = f"/admin/auth/user/{bob.pk}/password/"
    assert client.post(url, {**again, "usable_password": "true"}).status_code == 302
    assert [(one.verb, one.why) for one in history(client, bob)] == [
        ("changed the password of", ""),
        ("added", "is new"),
    ]


def test_history_of_a_user_tells_its_groups_permissions_and_tenants_by_name() -> None:
    bob, group = make_staff(), Group.objects.create(name="Helpers")
    with pghistory.context(reason="looks after acme"):
        bob.groups.add(group)
        staff.hold_to(bob, [make_tenant("acme")])
    found = history(logged_in(superuser=True), bob)
    assert ("Helpers", "added") in [
        (field.after, one.verb) for one in found for field in one.fields if field.name == "group"
    ]
    assert {one.why for one in found if one.what.startswith("group of user")} == {
        "looks after acme"
    }
    staff.release(bob)
    found = history(logged_in(superuser=True), bob)
    assert [
        (field.before, field.after)
        for one in found
        for field in one.fields
        if field.name == "tenant"
    ] == [("acme", None), (None, "acme")]


def test_rights_are_told_to_those_who_may_see_users_and_groups() -> None:
    bob, group = make_staff(), Group.objects.create(name="Helpers")
    bob.groups.add(group)
    group.permissions.add(Permission.objects.get(codename="view_tenant"))
    see = "tenants_app.view_change"
    of_users = {f"tenants_app.Account{end}" for end in ("", "Group", "Permission")}
    of_groups = {"tenants_app.PermissionGroup", "tenants_app.GroupPermission"}
    for permissions, expected in (
        ((see,), set()),
        ((see, "auth.view_user"), of_users),
        ((see, "auth.view_group"), of_groups),
        ((see, "auth.view_user", "auth.view_group"), of_users | of_groups),
    ):
        page = logged_in(*permissions).get(CHANGES).context["cl"]
        assert {row.pgh_obj_model for row in page.result_list} == expected


def test_staff_of_some_tenants_is_told_nothing_of_rights() -> None:
    acme = make_tenant("acme")
    held = make_staff(
        "tenants_app.view_change", "tenants_app.view_tenant", "auth.view_user", "auth.view_group"
    )
    staff.hold_to(held, [acme])
    Group.objects.create(name="Helpers")
    client = Client()
    client.force_login(held)
    assert told(client) == ["tenant Acme: added"]
    assert "Helpers" not in text_of(client.get(f"{CHANGES}export/"))
    assert client.get(url_of(User, "history", held.pk)).status_code == 403


def test_changes_of_rights_are_listed_in_as_many_queries_for_many_as_for_one(
    django_assert_max_num_queries: Any,
) -> None:
    client = logged_in(superuser=True)
    client.get(CHANGES)
    permissions = list(Permission.objects.all()[:40])
    with django_assert_max_num_queries(40) as few:
        client.get(CHANGES)
    bob = make_staff()
    bob.user_permissions.add(*permissions)
    with django_assert_max_num_queries(len(few)):
        client.get(CHANGES)
