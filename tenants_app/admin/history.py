"""What the audit trail says about an object: who changed what, and when. It reads only."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import pghistory
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Permission
from django.db import connection
from django.db.models import Model

from tenants_app.admin import history_sql
from tenants_app.models import Change as Event

MOST: Final = 200
# They change with every save and say nothing.
UNTOLD: Final = frozenset({"id", "created_at", "updated_at", "date_joined"})
VERBS: Final = {
    "insert": "added",
    "update": "changed",
    "delete": "deleted",
    # Of a user, without a word of it.
    "password": "password changed",
}
# The columns by which people know a row, the best first.
CALLED_BY: Final = ("name", "slug", "public_id", "host", "username")
# Rows that only say what belongs together are called by that.
TOGETHER: Final = (
    ("auth.User", "user_id"),
    ("auth.Group", "group_id"),
    ("auth.Permission", "permission_id"),
)

CALLED_BY_THESE: Final = ("model_id", "team_id", "api_key_id")

# What rows that are referred to are called, by their model's label and their id.
Names = Mapping[tuple[str, Any], str]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after; of an added or deleted row only what it held."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row, changed once. `name` is what people call it; `why` what was said, if anything."""

    at: datetime
    who: str
    verb: str
    what: str
    name: str
    why: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class _Event:
    """A row of an event table, as the audit trail's page knows it: it has the same names."""

    pgh_created_at: datetime
    pgh_label: str
    pgh_obj_model: str
    pgh_obj_id: str
    pgh_data: dict[str, Any]
    pgh_diff: dict[str, Any]
    who: str
    reason: str


def of(obj: Model, user: AbstractBaseUser | AnonymousUser, *, most: int = MOST) -> list[Change]:
    """The newest changes of an object and of what refers to it, as far as the user may see them."""
    models = [model for model in visible(user) if history_sql.conditions(model, type(obj))]
    if not models:
        return []
    with connection.cursor() as cursor:
        cursor.execute(history_sql.newest(models, obj), {"pk": obj.pk, "most": most})
        newest = [_event(row, obj) for row in cursor]
    called = _called(newest, obj, models)
    changes = [_change(event, called) for event in newest]
    return [one for one in changes if one.fields or one.verb != VERBS["update"]]


def newest(user: AbstractBaseUser | AnonymousUser, *, most: int) -> list[Change]:
    """The newest changes of all that the user may see, without what they changed. One query."""
    models = visible(user)
    if not models:
        return []
    with connection.cursor() as cursor:
        cursor.execute(history_sql.newest_of_all(models), {"most": most})
        rows = cursor.fetchall()
    return [_headline(row) for row in rows]


def visible(user: Any) -> list[type[Model]]:
    """The event tables of those models that the user may view."""
    return [model for model in pghistory.core.event_models() if _may_view(user, model)]


def labels(user: Any) -> set[str]:
    """The models whose events the user may see."""
    return {model.pgh_tracked_model._meta.label for model in visible(user)}  # type: ignore[attr-defined]


def who_of(username: str | None, context: Mapping[str, Any]) -> str:
    """Who made a change: a user, else a command, else somebody with SQL."""
    if username:
        return username
    if context.get("user"):
        return f"user #{context['user']}"
    return f"command {context['command']}" if context.get("command") else "SQL, no user"


def names_of(ids: Iterable[int | None]) -> dict[int, str]:
    """The user names of these ids, in one query."""
    users = get_user_model()._default_manager.filter(pk__in=[pk for pk in ids if pk is not None])
    return {user.pk: user.get_username() for user in users}


def called_in(events: Iterable[Event], labels: Iterable[str]) -> Names:
    """What the rows are called that these events refer to. One query for each table that rows of
    these models can refer to, whether or not these do.
    """
    relations = {label: _relations(label) for label in labels}
    ids: dict[Any, set[Any]] = {
        field.related_model: {0} for fields in relations.values() for field in fields.values()
    }
    for event in events:
        for name, field in relations[event.pgh_obj_model].items():
            pair = (event.pgh_diff or {}).get(name, ())
            ids[field.related_model] |= {event.pgh_data.get(name), *pair} - {None}
    return {
        (model._meta.label, pk): str(row)
        for model, wanted in ids.items()
        for pk, row in _rows(model).in_bulk([*wanted]).items()
    }


