"""Providers' files are read strictly, by the columns that the user names, and what is wrong is told
by its line.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_app.bills.files import BillFile, BillLine, Layout, parse
from usage_app.figures import Span

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
LAYOUT = Layout(
    reference="id",
    day="time",
    model="model",
    input_tokens="in",
    output_tokens="out",
    amount="usd",
    currency="cur",
)
HEADER = "id,time,model,in,out,usd,cur"


def read(text: str, layout: Layout = LAYOUT) -> BillFile:
    parsed = parse(text.encode(), layout, span=MARCH, currency="USD")
    assert bool(parsed.lines) != bool(parsed.problems)
    return parsed


def problems(text: str, layout: Layout = LAYOUT) -> list[str]:
    return [str(problem) for problem in read(text, layout).problems]


def test_file_is_read_by_the_columns_named() -> None:
    text = (
        'cur;out;in;cached;"the model";note;usd;time;id\r\n'
        'usd;5;10;2;"a;b";"two\r\nlines";0,25;2026-03-31T23:30:00-01:00;\r\n'
        "\r\n"
        ";;10;;m;;-1,5e-7;2026-03-01;r1\r\n"
        ";;;;;;2;1772323200;r2"
    )
    layout = replace(
        LAYOUT, model="the model", input_tokens="in + cached", separator=";", decimal_mark=","
    )
    april = Span(MARCH.first, date(2026, 4, 1))
    parsed = parse(b"\xef\xbb\xbf" + text.encode(), layout, span=april, currency="USD")
    assert parsed.problems == ()
    assert parsed.lines == (
        BillLine(2, date(2026, 4, 1), "", "a;b", 12, 5, Decimal("0.25")),
        BillLine(5, date(2026, 3, 1), "r1", "m", 10, None, Decimal("-0.00000015")),
        BillLine(6, date(2026, 3, 1), "r2", "", None, None, Decimal(2)),
    )


def test_every_problem_is_told_by_its_line() -> None:
    day = (
        "must be a day like 2026-03-01, a time like 2026-03-01T08:00:00Z, or seconds since 1970;"
        " without an offset it is UTC"
    )
    amount = (
        "must be an amount like 0.25, without a currency sign and without separators of thousands,"
        " of at most 20 decimals"
    )
    text = f"""{HEADER}
r,01/03/2026,m,1,1,1,USD
r,2026-02-30,m,1,1,1,USD
r,2026-04-01,m,1,1,1,USD
r,2026-03-01,m,-1,1.0,$1,USD
r,2026-03-01,m,"1,000",1,"1,000",USD
r,2026-03-01,m,1,1,NaN,USD
r,2026-03-01,m,1,1,1e-21,EUR
r,2026-03-01,m,,,,USD
r,2026-03-01,m,1
{"r" * 201},2026-03-01,a\x07b,1,1,1,USD
r,2026-03-01,"m"x,1,1,1,USD"""
    whole = "must be a whole number in digits alone, like 1200"
    printed = "must be at most 200 characters that can be printed"
    assert problems(text) == [
        f"line 2, day: {day}",
        f"line 3, day: {day}",
        "line 4, day: 2026-04-01 is not within 2026-03-01 to 2026-03-31",
        f"line 5, tokens in: {whole}",
        f"line 5, tokens out: {whole}",
        f"line 5, amount: {amount}",
        f"line 6, tokens in: {whole}",
        f"line 6, amount: {amount}",
        f"line 7, amount: {amount}",
        f"line 8, amount: {amount}",
        ("line 8, currency: the books are kept in USD; without the amount tokens can be matched"),
        "line 9: tells neither tokens nor an amount",
        "line 10: has 4 cells, and the first line names 7 columns",
        f"line 11, reference: {printed}",
        f"line 11, model: {printed}",
        "line 12: is no CSV: ',' expected after '\"'",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["reference: the file has no column id; it has none"]),
        (
            "id,Time,model,in,out,usd,cur",
            ["day: the file has no column time; did you mean Time?"],
        ),
        ("id,time,model,in,out,usd,cur,in", ["tokens in: the file has two columns in"]),
        (HEADER, ["The file has no lines below its columns."]),
    ],
)
def test_file_without_what_is_named_says_what_it_has(text: str, told: list[str]) -> None:
    assert problems(text)[:1] == told


def test_file_that_is_no_text_is_refused() -> None:
    (problem,) = parse(b"\xff\xfe\x00", LAYOUT, span=MARCH, currency="USD").problems
    assert str(problem) == "The file is not UTF-8: save it as CSV UTF-8."


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_file_in_another_encoding_is_refused(encoding: str) -> None:
    content = f"{HEADER}\nré,2026-03-14,m,1,2,0.5,USD".encode(encoding)
    (problem,) = parse(content, LAYOUT, span=MARCH, currency="USD").problems
    assert str(problem) == "The file is not UTF-8: save it as CSV UTF-8."


def test_file_with_far_too_many_columns_is_refused_at_once_and_shortly() -> None:
    many = ",".join(f"c{number}" for number in range(100_000))
    (told,) = problems(many)
    assert told == "The first line names 100,000 columns: is this the right separator?"
    some = problems(",".join(f"c{number}" for number in range(400)))
    assert max(map(len, some)) < 250


def test_layout_says_what_it_lacks() -> None:
    assert LAYOUT.problems() == {}
    assert Layout(day="", currency="c").problems() == {
        "day": "Say which column tells the day or the time.",
        "reference": "Say which column tells the reference, or which one the model.",
        "amount": "Say which column tells tokens, or which one the amount.",
        "currency": "A currency without an amount tells nothing.",
    }


@given(st.text() | st.text(alphabet='2026-03-01,r1.e"\n', max_size=80))
def test_any_text_is_read_or_told_of(text: str) -> None:
    parse(f"{HEADER}\n{text}".encode("utf-8", "surrogatepass"), LAYOUT, span=MARCH, currency="USD")
