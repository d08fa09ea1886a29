"""The statement that finds the newest changes of an object and of what refers to it. Text only;
`history` runs it.
"""

from collections.abc import Sequence

from django.db.models import Model

# Each table gives its newest, by an index on the column; only then are rows compared with what they
# were before, which costs a look back each.
_OF_TABLE = """
(SELECT '{label}' AS label, e.pgh_id, e.pgh_label, e.pgh_created_at, e.pgh_obj_id::text,
    c.metadata, u.username, to_jsonb(e) AS after, to_jsonb(p) AS before
FROM (SELECT * FROM "{table}" WHERE {condition} ORDER BY pgh_id DESC LIMIT %(most)s) e
LEFT JOIN LATERAL (SELECT * FROM "{table}" x
    WHERE x.pgh_obj_id = e.pgh_obj_id AND x.pgh_id < e.pgh_id
    ORDER BY x.pgh_id DESC LIMIT 1) p ON e.pgh_label = 'update'
LEFT JOIN pghistory_context c ON c.id = e.pgh_context_id
LEFT JOIN auth_user u ON u.id::text = c.metadata ->> 'user')
"""


# Without what rows were before: the newest of whole tables, by their keys.
_NEWEST_OF_TABLE = """
(SELECT '{label}' AS label, e.pgh_id, e.pgh_label, e.pgh_created_at, e.pgh_obj_id::text,
    c.metadata, u.username, to_jsonb(e) AS after
FROM (SELECT * FROM "{table}" ORDER BY pgh_id DESC LIMIT %(most)s) e
LEFT JOIN pghistory_context c ON c.id = e.pgh_context_id
LEFT JOIN auth_user u ON u.id::text = c.metadata ->> 'user')
"""
# Whose tenants they are is told by another row, which may be gone.
_OF_A_SCOPE = """
staffscope_id IN (SELECT s.pgh_obj_id FROM tenants_app_staffscopeevent s WHERE s.user_id = %(pk)s)
"""
_BY_WAY_OF = {("auth.User", "tenants_app_scopedtenantevent"): [_OF_A_SCOPE]}
_THE_NEWEST = " ORDER BY pgh_created_at DESC, pgh_id DESC LIMIT %(most)s"


def newest_of_all(models: Sequence[type[Model]]) -> str:
    """For whole event tables; `most` is its parameter."""
    tables = (
        _NEWEST_OF_TABLE.format(
            label=model.pgh_tracked_model._meta.label,  # type: ignore[attr-defined]
            table=model._meta.db_table,
        )
        for model in models
    )
    return " UNION ALL ".join(tables) + _THE_NEWEST


def conditions(model: type[Model], target: type[Model]) -> list[str]:
    """What finds a row's own events, and those of what refers to it, in an event table."""
    concrete = target._meta.concrete_model
    found = [
        f'"{field.column}" = %(pk)s'
        for field in model._meta.fields
        if isinstance(field.related_model, type)
        and field.related_model._meta.concrete_model is concrete
    ]
    table = (concrete._meta.label if concrete else "", model._meta.db_table)
    return [*found, *_BY_WAY_OF.get(table, ())]


def newest(models: Sequence[type[Model]], obj: Model) -> str:
    """For these event tables; `pk` and `most` are its parameters."""
    tables = [
        _OF_TABLE.format(
            label=model.pgh_tracked_model._meta.label,  # type: ignore[attr-defined]
            table=model._meta.db_table,
            condition=condition,
        )
        for model in models
        for condition in conditions(model, type(obj))
    ]
    return " UNION ALL ".join(tables) + _THE_NEWEST
