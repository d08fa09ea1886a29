"""Which addresses an upstream may have."""

import pytest

from tenants_app.networks import address_allowed, parse_networks, url_problem

LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"])
def test_public_address_is_allowed(address: str) -> None:
    assert address_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # shared by carriers
        "100.100.100.200",  # Alibaba's metadata
        "169.254.169.254",  # AWS, Google and Azure's metadata
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle's metadata
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::127.0.0.1",
        "fec0::1",
        "64:ff9b:1::7f00:1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",  # IPv4 in IPv6, in every wrapping
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo's client 127.0.0.1
    ],
)
def test_inner_address_is_refused(address: str) -> None:
    assert not address_allowed(address)
    assert not address_allowed(address, parse_networks(["203.0.113.0/24"]))


def test_allowed_network_lets_its_addresses_in_and_no_others() -> None:
    assert address_allowed("127.0.0.1", LOOPBACK)
    assert address_allowed("::1", LOOPBACK)
    assert address_allowed("::ffff:127.0.0.1", LOOPBACK)
    assert not address_allowed("10.0.0.1", LOOPBACK)


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        address_allowed("example.com")
    with pytest.raises(ValueError, match="nonsense"):
        parse_networks(["nonsense"])


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "http://models.example:8080/v1/", "https://1.1.1.1/v1"]
)
def test_public_url_has_no_problem(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "https://"),
        ("api.openai.com/v1", "https://"),
        ("file:///etc/passwd", "https://"),
        ("https:///v1", "https://"),
        ("http://[::1", "not a URL"),
        ("http://a.example:99999/", "not a URL"),
        ("http://user:password@a.example/", "user or password"),
        ("http://a.example/?key=1", "query"),
        ("http://a.example/#x", "fragment"),
        ("http://127.0.0.1:8080/v1", "127.0.0.1"),
        ("http://127.1/v1", "127.0.0.1"),
        ("http://2130706433/v1", "127.0.0.1"),
        ("http://0x7f000001/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("http://localhost:11434/v1", "localhost"),
        ("http://LOCALHOST./v1", "localhost"),
        ("http://models.localhost/v1", "localhost"),
    ],
)
def test_url_is_refused_with_its_reason(url: str, problem: str) -> None:
    assert problem in (url_problem(url) or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://localhost:9", "http://[::1]:9/"])
def test_loopback_is_allowed_where_the_demo_says_so(url: str) -> None:
    assert url_problem(url, LOOPBACK) is None
