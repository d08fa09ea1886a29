#!/usr/bin/env python3
"""Checks exports of Tollgate without Tollgate: statements against each other and against the
entries they count. Python 3.11 or newer and its standard library; no network, no database.

    python3 verify.py statement-acme-2026-10.json [more statements …]
        [--entries entries-acme-2026-10.csv]… [--checksum SHA256] [--from-the-first]

Give a tenant's statements in any order, and as many files of entries as you have; which belongs to
which is found in them. `--checksum` is what you were told of the newest statement, on paper or by
mail: without it, somebody could have made the whole chain anew. It ends with 0 when everything
agrees, 1 when something does not, and 2 when a file cannot be read.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, getcontext
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

FORMAT = "tollgate-statement-1"
# The first line of an export. No digest is of it, so nobody may have swapped two of its names.
HEADER = (
    "local_day,id,kind,created_at,settled_at,corrects,trace_id,api_key_id,cost_center,model,"
    "model_reason,upstream,upstream_reference,price_id,stream,input_tokens,cached_tokens,"
    "cache_write_tokens,output_tokens,reasoning_tokens,total_tokens,held_tokens,overrun_tokens,"
    "cost,credit,usage_source,outcome,error_code,ttft_ms,latency_ms,reason,author"
)
TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "total_tokens")
# What a statement's line tells, as its file and as a `Line` names it.
LINE_SUMS = {
    "requests": "requests",
    "inputTokens": "input_tokens",
    "cachedTokens": "cached_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": "total_tokens",
    "estimatedTokens": "estimated_tokens",
    "unpricedRequests": "unpriced_requests",
    "unpricedTokens": "unpriced_tokens",
    "cost": "cost",
    "credit": "credit",
    "price": "price",
}
# Far more digits than any sum here has: nothing but a line's amount is ever rounded.
getcontext().prec = 80
csv.field_size_limit(2**24)

Line = tuple[str, str]
Sums = dict[str, Any]


class Unreadable(Exception):
    """A file is not what it should be."""


def no_sums() -> Sums:
    """A line of nothing."""
    return dict.fromkeys(LINE_SUMS.values(), 0)


@dataclass
class Day:
    """What the entries of one day come to."""

    entries: int = 0
    cost: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    hashes: Any = field(default_factory=sha256)
    lines: dict[Line, Sums] = field(default_factory=lambda: defaultdict(no_sums))


@dataclass
class Entries:
    """An export of entries."""

    path: Path
    days: dict[str, Day]
    problems: list[str]

    @property
    def month(self) -> str:
        return next(iter(self.days), "")[:7]


def main() -> int:
    """Read, check, and say what was found."""
    options = read_options()
    try:
        statements = [read_statement(path) for path in options.statements]
        exports = [read_entries(path) for path in options.entries]
        problems = check(statements, exports, options)
    except (Unreadable, OSError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"WRONG  {problem}")
    if not problems:
        report(statements, exports, options)
    return 1 if problems else 0


def check(
    statements: list[dict[str, Any]], exports: list[Entries], options: argparse.Namespace
) -> list[str]:
    """Everything that does not agree."""
    problems: list[str] = []
    for statement in statements:
        try:
            problems += check_sums(statement)
            for export in exports:
                if export.month == statement["month"]:
                    problems += check_export(export, statement)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise Unreadable(f"{name(statement)} is not a whole statement: {error!r}") from error
    problems += check_chain(statements, options)
    months = {statement["month"] for statement in statements}
    for export in exports:
        problems += export.problems
        if export.month not in months:
            month = export.month or "no entries"
            problems.append(f"{export.path.name}: there is no statement of {month} here")
    return problems


def read_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("statements", nargs="+", type=Path, metavar="STATEMENT.json")
    parser.add_argument("--entries", action="append", default=[], type=Path, metavar="FILE.csv")
    parser.add_argument("--checksum", default="", help="of the newest statement, as you know it")
    parser.add_argument(
        "--from-the-first", action="store_true", help="the oldest file must be the tenant's first"
    )
    return parser.parse_args()


def report(
    statements: list[dict[str, Any]], exports: list[Entries], options: argparse.Namespace
) -> None:
    """What was checked, so that silence is no proof."""
    for statement in sorted(statements, key=place):
        print(
            f"right  {name(statement)}: {statement['total']} {statement['currency']},"
            f" {statement['entries']} entries, checksum {statement['checksum']}"
        )
    for export in exports:
        count = sum(day.entries for day in export.days.values())
        print(f"right  {export.path.name}: {count} entries of {len(export.days)} days")
    if not options.checksum:
        print("note   compare the newest checksum with the one you were told (--checksum)")


def read_statement(path: Path) -> dict[str, Any]:
    """A statement, and under `checksum` the SHA-256 of its bytes."""
    raw = path.read_bytes()
    try:
        statement = json.loads(raw)
        if statement["format"] != FORMAT:
            raise Unreadable(f"{path.name} is not a {FORMAT}")
        if not all(isinstance(text, str) for text in (*place(statement), statement["previous"])):
            raise Unreadable(f"{path.name} does not say whose it is")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unreadable(f"{path.name} is not a statement: {error}") from error
    return {**statement, "checksum": sha256(raw).hexdigest()}


def read_entries(path: Path) -> Entries:
    """The entries, added up by their days."""
    found = Entries(path, {}, [])
    last: tuple[str, str] = ("", "")
    with path.open(encoding="utf-8", newline="") as file:
        rows = records(file)
        try:
            first, header = next(rows)
            if first != HEADER:
                raise Unreadable(f"{path.name} does not begin with the names of its columns")
            for raw, values in rows:
                row = dict(zip(header, values, strict=True))
                here = (row["local_day"], row["id"])
                if here <= last:
                    found.problems.append(f"{path.name}: entry {row['id']} is not in its place")
                last = here
                add(found.days.setdefault(row["local_day"], Day()), raw, row)
        except (StopIteration, ValueError, KeyError, InvalidOperation, csv.Error) as error:
            raise Unreadable(f"{path.name} is not an export of entries: {error!r}") from error
    return found


def records(file: Any) -> Iterator[tuple[str, list[str]]]:
    """Each record as it stands in the file, which may be several lines, and its values."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line

    for values in csv.reader(lines(), strict=True):
        raw = "".join(taken)
        taken.clear()
        yield raw.removesuffix("\n"), values