def _rows(model: Any) -> Any:
    """The rows of a table, each with what it is called by."""
    rows = model._default_manager.all()
    return rows.select_related("content_type") if model is Permission else rows


def whose(event: Event, called: Names) -> str:
    """The slug of the tenant whose row was changed, or ""; by its number, if it is gone."""
    if event.pgh_obj_model == "tenants_app.Tenant":
        return str(event.pgh_data.get("slug", ""))
    pk = event.pgh_data.get("tenant_id")
    return called.get(("tenants_app.Tenant", pk), f"#{pk}") if pk else ""


def name_of(event: Event, called: Names) -> str:
    """What people call the changed row."""
    return _name(event, called)


def named(event: Event, called: Names) -> str:
    """The changed row in words, as in "budget tokens per day of acme"; by its number, if it has
    no name.
    """
    owner = called.get(("tenants_app.Tenant", event.pgh_data.get("tenant_id")))
    whose = f"of {owner}" if owner else ""
    name = _name(event, called) or (f"#{event.pgh_obj_id}" if not whose else "")
    return " ".join(filter(None, (kind(event.pgh_obj_model), name, whose)))


def _relations(label: str) -> dict[str, Any]:
    """The fields of a table that refer to others, by their columns."""
    fields = apps.get_model(label)._meta.fields
    return {str(field.column): field for field in fields if field.related_model}


def _event(row: Sequence[Any], obj: Model) -> _Event:
    label, _, verb, at, obj_id, metadata, username, after, before = row
    context, data, earlier = (_json(part) for part in (metadata, after, before))
    diff = {name: [earlier.get(name), data[name]] for name in data} if earlier else {}
    # On the page of an object nobody needs to be told for each row that it is the object's.
    for column in _references(label, type(obj)):
        if data.get(column) == obj.pk and (not earlier or earlier.get(column) == obj.pk):
            data.pop(column)
    return _Event(
        pgh_created_at=at,
        pgh_label=verb,
        pgh_obj_model=label,
        pgh_obj_id=obj_id,
        pgh_data=_own(data),
        pgh_diff={name: pair for name, pair in _own(diff).items() if pair[0] != pair[1]},
        who=who_of(username, context),
        reason=str(context.get("reason") or ""),
    )


def _headline(row: Sequence[Any]) -> Change:
    label, _, verb, at, obj_id, metadata, username, after = row
    context, data = _json(metadata), _json(after)
    return Change(
        at=at,
        who=who_of(username, context),
        verb=_phrase(verb),
        what=f"{kind(label)} #{obj_id}",
        name=next((str(data[name]) for name in CALLED_BY if data.get(name)), ""),
        why=str(context.get("reason") or ""),
        fields=(),
    )


def _references(label: str, target: type[Model]) -> list[str]:
    """The columns of a table that refer to another."""
    fields = apps.get_model(label)._meta.fields
    return [str(field.column) for field in fields if field.related_model is target]


def _json(text: Any) -> dict[str, Any]:
    """Decimals stay what they are."""
    return json.loads(text, parse_float=Decimal) if text else {}


def _own(values: dict[str, Any]) -> dict[str, Any]:
    """The tracked row's columns, without those of the trail."""
    return {name: value for name, value in values.items() if not name.startswith("pgh_")}


def _change(event: _Event, called: Names) -> Change:
    """An event in words; one without a user was made by a command, a task or SQL."""
    return Change(
        at=event.pgh_created_at,
        who=event.who,
        verb=_phrase(event.pgh_label),
        what=f"{kind(event.pgh_obj_model)} #{event.pgh_obj_id}",
        name=_name(event, called),
        why=event.reason,
        fields=field_changes(event, called),
    )


