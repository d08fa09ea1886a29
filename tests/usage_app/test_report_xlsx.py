"""The usage report as a workbook: the page's lines and sums to the last digit, and no formulas."""

import re
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.admin_site import logged_in
from tests.factories import make_tenant
from tests.usage_app.entries import make_credit, make_entry
from usage_app.figures import Span
from usage_app.models import Margin
from usage_app.reports import page as report_page
from usage_app.reports import xlsx as report_xlsx
from usage_app.reports.query import ReportQuery

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"

pytestmark = pytest.mark.django_db


def sheet_of(book: bytes, number: int) -> list[list[str]]:
    """The rows of a sheet as text."""
    with zipfile.ZipFile(BytesIO(book)) as archive:
        names = archive.namelist()
        sheet = archive.read(f"xl/worksheets/sheet{number}.xml")
        shared = archive.read("xl/sharedStrings.xml") if "xl/sharedStrings.xml" in names else b""
    assert b"<f>" not in sheet + shared
    assert b"<hyperlink" not in sheet
    rows = ET.fromstring(sheet).iter(f"{MAIN}row")
    return [[text_of(cell) for cell in row.iter(f"{MAIN}c")] for row in rows]


def text_of(cell: Any) -> str:
    return "".join(cell.itertext())


def book_of(**asked: Any) -> bytes:
    return b"".join(report_xlsx.xlsx_chunks(ReportQuery(MARCH, **asked)))


def test_workbook_has_the_lines_and_sums_of_the_page() -> None:
    acme = make_tenant("acme")
    Margin.objects.create(tenant=acme, valid_from=date(2026, 3, 1), percent=Decimal("33.3333"))
    make_entry(acme, created_at=NOON, cost=Decimal("12345678901.2345678901"))
    make_entry(acme, created_at=NOON, model="other", cost=Decimal("0.0000000001"))
    make_credit(make_tenant("globex"), created_at=NOON, credit=Decimal("-2.5"))
    page = report_page.read(ReportQuery(MARCH), None)
    book = book_of()
    headings, *rows = sheet_of(book, 1)
    assert headings == list(report_xlsx.COLUMNS)
    cells = [row for row in rows if "12345678901.2345678902" in row]
    assert len(rows) == len(page.rows) == 2
    assert f"{page.rows[0].line.figures.price:.16f}" in cells[0]
    about = {name: value for name, value, *_ in sheet_of(book, 2)}
    total = page.total.line.figures
    assert about["price"] == f"{total.price:.16f}"
    assert about["cost"] == "12345678901.2345678902"
    assert (about["credit"], about["requests"], about["from"]) == (
        "-2.5000000000", "2", "2026-03-01")  # fmt: skip


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x", "https://example.org", "007"])
def test_text_stays_text(name: str) -> None:
    make_entry(make_tenant("acme", name=name), created_at=NOON, model=name)
    (row,) = sheet_of(book_of(group_by="detail"), 1)[1:]
    assert row.count(name) == 2


def test_more_lines_than_a_sheet_holds_go_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_xlsx, "ROWS_A_SHEET", 2)
    acme = make_tenant()
    for number in range(5):
        make_entry(acme, created_at=NOON, model=f"m{number}", cost=Decimal(number))
    book = book_of(group_by="model")
    found = [sheet_of(book, number) for number in (1, 2, 3)]
    assert [len(sheet) for sheet in found] == [3, 3, 2]
    assert re.findall(r"m\d", str(found)) == ["m4", "m3", "m2", "m1", "m0"]


def test_page_offers_the_workbook_also_of_nothing() -> None:
    response: Any = logged_in(superuser=True).get("/admin/usage/?month=2026-03&format=xlsx")
    assert response.headers["content-disposition"] == 'attachment; filename="usage-2026-03.xlsx"'
    assert sheet_of(b"".join(response.streaming_content), 1) == [list(report_xlsx.COLUMNS)]
