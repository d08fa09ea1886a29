"""What an operator does with an upstream by hand: ask it for a word, and import its models."""

from typing import Any, Final

import structlog
from asgiref.sync import async_to_sync
from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from chat_app import upstream_trial
from chat_app.providers.base import ProviderError
from tenants_app import offered_models
from tenants_app.models import Upstream
from tenants_app.snapshots import UpstreamSnapshot

log = structlog.get_logger(__name__)

# An attempt's outcome in words, and what to do about it.
OUTCOMES: Final = {
    "unreachable": "It could not be reached: see its base URL, and whether the address is allowed.",
    "timeout": "It did not answer in time: see its timeouts.",
    "rejected": "It refused the request: see its token, and the model's name there.",
    "rate_limited": "Its rate limit is reached: try again later.",
    "broken": "It failed, or its answer could not be read.",
    "error": "It failed.",
}
TRIAL: Final = (
    "Sends one short question, as a tenant's request would be sent, and asks for"
    f" {upstream_trial.OUTPUT_TOKENS} tokens at most. No tenant is charged; the provider may bill"
    " it."
)


class TrialForm(forms.Form):
    """Which model to ask."""

    model = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="As the upstream calls it.",
    )


def test_connection(page: Any, request: HttpRequest, upstream: Upstream) -> HttpResponse:
    """The page that makes a smallest real call and shows what came of it."""
    form = TrialForm(request.POST or None, initial={"model": _a_model_of(upstream)})
    trial = None
    if form.is_valid():
        snapshot = UpstreamSnapshot.of(upstream)
        trial = async_to_sync(upstream_trial.ask)(snapshot, form.cleaned_data["model"])
        log.info(
            "upstream_tested",
            upstream=upstream.name,
            outcome=trial.outcome,
            latencyMs=trial.latency_ms,
            by=request.user.get_username(),
        )
    return _page(
        page,
        request,
        "upstream_trial.html",
        title=f"Test connection: {upstream}",
        sentence=TRIAL,
        form=form,
        trial=trial,
        advice=OUTCOMES.get(trial.outcome) if trial else None,
    )


def import_models(page: Any, request: HttpRequest, upstream: Upstream) -> HttpResponse:
    """The page that lists what the upstream offers, and makes models and routes of it."""
    chosen = request.POST.getlist("name")
    if "add" in request.POST and chosen:
        try:
            _tell(request, offered_models.add(upstream, chosen))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        return redirect(page.url_of("change", upstream.pk))
    offers: list[offered_models.Offer] | None = None
    failure = ""
    if request.method == "POST":
        try:
            names = async_to_sync(upstream_trial.offered)(UpstreamSnapshot.of(upstream))
            offers = offered_models.compare(upstream, names)
        except ProviderError as error:
            failure = f"{OUTCOMES.get(error.outcome, '')} {_status(error)}{error.excerpt}".strip()
    return _page(
        page,
        request,
        "upstream_models.html",
        title=f"Import models: {upstream}",
        upstream=upstream,
        offers=offers,
        failure=failure,
        nothing_chosen="add" in request.POST,
    )


def _tell(request: HttpRequest, added: offered_models.Added) -> None:
    """What was made, and what it still needs."""
    if not added.routes:
        messages.info(request, "Everything chosen was there already.")
        return
    made = f"{_many(added.models, 'model')} and {_many(added.routes, 'route')}"
    messages.success(request, f"Made {made}.")
    if added.models:
        prices = reverse("admin:usage_app_price_changelist")
        messages.warning(
            request,
            f"{', '.join(added.models[:5])}{' …' if len(added.models) > 5 else ''}:"
            f" no price yet, and budgets of money refuse what has none. Prices: {prices}",
        )


def _many(names: tuple[str, ...], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _status(error: ProviderError) -> str:
    return f"HTTP {error.status}: " if error.status else ""


def _a_model_of(upstream: Upstream) -> str:
    """One that it is known to have."""
    route = upstream.routes.select_related("model").first()
    return (route.upstream_model or route.model.public_id) if route else ""


def _page(page: Any, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    context = {**page.admin_site.each_context(request), "opts": page.opts, **context}
    return TemplateResponse(request, f"gateway_project/{template}", context)