def _phrase(label: str) -> str:
    """A verb between who and what."""
    return "changed the password of" if label == "password" else VERBS.get(label, label)


def _called(events: Iterable[_Event], obj: Model, models: Iterable[Any]) -> Names:
    """What the rows are called that these events refer to. One query for each table that rows of
    these event tables can refer to, whether or not these do.
    """
    tracked = [model.pgh_tracked_model for model in models]
    ids: dict[Any, set[Any]] = {
        field.related_model: {0}
        for model in (*tracked, type(obj))
        for field in model._meta.fields
        if field.related_model not in (None, type(obj))
    }
    for event in events:
        values = event.pgh_diff or {name: [value] for name, value in event.pgh_data.items()}
        # The row itself may be called by what it is about.
        about = {name: [event.pgh_data.get(name)] for name in CALLED_BY_THESE}
        values = {**about, **values}
        for field in apps.get_model(event.pgh_obj_model)._meta.fields:
            if field.related_model in ids:
                ids[field.related_model] |= {pk for pk in values.get(field.column, ()) if pk}
    found = {(obj._meta.label, obj.pk): str(obj)}
    for model, wanted in ids.items():
        for pk, row in _rows(model).in_bulk([*wanted]).items():
            found[model._meta.label, pk] = str(row)
    return found


def _name(event: Event | _Event, called: Names) -> str:
    data = event.pgh_data
    if "period" in data and "metric" in data:
        period = "at once" if data["period"] == "concurrent" else f"per {data['period']}"
        team = called.get(("tenants_app.Team", data.get("team_id")))
        key = called.get(("tenants_app.ApiKey", data.get("api_key_id")))
        on = f"on team {team}" if team else f"on {key}" if key else ""
        return " ".join(filter(None, (str(data["metric"]), period, on)))
    model = called.get(("tenants_app.Model", data.get("model_id")), "")
    pairs = [called.get((label, data.get(column)), "") for label, column in TOGETHER]
    other = model or ", ".join(filter(None, pairs))
    return next((str(data[name]) for name in CALLED_BY if data.get(name)), other)


def kind(label: str) -> str:
    """The model's name in words, from its label."""
    return str(apps.get_model(label)._meta.verbose_name)


def field_changes(event: Event | _Event, called: Names | None = None) -> tuple[FieldChange, ...]:
    """What an event changed, field by field; rows that are referred to by their names, if told."""
    if event.pgh_label == "update":
        pairs = {name: tuple(pair) for name, pair in (event.pgh_diff or {}).items()}
    elif event.pgh_label == "password":
        pairs = {}
    else:
        gone = event.pgh_label == "delete"
        pairs = {
            name: (value, None) if gone else (None, value)
            for name, value in (event.pgh_data or {}).items()
            if value not in (None, "", [])
        }
    columns = {field.column: field for field in apps.get_model(event.pgh_obj_model)._meta.fields}
    return tuple(
        _field_change(columns.get(column), column, pair, called or {})
        for column, pair in sorted(pairs.items())
        if column not in UNTOLD
    )


def _field_change(field: Any, column: str, pair: Sequence[Any], called: Names) -> FieldChange:
    names = [_text(value) for value in pair]
    if field and field.related_model:
        label = field.related_model._meta.label
        names = [called.get((label, pk), text) for pk, text in zip(pair, names, strict=True)]
    before, after = names
    return FieldChange(str(field.verbose_name) if field else column, before, after)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, float):
        # The page of all changes gets decimals out of JSON as floats.
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _may_view(user: Any, event_model: Any) -> bool:
    opts = event_model.pgh_tracked_model._meta.concrete_model._meta
    if opts.auto_created:
        # A many-to-many table belongs to the model that declares it.
        opts = opts.auto_created._meta
    return bool(user.has_perm(f"{opts.app_label}.view_{opts.model_name}"))
