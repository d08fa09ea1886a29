"""Server-sent events, read from a hostile upstream and written to our clients. PURE.

Knows nothing of JSON or of any provider. The standard is
https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LINE_BYTES = 1024 * 1024
MAX_EVENT_BYTES = 2 * 1024 * 1024
KEEP_ALIVE = b": keep-alive\n\n"

_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event as it came: its data (perhaps not UTF-8), lines joined by LF, and its name."""

    data: bytes
    event: bytes = b""


class StreamTooLarge(ValueError):
    """A line or an event is longer than we are willing to hold."""


class Parser:
    """An incremental reader: the same bytes give the same frames, however they are cut.

    Takes LF, CR and CRLF, comments, a byte order mark, and data over several lines. `id` and
    `retry` mean nothing here. Raises StreamTooLarge; the parser is of no use after that.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_event",
        "_max_event",
        "_max_line",
        "_rest",
        "_size",
        "_start",
    )

    def __init__(self, *, max_line: int = MAX_LINE_BYTES, max_event: int = MAX_EVENT_BYTES) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._rest = bytearray()  # the line that has not ended yet
        self._after_cr = False  # the last byte was CR: an LF now belongs to it
        self._start = True  # a byte order mark may still come
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes."""
        if not chunk:
            return []
        if self._start:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        # A line that trickles in is gathered without being looked at again for every byte.
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        if self._rest:
            chunk = bytes(self._rest) + chunk
            self._rest.clear()
        # bytes.splitlines knows exactly the three line ends of the standard.
        lines = chunk.splitlines()
        if not chunk.endswith((b"\n", b"\r")):
            self._keep(lines.pop())
        return self._frames(lines)

    def finish(self) -> list[Frame]:
        """The frame that the end of the body completes.

        The standard drops it; servers that forget the last empty line are too many for that.
        """
        lines = [bytes(self._rest), b""] if self._rest else [b""]
        self._rest.clear()
        return self._frames(lines)

    def _frames(self, lines: list[bytes]) -> list[Frame]:
        frames = []
        for line in lines:
            if not line:
                if self._data:
                    frames.append(Frame(b"\n".join(self._data), self._event))
                    self._data = []
                self._size = 0
                self._event = b""
                continue
            if len(line) > self._max_line:
                raise StreamTooLarge(f"a line of more than {self._max_line} bytes")
            if line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._add(b"")
            elif line.startswith(b"event:"):
                self._event = line[6:].removeprefix(b" ")
        return frames

    def _add(self, data: bytes) -> None:
        # Plus one for its line end: an endless row of empty lines is bounded too.
        self._size += len(data) + 1
        if self._size > self._max_event:
            raise StreamTooLarge(f"an event of more than {self._max_event} bytes")
        self._data.append(data)

    def _keep(self, part: bytes) -> None:
        self._rest += part
        if len(self._rest) > self._max_line:
            raise StreamTooLarge(f"a line of more than {self._max_line} bytes")

    def _without_bom(self, chunk: bytes) -> bytes:
        # The mark may be cut as well, so its parts wait in the rest until it is whole or is none.
        head = bytes(self._rest) + chunk
        self._rest.clear()
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._rest += head
            return b""
        self._start = False
        return head.removeprefix(_BOM)


def frame(data: bytes, event: str | None = None) -> bytes:
    """One event on the wire. `data` may hold line ends; `event` is a word of ours."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.splitlines())
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
