"""The body of POST /chat: what passes, and that every bad field is named."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app.schema import ChatCall, parse_chat
from tenants_app.errors import InvalidRequest

SESSION = "11111111-1111-1111-1111-111111111111"
GOOD: dict[str, Any] = {"sessionId": SESSION, "message": "hello"}


def fields_of(data: object) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(data)
    assert list(caught.value.details) == ["fields"]
    fields: dict[str, str] = caught.value.details["fields"]
    return fields


def test_smallest_body_takes_the_defaults() -> None:
    assert parse_chat(GOOD) == ChatCall(
        session_id=UUID(SESSION),
        message="hello",
        model_id=None,
        stream=True,
        user_id=None,
        max_tokens=None,
        temperature=None,
        metadata={},
    )


def test_whole_body_is_read() -> None:
    assert parse_chat(
        {
            "sessionId": SESSION,
            "message": "größe 🎈\n",
            "modelId": "@cf/meta/llama-3.1-8b-instruct-fast",
            "stream": False,
            "userId": "u-1",
            "maxTokens": 16,
            "temperature": 1,
            "metadata": {"team": "a", "n": 1, "x": 0.5, "flag": True},
        }
    ) == ChatCall(
        session_id=UUID(SESSION),
        message="größe 🎈\n",
        model_id="@cf/meta/llama-3.1-8b-instruct-fast",
        stream=False,
        user_id="u-1",
        max_tokens=16,
        temperature=1.0,
        metadata={"team": "a", "n": 1, "x": 0.5, "flag": True},
    )


def test_null_counts_as_absent_for_optional_fields() -> None:
    optional = ("modelId", "stream", "userId", "maxTokens", "temperature", "metadata")
    assert parse_chat(GOOD | dict.fromkeys(optional)) == parse_chat(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        SESSION,
        "11111111111111111111111111111111",
        "ABCDEF00-1234-5678-9ABC-def000000000",
        f"{{{SESSION}}}",
        f"urn:uuid:{SESSION}",
    ],
)
def test_any_uuid_text_is_a_session(text: str) -> None:
    assert parse_chat(GOOD | {"sessionId": text}).session_id == UUID(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message", "x"),
        ("message", "x" * 10_000),
        ("message", "\U0010ffff" * 10_000),
        ("modelId", "m" * 200),
        ("userId", "ü" * 200),
        ("maxTokens", 1),
        ("maxTokens", 1_000_000),
        ("temperature", 0),
        ("temperature", 2.0),
        ("metadata", {}),
        ("metadata", {f"{n:064}": "x" * 512 for n in range(16)}),
        ("metadata", {"n": -(2**53)}),
    ],
)
def test_limit_itself_passes(field: str, value: object) -> None:
    assert isinstance(parse_chat(GOOD | {field: value}), ChatCall)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sessionId", 1),
        ("sessionId", ""),
        ("sessionId", None),
        ("sessionId", SESSION[:-1]),
        ("sessionId", SESSION + "1"),
        ("sessionId", SESSION + "\n"),
        ("sessionId", "1_111111-1111-1111-1111-111111111111"),
        ("sessionId", "\u06611111111-1111-1111-1111-111111111111"),
        ("message", None),
        ("message", ""),
        ("message", ["hello"]),
        ("message", "x" * 10_001),
        ("message", "a\x00b"),
        ("message", "a\ud800b"),
        ("modelId", ""),
        ("modelId", 3),
        ("modelId", "m" * 201),
        ("modelId", "two words"),
        ("modelId", "a\r\nx-evil: 1"),
        ("modelId", "modèle"),
        ("stream", 1),
        ("stream", "true"),
        ("userId", ""),
        ("userId", 7),
        ("userId", "u" * 201),
        ("userId", "\x00"),
        ("maxTokens", 0),
        ("maxTokens", -1),
        ("maxTokens", True),
        ("maxTokens", 1.0),
        ("maxTokens", "16"),
        ("maxTokens", 1_000_001),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", True),
        ("temperature", "1"),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("metadata", []),
        ("metadata", {str(n): 1 for n in range(17)}),
        ("metadata", {"": 1}),
        ("metadata", {"k" * 65: 1}),
        ("metadata", {"k\x00": 1}),
        ("metadata", {"k": "v" * 513}),
        ("metadata", {"k": "\x00"}),
        ("metadata", {"k": "\udfff"}),
        ("metadata", {"k": None}),
        ("metadata", {"k": {"deep": 1}}),
        ("metadata", {"k": [1]}),
        ("metadata", {"k": 2**53 + 1}),
        ("metadata", {"k": float("nan")}),
        ("unknown", 1),
        ("unknown", None),
        ("model_id", "m"),
        ("", 1),
    ],
)
def test_bad_field_is_named(field: str, value: object) -> None:
    assert list(fields_of(GOOD | {field: value})) == [field]


def test_every_bad_field_is_named_at_once() -> None:
    fields = fields_of({"message": "", "stream": 0, "maxTokens": 0, "colour": "red", "n": 2})
    assert fields == {
        "sessionId": "is required",
        "message": "must be a string of 1 to 10000 characters",
        "stream": "must be true or false",
        "maxTokens": "must be a whole number from 1 to 1000000",
        "colour": "is not a known field",
        "n": "is not a known field",
    }


@pytest.mark.parametrize("data", [None, [], "x", 1, True, [GOOD]])
def test_body_that_is_no_object_is_refused(data: object) -> None:
    assert fields_of(data) == {"body": "must be a JSON object"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "modelId", "stream", "userId", "maxTokens", "metadata", "x"]),
        json_values,
    )
)
def test_any_object_is_read_or_refused_by_name(data: dict[str, Any]) -> None:
    named: set[str] = set()
    try:
        parse_chat(data)
    except InvalidRequest as exc:
        named = set(exc.details["fields"])
    assert named <= {*data, "sessionId", "message"}
