"""The list of the pictures: which page each shows, and how it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import Page

from tenants_app.models import ApiKey, Budget, BudgetRaise, Team, Tenant, Upstream
from tests.admin_site import url_of
from tests.pictures import books
from tests.pictures.world import World
from usage_app.models import LedgerEntry, ProviderBill, Reconciliation, Statement


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture's name, the page's address in a world, and how it is looked at."""

    name: str
    url: Callable[[World], str]
    phone: bool = False
    dark: bool = False
    height: int = 768
    before: Callable[[Page], object] = lambda _page: None


def tenant(shown: World) -> str:
    return url_of(type(shown.acme), "change", shown.acme.pk)


def lists(label: str) -> Callable[[World], str]:
    """The address of a list, by `app.model`."""
    return lambda _shown: reverse(f"admin:{label.replace('.', '_')}_changelist")


def usage(shown: World) -> str:
    return f"{reverse('usage_report')}?tenant={shown.acme.slug}"


def usage_by_team(shown: World) -> str:
    return f"{usage(shown)}&groupBy=team"


def team(shown: World) -> str:
    """The page of the team that uses most."""
    return url_of(Team, "change", shown.acme.teams.get(slug="support").pk)


def close(shown: World) -> str:
    month = f"{books.first_day():%Y-%m}"
    return f"{reverse('admin:usage_app_statement_close')}?tenant={shown.acme.slug}&month={month}"


def request(_shown: World) -> str:
    """The page of the newest request that really happened."""
    entry = LedgerEntry.objects.filter(model="demo-echo").latest("created_at")
    return url_of(LedgerEntry, "change", str(entry.pk))


def last(model: type[Model]) -> Callable[[World], str]:
    """The page of a model's newest row."""
    return lambda _shown: url_of(model, "change", model._default_manager.latest("pk").pk)


def issue(page: Page) -> None:
    """From the form to the page that shows a key once."""
    page.get_by_label("Name").fill("Mobile app")
    page.get_by_role("button", name="Issue key").click()


def issuing(shown: World) -> str:
    return f"{url_of(ApiKey, 'add')}?tenant={shown.acme.pk}"


def action(of: Callable[[World], Model], name: str) -> Callable[[World], str]:
    """The address of a page that does something to a row."""
    return lambda shown: url_of(type(of(shown)), name, of(shown).pk)


def raising(shown: World) -> str:
    budget = Budget.objects.for_tenant(shown.acme).get(metric="tokens", period="month")
    return f"{url_of(BudgetRaise, 'add')}?budget={budget.pk}"


def look_at_raise(page: Page) -> None:
    """From the form to what it would come to."""
    page.get_by_label("Extra tokens").fill("1000000")
    page.get_by_label("Why").fill("The launch of their new shop, agreed with Dora")
    page.get_by_role("button", name="Go on").click()


def demo(_shown: World) -> Upstream:
    """The upstream that answers."""
    return Upstream.objects.get(name="demo")


def suspend(page: Page) -> None:
    page.get_by_label("Why").fill("Unpaid since September, see the mail of the 12th")


def ask(page: Page) -> None:
    """Until the whole answer is told."""
    page.get_by_label("Message").fill("What is in stock?")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-entry-link]").wait_for(state="visible")


def choose_table(page: Page) -> None:
    """A table as it comes out of a spreadsheet, and what it would change."""
    rows = "tenant,cost_center,daily_tokens\nacme,retail,600000\nglobex,labs,200000\n"
    file = {"name": "december.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    page.set_input_files("input[type=file]", file)  # type: ignore[arg-type]
    page.get_by_label("Reason").fill("Plans of December")
    press("Show what changes")(page)


def choose_keys(page: Page) -> None:
    """The keys of a class, before they are issued."""
    rows = "name,expires\n" + "".join(f"Workshop seat {n},2099-01-31\n" for n in range(1, 4))
    file = {"name": "workshop.csv", "mimeType": "text/csv", "buffer": rows.encode()}
    page.set_input_files("input[type=file]", file)  # type: ignore[arg-type]
    page.get_by_label("Reason").fill("Workshop of the 14th")
    press("Show the keys")(page)


def press(button: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("button", name=button).click()


SHOTS = (
    Shot("front", lambda _shown: reverse("admin:index"), height=900),
    Shot("front-phone", lambda _shown: reverse("admin:index"), phone=True),
    Shot("tenants", lists("tenants_app.tenant"), height=500),
    Shot("tenant", tenant, height=960),
    Shot("tenant-phone", tenant, phone=True, dark=True),
    Shot("suspend", action(lambda shown: shown.globex, "suspend"), before=suspend, height=500),
    Shot("raise", raising, before=look_at_raise, height=810),
    Shot("playground", action(lambda shown: shown.acme, "try_it"), before=ask, height=1130),
    Shot("alerts", lists("usage_app.alert"), height=500),
    Shot("key-issued", issuing, before=issue, height=700),
    Shot("rotate", lambda shown: url_of(ApiKey, "rotate", shown.key.key.pk), height=860),
    Shot(
        "issue-keys", action(lambda shown: shown.acme, "issue_keys"), before=choose_keys, height=860
    ),
    Shot("keys", lists("tenants_app.apikey"), height=500),
    Shot("team", team, height=860),
    Shot("models", lists("tenants_app.model"), height=500),
    Shot("upstreams", lists("tenants_app.upstream"), height=500),
    Shot("upstream", lambda shown: url_of(Upstream, "change", shown.upstream.pk), height=900),
    Shot("connection", action(demo, "test_connection"), before=press("Test"), height=600),
    Shot("offers", action(demo, "import_models"), before=press("Ask for its models"), height=600),
    Shot("table", lambda _shown: url_of(Tenant, "import_csv"), before=choose_table, height=860),
    Shot("ledger", lists("usage_app.ledgerentry"), dark=True),
    Shot("request", request, height=900),
    Shot("usage", usage, height=900),
    Shot("usage-teams", usage_by_team, height=1080),
    Shot("close", close),
    Shot("statement", last(Statement)),
    Shot("reconciliation", last(Reconciliation), height=600),
    Shot("bill", last(ProviderBill)),
    Shot("changes", lists("tenants_app.change"), height=700),
    Shot("staff", lists("auth.user"), height=500),
)
