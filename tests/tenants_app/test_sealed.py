"""Sealed values open for their row alone, and show themselves nowhere."""

import base64
import copy
import pickle

import pytest
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from tenants_app import directory, keys, sealed
from tenants_app.sealed import CannotOpen, Sealed
from tests.factories import make_key, make_model, make_route, make_tenant, make_upstream
from tests.loops import run

TOKEN = "sk-very-secret-token"


def ring(*names: str) -> str:
    return ",".join(f"{name}:{base64.b64encode(name.encode() * 16).decode()}" for name in names)


def test_value_opens_with_its_context_only() -> None:
    value = sealed.seal(TOKEN, context="row 1")
    assert sealed.open_sealed(value, context="row 1") == TOKEN
    with pytest.raises(CannotOpen):
        sealed.open_sealed(value, context="row 2")


def test_same_text_is_sealed_differently_each_time() -> None:
    assert sealed.seal(TOKEN, context="row") != sealed.seal(TOKEN, context="row")


def test_changed_value_does_not_open() -> None:
    key_id, _, payload = sealed.stored_text(sealed.seal(TOKEN, context="row")).partition(":")
    raw = bytearray(base64.b64decode(payload))
    raw[-1] ^= 1
    changed = Sealed(f"{key_id}:{base64.b64encode(bytes(raw)).decode()}")
    with pytest.raises(CannotOpen):
        sealed.open_sealed(changed, context="row")


def test_value_shows_nothing_of_itself() -> None:
    value = sealed.seal(TOKEN, context="row")
    stored = sealed.stored_text(value)
    for shown in (repr(value), str(value), f"{value}", f"{[value]}"):
        assert shown in ("<Sealed>", "[<Sealed>]")
        assert stored not in shown
    with pytest.raises(TypeError):
        pickle.dumps(value)
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("text", ["", "plain", "id:", ":AAAA", "id:!!!", "id:AAAA"])
def test_other_text_is_not_a_sealed_value(text: str) -> None:
    with pytest.raises(ValueError, match="not a sealed value"):
        Sealed(text)


@pytest.mark.parametrize("text", ["", "id", "id:AAAA", "id:!!", ring("a") + "," + ring("a")])
def test_ring_that_is_no_ring_is_refused_plainly(text: str, settings: Settings) -> None:
    settings.TOLLGATE_KEY_RING = text
    with pytest.raises(ImproperlyConfigured, match="TOLLGATE_KEY_RING"):
        sealed.key_ring()


def test_first_key_of_the_ring_seals_and_all_of_them_open(settings: Settings) -> None:
    settings.TOLLGATE_KEY_RING = ring("aa")
    old = sealed.seal(TOKEN, context="row")
    settings.TOLLGATE_KEY_RING = ring("bb", "aa")
    assert sealed.open_sealed(old, context="row") == TOKEN
    assert not sealed.is_current(old)
    assert sealed.seal(TOKEN, context="row").key_id == "bb"
    settings.TOLLGATE_KEY_RING = ring("bb")
    with pytest.raises(CannotOpen, match="'aa'"):
        sealed.open_sealed(old, context="row")


@pytest.mark.django_db
def test_column_takes_no_plain_text() -> None:
    upstream = make_upstream()
    upstream.sealed_token = TOKEN  # type: ignore[assignment]
    with pytest.raises(ValidationError):
        upstream.full_clean()
    with pytest.raises(TypeError):
        upstream.save()


@pytest.mark.django_db
def test_token_cannot_be_moved_to_another_row() -> None:
    one, two = make_upstream(token=TOKEN), make_upstream()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenants_app_upstream SET sealed_token ="
            " (SELECT sealed_token FROM tenants_app_upstream WHERE id = %s) WHERE id = %s",
            [one.pk, two.pk],
        )
    one.refresh_from_db()
    two.refresh_from_db()
    assert one.open_token() == TOKEN
    with pytest.raises(CannotOpen):
        two.open_token()


@pytest.mark.django_db
def test_upstream_without_a_token_opens_as_empty() -> None:
    assert make_upstream().open_token() == ""


@pytest.mark.django_db
def test_dump_holds_the_ciphertext_and_loads_again() -> None:
    upstream = make_upstream(token=TOKEN)
    dump = serializers.serialize("json", [upstream])
    assert TOKEN not in dump
    (loaded,) = serializers.deserialize("json", dump)
    assert loaded.object.open_token() == TOKEN  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_rotate_sealed_leaves_no_value_of_an_older_key(settings: Settings) -> None:
    settings.TOLLGATE_KEY_RING = ring("aa")
    upstream, without = make_upstream(token=TOKEN), make_upstream()
    settings.TOLLGATE_KEY_RING = ring("bb", "aa")
    call_command("rotate_sealed", verbosity=0)
    settings.TOLLGATE_KEY_RING = ring("bb")
    upstream.refresh_from_db()
    without.refresh_from_db()
    assert upstream.open_token() == TOKEN
    assert without.sealed_token is None


@pytest.mark.django_db(transaction=True)
def test_snapshot_opens_the_token_and_does_not_show_it() -> None:
    make_route(make_model(), make_upstream(token=TOKEN))
    caller = run(directory.by_digest(keys.digest(make_key(make_tenant()).secret)))
    assert caller is not None
    model = caller.tenant.model("demo-echo")
    assert model is not None
    assert model.routes[0].upstream.open_token() == TOKEN
    assert TOKEN not in repr(model) + repr(caller)