def add(day: Day, raw: str, row: dict[str, str]) -> None:
    """One entry more."""
    line = (plain(row["cost_center"]), plain(row["model"]))
    cost, credit = Decimal(row["cost"] or 0), Decimal(row["credit"] or 0)
    day.entries += 1
    day.cost += cost
    day.credit += credit
    sums, request, tokens = day.lines[line], row["kind"] == "usage", int(row["total_tokens"])
    for column in TOKENS:
        sums[column] += int(row[column])
    sums["requests"] += request
    sums["cost"] += cost
    sums["credit"] += credit
    sums["estimated_tokens"] += tokens if row["usage_source"] != "provider" else 0
    sums["unpriced_tokens"] += tokens if row["cost"] == "" else 0
    sums["unpriced_requests"] += request and row["cost"] == ""
    day.hashes.update(sha256(raw.encode()).digest())


def plain(text: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from running it."""
    return text.removeprefix("'")


def place(statement: dict[str, Any]) -> tuple[str, str]:
    """Whose, and of which month."""
    return statement["tenant"], statement["month"]


def name(statement: dict[str, Any]) -> str:
    """As people call it."""
    return f"{statement['tenant']} {statement['month']}"


def check_sums(statement: dict[str, Any]) -> Iterator[str]:
    """Each line is rounded from its price, and the totals are sums."""
    unit = Decimal(1).scaleb(-statement["minorUnit"])
    for line in statement["lines"]:
        amount = Decimal(line["price"]).quantize(unit, ROUND_HALF_EVEN)
        if amount != Decimal(line["amount"]):
            yield f"{name(statement)}: {title(line)} is {line['amount']}, rounded it is {amount}"
    for what in (
        [title(line) for line in statement["lines"]],
        [day["day"] for day in statement["days"]],
    ):
        for twice in sorted({one for one in what if what.count(one) > 1}):
            yield f"{name(statement)}: it tells {twice} twice"
    sums = {"total": "amount", "price": "price", "cost": "cost", "credit": "credit"}
    for total, part in sums.items():
        added = sum(Decimal(line[part]) for line in statement["lines"])
        if added != Decimal(statement[total]):
            yield f"{name(statement)}: {total} is {statement[total]}, its lines come to {added}"
    for part in ("cost", "credit", "entries"):
        added = sum(Decimal(day[part]) for day in statement["days"])
        if added != Decimal(statement[part]):
            yield f"{name(statement)}: {part} is {statement[part]}, its days come to {added}"


def title(line: dict[str, Any]) -> str:
    """Which line."""
    return " / ".join(filter(None, (line["costCenter"], line["model"]))) or "the line of credits"


def check_chain(statements: list[dict[str, Any]], options: argparse.Namespace) -> Iterator[str]:
    """Each statement carries the checksum of the one before it."""
    chain = sorted(statements, key=place)
    if len({statement["tenant"] for statement in chain}) > 1:
        yield "the statements are of more than one tenant: check one chain at a time"
        return
    for before, after in pairwise(chain):
        if after["previous"] != before["checksum"]:
            yield (
                f"{name(after)} follows a statement with the checksum"
                f" {after['previous'] or '(none)'}, not {name(before)} with {before['checksum']}"
            )
    if options.from_the_first and chain[0]["previous"]:
        yield f"{name(chain[0])} is not the first: it follows {chain[0]['previous']}"
    if options.checksum and options.checksum.strip().lower() != chain[-1]["checksum"]:
        yield f"{name(chain[-1])} has the checksum {chain[-1]['checksum']}, not {options.checksum}"


def check_export(export: Entries, statement: dict[str, Any]) -> Iterator[str]:
    """The entries are those of the statement of their month."""
    told = {day["day"]: day for day in statement["days"]}
    for day in sorted({*told, *export.days}):
        if day not in told or day not in export.days:
            where = "the export" if day in told else "the statement"
            yield f"{name(statement)}: {where} has no entries on {day}"
        else:
            yield from check_day(f"{name(statement)}, {day}", export.days[day], told[day])
    yield from check_lines(statement, export, told)


def check_day(where: str, found: Day, told: dict[str, Any]) -> Iterator[str]:
    """Count, sums and digest of one day."""
    if found.entries != told["entries"]:
        yield f"{where}: the export has {found.entries} entries, the statement {told['entries']}"
    for part in ("cost", "credit"):
        if getattr(found, part) != Decimal(told[part]):
            yield f"{where}: the export's {part} is {getattr(found, part)}, not {told[part]}"
    if found.hashes.hexdigest() != told["digest"]:
        yield f"{where}: the digest of the entries differs: they are not those that were closed"


def check_lines(statement: dict[str, Any], export: Entries, told: dict[str, Any]) -> Iterator[str]:
    """The statement's lines, made anew from the entries and each day's margin."""
    made: dict[Line, Sums] = defaultdict(no_sums)
    for day, found in export.days.items():
        margin = 1 + Decimal(told.get(day, {}).get("percent", 0)) / 100
        for line, sums in found.lines.items():
            for column in LINE_SUMS.values():
                made[line][column] += sums[column]
            made[line]["price"] += sums["cost"] * margin + sums["credit"]
    stated = {(line["costCenter"], line["model"]): line for line in statement["lines"]}
    for line in sorted({*made, *stated}):
        if line not in stated or line not in made:
            where = "the export" if line in stated else "the statement"
            yield f"{name(statement)}: {where} has nothing for {' / '.join(line)}"
            continue
        for column, of_entries in LINE_SUMS.items():
            if Decimal(stated[line][column]) != made[line][of_entries]:
                yield (
                    f"{name(statement)}: {column} of {title(stated[line])} is"
                    f" {stated[line][column]}, its entries come to {made[line][of_entries]}"
                )


if __name__ == "__main__":
    sys.exit(main())
