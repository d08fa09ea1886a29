"""The stream reader: every fixture, cut anywhere, gives the same frames; nothing grows forever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app import sse
from chat_app.sse import Frame

FIXTURES: dict[str, tuple[bytes, list[Frame]]] = {
    "lf": (b"data: one\n\ndata: two\n\n", [Frame(b"one"), Frame(b"two")]),
    "crlf": (b"data: one\r\n\r\ndata: two\r\n\r\n", [Frame(b"one"), Frame(b"two")]),
    "cr": (b"data: one\r\rdata: two\r\r", [Frame(b"one"), Frame(b"two")]),
    "mixed ends": (
        b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n",
        [Frame(b"a\nb\nc"), Frame(b"d")],
    ),
    "comments": (b": hello\n\n:\ndata: one\n: middle\ndata: two\n\n", [Frame(b"one\ntwo")]),
    "bom": (b"\xef\xbb\xbfdata: one\n\n", [Frame(b"one")]),
    "half a bom": (b"\xef\xbbdata: one\n\ndata: two\n\n", [Frame(b"two")]),
    "bom only at the start": (
        b"data: 1\n\n\xef\xbb\xbfdata: 2\n\ndata: 3\n\n",
        [Frame(b"1"), Frame(b"3")],
    ),
    "named": (b"event: done\ndata: {}\n\ndata: x\n\n", [Frame(b"{}", b"done"), Frame(b"x")]),
    "no space": (b"data:one\nevent:e\n\n", [Frame(b"one", b"e")]),
    "one space only": (b"data:  one\n\n", [Frame(b" one")]),
    "empty data": (b"data\n\ndata:\n\ndata: \ndata\n\n", [Frame(b""), Frame(b""), Frame(b"\n")]),
    "other fields": (b"id: 7\nretry: 5\nnonsense\ndatax: 1\ndata: one\n\n", [Frame(b"one")]),
    "no data": (b"event: lost\n\ndata: one\n\n", [Frame(b"one")]),
    "utf-8": ("data: größe 漢字 🎈\n\n".encode(), [Frame("größe 漢字 🎈".encode())]),
    "broken utf-8": (b"data: \xff\xfe\xc3\n\n", [Frame(b"\xff\xfe\xc3")]),
    "other separators": (
        b"data: a\x0bb\x0cc\x1cd\xc2\x85e\n\n",
        [Frame(b"a\x0bb\x0cc\x1cd\xc2\x85e")],
    ),
    "no last line": (b"data: one\n\ndata: two\n", [Frame(b"one"), Frame(b"two")]),
    "no last line end": (b"data: one\n\ndata: two", [Frame(b"one"), Frame(b"two")]),
    "only blank": (b"\r\n\n\r\r\n", []),
    "nothing": (b"", []),
}


def read(*chunks: bytes) -> list[Frame]:
    parser = sse.Parser()
    frames = [frame for chunk in chunks for frame in parser.feed(chunk)]
    return frames + parser.finish()


@pytest.mark.parametrize("name", FIXTURES)
def test_fixture_cut_at_every_byte_gives_the_same_frames(name: str) -> None:
    body, expected = FIXTURES[name]
    assert read(body) == expected
    assert read(*(body[i : i + 1] for i in range(len(body)))) == expected
    for cut in range(len(body) + 1):
        assert read(body[:cut], body[cut:]) == expected, cut


PIECES = [
    b"data: x",
    b"data:",
    b"event: e",
    b": c",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"y",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), st.data())
def test_any_body_cut_anywhere_gives_the_same_frames(body: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))))
    chunks = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read(*chunks) == read(body)


def test_frames_come_as_soon_as_their_last_byte() -> None:
    parser = sse.Parser()
    assert parser.feed(b"data: one\r\n\r") == [Frame(b"one")]
    assert parser.feed(b"\ndata: two\n") == []
    assert parser.feed(b"\n") == [Frame(b"two")]
    assert parser.finish() == []


@pytest.mark.parametrize("ending", [b"", b"\n"], ids=["open", "ended"])
def test_line_is_bounded(ending: bytes) -> None:
    parser = sse.Parser(max_line=100)
    assert parser.feed(b"data: " + b"x" * 94 + b"\n\n") == [Frame(b"x" * 94)]
    with pytest.raises(sse.StreamTooLarge, match="line"):
        parser.feed(b"data: " + b"x" * 95 + ending)


def test_line_that_trickles_in_is_bounded() -> None:
    parser = sse.Parser(max_line=100)
    for _ in range(100):
        parser.feed(b"x")
    with pytest.raises(sse.StreamTooLarge):
        parser.feed(b"x")


def test_event_of_many_short_lines_is_bounded() -> None:
    parser = sse.Parser(max_event=100)
    for _ in range(100):
        parser.feed(b"data:\n")
    with pytest.raises(sse.StreamTooLarge, match="event"):
        parser.feed(b"data:\n")


def test_event_bound_counts_one_event_only() -> None:
    parser = sse.Parser(max_event=10)
    assert parser.feed(b"data: 123456789\n\n" * 3) == [Frame(b"123456789")] * 3


@given(st.binary(max_size=60).filter(lambda data: not data.endswith((b"\n", b"\r"))))
def test_written_frame_is_read_back(data: bytes) -> None:
    lines_joined = b"\n".join(data.splitlines()) if data else b""
    assert read(sse.frame(data)) == [Frame(lines_joined)]
    assert read(sse.frame(data, "done")) == [Frame(lines_joined, b"done")]


def test_written_frames_are_what_the_contract_shows() -> None:
    assert sse.frame(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert sse.frame(b'{"a":1}', "done") == b'event: done\ndata: {"a":1}\n\n'
    assert sse.KEEP_ALIVE == b": keep-alive\n\n"
    assert read(sse.KEEP_ALIVE) == []
