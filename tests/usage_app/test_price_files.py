"""Price lists are read strictly, and what is wrong is told by its line."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.prices.files import PriceRow, parse, shown

HEADER = "model,valid_from,input,cached_input,cache_write,output"


def problems(text: str) -> list[str]:
    parsed = parse(text.encode())
    assert not (parsed.rows and parsed.problems)
    return [str(problem) for problem in parsed.problems]


def test_list_is_read_in_any_clothes() -> None:
    text = (
        "# a comment, with, commas\r\n\r\n output ,input,model,valid_from,cache_write\r\n"
        '1.50,0.2500,"@cf/a,b",2026-03-01T01:00+01:00,\r\n'
        "0,0,m,2026-03-01 08:30Z,0.0001"
    )
    parsed = parse(b"\xef\xbb\xbf" + text.encode())
    assert parsed.problems == ()
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    first = PriceRow(4, "@cf/a,b", midnight, Decimal("0.25"), None, None, Decimal("1.5"))
    second = PriceRow(
        5, "m", midnight.replace(hour=8, minute=30), Decimal(0), None, Decimal("0.0001"), Decimal(0)
    )
    assert parsed.rows == (first, second)
    assert (shown(midnight), shown(second.valid_from)) == ("2026-03-01", "2026-03-01T08:30:00Z")


def test_every_problem_is_told_by_its_line() -> None:
    text = f"""{HEADER}
,2026-03-01,1,,,2
m,soon,1,,,2
m,2026-03-01T08:00,1,,,2
m,1026-03-01,1,,,2
m,2026-03-01,-1,1e3,0.12345,
m,2026-03-01,"1,5",,,NaN
m,2026-03-01,1,,
m,2026-03-01,1,,,"2"""
    assert problems(text) == [
        "line 2, model: must be a model's id, of at most 200 characters",
        "line 3, valid_from: must be a day like 2026-03-01 or an instant like 2026-03-01T08:00Z",
        "line 4, valid_from: says no offset: end it with Z for UTC, or with one like +01:00",
        "line 5, valid_from: must be in the years 2000 to 2199",
        "line 6, input: must be an amount like 0.25, per 1 000 000 tokens and not negative",
        "line 6, cached_input: must be an amount like 0.25, per 1 000 000 tokens and not negative",
        "line 6, cache_write: a price has at most 4 decimals per 1M tokens",
        "line 6, output: must be an amount like 0.25, per 1 000 000 tokens and not negative",
        "line 7, input: must be an amount like 0.25, per 1 000 000 tokens and not negative",
        "line 7, output: must be an amount like 0.25, per 1 000 000 tokens and not negative",
        "line 8: has 5 cells, and the first line names 6 columns",
        "line 9: is no CSV: unexpected end of data",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "",
            (
                "columns: model, valid_from, input, output missing: the first line names model,"
                " valid_from, input, cached_input, cache_write, output, split by commas"
            ),
        ),
        (
            HEADER.replace(",", ";"),
            (
                "columns: they are split by semicolons or tabs: save the file with commas between"
                " its cells"
            ),
        ),
        (
            HEADER.replace("cached_input", "cache_input"),
            "columns: cache_input is unknown; did you mean cached_input?",
        ),
        (f"{HEADER},input", "columns: one is there twice"),
        (f"# nothing\n{HEADER}\n\n", "The file has no lines below its columns."),
    ],
)
def test_columns_are_those_of_the_page(text: str, told: str) -> None:
    assert problems(text) == [told]


def test_two_prices_from_one_instant_on_are_refused_also_when_they_agree() -> None:
    text = f"{HEADER}\nm,2026-03-01,1,,,2\nm,2026-03-01T01:00+01:00,1,,,2\nn,2026-03-01,1,,,2"
    told = "line 3: m has a price from 2026-03-01 on in line 2 already"
    assert problems(text) == [told]


def test_file_that_is_no_text_is_refused() -> None:
    (problem,) = parse(b"\xff\xfe\x00").problems
    assert str(problem) == "The file is not UTF-8: save it as CSV UTF-8."


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_file_in_another_encoding_is_refused(encoding: str) -> None:
    (problem,) = parse(f"{HEADER}\nmé,2026-03-01,1,,,2".encode(encoding)).problems
    assert str(problem) == "The file is not UTF-8: save it as CSV UTF-8."


@given(st.text() | st.text(alphabet='m,0123456789-."\n#', max_size=80))
def test_any_text_is_read_or_told_of(text: str) -> None:
    parse(f"{HEADER}\n{text}".encode("utf-8", "surrogatepass"))
