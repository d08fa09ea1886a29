"""The two figures: a quarter of the characters to show, every byte to hold."""

from dataclasses import replace
from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app import tokens
from chat_app.schema import Message
from tests.chat_app.snapshots import model


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], 0),
        ([""], 0),
        (["a"], 1),
        (["abcd"], 1),
        (["hello"], 2),
        (["hello", "hello"], 4),
        (["漢字漢字漢"], 2),
    ],
)
def test_estimate_is_a_quarter_of_the_characters_of_each_message(
    texts: list[str], expected: int
) -> None:
    assert tokens.estimate(Message("user", text) for text in texts) == expected


@pytest.mark.parametrize(
    ("texts", "ratio", "expected"),
    [
        ([], "1", 0),
        (["hello"], "1", 13),
        (["hello", "hello"], "1", 26),
        (["漢字"], "1", 14),
        (["hello"], "2", 3 + 8),
        (["hello", "hello"], "2", 5 + 16),
        (["hello"], "0.5", 10 + 8),
        (["hello"], "3.333", 2 + 8),
    ],
)
def test_ceiling_is_bytes_by_ratio_and_eight_a_message(
    texts: list[str], ratio: str, expected: int
) -> None:
    held = tokens.ceiling_input([Message("user", text) for text in texts], model("m", ratio=ratio))
    assert held == expected


@given(st.text(max_size=50), st.decimals("0.001", "100", places=3))
def test_ceiling_is_rounded_up_exactly(text: str, ratio: Decimal) -> None:
    size = len(text.encode())
    held = tokens.ceiling_input([Message("user", text)], model("m", ratio=str(ratio))) - 8
    assert held == ceil(Decimal(size) / ratio)


def test_what_a_template_adds_is_held_too() -> None:
    with_template = replace(model("m"), template_tokens=21)
    held = [tokens.ceiling_input([Message("user", "x")], m) for m in (model("m"), with_template)]
    assert held == [9, 30]
