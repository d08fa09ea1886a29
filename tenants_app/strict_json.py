"""JSON as a person writes it, read strictly: everything wrong is told at once, each by its path.

It knows no tenants (tenant_files does); it neither opens files nor repeats a value, which may be a
secret.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, TypeVar

T = TypeVar("T")
Read = Callable[[object], T]

_plain_name = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*").fullmatch


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong or odd, and where: `[1].tokenBudget.daily`, or "" for the file as a whole."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


@dataclass(slots=True)
class Findings:
    """What was found so far; with problems nothing of the file is used."""

    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def problem(self, path: str, text: str) -> None:
        self.problems.append(Finding(path, text))

    def warn(self, path: str, text: str) -> None:
        self.warnings.append(Finding(path, text))


class Bad(Exception):
    """Raised by a reader: why a value will not do, as the end of a sentence."""


class _Object(dict[str, Any]):
    """An object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _NotJson:
    """NaN or an infinity, which Python reads and JSON does not know."""

    name: str


NOTHING: Final = _NotJson("")


def load(data: bytes, findings: Findings) -> object:
    """The file's value; NOTHING if it is no JSON at all. A byte order mark is passed over."""
    try:
        text = data.decode("utf-8-sig")
        value: object = json.loads(
            text, object_pairs_hook=_object, parse_constant=_NotJson, parse_float=Decimal
        )
        _look_through(value, "", findings)
    except UnicodeDecodeError as error:
        findings.problem("", f"This is not UTF-8: byte {error.start} is not.")
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        findings.problem("", f"This is not JSON: {error.msg} ({where}).")
    except RecursionError:
        findings.problem("", "This is nested too deeply.")
    except (ValueError, ArithmeticError):
        findings.problem("", "This is not JSON: a number has too many digits.")
    else:
        return value
    return NOTHING


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        made.repeated = tuple(name for name, count in counts.items() if count > 1)
    return made


def _look_through(value: object, path: str, findings: Findings) -> None:
    """What no reader may overlook, since it might sit under a key that nobody reads."""
    if isinstance(value, _NotJson):
        findings.problem(path, f"{value.name} is not JSON")
    elif isinstance(value, _Object):
        for name in value.repeated:
            findings.problem(below(path, name), "is there twice")
        for name, inner in value.items():
            _look_through(inner, below(path, name), findings)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _look_through(inner, f"{path}[{position}]", findings)


def below(path: str, name: str) -> str:
    """The path of a key; one that is no plain name is quoted, and printable whatever it holds."""
    if not _plain_name(name):
        return f"{path}[{json.dumps(name[:80])}]"
    return f"{path}.{name}" if path else name


class Reader:
    """One object of the file: takes its keys, and puts what is wrong with them into `findings`."""

    def __init__(self, value: object, path: str, findings: Findings, known: Iterable[str]) -> None:
        self.path = path
        self.findings = findings
        self._is_object = isinstance(value, dict)
        self._values: dict[str, Any] = value if isinstance(value, dict) else {}
        if self._is_object:
            self._warn_of_unknown(tuple(known))
        elif not isinstance(value, _NotJson):
            findings.problem(path, "must be an object")

    @property
    def is_object(self) -> bool:
        """Whether there was an object at all; if not, that is told."""
        return self._is_object

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def is_null(self, name: str) -> bool:
        return name in self._values and self._values[name] is None

    def below(self, name: str) -> str:
        """The path of one of its keys."""
        return below(self.path, name)

    def value(self, name: str) -> Any:
        """As it came; None if it is not there."""
        return self._values.get(name)

    def take(self, name: str, read: Read[T]) -> T | None:
        """What `read` makes of the key; None if it is not there or, then with a problem, bad."""
        if name not in self._values:
            return None
        return self.checked(self._values[name], self.below(name), read)

    def require(self, name: str, read: Read[T]) -> T | None:
        """The same, of a key that must be there."""
        if name not in self._values and self._is_object:
            self.findings.problem(self.below(name), "is missing")
        return self.take(name, read)

    def inner(self, name: str, known: Iterable[str]) -> Reader:
        """The object under a key; an empty one if it is not there or null."""
        value = self._values.get(name)
        return Reader(_Object() if value is None else value, self.below(name), self.findings, known)

    def items(self, name: str) -> list[tuple[str, Any]] | None:
        """The items of a list with their paths; None if it is not there or no list."""
        if name not in self._values:
            return None
        value, path = self._values[name], self.below(name)
        if not isinstance(value, list):
            self.findings.problem(path, "must be a list")
            return None
        return [(f"{path}[{position}]", item) for position, item in enumerate(value)]

    def each(self, name: str, read: Read[T]) -> dict[T, str] | None:
        """The items of a list as `read` makes them, with their paths; each may come once."""
        items = self.items(name)
        if items is None:
            return None
        found: dict[T, str] = {}
        for path, item in items:
            made = self.checked(item, path, read)
            if made is not None and made in found:
                self.findings.problem(path, f"is the same as {found[made]}")
            elif made is not None:
                found[made] = path
        return found

    def checked(self, value: object, path: str, read: Read[T]) -> T | None:
        """What `read` makes of a value; None and a problem if it will not do."""
        if isinstance(value, _NotJson):
            return None  # told already
        try:
            return read(value)
        except Bad as bad:
            self.findings.problem(path, str(bad))
            return None

    def _warn_of_unknown(self, known: tuple[str, ...]) -> None:
        by_lower = {name.lower(): name for name in known}
        for name in self._values:
            if name in known:
                continue
            near = get_close_matches(name.lower(), by_lower, n=1)
            hint = f"; did you mean {by_lower[near[0]]}?" if near else ""
            self.findings.warn(self.below(name), f"is unknown and ignored{hint}")


def whole(least: int, most: int) -> Read[int]:
    """A whole number within these bounds: neither 1.0, nor "1", nor true."""
    wanted = f"must be a whole number of at least {least}"
    if most < 10**12:
        wanted = f"must be a whole number from {least} to {most}"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,3}([,.' _]\d{3})+", value):
            raise Bad(f"{wanted}, without marks between its digits")
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise Bad(wanted)
        if value > most:
            raise Bad(f"must be at most {most}" if most >= 10**12 else wanted)
        return value

    return read


def truth(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise Bad("must be true or false")
    return value


def text(least: int, most: int) -> Read[str]:
    """A string of so many characters that Postgres can hold and a terminal can show."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise Bad(f"must be a string of {least} to {most} characters")
        if not value.isprintable():
            raise Bad("must not contain control characters or half a surrogate pair")
        return value

    return read


def matching(pattern: str, wanted: str) -> Read[str]:
    """A string that matches all of a pattern."""
    match = re.compile(pattern).fullmatch

    def read(value: object) -> str:
        if not isinstance(value, str) or not match(value):
            raise Bad(wanted)
        return value

    return read


def one_of(*choices: str) -> Read[str]:
    """One of these strings."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Bad(f"must be one of {', '.join(choices)}")
        return value

    return read
