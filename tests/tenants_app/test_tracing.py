"""A request's ids."""

import time
from uuid import UUID

import pytest

from tenants_app.tracing import trace_of, uuid7


def test_uuid7_is_of_its_version_and_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert before <= made.int >> 80 <= after


def test_uuid7s_differ_and_sort_within_a_millisecond() -> None:
    first = uuid7()
    time.sleep(0.000_01)
    second = uuid7()
    assert first < second
    assert len({uuid7() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [
        ({"HTTP_X_TRACE_ID": "abc-1.2_3"}, "abc-1.2_3"),
        ({"HTTP_X_REQUEST_ID": "r1"}, "r1"),
        ({"HTTP_X_TRACE_ID": "t1", "HTTP_X_REQUEST_ID": "r1", "HTTP_CF_RAY": "c1"}, "t1"),
        ({"HTTP_CF_RAY": "8f2a-VIE"}, "8f2a-VIE"),
        (
            {"HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ({"HTTP_X_TRACE_ID": "not valid", "HTTP_CF_RAY": "c1"}, "c1"),
        ({"HTTP_X_TRACE_ID": "x" * 128}, "x" * 128),
    ],
)
def test_trace_is_the_first_good_header(headers: dict[str, str], trace_id: str) -> None:
    trace = trace_of(headers)
    assert (trace.id, trace.from_client, trace.body_id) == (trace_id, True, trace_id)


@pytest.mark.parametrize("bad", ["", "x" * 129, "a b", "é", "a\n", "<script>"])
def test_bad_trace_is_replaced(bad: str) -> None:
    trace = trace_of({"HTTP_X_TRACE_ID": bad})
    assert trace.id == str(trace.request_id)
    assert trace.body_id == trace.id


def test_request_without_a_trace_gets_its_own_id_which_bodies_do_not_tell() -> None:
    trace = trace_of({})
    assert UUID(trace.id) == trace.request_id
    assert trace.body_id is None
