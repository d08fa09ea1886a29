"""The usage report as a workbook: the lines of the page, and a sheet that says what they are about.
No HTTP.

A spreadsheet's numbers have 15 digits. So money is text there, exact, and each price stands beside
it once more as a number to calculate with.
"""

from collections.abc import Iterable, Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO, Any, Final

import xlsxwriter
from django.conf import settings

from tenants_app.models import Tenant
from usage_app import selectors
from usage_app.figures import Figures, total
from usage_app.reports import files as report_files
from usage_app.reports.lines import Line
from usage_app.reports.query import ReportQuery

ROWS_A_SHEET: Final = 1_000_000
EXACT_BELOW: Final = 10**15
BYTES_A_CHUNK: Final = 256 * 1024
TO_CALCULATE_WITH: Final = "price_number"
_PRICE: Final = report_files.COLUMNS.index("price")
COLUMNS: Final = (
    *(*report_files.COLUMNS[: _PRICE + 1], TO_CALCULATE_WITH),
    *report_files.COLUMNS[_PRICE + 1 :],
)


def xlsx_chunks(query: ReportQuery, tenant: Tenant | None = None) -> Iterator[bytes]:
    """The workbook in pieces, its lines as of one moment. Since a workbook is an archive, it is
    written to a temporary file first, line by line; only then the first piece is out.
    """
    file = TemporaryFile()  # noqa: SIM115 - the pieces close it
    try:
        _write(file, query, selectors.report_lines(query, tenant))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(BYTES_A_CHUNK):
            yield piece


def _write(file: IO[bytes], query: ReportQuery, lines: Iterable[Line]) -> None:
    # Text stays text: neither formulas nor links nor numbers are made of it.
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(file, options) as book:
        bold = book.add_format({"bold": True})
        sum_of_lines, sheet, row = Figures(), None, 0
        for number, line in enumerate(lines):
            row = number % ROWS_A_SHEET + 1
            if sheet is None or row == 1:
                sheet = _sheet(book, f"Usage {number // ROWS_A_SHEET + 1}", bold)
            sum_of_lines = total([sum_of_lines, line.figures])
            _write_row(sheet, row, _cells(query, line))
        if sheet is None:
            _sheet(book, "Usage 1", bold)
        about = book.add_worksheet("About")
        about.set_column(0, 1, 32)
        for row, (name, value) in enumerate(_about(query, sum_of_lines)):
            about.write_string(row, 0, name, bold)
            _write_row(about, row, [value], first=1)


def _sheet(book: Any, name: str, bold: Any) -> Any:
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(COLUMNS) - 1, 16)
    for column, heading in enumerate(COLUMNS):
        sheet.write_string(0, column, heading, bold)
    return sheet


def _write_row(sheet: Any, row: int, cells: Sequence[Any], *, first: int = 0) -> None:
    for column, value in enumerate(cells, start=first):
        if isinstance(value, str) or (isinstance(value, int) and abs(value) >= EXACT_BELOW):
            sheet.write_string(row, column, str(value))
        elif value is not None:
            sheet.write_number(row, column, value)


def _cells(query: ReportQuery, line: Line) -> list[Any]:
    cells = list(report_files.cells(query, line, as_text=str))
    cells.insert(_PRICE + 1, line.figures.known_price)
    return cells


def _about(query: ReportQuery, figures: Figures) -> Iterator[tuple[str, Any]]:
    yield "from", f"{query.span.first}"
    yield "to", f"{query.span.last}"
    yield "asked", query.as_query()
    yield "currency", settings.LEDGER_CURRENCY
    yield "requests", figures.requests
    yield "tokens_total", figures.total_tokens
    yield "cost", f"{figures.cost:.10f}"
    yield "credit", f"{figures.credit:.10f}"
    yield "price", f"{figures.price:.16f}"
