"""What alerts are sent to in tests, on real sockets: a webhook's receiver and a mail server."""

from __future__ import annotations

import contextlib
import email
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
REDIRECT = (
    b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/\r\n"
    b"Content-Length: 0\r\n\r\n"
)

Answer = bytes | Callable[[Any], None]


@dataclass
class Call:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Webhook:
    """A receiver: what it got, and what it answers next (OK when the list is empty)."""

    url: str
    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


@dataclass
class MailServer:
    """An SMTP server that takes everything, but from whom it refuses."""

    port: int
    mails: list[tuple[str, Message]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    block_on_close = False
    state: Any


class _WebhookHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        state: Webhook = self.server.state  # type: ignore[attr-defined]
        line = self.rfile.readline().decode().strip()
        headers = {}
        while name := self.rfile.readline().decode().strip():
            key, _, value = name.partition(":")
            headers[key.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        state.calls.append(Call(line, headers, body))
        answer = state.answers.pop(0) if state.answers else OK
        with contextlib.suppress(OSError):
            self.wfile.write(answer) if isinstance(answer, bytes) else answer(self.wfile)


class _MailHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        state: MailServer = self.server.state  # type: ignore[attr-defined]
        self._say("220 tests")
        to = ""
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                to = line.partition("<")[2].partition(">")[0]
                self._say("550 nobody here" if to in state.refused else "250 ok")
            elif verb == "DATA":
                self._say("354 go on")
                state.mails.append((to, email.message_from_bytes(self._data())))
                self._say("250 kept")
            else:
                self._say("221 bye" if verb == "QUIT" else "250 ok")

    def _data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextlib.contextmanager
def webhook(tls: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    """A receiver on loopback."""
    with _serving(_WebhookHandler, tls) as server:
        scheme, port = "https" if tls else "http", server.server_address[1]
        server.state = Webhook(f"{scheme}://127.0.0.1:{port}/hooks/tollgate")
        yield server.state


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server on loopback."""
    with _serving(_MailHandler) as server:
        server.state = MailServer(int(server.server_address[1]))
        yield server.state


@contextlib.contextmanager
def _serving(handler: Any, tls: ssl.SSLContext | None = None) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
