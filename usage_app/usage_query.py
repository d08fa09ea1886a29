"""Reads the query of a usage report: which days it asks for. PURE; brings no clock."""

import re
from collections.abc import Mapping, Sequence
from datetime import date

from tenants_app.errors import InvalidRequest
from usage_app.figures import Span

LONGEST_DAYS = 366

_MONTH = re.compile(r"2\d{3}-(0[1-9]|1[0-2])", re.ASCII)
_DAY = re.compile(r"2\d{3}-\d\d-\d\d", re.ASCII)
_KNOWN = ("month", "from", "to")


def parse(query: Mapping[str, Sequence[str]], today: date) -> Span:
    """The days of `?month=YYYY-MM`, or of `?from=YYYY-MM-DD&to=YYYY-MM-DD` (`to` is today if left
    out); without both, the month of `today`.

    Raises InvalidRequest that names every bad field.
    """
    problems = _problems_of_names(query)
    given = {name: values[-1] for name, values in query.items() if name in _KNOWN}
    if "month" in given and len(given) > 1:
        problems.setdefault("month", "Use either month, or from and to.")
    if "to" in given and "from" not in given:
        problems.setdefault("from", "This field is needed beside to.")
    days = {name: _read(name, text, problems) for name, text in given.items()}
    if problems:
        raise InvalidRequest.fields(problems)
    if "from" in days:
        return _between(days["from"], days.get("to", today))
    return Span.month(days.get("month", today))


def month_of(text: str) -> date | None:
    """The first day of the month `YYYY-MM`, or None if it is none."""
    return date.fromisoformat(f"{text}-01") if _MONTH.fullmatch(text) else None


def _problems_of_names(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    problems = {}
    for name, values in query.items():
        if name not in _KNOWN:
            problems[name] = "This field is not known."
        elif len(values) > 1:
            problems[name] = "Give this field once."
    return problems


def _read(name: str, text: str, problems: dict[str, str]) -> date:
    found = month_of(text) if name == "month" else _day_of(text)
    if found is None:
        form = "a month, as in 2026-03" if name == "month" else "a day, as in 2026-03-14"
        problems.setdefault(name, f"This must be {form}.")
    return found or date.min


def _day_of(text: str) -> date | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _between(first: date, last: date) -> Span:
    span = Span(first, last)
    if span.days < 1:
        raise InvalidRequest.fields({"from": "This must not be after to."})
    if span.days > LONGEST_DAYS:
        raise InvalidRequest.fields({"from": f"At most {LONGEST_DAYS} days can be asked for."})
    return span
