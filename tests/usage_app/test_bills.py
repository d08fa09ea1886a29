"""Bills are imported whole or not at all, and matched with the books: every line and every request
is in one class, and the classes add up to both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tenants_app.models import Tenant, Upstream
from tests.factories import make_model, make_route, make_tenant, make_upstream
from tests.usage_app.entries import make_correction, make_entry
from usage_app.bills import provider_bills
from usage_app.bills.files import Layout
from usage_app.bills.provider_bills import Upload
from usage_app.figures import Span
from usage_app.models import LedgerEntry, ProviderBill, ProviderBillLine, ProviderBillMatch
from usage_app.statements import closing

MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
LAYOUT = Layout(
    reference="id", day="day", model="model", input_tokens="in", output_tokens="out", amount="usd"
)
HEADER = "id,day,model,in,out,usd"


def upload(*lines: str, upstream: Iterable[Upstream], **fields: Any) -> Upload:
    text = "\n".join([HEADER, *lines])
    given = {"name": "march.csv", "layout": LAYOUT, "span": MARCH, "author": "finance", **fields}
    return Upload(content=text.encode(), upstreams=list(upstream), **given)


def imported(*lines: str, upstream: Upstream, **fields: Any) -> ProviderBill:
    """A bill of these lines, matched."""
    file = upload(*lines, upstream=[upstream], **fields)
    parsed = provider_bills.read(file)
    assert parsed.problems == ()
    return provider_bills.record(file, parsed.lines)


def outcomes(bill: ProviderBill) -> list[tuple[Any, ...]]:
    """Each match: outcome, lines, requests, attempts, request, tokens and money beyond ours."""
    return [
        (
            *(row.outcome, row.lines, row.requests, row.attempts, row.request_id),
            row.billed_input_tokens + row.billed_output_tokens
            - row.input_tokens - row.output_tokens,
            (row.billed_amount - row.cost).normalize(),
        )
        for row in ProviderBillMatch.objects.filter(bill=bill).order_by("id")
    ]  # fmt: skip


def attempt(**fields: Any) -> dict[str, Any]:
    """A failed attempt as entries have it."""
    return {
        "upstream": "cloud",
        "model": "demo-echo",
        "outcome": "timeout",
        "status": None,
        "latencyMs": 5,
        "reference": None,
        "maybeBilled": True,
        **fields,
    }


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def cloud(db: None) -> Upstream:
    return make_upstream("cloud", kind="openai", base_url="http://127.0.0.1:9")


def test_line_and_request_meet_by_reference(acme: Tenant, cloud: Upstream) -> None:
    entry = make_entry(
        acme, upstream="cloud", created_at=NOON, upstream_reference="r1", cost=Decimal("0.5")
    )
    make_correction(entry, input_tokens=2, output_tokens=0, cost=Decimal("0.25"))
    late = NOON.replace(month=2, day=28, hour=23)
    early = make_entry(acme, upstream="cloud", created_at=late, upstream_reference="r0")
    bill = imported(
        "r1,2026-03-14,other,12,,0.5", "r1,2026-03-14,other,,6,0.5", "r0,2026-03-01,,10,5,0",
        upstream=cloud,
    )  # fmt: skip
    assert outcomes(bill) == [
        ("reference", 1, 1, 0, early.id, 0, 0),
        ("reference", 2, 1, 0, entry.id, 1, Decimal("0.25")),
    ]
    assert (bill.missing_here, bill.missing_there, bill.difference) == (0, 0, Decimal("0.25"))


def test_what_only_one_side_has_is_missing_on_the_other(acme: Tenant, cloud: Upstream) -> None:
    charged = make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference="r1")
    make_entry(acme, upstream="cloud", created_at=NOON, input_tokens=0, output_tokens=0, cost=0)
    make_entry(acme, upstream="else", created_at=NOON, upstream_reference="r3")
    make_entry(acme, upstream="cloud", created_at=NOON + timedelta(days=20))
    bill = imported("r3,2026-03-14,demo-echo,10,5,1", upstream=cloud)
    assert outcomes(bill) == [
        ("missing_here", 1, 0, 0, None, 15, 1),
        ("missing_there", 0, 1, 0, charged.id, -15, 0),
    ]
    assert (bill.missing_here, bill.missing_there) == (1, 1)


def test_lines_without_reference_meet_the_requests_of_their_day_and_model(
    acme: Tenant, cloud: Upstream
) -> None:
    make_route(make_model("ours"), cloud, upstream_model="theirs")
    for reference in ("", "r1"):
        make_entry(
            acme, upstream="cloud", model="ours", created_at=NOON, upstream_reference=reference,
            attempts=[attempt(model="ours")] * 2,
        )  # fmt: skip
    other = make_entry(acme, upstream="cloud", created_at=NOON, model="unbilled")
    bill = imported(
        ",2026-03-14,theirs,20,,1", ",2026-03-14,theirs,,11,1", ",2026-03-15,theirs,1,,1",
        upstream=cloud,
    )  # fmt: skip
    assert outcomes(bill) == [
        ("day", 2, 2, 2, None, 1, 2),
        ("missing_here", 1, 0, 0, None, 1, 1),
        ("missing_there", 0, 1, 0, other.id, -15, 0),
    ]


def test_unknown_references_meet_requests_that_lost_theirs_one_by_one(
    acme: Tenant, cloud: Upstream
) -> None:
    swept = make_entry(acme, upstream="cloud", created_at=NOON, outcome="expired", attempts=[])
    known = make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference="r9")
    bill = imported(
        "r1,2026-03-14,demo-echo,9,5,0", "r2,2026-03-14,demo-echo,99,5,0", upstream=cloud
    )
    assert outcomes(bill) == [
        ("day", 1, 1, 0, swept.id, -1, 0),
        ("missing_here", 1, 0, 0, None, 104, 0),
        ("missing_there", 0, 1, 0, known.id, -15, 0),
    ]


def test_failed_attempts_explain_lines(acme: Tenant, cloud: Upstream) -> None:
    fields: dict[str, Any] = {"upstream": "else", "created_at": NOON}
    by_reference = make_entry(acme, **fields, attempts=[attempt(reference="r1"), {"outcome": "ok"}])
    maybe = make_entry(
        acme, **fields,
        attempts=[attempt(), attempt(maybeBilled=False), attempt(upstream="elsewhere")],
    )  # fmt: skip
    bill = imported(
        "r1,2026-03-14,x,10,0,0.1", "r2,2026-03-14,demo-echo,7,0,0.2",
        "r3,2026-03-14,demo-echo,8,0,0.3", upstream=cloud,
    )  # fmt: skip
    assert outcomes(bill) == [
        ("attempt", 1, 0, 1, maybe.id, 7, Decimal("0.2")),
        ("attempt", 1, 0, 1, by_reference.id, 10, Decimal("0.1")),
        ("missing_here", 1, 0, 0, None, 8, Decimal("0.3")),
    ]


def test_late_settlement_tells_whose_line_it_is(acme: Tenant, cloud: Upstream) -> None:
    swept = make_entry(acme, upstream="else", created_at=NOON, outcome="expired", attempts=[])
    make_correction(
        swept, kind="adjustment", upstream="cloud", upstream_reference="r1", reason="", author="",
        input_tokens=-3, output_tokens=0,
    )  # fmt: skip
    bill = imported("r1,2026-03-14,demo-echo,7,5,0", upstream=cloud)
    assert outcomes(bill) == [("reference", 1, 1, 0, swept.id, 0, 0)]


def test_bill_is_about_its_own_upstreams_alone(acme: Tenant, cloud: Upstream) -> None:
    globex = make_tenant("globex")
    own = make_upstream("cloud", tenant=globex, kind="openai", base_url="http://127.0.0.1:9")
    ours = make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference="r1")
    theirs = make_entry(globex, upstream="cloud", created_at=NOON, upstream_reference="r2")
    line = "{},2026-03-14,demo-echo,10,5,0".format
    shared = imported(line("r1"), line("r2"), upstream=cloud)
    assert outcomes(shared) == [
        ("missing_here", 1, 0, 0, None, 15, 0),
        ("reference", 1, 1, 0, ours.id, 0, 0),
    ]
    bill = imported(line("r2"), upstream=own)
    assert outcomes(bill) == [("reference", 1, 1, 0, theirs.id, 0, 0)]
    assert ProviderBillMatch.objects.get(bill=bill).tenant == globex


def test_matching_again_gives_the_same_and_sees_what_came_since(
    acme: Tenant, cloud: Upstream
) -> None:
    bill = imported("r1,2026-03-14,demo-echo,10,5,2", upstream=cloud)
    assert outcomes(bill) == [("missing_here", 1, 0, 0, None, 15, 2)]
    entry = make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference="r1", cost=2)
    for _ in range(2):
        provider_bills.match(bill)
        assert outcomes(bill) == [("reference", 1, 1, 0, entry.id, 0, 0)]
    bill.refresh_from_db()
    assert bill.missing_here == bill.difference == 0


def test_request_that_the_next_bill_has_is_not_missing_in_the_one_before(
    acme: Tenant, cloud: Upstream
) -> None:
    late = NOON.replace(day=31, hour=23, minute=59)
    entry = make_entry(acme, upstream="cloud", created_at=late, upstream_reference="r1")
    march = imported("r0,2026-03-01,m,1,1,1", upstream=cloud)
    assert (march.missing_here, march.missing_there) == (1, 1)
    april = imported(
        "r1,2026-04-01,demo-echo,10,5,1", upstream=cloud,
        span=Span(date(2026, 4, 1), date(2026, 4, 30)),
    )  # fmt: skip
    assert outcomes(april) == [("reference", 1, 1, 0, entry.id, 0, 1)]
    provider_bills.match(march)
    march.refresh_from_db()
    assert (march.missing_here, march.missing_there) == (1, 0)


def test_file_is_imported_once_and_no_two_bills_overlap(acme: Tenant, cloud: Upstream) -> None:
    first = imported("r1,2026-03-14,m,1,1,1", upstream=cloud)
    same = upload("r1,2026-03-14,m,1,1,1", upstream=[cloud])
    told = [str(problem) for problem in provider_bills.read(same).problems]
    assert told == [
        f"This file was imported already, on {first.imported_at:%Y-%m-%d} as march.csv.",
        (
            "The bill march.csv is about cloud from 2026-03-01 to 2026-03-31 already: choose other"
            " days, or delete it first."
        ),
    ]
    other = upload("r2,2026-03-14,m,1,1,1", upstream=[cloud])
    for file in (same, other):
        with pytest.raises((IntegrityError, InternalError)), transaction.atomic():
            provider_bills.record(file, ())
    provider_bills.remove(first)
    assert not ProviderBillMatch.objects.exists()
    assert provider_bills.read(same).problems == ()


def test_bad_file_changes_nothing_and_says_why(acme: Tenant, cloud: Upstream) -> None:
    demo = make_upstream("demo")
    told = {
        "kinds": upload("r1,2026-03-14,m,1,1,1", upstream=[cloud, demo]),
        "none": upload("r1,2026-03-14,m,1,1,1", upstream=[]),
        "days": upload("x", upstream=[cloud], span=Span(MARCH.last, MARCH.first)),
        "layout": upload("x", upstream=[cloud], layout=Layout(day="day", model="model")),
        "lines": upload("r1,2026-03-14,m,1,1,1", "r2,2026-03-14,m,x,1,1", upstream=[cloud]),
    }
    kinds = "upstreams: must be at least one, and all of one kind of provider"
    found = {
        name: list(map(str, provider_bills.read(file).problems)) for name, file in told.items()
    }
    assert found == {
        "kinds": [kinds],
        "none": [kinds],
        "days": ["last day: must not be before the first day"],
        "layout": ["amount: Say which column tells tokens, or which one the amount."],
        "lines": ["line 3, tokens in: must be a whole number in digits alone, like 1200"],
    }  # fmt: skip
    assert not ProviderBill.objects.exists()
    assert not ProviderBillLine.objects.exists()


def test_bill_and_lines_cannot_be_changed(acme: Tenant, cloud: Upstream) -> None:
    bill = imported("r1,2026-03-14,m,1,1,1", upstream=cloud)
    for rows, change in (
        (ProviderBillLine.objects.filter(bill=bill), {"amount": 2}),
        (ProviderBill.objects.filter(pk=bill.pk), {"amount": 2}),
    ):
        with pytest.raises(IntegrityError, match="stays as it was"), transaction.atomic():
            rows.update(**change)


def test_state_tells_of_each_bill_and_of_what_has_none(acme: Tenant, cloud: Upstream) -> None:
    globex = make_tenant("globex")
    make_upstream("play")
    used: dict[str, Any] = {"created_at": NOON, "cost": 1}
    make_entry(acme, upstream="cloud", upstream_reference="r1", **used)
    make_entry(globex, upstream="other", **used)
    make_entry(globex, upstream="play", **used)
    assert provider_bills.state(NOON.date()).told == [
        f"No bill tells of every day on which {name} was used." for name in ("cloud", "other")
    ]
    bill = imported("r1,2026-03-14,demo-echo,10,5,1", upstream=cloud)
    whose = "The bill march.csv (cloud, 2026-03-01 to 2026-03-31)"
    agreed = provider_bills.state(NOON.date(), tenant=acme)
    assert (agreed.agrees, agreed.told) == (True, [f"{whose}: agrees with the books."])
    others = provider_bills.state(NOON.date(), tenant=globex)
    assert (others.agrees, others.bills, others.without) == (False, (), ("other",))
    make_entry(acme, upstream="cloud", **used)
    provider_bills.match(bill)
    state = provider_bills.state(NOON.date())
    assert (state.agrees, state.told[0]) == (
        False,
        f"{whose}: 1 of our requests missing in it, 1 USD less than the books' cost.",
    )
    assert provider_bills.state(date(2026, 4, 1)).agrees


def test_checklist_of_a_close_tells_of_the_bills(acme: Tenant, cloud: Upstream) -> None:
    make_entry(acme, upstream="cloud", created_at=NOON, upstream_reference="r1", cost=1)
    told = []
    for line in ("r1,2026-03-14,demo-echo,10,5,1", None):
        point = closing.check(acme, MARCH.first).points[-1]
        told.append((point.state, point.text))
        if line:
            imported(line, upstream=cloud)
    assert told == [
        ("open", "No bill imported."),
        (
            "good",
            "The bill march.csv (cloud, 2026-03-01 to 2026-03-31): agrees with the books.",
        ),
    ]
    make_entry(acme, upstream="cloud", created_at=NOON, cost=1)
    provider_bills.match(ProviderBill.objects.get())
    point = closing.check(acme, MARCH.first).points[-1]
    assert (point.state, "1 of our requests missing in it" in point.text) == ("open", True)


def test_tenant_of_the_demo_provider_alone_has_no_bill_to_wait_for(acme: Tenant) -> None:
    make_upstream("play")
    make_entry(acme, upstream="play", created_at=NOON, cost=1)
    point = closing.check(acme, MARCH.first).points[-1]
    assert (point.state, point.text) == ("good", "No upstream that bills was used.")


DAYS = st.sampled_from([NOON, NOON + timedelta(days=1)])
REFERENCES = st.sampled_from(["", "", "r1", "r2", "r3", "r4"])
MODELS = st.sampled_from(["demo-echo", "other"])
COUNTS = st.integers(0, 3)
ENTRIES = st.tuples(DAYS, REFERENCES, MODELS, COUNTS, COUNTS, st.none() | COUNTS)
ATTEMPTS = st.lists(
    st.builds(
        attempt,
        reference=st.none() | REFERENCES,
        maybeBilled=st.booleans(),
        model=MODELS,
        outcome=st.sampled_from(["ok", "timeout"]),
    ),
    max_size=2,
)


class Classes(TestCase):
    """Whatever is billed and charged, the classes add up to the bill and to the books."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
    @given(
        entries=st.lists(st.tuples(ENTRIES, ATTEMPTS, st.booleans()), max_size=8),
        lines=st.lists(ENTRIES, min_size=1, max_size=8),
    )
    def test_classes_add_up_to_the_bill_and_the_books(
        self, entries: list[Any], lines: list[Any]
    ) -> None:
        acme, globex = make_tenant(), make_tenant("globex")
        cloud = make_upstream("cloud", kind="openai", base_url="http://127.0.0.1:9")
        ids = set[UUID]()
        for number, (fields, attempts, corrected) in enumerate(entries):
            at, reference, model, tokens_in, tokens_out, cost = fields
            entry = make_entry(
                globex if number % 2 else acme, upstream="cloud", created_at=at, model=model,
                upstream_reference=reference, input_tokens=tokens_in, output_tokens=tokens_out,
                cost=cost, attempts=attempts,
            )  # fmt: skip
            ids.add(entry.id)
            if corrected:
                make_correction(entry, input_tokens=-1, output_tokens=2, cost=Decimal("0.1"))
        bill = imported(
            *(
                f"{reference},{at.date()},{model},{tokens_in},{tokens_out},{cost or ''}"
                for at, reference, model, tokens_in, tokens_out, cost in lines
            ),
            upstream=cloud,
        )
        first = outcomes(bill)
        classes = provider_bills.total(provider_bills.sums(bill))
        assert (classes.lines, classes.billed_input_tokens, classes.billed_output_tokens) == (
            len(lines), sum(line[3] for line in lines), sum(line[4] for line in lines)
        )  # fmt: skip
        assert classes.billed_amount == sum(line[5] or 0 for line in lines)
        names = ("input_tokens", "output_tokens", "cost")
        books = LedgerEntry.objects.aggregate(**{name: Sum(name, default=0) for name in names})
        assert {name: getattr(classes, name) for name in names} == books
        named = [row[4] for row in first if row[2] == 1]
        assert len(named) == len(set(named))
        assert set(named) <= ids
        provider_bills.match(bill)
        assert outcomes(bill) == first


