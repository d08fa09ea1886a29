"""What the audit trail says about an object: who changed what, and when. It reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pghistory
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Model

from tenants_app.models import Change as Event

MOST: Final = 200
# They change with every save and say nothing.
UNTOLD: Final = frozenset({"id", "created_at", "updated_at"})
VERBS: Final = {"insert": "added", "update": "changed", "delete": "deleted"}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after; of an added or deleted row only what it held."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row, changed once."""

    at: datetime
    who: str
    verb: str
    what: str
    fields: tuple[FieldChange, ...]


def of(obj: Model, user: AbstractBaseUser | AnonymousUser) -> list[Change]:
    """The newest changes of an object and of what refers to it, as far as the user may see them."""
    models = [
        model
        for model in visible(user)
        if any(field.related_model is type(obj) for field in model._meta.fields)
    ]
    if not models:
        return []
    events = Event.objects.across(*models).references(obj)
    newest = list(events.order_by("-pgh_created_at", "-pgh_id")[:MOST])
    names = names_of({event.user_id for event in newest})
    changes = [change(event, names) for event in newest]
    return [one for one in changes if one.fields or one.verb != VERBS["update"]]


def visible(user: Any) -> list[type[Model]]:
    """The event tables of those models that the user may view."""
    return [model for model in pghistory.core.event_models() if _may_view(user, model)]


def names_of(ids: Iterable[int | None]) -> dict[int, str]:
    """The user names of these ids, in one query."""
    users = get_user_model()._default_manager.filter(pk__in=[pk for pk in ids if pk is not None])
    return {user.pk: user.get_username() for user in users}


def change(event: Event, names: dict[int, str]) -> Change:
    """An event in words; one without a user was made by a command, a task or SQL."""
    user = event.user_id
    return Change(
        at=event.pgh_created_at,
        who="no user" if user is None else names.get(user, f"user #{user}"),
        verb=VERBS.get(event.pgh_label, event.pgh_label),
        what=f"{kind(event.pgh_obj_model)} #{event.pgh_obj_id}",
        fields=field_changes(event),
    )


def kind(label: str) -> str:
    """The model's name in words, from its label."""
    return str(apps.get_model(label)._meta.verbose_name)


def field_changes(event: Event) -> tuple[FieldChange, ...]:
    """What an event changed, field by field."""
    if event.pgh_label == "update":
        pairs = {name: tuple(pair) for name, pair in (event.pgh_diff or {}).items()}
    else:
        gone = event.pgh_label == "delete"
        pairs = {
            name: (value, None) if gone else (None, value)
            for name, value in (event.pgh_data or {}).items()
            if value not in (None, "", [])
        }
    names = _names_of_columns(event.pgh_obj_model)
    return tuple(
        FieldChange(names.get(column, column), _text(before), _text(after))
        for column, (before, after) in sorted(pairs.items())
        if column not in UNTOLD
    )


def _names_of_columns(label: str) -> dict[str, str]:
    """A table's columns in words."""
    fields = apps.get_model(label)._meta.fields
    return {str(field.column): str(field.verbose_name) for field in fields}


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, float):
        # Decimals come out of JSON as floats.
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _may_view(user: Any, event_model: Any) -> bool:
    opts = event_model.pgh_tracked_model._meta.concrete_model._meta
    if opts.auto_created:
        # A many-to-many table belongs to the model that declares it.
        opts = opts.auto_created._meta
    return bool(user.has_perm(f"{opts.app_label}.view_{opts.model_name}"))
