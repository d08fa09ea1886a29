"""What the database refuses, as a sentence for the one who asked for it. It catches nothing."""

import re
from typing import Final

from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, InternalError
from django.db.models import ProtectedError, RestrictedError

# A trigger's RAISE without a code of its own arrives as InternalError.
REFUSALS: Final = (IntegrityError, InternalError)

ONE_LINE: Final = (
    "{} must be one line without characters that are not shown: no tabs, line breaks, control"
    " characters or marks that turn the direction of writing."
)
WORDS: Final = {
    "apikey_name_is_one_line": ONE_LINE.format("A name"),
    "model_name_is_one_line": ONE_LINE.format("A name"),
    "model_public_id_is_one_line": ONE_LINE.format("An id"),
    "route_upstream_model_is_one_line": ONE_LINE.format("What the upstream calls it"),
    "team_name_is_one_line": ONE_LINE.format("A name"),
    "tenant_cost_center_is_one_line": ONE_LINE.format("A cost centre"),
    "tenant_name_is_one_line": ONE_LINE.format("A name"),
    "upstream_name_is_one_line": ONE_LINE.format("A name"),
    "budget_limit_is_positive": "The limit must be greater than 0 and at most 1 000 000 000 000.",
    "budget_limit_is_whole_unless_cost": "The limit must be whole; only a cost has decimals.",
    "budget_metric_suits_its_period": "Per minute one limits requests or tokens, at the same time"
    " requests only; a cost is limited per day or month.",
    "budget_burst_only_per_minute": "A burst belongs to a limit per minute only.",
    "budget_once_per_scope_metric_and_period": "There is a budget for this metric and period"
    " already.",
    "budget_alerts_are_percents": "Alerts are at whole percents from 1 to 100, at most 10 of them.",
    "budget_key_belongs_to_its_tenant": "This key is another tenant's.",
    "budget_team_belongs_to_its_tenant": "This team is another tenant's.",
    "budget_is_of_a_team_or_of_a_key": "A budget is of a team or of a key, not of both.",
    "budget_that_was_raised_changes_its_limit_only": "This budget has been raised: only its limit"
    " may change: make another budget instead.",
    "raise_belongs_to_its_budget": "This budget is another tenant's, or gone.",
    "raise_ends_after_it_begins": "It must end after it begins.",
    "raise_extra_is_positive": "The extra must be greater than 0 and at most 1 000 000 000 000.",
    "raise_is_cancelled_once_and_never_edited": "A raise is never changed: cancel it, and give"
    " another.",
    "raise_is_of_a_day_or_a_month": "Only budgets of a day or a month are raised: one by the minute"
    " is full again in a minute, one at once as soon as a request ends. Change its limit instead.",
    "raise_is_one_of_twenty": "This budget has 20 raises that are not over; cancel one first.",
    "raise_is_whole_unless_of_cost": "The extra must be whole; only a cost has decimals.",
    "raise_stays_as_long_as_its_budget": "A raise stays on record: cancel it instead.",
    "raise_is_within_the_calendar": "A raise is between the years 2000 and 9998.",
    "raise_that_is_over_is_not_cancelled": "It is over, so there is nothing to cancel.",
    "key_team_belongs_to_its_tenant": "This team is another tenant's.",
    "key_overlaps_with_its_own_secret": "Only the secret that the key itself had overlaps.",
    "key_secret_is_nobodys_former_one": "This secret is what a rotated key had before.",
    "key_stays_in_its_team": "The team of a key never changes; issue a new key.",
    "team_slug_once_per_tenant": "The tenant has a team of this slug already.",
    "team_slug_is_plain": "A slug is 1 to 63 small letters, digits, - and _.",
    "model_outputs_are_ordered": "The default output must be at least 1 and at most the maximum.",
    "upstream_belongs_to_another_tenant": "An upstream that belongs to a tenant is used by that"
    " tenant alone.",
    "upstream_default_is_only_one": "Another upstream is the default already.",
    "upstream_default_is_shared": "Only an upstream without a tenant can be the default of all.",
    "upstream_has_a_base_url": "This kind of upstream needs a base URL.",
    "upstream_of_cloudflare_has_a_form": "A Cloudflare AI Gateway has a form: rest, compat or"
    " workers-ai; no other kind has one.",
    "upstream_of_cloudflare_names_its_gateway": "A Cloudflare AI Gateway needs its account id and"
    " gateway id, of letters, digits, - and _ only.",
    "upstream_token_stays_with_its_address": "The token was given for another kind, address,"
    " account or gateway: enter it again, or remove it.",
    "upstream_name_once_per_tenant": "There is an upstream of this name already.",
    "route_once_per_model_upstream_and_tenant": "There is such a route already.",
    "price_is_one_per_model_and_start": "There is a price from that instant on already.",
    "price_not_negative": "A price is not negative.",
    "margin_is_one_per_tenant_and_start": "There is a margin of this tenant from that day on"
    " already.",
    "margin_takes_no_more_than_all": "A margin is at least -100 %.",
    "playground_key_is_never_changed": "The playground's key stays what it is: revoke it, or leave"
    " it.",
    "fallback_model_once_per_tenant": "A model is in the fallback chain once.",
}
FOREIGN_KEY_VIOLATION: Final = "23503"
UNIQUE_VIOLATION: Final = "23505"

_named = re.compile(r"Constraint “(\w+)” is violated\.")
_identifier = re.compile(r"[a-z0-9_]+").fullmatch


def sentence(error: DatabaseError) -> str:
    """Why the database said no."""
    if isinstance(error, ProtectedError | RestrictedError):
        return "It is still in use, so it cannot be deleted."
    diagnosis = getattr(error.__cause__, "diag", None)
    if diagnosis is None:
        return "The database refused this change."
    if (name := diagnosis.constraint_name) and name in WORDS:
        return WORDS[name]
    if diagnosis.sqlstate == FOREIGN_KEY_VIOLATION:
        return "It refers to something that is gone, or is itself still in use."
    if diagnosis.sqlstate == UNIQUE_VIOLATION:
        return "This exists already."
    return _worded(name or diagnosis.message_primary or "the database refused this change")


def in_words(error: ValidationError) -> ValidationError:
    """The same error, with the names of constraints put into sentences."""
    for errors in error.update_error_dict({}).values():
        for one in errors:
            if isinstance(one.message, str):
                one.message = _named.sub(lambda match: _worded(match[1]), one.message)
    return error


def _worded(text: str) -> str:
    """Constraints are named as sentences: their names say what must hold."""
    if text in WORDS:
        return WORDS[text]
    if _identifier(text):
        return f"This must hold: {text.replace('_', ' ')}."
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
