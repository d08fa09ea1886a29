"""A world of many tenants, made in bulk of the one that is there: `multiply` copies its rows."""

import uuid
from collections.abc import Iterator
from copy import copy
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models

from usage_app.models import ProviderBill, ProviderBillLine, ProviderBillMatch, RollupMark

APPS = ("tenants_app", "usage_app", "chat_app")
# Made by triggers, or one row for ever; bills are an upstream's, and may not overlap.
NOT_COPIED = ("ConfigurationVersion", RollupMark.__name__, ProviderBill.__name__,
              ProviderBillLine.__name__, ProviderBillMatch.__name__)  # fmt: skip


def multiply(count: int) -> None:
    """Copy every row there is `count` times: each copy names the copies of what its original
    names.
    """
    copies: dict[tuple[type[models.Model], Any], list[Any]] = {}
    for model in _in_order():
        rows = list(model._default_manager.all())
        made = [_copy(row, number, copies) for row in rows for number in range(count)]
        model._default_manager.bulk_create(made, batch_size=500)
        for place, row in enumerate(rows):
            copies[model, row.pk] = made[place * count : (place + 1) * count]


def _in_order() -> Iterator[Any]:
    """Every table of ours, after those that it refers to."""
    left: list[Any] = [
        Group,
        *(model for app in APPS for model in apps.get_app_config(app).get_models()),
    ]
    left = [model for model in left if model.__name__ not in NOT_COPIED and _is_ours(model)]
    while left:
        ready = [model for model in left if not _needs(model) & (set(left) - {model})]
        assert ready, left
        yield from ready
        left = [model for model in left if model not in ready]


def _is_ours(model: type[models.Model]) -> bool:
    """Events of the audit are written by triggers."""
    return model._meta.managed and not model._meta.proxy and not hasattr(model, "pgh_tracked_model")


def _needs(model: type[models.Model]) -> set[Any]:
    fields = model._meta.concrete_fields
    return {field.related_model for field in fields if field.is_relation and not field.null}


def _copy(row: Any, number: int, copies: Any) -> Any:
    made = copy(row)
    made._state = copy(row._state)
    made._state.adding = True
    made._state.fields_cache = {}
    unique = _unique(type(row))
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if field.is_relation:
            found = copies.get((field.related_model, value))
            setattr(made, field.attname, found[number].pk if found else value)
        elif field.primary_key:
            made.pk = uuid.uuid4() if isinstance(field, models.UUIDField) else None
        elif field.name in unique and value:
            setattr(made, field.attname, _another(field, value, number))
    return made


def _unique(model: type[models.Model]) -> set[str]:
    """Fields that no two rows share, whatever they refer to."""
    found = {field.name for field in model._meta.concrete_fields if field.unique}
    fields = model._meta.concrete_fields
    related = {field.name for field in fields if field.is_relation and not field.null}
    for constraint in model._meta.constraints:
        names = set(getattr(constraint, "fields", ()))
        if isinstance(constraint, models.UniqueConstraint) and not names & related:
            found |= names
    return found


def _another(field: Any, value: Any, number: int) -> Any:
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if isinstance(field, models.BinaryField):
        return uuid.uuid4().bytes * (len(value) // 16)
    if isinstance(field, models.CharField):
        return f"{value[: (field.max_length or 100) - 5]}-{number}"
    return value
