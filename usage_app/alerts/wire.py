"""Sends one POST to an address that a tenant typed. It knows no alerts, and reads of the answer
nothing but the status: neither where a redirect leads nor how long a body is matters then.

http.client writes the request; connecting and reading are our own, since the address is judged at
connect (tenants_app/networks.py) and all of it has one deadline.
"""

import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from tenants_app.networks import Network, address_allowed, url_problem

HEAD_BYTES: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r\n]")


class Unanswered(Exception):
    """There was no answer; why, in words that carry nothing of the request."""


class Barred(Unanswered):
    """Nothing was sent, and trying again would not help."""


def post(
    url: str,
    headers: dict[str, str],
    body: bytes,
    *,
    allowed: Iterable[Network] = (),
    seconds: float,
) -> int:
    """The status of the answer, within `seconds`. Raises Unanswered, Barred.

    Resolving a name has the resolver's own timeout.
    """
    allowed = tuple(allowed)
    if problem := url_problem(url, allowed):
        raise Barred(problem)
    deadline = time.monotonic() + seconds
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with _connected(host, port, allowed, deadline) as raw:
            if parts.scheme == "http":
                return _exchange(raw, parts, headers, body, deadline)
            context = ssl.create_default_context()
            with context.wrap_socket(raw, server_hostname=host) as safe:
                return _exchange(safe, parts, headers, body, deadline)
    except TimeoutError:
        raise Unanswered(f"no answer within {seconds:g} seconds") from None
    except ssl.SSLCertVerificationError as error:
        raise Barred(f"its certificate is not valid: {error.verify_message}") from None
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise Unanswered(f"the connection failed: {type(error).__name__}") from None


def _connected(
    host: str, port: int, allowed: tuple[Network, ...], deadline: float
) -> socket.socket:
    """A connection to the first of the host's addresses that answers and may be reached."""
    refused, failure = "", OSError("no address")
    for family, kind, protocol, _name, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        name = str(address[0]).split("%", 1)[0]
        if not address_allowed(name, allowed):
            refused = f"the address {name} is not allowed"
            continue
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(_left(deadline))
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure, refused = error, ""
        else:
            return connecting
    if refused:
        raise Barred(refused)
    raise failure


def _exchange(
    stream: socket.socket, url: SplitResult, headers: dict[str, str], body: bytes, deadline: float
) -> int:
    stream.settimeout(_left(deadline))
    writer = http.client.HTTPConnection(url.netloc)
    writer.sock = stream
    writer.request("POST", url.path or "/", body, {**headers, "Connection": "close"})
    return _status(stream, deadline)


def _status(stream: socket.socket, deadline: float) -> int:
    """The status of the final answer, whatever interim ones come before it."""
    head = b""
    while len(head) < HEAD_BYTES:
        found = _STATUS.match(head)
        if found and int(found[1]) >= 200:
            return int(found[1])
        _interim, blank, rest = head.partition(b"\r\n\r\n")
        if found and blank:
            head = rest
            continue
        stream.settimeout(_left(deadline))
        piece = stream.recv(4096)
        if not piece:
            break
        head += piece
    raise Unanswered("what it answered is not HTTP")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
