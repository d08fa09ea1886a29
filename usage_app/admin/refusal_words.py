"""What each code means by which a request is refused before a model is asked, and what to do about
it. docs/reference/errors.md has all codes; what is refused before the key is known, or because the
tenant is suspended, is not counted.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Words:
    """A code in plain words; `section` is the part of the tenant's page where one acts."""

    status: int
    means: str
    todo: str
    section: str = ""


WORDS: Final = {
    "rate_limited": Words(
        429,
        "A budget per minute, or of requests at once, had no room at that moment.",
        "Let the app wait as long as Retry-After says and ask again; if it happens all day, raise"
        " the limit or its burst.",
        "budgets",
    ),
    "budget_exceeded": Words(
        429,
        "A budget of the day or month is used up, or the request was larger than what is left.",
        "Raise the budget, or wait until it resets; a request that asks for fewer tokens may still"
        " fit.",
        "budgets",
    ),
    "model_not_allowed": Words(
        403,
        "The app asked for a model that is not on the tenant's allow-list.",
        "Add the model to the allowed models, or have the app ask for one of them.",
        "settings",
    ),
    "model_unpriced": Words(
        403,
        "A budget in money applies, and the model has no price: nobody knows what it would cost.",
        "Have finance give the model a price, or remove the budget in money.",
        "models",
    ),
    "model_unknown": Words(
        404,
        "No upstream serves the model, or none was named and the tenant has no default model.",
        "Give the model a route, choose a default model, or correct the name that the app sends.",
        "models",
    ),
    "service_unavailable": Words(
        503,
        "Tollgate could not decide: its database was away or overloaded, or the server was"
        " stopping.",
        "The app may ask again after a second. If it goes on, see docs/operations.md.",
        "",
    ),
}
UNKNOWN: Final = Words(
    0, "See docs/reference/errors.md.", "The log has a line for each, with its trace id."
)
