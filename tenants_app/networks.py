"""Which addresses an upstream may have. PURE: it resolves no names and opens no sockets.

A name is judged again by its addresses at connect, since DNS may say something else by then.
"""

import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What `is_global` lets through, in some version of Python or by the letter of the registries.
INTERNAL_THOUGH_GLOBAL = tuple(
    map(
        ip_network,
        (
            "168.63.129.16/32",  # Azure's wire server hands out credentials.
            "192.0.0.0/24",  # Oracle's metadata
            "192.88.99.0/24",  # relays to 6to4
            "::/96",  # IPv4-compatible, long deprecated
            "64:ff9b:1::/48",  # local NAT64
            "fec0::/10",  # site-local, long deprecated
        ),
    )
)
NAT64 = ip_network("64:ff9b::/96")
LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation. Raises ValueError that names the bad one."""
    return tuple(ip_network(text.strip(), strict=False) for text in texts if text.strip())


def address_allowed(address: str | Address, allowed: Iterable[Network] = ()) -> bool:
    """Whether an upstream may have this address: a public one, or one in an allowed network.

    Private, loopback, link-local (cloud metadata), shared, multicast and reserved ones are refused,
    also when they are wrapped in an IPv6 address. Raises ValueError if it is no address.
    """
    parsed = unwrapped(ip_address(address) if isinstance(address, str) else address)
    if any(parsed in network for network in allowed):
        return True
    if any(parsed in network for network in INTERNAL_THOUGH_GLOBAL):
        return False
    return parsed.is_global and not parsed.is_multicast


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is not None:
        return inner
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def url_problem(url: str, allowed: Iterable[Network] = ()) -> str | None:
    """Why an upstream may not have this URL, in one sentence, or None."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "This is not a URL."
    if parts.scheme not in ("http", "https") or not host:
        return "The URL must begin with https:// or http:// and name a host."
    if parts.username is not None or parts.password is not None:
        return "The URL must not carry a user or password."
    if parts.query or parts.fragment:
        return "The URL must not carry a query or fragment."
    return host_problem(host, tuple(allowed))


def host_problem(host: str, allowed: tuple[Network, ...]) -> str | None:
    """Why an upstream may not have this host, judged by its spelling alone, or None."""
    address = literal_address(host)
    if address is not None and not address_allowed(address, allowed):
        return (
            f"The address {unwrapped(address)} is not public and not in UPSTREAM_ALLOWED_NETWORKS."
        )
    name = host.rstrip(".").lower()
    is_local = name == "localhost" or name.endswith(".localhost")
    if is_local and not any(loop in network for loop in LOOPBACK for network in allowed):
        return "localhost is not in UPSTREAM_ALLOWED_NETWORKS."
    return None


def literal_address(host: str) -> Address | None:
    """The address that a host spells, also in the old forms (127.1, 0x7f000001) resolvers take."""
    try:
        return ip_address(host.split("%", 1)[0])
    except ValueError:
        pass
    if not host or not all(character in "0123456789abcdefxABCDEFX." for character in host):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
