"""Raising a budget in the admin: what it comes to is told first, then it is done."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pghistory
import pytest
from django.test import Client
from django.urls import reverse

from tenants_app import raises, staff
from tenants_app.models import Budget, BudgetRaise, Tenant
from tests.admin_site import logged_in, make_staff, text_of, url_of
from tests.factories import make_budget, make_key, make_raise, make_team, make_tenant
from tests.usage_app.entries import make_window
from usage_app import selectors
from usage_app.admin.raise_form import end_of
from usage_app.periods import day_period, local_day

pytestmark = pytest.mark.django_db

ZONE = "America/New_York"
OPERATOR = (
    *(f"tenants_app.{verb}_budgetraise" for verb in ("view", "add", "change")),
    *("tenants_app.view_budget", "tenants_app.view_tenant", "usage_app.view_usagewindow"),
)


@pytest.fixture
def budget() -> Budget:
    return make_budget(make_tenant(timezone=ZONE), "tokens", "day", 1000)


def form_url(budget: Budget) -> str:
    return f"{url_of(BudgetRaise, 'add')}?budget={budget.pk}"


def typed(moment: datetime) -> str:
    return f"{moment.astimezone(ZoneInfo(ZONE)):%Y-%m-%dT%H:%M}"


def later(**span: int) -> str:
    return typed(selectors.clock() + timedelta(**span))


def sent(client: Client, budget: Budget, **values: Any) -> Any:
    """The form as somebody fills it in, once it was looked at."""
    wanted = {"extra": "500", "reason": "The launch", "ends_at": later(hours=3), **values}
    seen = client.post(form_url(budget), wanted)
    if not seen.context["confirmed"]:
        return seen
    assert not BudgetRaise.objects.exists()
    return client.post(form_url(budget), wanted | {"confirmed": seen.context["confirmed"]})


def errors_of(response: Any) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = response.context["form"].errors
    return {name: [*told] for name, told in errors.items()}


def test_raise_is_told_before_it_is_given(budget: Budget) -> None:
    make_window(budget.tenant, tokens=700, held_tokens=100)
    make_raise(budget, extra=50)
    client = logged_in(*OPERATOR)
    form = text_of(client.get(form_url(budget)))
    assert "Now: 1,050 tokens per day; 700 tokens used, 100 tokens held, 250 tokens left." in form
    assert "On top of the 1,000 tokens per day." in form
    day = day_period(local_day(selectors.clock(), ZONE), ZONE)
    assert f'value="{typed(day.ends_at)}"' in form

    wanted = {"extra": "500", "reason": "The launch", "ends_at": "2031-07-04T08:30"}
    seen = client.post(form_url(budget), wanted)
    assert BudgetRaise.objects.count() == 1
    told = text_of(seen)
    assert (
        "With the raise: 1,550 tokens per day, from now on, until 08:30 on Fri 4 Jul 2031"
        f" ({ZONE})." in told
    )
    assert "Then: 1,000 tokens per day, by itself." in told
    # Another number was not looked at.
    confirmed = wanted | {"confirmed": seen.context["confirmed"]}
    assert "16,050 tokens" in text_of(client.post(form_url(budget), confirmed | {"extra": "15000"}))
    assert BudgetRaise.objects.count() == 1

    answer = client.post(form_url(budget), confirmed, follow=True)
    given = BudgetRaise.objects.latest("pk")
    assert (str(given), given.reason) == ("500 more until 2031-07-04 12:30 UTC", "The launch")
    assert given.budget == budget
    assert given.ends_at == datetime(2031, 7, 4, 8, 30, tzinfo=ZoneInfo(ZONE))
    assert given.created_by == answer.wsgi_request.user.username
    page = text_of(answer)
    assert f"Raised by 500 until 08:30 on Fri 4 Jul ({ZONE}): The launch" in page
    assert "of 1,550 (raised from 1,000)" in page


def test_raise_may_begin_later(budget: Budget) -> None:
    begins = later(hours=1)
    sent(logged_in(*OPERATOR), budget, starts_at=begins, ends_at=later(days=40))
    assert typed(BudgetRaise.objects.get().starts_at) == begins
    page = logged_in(*OPERATOR).get(url_of(Tenant, "change", budget.tenant.pk))
    assert "raised by 500 until" in text_of(page)
    assert "(raised from" not in text_of(page)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("extra", "0", {"extra": "More than 0."}),
        ("extra", "-5", {"extra": "More than 0."}),
        ("extra", "1.5", {"extra": "Whole ones only."}),
        ("extra", "1000000000001", {"extra": "At most 1 000 000 000 000."}),
        ("reason", " ", {"reason": "Say why, in a few words: the change history keeps it."}),
        ("ends_at", "", {"ends_at": "This field is required."}),
        ("ends_at", "2020-01-01T00:00",
         {"ends_at": "This is in the past: the raise would be over at once."}),
        ("ends_at", "9999-12-30T00:00", {"__all__": "A raise is between the years 2000 and 9998."}),
        ("starts_at", "2020-01-01T00:00",
         {"starts_at": "This is in the past; leave it empty for now."}),
        ("starts_at", "2099-01-01T00:00", {"ends_at": "It must end after it begins."}),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_in_words(
    budget: Budget, field: str, value: str, told: dict[str, str]
) -> None:
    response = sent(logged_in(*OPERATOR), budget, **{field: value})
    assert errors_of(response) == {place: [words] for place, words in told.items()}
    assert not BudgetRaise.objects.exists()


def test_money_is_raised_in_money(budget: Budget) -> None:
    money = make_budget(budget.tenant, "cost", "month", "12.5")
    client = logged_in(*OPERATOR)
    sent(client, money, extra="1.005")
    assert str(BudgetRaise.objects.get().extra.normalize()) == "1.005"
    assert "Now: 13.505 USD per month" in text_of(client.get(form_url(money)))


def test_hour_that_the_clocks_skip_is_told(budget: Budget) -> None:
    found = errors_of(sent(logged_in(*OPERATOR), budget, ends_at="2031-03-09T02:30"))
    assert "ends_at" in found


@pytest.mark.parametrize(
    ("zone", "period", "now", "ends"),
    [
        # 25 hours of clocks that are set back, 23 of those that are set forward.
        ("Europe/Berlin", "day", "2026-10-25T00:30+02:00", "2026-10-26T00:00+01:00"),
        ("Europe/Berlin", "day", "2026-03-29T00:30+01:00", "2026-03-30T00:00+02:00"),
        ("Europe/Berlin", "month", "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00"),
        # A midnight that is skipped, and a year's end where it is tomorrow already.
        ("America/Santiago", "day", "2026-09-05T12:00-04:00", "2026-09-06T01:00-03:00"),
        ("Asia/Tokyo", "month", "2026-12-31T16:00+00:00", "2027-02-01T00:00+09:00"),
    ],
)
def test_end_of_the_window_where_the_tenant_is_is_proposed(
    zone: str, period: str, now: str, ends: str
) -> None:
    budget = Budget(tenant=Tenant(timezone=zone), period=period)
    assert end_of(budget, datetime.fromisoformat(now)) == datetime.fromisoformat(ends)


def test_budgets_that_cannot_be_raised_say_why(budget: Budget) -> None:
    client = logged_in(*OPERATOR, "tenants_app.change_budget")
    minute = make_budget(budget.tenant, "tokens", "minute", 60)
    answer = client.get(form_url(minute), follow=True)
    assert "Only budgets of a day or a month are raised" in text_of(answer)
    for query in ("", "?budget=x", f"?budget={'9' * 5000}"):
        url = f"{url_of(BudgetRaise, 'add')}{query}"
        assert "Choose a budget of a day or a month" in text_of(client.get(url, follow=True))
    link = reverse("admin:tenants_app_budget_raise_limit", args=[budget.pk])
    assert client.get(link)["Location"] == form_url(budget)


def test_cancelling_asks_why_and_says_so_in_the_history(budget: Budget) -> None:
    given = make_raise(budget)
    client = logged_in(*OPERATOR)
    url = reverse("admin:tenants_app_budgetraise_cancel", args=[given.pk])
    assert "Cancel this raise" in text_of(client.get(url_of(BudgetRaise, "change", given.pk)))
    assert "What was used stays used" in text_of(client.get(url))
    assert "Say why" in text_of(client.post(url, {"confirmed": "yes", "reason": ""}))
    given.refresh_from_db()
    assert given.cancelled_at is None
    client.post(url, {"confirmed": "yes", "reason": "It was a mistake"})
    given.refresh_from_db()
    assert given.cancelled_by.startswith("staff-")
    history = text_of(client.get(url_of(BudgetRaise, "history", given.pk)))
    assert "It was a mistake" in history
    event: Any = pghistory.core.event_models(tracks_model=BudgetRaise)[0]
    assert event.objects.latest("pgh_id").pgh_context.metadata["reason"] == "It was a mistake"
    again = client.get(url, follow=True)
    assert "It is cancelled already." in text_of(again)
    assert "Cancel this raise" not in text_of(again)


def test_states_of_raises_are_listed_and_filtered(budget: Budget) -> None:
    now, hour = selectors.clock(), timedelta(hours=1)
    make_raise(budget, reason="one that stands")
    make_raise(budget, reason="one to come", starts_at=now + hour, ends_at=now + 2 * hour)
    make_raise(budget, reason="one of before", starts_at=now - 2 * hour, ends_at=now - hour)
    raises.cancel(make_raise(budget, reason="one taken back"), by="ann")
    client, url = logged_in(*OPERATOR), url_of(BudgetRaise, "changelist")
    states = {
        "in force": "one that stands", "to come": "one to come", "over": "one of before",
        "cancelled": "one taken back",
    }  # fmt: skip
    for state in states:
        page = text_of(client.get(url, {"state": state}))
        assert [name for name, reason in states.items() if reason in page] == [state]


def test_raises_of_teams_and_keys_are_beside_their_bars(budget: Budget) -> None:
    acme = budget.tenant
    team = make_team(acme)
    key = make_key(acme, "app").key
    make_raise(make_budget(acme, "tokens", "day", 100, team=team), reason="For research")
    make_raise(make_budget(acme, "tokens", "day", 100, api_key=key), reason="For the app")
    make_window(acme, team=team, tokens=90)
    make_window(acme, api_key=key, tokens=550)
    make_budget(acme, "requests", "minute", 60)
    # Without its raise it would be nearly used up.
    other = make_key(acme, "other").key
    make_raise(make_budget(acme, "tokens", "day", 100, api_key=other), reason="For the other")
    make_window(acme, api_key=other, tokens=90)
    response = logged_in(superuser=True).get(url_of(Tenant, "change", acme.pk))
    page = text_of(response)
    assert ": For research</a>" in page
    assert ": For the app</a>" in page
    assert "Tokens per day, key other" not in page
    # Of the key 550 of 600 are used, and not of 100; one by the minute has no link.
    assert "of 600 (raised from 100)" in page
    assert page.count(">Raise</a>") == 3


def test_only_who_may_raises_and_cancels(budget: Budget) -> None:
    given = make_raise(budget)
    cancelling = reverse("admin:tenants_app_budgetraise_cancel", args=[given.pk])
    viewer = logged_in("tenants_app.view_budgetraise", *OPERATOR[3:])
    page = text_of(viewer.get(url_of(Tenant, "change", budget.tenant.pk)))
    assert ">Raise</a>" not in page
    assert "Raised by 500" in page
    for url in (form_url(budget), cancelling):
        answer = viewer.post(url, {"confirmed": "yes", "reason": "x"})
        assert answer.status_code == 403
    nobody = logged_in(*OPERATOR[3:])
    assert "Raised by 500" not in text_of(nobody.get(url_of(Tenant, "change", budget.tenant.pk)))


def test_staff_of_some_tenants_raises_theirs_alone(budget: Budget) -> None:
    globex = make_tenant("globex")
    theirs = make_budget(globex, "tokens", "day", 1000)
    other = make_raise(theirs)
    user, client = make_staff(*OPERATOR), Client()
    staff.hold_to(user, [budget.tenant])
    client.force_login(user)
    answer = client.post(form_url(theirs), {"extra": "5", "reason": "x", "confirmed": "yes"})
    assert answer["Location"] == reverse("admin:tenants_app_budget_changelist")
    cancelling = reverse("admin:tenants_app_budgetraise_cancel", args=[other.pk])
    client.post(cancelling, {"confirmed": "yes", "reason": "x"})
    assert BudgetRaise.objects.get() == other
    assert BudgetRaise.objects.get().cancelled_at is None
    assert client.get(form_url(budget)).status_code == 200
