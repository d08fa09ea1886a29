"""The audit trail as a file: a line for each field that changed, with what it was and became."""

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any, Final

from tenants_app import strict_csv
from tenants_app.admin import history

COLUMNS: Final = (
    "at", "who", "command", "reason", "what", "row", "name", "tenant", "change", "field",
    "before", "after",
)  # fmt: skip
# Of one file; the filters of the list choose others.
CHANGES_MAX: Final = 20_000


def write(events: Iterable[Any]) -> str:
    """CSV of these events, which know their user and their context. Rows that they refer to are
    named, as far as they are still there.
    """
    chosen = list(events)
    called = history.called_in(chosen, {event.pgh_obj_model for event in chosen})
    lines = (line for event in chosen for line in _lines(event, called))
    return strict_csv.write([COLUMNS, *lines])


def command(event: Any) -> str:
    """The management command that made a change, or ""."""
    return str((event.pgh_context or {}).get("command") or "")


def who(event: Any) -> str:
    """Who made a change: a user, else a command, else somebody with SQL."""
    username = str(event.user.get_username()) if event.user is not None else None
    return history.who_of(username, event.pgh_context or {})


def _lines(event: Any, called: history.Names) -> Iterator[list[str]]:
    verb = history.VERBS.get(str(event.pgh_label), str(event.pgh_label))
    row = [
        event.pgh_created_at.astimezone(UTC).isoformat(),
        str(event.user.get_username()) if event.user is not None else "",
        command(event),
        event.reason or "",
        history.kind(event.pgh_obj_model),
        str(event.pgh_obj_id),
        history.name_of(event, called),
        history.whose(event, called),
        verb,
    ]
    for field in history.field_changes(event, called):
        yield [*row, field.name, field.before or "", field.after or ""]
