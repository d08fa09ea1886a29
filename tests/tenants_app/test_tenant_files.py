"""Tenant files, read strictly: everything that is wrong is told at once, by its path."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants_app.budget_files import Allowance
from tenants_app.models.catalogue import ACCOUNT_ID, GATEWAY_ID
from tenants_app.models.tenants import HOST_PATTERN, SLUG_PATTERN
from tenants_app.tenant_files import Gateway, Parsed, parse
from tests.tenants_app.files import SECRET, full_file, tenant_file

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
WHOLE = "must be a whole number of at least 1"
HOST = "must be a host name alone, like ai.acme.example: no scheme, port or path"
DIGEST = "must be hmac-sha256: and 64 hexadecimal digits, as export_tenants writes it"
KEY = "must be 16 to 512 visible ASCII characters; one that begins with tg_ must be whole"
MONEY = 'must be decimal text with at most 10 places, like "12.50": a cost is exact'
INSTANT = "must be an instant with its offset, like 2027-01-31T00:00:00Z, or null"


def read(value: Any) -> Parsed:
    return parse(value if isinstance(value, bytes) else json.dumps(value).encode())


def problems(value: Any) -> list[str]:
    parsed = read(value)
    assert bool(parsed.problems) != bool(parsed.tenants)
    return [str(problem) for problem in parsed.problems]


def test_least_that_a_file_must_say() -> None:
    parsed = read(tenant_file())
    assert (parsed.problems, parsed.warnings) == ((), ())
    [tenant] = parsed.tenants
    assert (tenant.slug, tenant.chat, tenant.columns, tenant.budgets) == (
        "acme",
        "demo-echo",
        {},
        {},
    )
    assert {tenant.fallbacks, tenant.allowed, tenant.hosts, tenant.allow_list} == {None}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples_are_such_files(path: Path) -> None:
    parsed = parse(path.read_bytes())
    assert (parsed.problems, parsed.warnings) == ((), ())
    [tenant] = parsed.tenants
    assert tenant.slug == path.stem
    assert tenant.gateway in (
        Gateway("demo-account", "ai-gate"),
        Gateway("demo-account", "ai_gateway"),
    )
    assert tenant.budgets == {
        ("tokens", "day"): Allowance(Decimal(500_000)),
        ("tokens", "month"): Allowance(Decimal(10_000_000)),
        ("requests", "minute"): Allowance(Decimal(600), 100),
    }


def test_everything_that_a_file_can_say_is_read() -> None:
    parsed = read([full_file("acme"), full_file("globex")])
    assert (parsed.problems, parsed.warnings) == ((), ())
    acme = parsed.tenants[0]
    assert acme.hosts == {
        "ai.acme.example": "[0].allowedHosts[0]",
        "acme.example": "[0].allowedHosts[1]",
    }
    assert acme.keys[1].columns == {
        "name": "reports",
        "team": "research",
        "scopes": ("usage:read",),
        "expires_at": datetime(2031, 1, 31, tzinfo=UTC),
    }
    assert (acme.other_budgets or {})["cost", "month"].limit == Decimal("12.0000000001")


def test_byte_order_mark_is_passed_over() -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(tenant_file()).encode()).tenants


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "This is not JSON: Expecting value (line 1, column 1)."),
        (b'{"tenantId": "acme",}', "This is not JSON: "),
        (b"\xff\xfe{", "This is not UTF-8: byte 0 is not."),
        (b"[" * 100_000, "This is nested too deeply."),
        (b'{"a":' * 990 + b"1" + b"}" * 990, "This is nested too deeply."),
        (b"[" + b"9" * 5_000 + b"]", "This is not JSON: a number has too many digits."),
        (b"3", "must be an object"),
        (b"[null]", "[0]: must be an object"),
        (b"NaN", "NaN is not JSON"),
    ],
)
def test_file_that_is_none(content: bytes, problem: str) -> None:
    found = problems(content)
    assert found[0].startswith(problem) or problem == "This is nested too deeply."
    assert found


def test_empty_list_has_no_tenants_and_no_problems() -> None:
    assert read([]) == Parsed(())


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"tenantId": "Acme"},
            "tenantId: must be 1 to 63 small letters, digits, - and _, like acme-1",
        ),
        (
            {"tenantId": "acme\n"},
            "tenantId: must be 1 to 63 small letters, digits, - and _, like acme-1",
        ),
        ({"tenantId": 5}, "tenantId: must be 1 to 63 small letters, digits, - and _, like acme-1"),
        ({"name": ""}, "name: must be a string of 1 to 200 characters"),
        ({"name": "a\x00b"}, "name: must not contain control characters or half a surrogate pair"),
        ({"name": "\ud800"}, "name: must not contain control characters or half a surrogate pair"),
        ({"status": "closed"}, "status: must be one of active, suspended"),
        (
            {"timezone": "Mars"},
            "timezone: must be a time zone of the IANA database, like Europe/Vienna",
        ),
        ({"costCenter": "x" * 101}, "costCenter: must be a string of 0 to 100 characters"),
        ({"sessionMemory": 1}, "sessionMemory: must be true or false"),
        (
            {"sessionRetentionDays": 0},
            "sessionRetentionDays: must be a whole number from 1 to 3650",
        ),
        (
            {"sessionRetentionDays": 3651},
            "sessionRetentionDays: must be a whole number from 1 to 3650",
        ),
        (
            {"maxMessagesPerSession": 1},
            "maxMessagesPerSession: must be a whole number from 2 to 10000",
        ),
        ({"contextMessages": -1}, "contextMessages: must be a whole number from 0 to 10000"),
        (
            {"contextTokens": 1_000_001},
            "contextTokens: must be a whole number from 0 to 1000000",
        ),
        ({"accountId": "a"}, "aiGatewayId: is missing: accountId alone names no gateway"),
        (
            {"aiGatewayId": "a", "accountId": None},
            "accountId: is missing: aiGatewayId alone names no gateway",
        ),
        (
            {"accountId": "a/b", "aiGatewayId": "c"},
            "accountId: must be 1 to 100 letters, digits, - and _",
        ),
        (
            {"accountId": "a", "aiGatewayId": "x" * 65},
            "aiGatewayId: must be 1 to 64 letters, digits, - and _",
        ),
        ({"aiModels": "demo-echo"}, "aiModels: must be an object"),
        ({"aiModels": {"chat": ""}}, "aiModels.chat: must be a string of 1 to 200 characters"),
        ({"aiModels": {"fallback": "x"}}, "aiModels.chat: is missing"),
        (
            {"aiModels": {"chat": "a", "fallback": ["b", "b"]}},
            "aiModels.fallback[1]: is the same as aiModels.fallback[0]",
        ),
        (
            {"aiModels": {"chat": "a", "fallback": 3}},
            "aiModels.fallback: must be a string of 1 to 200 characters",
        ),
        ({"tokenBudget": 500}, "tokenBudget: must be an object"),
        ({"tokenBudget": {"daily": "500"}}, f"tokenBudget.daily: {WHOLE}"),
        ({"tokenBudget": {"daily": 1.0}}, f"tokenBudget.daily: {WHOLE}"),
        ({"tokenBudget": {"daily": True}}, f"tokenBudget.daily: {WHOLE}"),
        ({"tokenBudget": {"daily": 0}}, f"tokenBudget.daily: {WHOLE}"),
        ({"tokenBudget": {"monthly": -5}}, f"tokenBudget.monthly: {WHOLE}"),
        (
            {"tokenBudget": {"daily": 10**12 + 1}},
            "tokenBudget.daily: must be at most 1000000000000",
        ),
        (
            {"rateLimit": {"burst": 5}},
            "rateLimit.perMinute: is missing: a burst belongs to a limit",
        ),
        (
            {"rateLimit": {"perMinute": None, "burst": 5}},
            "rateLimit.burst: needs a limit: perMinute is null",
        ),
        ({"rateLimit": {"perMinute": 5, "burst": 0}}, f"rateLimit.burst: {WHOLE}"),
        ({"budgets": {}}, "budgets: must be a list"),
        ({"budgets": [5]}, "budgets[0]: must be an object"),
        (
            {"budgets": [{"metric": "tokens", "period": "day", "limit": 5}]},
            "budgets[0]: has a place of its own: tokenBudget.daily",
        ),
        (
            {"budgets": [{"metric": "requests", "period": "minute", "limit": 5}]},
            "budgets[0]: has a place of its own: rateLimit",
        ),
        (
            {"budgets": [{"metric": "cost", "period": "minute", "limit": "5"}]},
            "budgets[0].metric: must be requests or tokens for the period minute",
        ),
        (
            {"budgets": [{"metric": "cost", "period": "day", "limit": 5}]},
            f"budgets[0].limit: {MONEY}",
        ),
        (
            {"budgets": [{"metric": "cost", "period": "day", "limit": "0.00000000001"}]},
            f"budgets[0].limit: {MONEY}",
        ),
        (
            {"budgets": [{"metric": "cost", "period": "day", "limit": "0.0"}]},
            "budgets[0].limit: must be greater than 0 and at most 1000000000000",
        ),
        (
            {"budgets": [{"metric": "cost", "period": "day", "limit": "1000000000000.1"}]},
            "budgets[0].limit: must be greater than 0 and at most 1000000000000",
        ),
        (
            {"budgets": [{"metric": "requests", "period": "day", "limit": "5"}]},
            f"budgets[0].limit: {WHOLE}",
        ),
        (
            {"budgets": [{"metric": "requests", "period": "day", "limit": 5, "burst": 5}]},
            "budgets[0].burst: belongs to the period minute only",
        ),
        (
            {"budgets": [{"metric": "requests", "period": "day", "limit": 5}] * 2},
            "budgets[1]: is a second budget of requests per day",
        ),
        (
            {"budgets": [{"metric": "x", "period": "day", "limit": 5}]},
            "budgets[0].metric: must be one of requests, tokens, cost",
        ),
        (
            {"budgets": [{"metric": [], "period": "day", "limit": 5}]},
            "budgets[0].metric: must be one of requests, tokens, cost",
        ),
        (
            {"featureFlags": {"modelAllowList": "yes"}},
            "featureFlags.modelAllowList: must be true or false",
        ),
        ({"featureFlags": []}, "featureFlags: must be an object"),
        ({"allowedModels": "demo-echo"}, "allowedModels: must be a list"),
        ({"allowedModels": ["a", 5]}, "allowedModels[1]: must be a string of 1 to 200 characters"),
        ({"allowedModels": ["a", "a"]}, "allowedModels[1]: is the same as allowedModels[0]"),
        ({"allowedHosts": ["ok.example", "ok.example", "x:80"]}, f"allowedHosts[2]: {HOST}"),
        ({"allowedHosts": ["https://a.example"]}, f"allowedHosts[0]: {HOST}"),
        ({"allowedHosts": ["a_b.example"]}, f"allowedHosts[0]: {HOST}"),
        ({"allowedHosts": ["[::1]"]}, f"allowedHosts[0]: {HOST}"),
        ({"allowedHosts": [None]}, f"allowedHosts[0]: {HOST}"),
        (
            {"allowedHosts": ["A.example", "a.EXAMPLE."]},
            "allowedHosts[1]: is the same as allowedHosts[0]",
        ),
        ({"apiKeys": ["short"]}, f"apiKeys[0]: {KEY}"),
        ({"apiKeys": ["x" * 513]}, f"apiKeys[0]: {KEY}"),
        ({"apiKeys": ["tg_" + "a" * 38]}, f"apiKeys[0]: {KEY}"),
        ({"apiKeys": ["with a space 1234567"]}, f"apiKeys[0]: {KEY}"),
        ({"apiKeys": ["é" * 20]}, f"apiKeys[0]: {KEY}"),
        ({"apiKeys": [5]}, "apiKeys[0]: must be an object"),
        ({"apiKeys": [{}]}, "apiKeys[0]: must have either a secret or a digest"),
        (
            {"apiKeys": [{"secret": SECRET, "digest": "x"}]},
            "apiKeys[0]: must have either a secret or a digest",
        ),
        ({"apiKeys": [{"secret": 5}]}, "apiKeys[0].secret: must be a string"),
        (
            {"apiKeys": [{"secret": SECRET, "prefix": "x"}]},
            "apiKeys[0].prefix: goes with a digest; a secret has its own beginning",
        ),
        (
            {"apiKeys": [{"digest": "sha256:00"}]},
            f"apiKeys[0].digest: {DIGEST}",
        ),
        (
            {"apiKeys": [{"secret": SECRET, "name": ""}]},
            "apiKeys[0].name: must be a string of 1 to 100 characters",
        ),
        (
            {"apiKeys": [{"secret": SECRET, "scopes": [""]}]},
            "apiKeys[0].scopes[0]: must be 1 to 50 visible ASCII characters, like usage:read",
        ),
        (
            {"apiKeys": [{"secret": SECRET, "expiresAt": "2031-01-31"}]},
            f"apiKeys[0].expiresAt: {INSTANT}",
        ),
        (
            {"apiKeys": [{"secret": SECRET, "expiresAt": "0001-01-01T00:00:00+01:00"}]},
            f"apiKeys[0].expiresAt: {INSTANT}",
        ),
        (
            {"apiKeys": [{"secret": SECRET, "budgets": [{"metric": "cost", "period": "day"}]}]},
            "apiKeys[0].budgets[0].limit: is missing",
        ),
        ({"apiKeys": [SECRET, SECRET]}, "apiKeys[1]: is the same key as apiKeys[0]"),
    ],
    ids=str,
)
def test_problem_is_told_by_its_path(more: dict[str, Any], told: str) -> None:
    found = problems(tenant_file() | more)
    assert told in found
    assert problems([tenant_file("globex"), tenant_file() | more]) == [
        f"[1].{problem}".replace(" aiModels.", " [1].aiModels.")
        .replace("as allowed", "as [1].allowed")
        .replace("as apiKeys", "as [1].apiKeys")
        for problem in found
    ]


def test_every_problem_is_told_at_once() -> None:
    first = tenant_file(tokenBudget={"daily": 0, "monthly": "5"}, allowedHosts=["a:1", "b.example"])
    second = {"tenantId": "acme", "allowedHosts": ["b.example"], "apiKeys": [SECRET, SECRET, 1]}
    assert problems([first, second, 7]) == [
        "[2]: must be an object",
        f"[0].tokenBudget.daily: {WHOLE}",
        f"[0].tokenBudget.monthly: {WHOLE}",
        f"[0].allowedHosts[0]: {HOST}",
        "[1].aiModels.chat: is missing",
        "[1].apiKeys[2]: must be an object",
        "[1].tenantId: is the same tenant as [0].tenantId",
        "[1].allowedHosts[0]: is the same host as [0].allowedHosts[1]",
        "[1].apiKeys[1]: is the same key as [1].apiKeys[0]",
    ]


def test_key_that_is_there_twice_and_numbers_that_are_none() -> None:
    text = (
        b'[{"tenantId": "acme", "tenantId": "globex", "aiModels": {"chat": "a", "chat": "b"},'
        b' "tokenBudget": {"daily": NaN}, "unknown": [-Infinity], "contextMessages": 1e400}]'
    )
    assert problems(text) == [
        "[0].tenantId: is there twice",
        "[0].aiModels.chat: is there twice",
        "[0].tokenBudget.daily: NaN is not JSON",
        "[0].unknown[0]: -Infinity is not JSON",
        "[0].contextMessages: must be a whole number from 0 to 10000",
    ]


def test_unknown_keys_are_warned_of_with_the_nearest_name() -> None:
    parsed = read(
        [
            tenant_file(
                tokenbudget={},
                allowedHost=[],
                wholly_other=1,
                tokenBudget={"day": 5},
                apiKeys=[{"secret": SECRET, "expires": None}],
            )
            | {"\x1b[31m": 1, "a.b": 2}
        ]
    )
    assert parsed.tenants
    assert [str(warning) for warning in parsed.warnings] == [
        "[0].tokenbudget: is unknown and ignored; did you mean tokenBudget?",
        "[0].allowedHost: is unknown and ignored; did you mean allowedHosts?",
        "[0].wholly_other: is unknown and ignored",
        '[0]["\\u001b[31m"]: is unknown and ignored',
        '[0]["a.b"]: is unknown and ignored',
        "[0].tokenBudget.day: is unknown and ignored; did you mean daily?",
        "[0].apiKeys[0].expires: is unknown and ignored; did you mean expiresAt?",
    ]


def test_bounds_are_those_of_the_tables() -> None:
    from tenants_app import tenant_files

    for read_, pattern in (
        (tenant_files.SLUG, SLUG_PATTERN),
        (tenant_files.HOST, HOST_PATTERN),
        (tenant_files.ACCOUNT_ID, ACCOUNT_ID),
        (tenant_files.GATEWAY_ID, GATEWAY_ID),
    ):
        match: Any = read_.__closure__
        kept = [cell.cell_contents for cell in match if callable(cell.cell_contents)]
        assert f"^{kept[0].__self__.pattern}$" == pattern


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(st.sampled_from(sorted(full_file())), max_size=4), JSON, JSON)
def test_any_json_is_read_or_told_of(names: list[str], value: Any, other: Any) -> None:
    changed = full_file() | dict.fromkeys(names, value)
    changed["apiKeys"] = [{"secret": other, "scopes": value}, value] if names else []
    for content in (changed, [changed, value]):
        parsed = read(content)
        assert bool(parsed.problems) != bool(parsed.tenants)
        for found in (*parsed.problems, *parsed.warnings):
            assert str(found).isprintable()


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_told_of(content: bytes) -> None:
    parsed = parse(content)
    assert parsed.problems or parsed.tenants or content.strip().startswith(b"[")
