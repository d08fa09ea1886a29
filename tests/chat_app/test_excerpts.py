"""What of an upstream's error reaches the log: the telling part, and neither keys nor prompts."""

import json

import pytest

from chat_app.providers.excerpts import MAX_CHARACTERS, excerpt

PROMPT = 'My "secret" diary,\nday one: größe'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"plain\r\n text\x00\x1b[31m", "plain text [31m"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1]", "[1]"),
        (b"{}", "{}"),
        (b'{"error":"oops"}', "oops"),
        (
            b'{"error":{"message":"No","type":"t","param":null,"code":"c"},"input":"all"}',
            "c t No",
        ),
        (b'{"error":{"message":{"deep":1},"code":7}}', "7"),
        (
            b'{"success":false,"errors":[{"code":3040,"message":"No room"},{"code":1}]}',
            "3040 No room; 1",
        ),
        (b'{"detail":"Not Found"}', '{"detail":"Not Found"}'),
    ],
)
def test_telling_part_is_kept(body: bytes, text: str) -> None:
    assert excerpt(body) == text


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc_DEF123",
        "Bearer abc.def",
        "tg_" + "a" * 38,
        "gsk_0123456789",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9abcdefg",
        "0123456789abcdef0123456789abcdef01234567",
        "sk-*****************wxyz",
    ],
)
def test_what_looks_like_a_key_is_hidden(secret: str) -> None:
    assert excerpt(f"bad key {secret} given".encode()) == "bad key [key] given"


def test_the_key_that_was_sent_is_hidden_whatever_it_looks_like() -> None:
    assert excerpt(b"no plain-word here", secret="plain-word") == "no [key] here"


@pytest.mark.parametrize(
    "echo",
    [PROMPT, json.dumps(PROMPT, ensure_ascii=False), PROMPT[:20], PROMPT + " and more"],
)
def test_echo_of_a_prompt_is_cut_off(echo: str) -> None:
    shown = excerpt(f"cannot read: {echo}".encode(), prompts=["hello", PROMPT])
    assert shown.rstrip('" ') == "cannot read: [prompt]" or shown == 'cannot read: "[prompt]'


def test_short_prompt_is_hidden_only_where_it_stands_alone() -> None:
    assert excerpt(b'{"input":"error","why":"error 5"}', prompts=["error"]) == (
        '{"input":"[prompt]","why":"error 5"}'
    )


def test_excerpt_is_bounded() -> None:
    assert len(excerpt(b"a b " * 100_000)) <= MAX_CHARACTERS
