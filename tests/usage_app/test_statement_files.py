"""A statement's files say what was closed, always in the same bytes, and docs/verify.py, run as an
auditor runs it, finds whatever was changed in them.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tenants_app.models import Tenant
from tests.architecture.sources import ROOT
from tests.factories import make_tenant
from tests.usage_app.entries import charge, make_correction, make_credit
from usage_app import rollups
from usage_app.models import Margin, Statement
from usage_app.statements import closing
from usage_app.statements import files as statement_files

pytestmark = pytest.mark.django_db

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
IN_MARCH = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def acme() -> Tenant:
    """Two closed months with everything that an export could stumble over."""
    acme = make_tenant("acme", timezone="Asia/Kolkata")
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 15), percent=Decimal("7.25"))
    charge(acme, created_at=IN_MARCH, cost=Decimal("0.0000000001"), cost_center='R&D "x", y')
    charge(acme, created_at=IN_MARCH + timedelta(days=2), cost=3, model="=cmd|' /C calc'!A0")
    late = charge(acme, created_at=IN_MARCH, cost=Decimal("1.23"), model="'@cf/x")
    make_correction(late, cost=Decimal("-0.5"), reason="two\nlines\r\nand ünïcode")
    make_credit(acme, created_at=IN_MARCH, credit=Decimal("-0.25"), author="-formula")
    charge(acme, created_at=IN_MARCH + timedelta(days=30), cost=Decimal("0.125"))
    rollups.roll_up_new(margin=timedelta(0))
    for month in (MARCH, APRIL):
        closing.close(acme, month, by="finance")
    return acme


def files_of(tenant: Tenant, folder: Path) -> list[Path]:
    """What an auditor is given: two statements, and the entries of each."""
    found = []
    for statement in Statement.objects.for_tenant(tenant).order_by("month"):
        name = f"{statement.month:%Y-%m}"
        told = folder / f"statement-{name}.json"
        told.write_bytes(statement_files.document(statement))
        entries = folder / f"entries-{name}.csv"
        entries.write_text("".join(statement_files.entries_csv(statement)), newline="")
        found += [told, entries]
    return found


def verify(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """As a process of its own: no Django, none of our packages."""
    return subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "docs" / "verify.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def given(folder: Path) -> list[Any]:
    """The files of the folder as arguments."""
    entries = [part for path in sorted(folder.glob("*.csv")) for part in ("--entries", path)]
    return [*sorted(folder.glob("*.json")), *entries]


def test_document_is_its_checksum_and_always_the_same(acme: Tenant) -> None:
    march, april = Statement.objects.order_by("month")
    for statement in (march, april):
        told = statement_files.document(statement)
        assert sha256(told).hexdigest() == statement.checksum
        assert told == statement_files.document(Statement.objects.get(pk=statement.pk))
        assert list(statement_files.entries_csv(statement)) == list(
            statement_files.entries_csv(statement)
        )
    acme.name, acme.slug = "Renamed", "renamed"
    acme.save()
    renamed = Statement.objects.get(pk=march.pk)
    assert sha256(statement_files.document(renamed)).hexdigest() == march.checksum
    assert json.loads(told)["previous"] == march.checksum


def test_lines_are_told_for_spreadsheets(acme: Tenant) -> None:
    march = Statement.objects.get(month=MARCH)
    rows = list(csv.DictReader(statement_files.lines_csv(march).splitlines()))
    assert [(row["cost_center"], row["model"], row["price"], row["amount"]) for row in rows] == [
        ("", "", "-0.2500000000000000", "-0.25"),
        ("", "'@cf/x", "0.7300000000000000", "0.73"),
        ("", "'=cmd|' /C calc'!A0", "3.2175000000000000", "3.22"),
        ('R&D "x", y', "demo-echo", "0.0000000001000000", "0.00"),
        ("", "TOTAL", "3.6975000001000000", "3.70"),
    ]


def test_no_text_of_a_line_is_a_formula() -> None:
    tenant = make_tenant("acme")
    for sign in "=+-@\t\r":
        text = f"{sign}m\r=1"
        charge(tenant, created_at=IN_MARCH, cost=1, model=text, cost_center=text)
    rollups.roll_up_new(margin=timedelta(0))
    told = statement_files.lines_csv(closing.close(tenant, MARCH, by="finance"))
    rows = list(csv.DictReader(StringIO(told, newline="")))[:-1]
    for name in ("cost_center", "model"):
        assert sorted(row[name] for row in rows) == sorted(f"'{sign}m\r=1" for sign in "=+-@\t\r")


def test_pages_of_an_export_are_one_file(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    march = Statement.objects.get(month=MARCH)
    whole = "".join(statement_files.entries_csv(march))
    for size in (1, 2, 5):
        monkeypatch.setattr(statement_files, "ENTRIES_A_PAGE", size)
        assert "".join(statement_files.entries_csv(march)) == whole
    assert [row["reason"] for row in csv.DictReader(whole.splitlines(keepends=True))].count(
        "two\nlines\r\nand ünïcode"
    ) == 1
    assert '"\'-formula"' in whole


def test_auditor_finds_everything_right(acme: Tenant, tmp_path: Path) -> None:
    files_of(acme, tmp_path)
    march, april = Statement.objects.order_by("month")
    done = verify(*given(tmp_path), "--checksum", april.checksum, "--from-the-first")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"right  acme 2026-03: 3.70 USD, 5 entries, checksum {march.checksum}",
        f"right  acme 2026-04: 0.13 USD, 1 entries, checksum {april.checksum}",
        "right  entries-2026-03.csv: 5 entries of 2 days",
        "right  entries-2026-04.csv: 1 entries of 1 days",
    ]


def swap(path: Path, old: str, new: str) -> None:
    told = path.read_bytes()
    assert old.encode() in told, f"{old} is not in {path.name}"
    path.write_bytes(told.replace(old.encode(), new.encode(), 1))


def drop_line(path: Path, at: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[at]
    path.write_bytes(b"".join(lines))


def twice(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1]]))


def line_twice(path: Path) -> None:
    """One that costs what it should not, before the right one; the totals agree."""
    told = json.loads(path.read_bytes())
    more = dict.fromkeys(told["lines"][1], 0) | {"price": "5", "amount": "5.00"}
    told["lines"].insert(
        0, more | {name: told["lines"][1][name] for name in ("costCenter", "model")}
    )
    told["price"], told["total"] = "8.6975000001", "8.70"
    path.write_text(json.dumps(told))


MARCH_JSON, MARCH_CSV = "statement-2026-03.json", "entries-2026-03.csv"
APRIL_JSON, APRIL_CSV = "statement-2026-04.json", "entries-2026-04.csv"
TAMPERED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a cost": (MARCH_CSV, lambda p: swap(p, "1.2300000000", "1.2200000000"), "digest"),
    "a latency": (APRIL_CSV, lambda p: swap(p, ",120,", ",121,"), "digest"),
    "an entry removed": (APRIL_CSV, lambda p: drop_line(p, 1), "no entries here"),
    "one of many removed": (MARCH_CSV, lambda p: drop_line(p, -1), "no entries on 2026-03-16"),
    "an entry twice": (APRIL_CSV, twice, "not in its place"),
    "a line's amount": (MARCH_JSON, lambda p: swap(p, '"3.22"', '"3.21"'), "rounded it is 3.22"),
    "a total": (MARCH_JSON, lambda p: swap(p, '"total": "3.70"', '"total": "3.69"'), "3.70"),
    "a margin": (MARCH_JSON, lambda p: swap(p, '"7.2500"', '"7.2600"'), "its entries come to"),
    "a line's tokens": (
        MARCH_JSON,
        lambda p: swap(p, '"inputTokens": 20', '"inputTokens": 21'),
        "20",
    ),
    "a line twice": (MARCH_JSON, line_twice, "it tells '@cf"),
    "a name": (MARCH_JSON, lambda p: swap(p, '"Acme"', '"Acne"'), "follows a statement with"),
    "a remark of the last": (APRIL_JSON, lambda p: swap(p, "No bill", "The bill"), "has the check"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_auditor_finds_what_was_changed(acme: Tenant, tmp_path: Path, what: str) -> None:
    files_of(acme, tmp_path)
    name, tamper, words = TAMPERED[what]
    tamper(tmp_path / name)
    known = Statement.objects.get(month=APRIL).checksum
    done = verify(*given(tmp_path), "--checksum", known)
    assert (done.returncode, words in done.stdout) == (1, True), done.stdout + done.stderr


def test_names_of_columns_are_those_of_every_export(acme: Tenant, tmp_path: Path) -> None:
    """No digest is of them: swapped, tokens in would be tokens out, and a reason its author."""
    files_of(acme, tmp_path)
    assert verify(*given(tmp_path)).returncode == 0
    swap(tmp_path / APRIL_CSV, "reason,author", "author,reason")
    done = verify(*given(tmp_path))
    assert (done.returncode, "does not begin with the names" in done.stderr) == (2, True)


BROKEN = {
    "no amount": lambda told: told["lines"][0].update(amount="x"),
    "an infinite one": lambda told: told["lines"][0].update(price="Infinity", amount="NaN"),
    "no lines": lambda told: told.pop("lines"),
    "a number for a text": lambda told: told.update(minorUnit="2"),
    "a list for a line": lambda told: told.update(lines=[[]]),
    "a line of another kind": lambda told: told["lines"][0].pop("cachedTokens"),
    "nothing before it": lambda told: told.pop("previous"),
    "no month": lambda told: told.update(month=None),
}


@pytest.mark.parametrize("what", BROKEN)
def test_statement_that_is_none_is_told_in_words(acme: Tenant, tmp_path: Path, what: str) -> None:
    march, entries, _, _ = files_of(acme, tmp_path)
    told = json.loads(march.read_bytes())
    BROKEN[what](told)
    march.write_text(json.dumps(told))
    done = verify(march, "--entries", entries)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("verify: ") or done.stdout.startswith("WRONG")
    assert "Traceback" not in done.stderr


def test_auditor_is_told_what_cannot_be_read(acme: Tenant, tmp_path: Path) -> None:
    march, entries, april, _ = files_of(acme, tmp_path)
    for arguments in ([entries], [march, "--entries", march], [tmp_path / "none.json"]):
        done = verify(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("verify: ") or "No such file" in done.stderr
    assert "is not the first" in verify(april, "--from-the-first").stdout
