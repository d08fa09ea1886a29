"""The admin's front page: cards about what goes on, in the order in which those who look need them.
Each card is for those who may see its figures.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest

from chat_app.cards import providers
from gateway_project.machinery.card import machinery
from tenants_app import staff
from tenants_app.admin.sections import Section, newest_changes
from usage_app import selectors
from usage_app.admin import cards
from usage_app.overview.look import Look

admin.site.index_title = "Overview"
admin.site.index_template = "gateway_project/front_page.html"

Card = Callable[[HttpRequest, Look], Section | None]
OPERATIONS: Final[Sequence[Card]] = (
    *(cards.glance, cards.budgets, providers, machinery),
    *(cards.over_time, cards.refusals, cards.books),
)
MONEY: Final[Sequence[Card]] = (
    *(cards.money_of_month, cards.to_close, cards.bills, cards.budgets),
    *(cards.books, cards.over_time, cards.statements),
)
PROOF: Final[Sequence[Card]] = (
    *(cards.books, cards.statements, newest_changes, cards.bills),
    *(machinery, cards.money_of_month, cards.over_time),
)
# Whose work is what: who has the permission lands on these cards. The first that fits comes first.
LANDINGS: Final = (
    ("tenants_app.change_tenant", OPERATIONS),
    ("usage_app.close_month", MONEY),
)


@dataclass(frozen=True, slots=True)
class Page:
    """The cards, and what in them wants attention: each with the card that it leads to."""

    cards: Sequence[Section]
    warnings: Sequence[tuple[str, str]]


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the front page shows to this user."""
    look = Look(selectors.clock(), staff.tenants_of(request.user), selectors.rolled_up_to())
    found = [card(request, look) for card in landing(request.user, look)]
    shown = [section for section in found if section is not None]
    context["overview"] = Page(shown, list(_warnings(shown)))
    return context


def landing(user: Any, look: Look) -> Iterable[Card]:
    """Everybody's own cards. Whoever may change nothing of this looks at what proves it; whoever is
    held to some tenants, at these.
    """
    if look.within is not None:
        return OPERATIONS
    fits = [cards for permission, cards in LANDINGS if user.has_perm(permission)]
    return dict.fromkeys(card for some in fits or [PROOF] for card in some)


def _warnings(sections: Iterable[Section]) -> Iterable[tuple[str, str]]:
    for section in sections:
        for text in getattr(section.data, "warnings", ()):
            yield text, section.id