def test_many_lines_are_not_compared_with_each_other(acme: Tenant, cloud: Upstream) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MANY, [acme.pk, 10_000])
    lines = [f"r{number},2026-03-14,demo-echo,10,5,0.01" for number in range(1, 10_001)]
    began = datetime.now(UTC)
    bill = imported(*lines, upstream=cloud)
    assert datetime.now(UTC) - began < timedelta(seconds=10)
    (reference, *_) = provider_bills.sums(bill)
    assert (reference.outcome, reference.lines, reference.requests) == ("reference", 9_000, 9_000)
    assert (bill.missing_here, bill.missing_there) == (0, 0)


# Every tenth request has lost its reference.
MANY = """
INSERT INTO usage_app_ledgerentry (id, created_at, local_day, tenant_id, trace_id, cost_center,
    model, model_reason, upstream, stream, user_hash, metadata, held_tokens, kind, reason, author,
    attempts, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    total_tokens, overrun_tokens, cost, usage_source, outcome, error_code, latency_ms,
    upstream_reference, settled_at)
SELECT gen_random_uuid(), '2026-03-14 12:00+00', '2026-03-14', %s, 'trace', '', 'demo-echo',
    'tenant', 'cloud', false, '', '{}', 100, 'usage', '', '',
    '[{"upstream": "cloud", "model": "demo-echo", "outcome": "ok"}]', 10, 0, 0, 5, 0, 15, 0, 0.01,
    'provider', 'ok', '', 120, CASE WHEN n %% 10 = 0 THEN '' ELSE 'r' || n END, now()
FROM generate_series(1, %s) AS n
"""
