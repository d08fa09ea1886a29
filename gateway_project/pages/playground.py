"""Try it: the page on which staff sends a message at a tenant's charge and sees the answer stream,
which way it took and why, and what it came to. The turn itself is `chat_app.playground`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import structlog
from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from chat_app import playground
from chat_app.attempts import Attempt
from chat_app.chat_stream import ChatStream
from chat_app.errors import AiError, AiTimeout
from chat_app.schema import MAX_MESSAGE_CHARACTERS, MAX_TOKENS, ChatCall, parse_chat
from tenants_app import keys
from tenants_app.admin.model_section import choices
from tenants_app.api import error_object, render_error, stamp
from tenants_app.errors import InvalidJson, InvalidRequest, TenantSuspended, TollgateError
from tenants_app.models import ApiKey, Tenant
from tenants_app.snapshots import OWN_DEFAULT, OWN_ROUTE, SHARED_DEFAULT, SHARED_ROUTE
from tenants_app.tracing import trace_of
from usage_app import selectors
from usage_app.admin.refusal_words import WORDS
from usage_app.amounts import amount, money
from usage_app.pricing import to_decimal

PERMISSION: Final = "tenants_app.try_models"
# What the browser may say; the rest of the call is ours.
ASKED: Final = ("message", "modelId", "maxTokens")
WHY: Final = {
    "request": "you chose it",
    "env": "the deployment names it, in MODEL_ID",
    "tenant": "it is the tenant's default model",
    "fallback": "what came before it failed, or may not be used",
}
COUNTED: Final = {
    "provider": "counted by the provider",
    "estimated": "estimated: the provider did not count them",
    "partial": "of what had come when it broke off",
}
RESUME: Final = (
    "The tenant's page says since when, by whom and why; whoever may change tenants can resume it"
    " there."
)
ASK_THE_UPSTREAM: Final = (
    "The attempts below say what became of each try; an upstream's own page tests its connection."
)
ROUTES: Final = {
    OWN_ROUTE: "the tenant's own route for this model",
    SHARED_ROUTE: "the route of all tenants for this model: the tenant has none of its own",
    OWN_DEFAULT: "the tenant's default upstream: no route leads to this model",
    SHARED_DEFAULT: "the default upstream of all tenants: no route leads to this model",
}
NOT_ASKED: Final = ("not_usable", "circuit_open")
OUTCOMES: Final = {
    "ok": "answered",
    "unreachable": "could not be reached",
    "timeout": "did not answer in time",
    "rejected": "refused the request",
    "rate_limited": "had reached its rate limit",
    "broken": "failed",
    "error": "failed",
    "cancelled": "was asked when the connection ended",
    "circuit_open": "was not asked: it had failed too often of late",
    "not_usable": "was passed over: the tenant may not use it any more",
}

log = structlog.get_logger(__name__)


class TryForm(forms.Form):
    """What is asked. It is checked where every request is."""

    model = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="The models that may be asked for and have an upstream.",
    )
    message = forms.CharField(
        max_length=MAX_MESSAGE_CHARACTERS,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        initial="Hello! Who are you?",
    )
    max_tokens = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_TOKENS,
        label="Most tokens of the answer",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Empty: as many as the model gives by default.",
    )

    def __init__(self, tenant: Tenant) -> None:
        super().__init__()
        default = settings.MODEL_ID or tenant.default_model
        named = [(model, model) for model in choices(tenant)]
        self.fields["model"].choices = [  # type: ignore[attr-defined]
            ("", f"Default: {default or 'there is none'}"),
            *named,
        ]


@dataclass(frozen=True, slots=True)
class Words:
    """Tells a trial as the page shows it: lines of a name and a text."""

    margin: Decimal
    entry_url: str

    def ended(self, stream: ChatStream) -> Mapping[str, Any]:
        error = stream.error
        return {
            "failed": None if error is None else _problem(error),
            "facts": [
                ("Model", f"{stream.candidate.model.public_id}: {WHY[stream.candidate.reason]}"),
                ("Answered by" if error is None else "Asked last", _upstream(stream)),
                ("Route", ROUTES[stream.candidate.route.whose]),
                ("Tokens", _tokens(stream)),
                ("Cost", _currency(stream.cost)),
                ("Price", self._price(stream.cost)),
                ("Time", _time(stream)),
                *([("Budget", left)] if (left := _left(stream)) else []),
                *(("Note", note) for note in stream.turn.notes),
                ("Request", str(stream.turn.trace.request_id)),
                ("Trace", stream.turn.trace.id),
            ],
            "attempts": [_attempt(attempt) for attempt in stream.attempts],
            "entryUrl": self.entry_url,
        }

    def refused(self, error: TollgateError) -> Mapping[str, Any]:
        return {"failed": _problem(error), "facts": [], "attempts": [], "entryUrl": ""}

    def _price(self, cost: int | None) -> str:
        if cost is None:
            return "unknown without a cost"
        price = to_decimal(cost) * (100 + self.margin) / 100
        margin = f"with a margin of {money(self.margin)} %" if self.margin else "without a margin"
        return f"{money(price)} {settings.LEDGER_CURRENCY}, {margin}"


def page(admin_page: Any, request: HttpRequest, tenant: Tenant | None) -> HttpResponseBase:
    """The page, and the answers to what it sends."""
    if tenant is None:
        raise Http404
    if request.method == "POST":
        return _send(request, tenant)
    key = ApiKey.objects.for_tenant(tenant).filter(kind=ApiKey.Kind.PLAYGROUND).first()
    return TemplateResponse(
        request,
        "gateway_project/playground.html",
        {
            **admin_page.admin_site.each_context(request),
            "title": f"Try it: {tenant}",
            "opts": admin_page.opts,
            "tenant": tenant,
            "form": TryForm(tenant),
            "revoked": key is not None and key.revoked_at is not None,
            "entry": _entry_url(request, UUID(int=0)),
        },
    )


def _send(request: HttpRequest, tenant: Tenant) -> HttpResponseBase:
    """Stream the answer. Whether it may be asked at all is told in the stream, too."""
    trace = trace_of(request.META)
    try:
        call = _call(request)
    except TollgateError as error:
        return stamp(render_error(error), trace)
    log.info(
        "playground_used",
        tenantId=tenant.slug,
        traceId=trace.id,
        requestId=str(trace.request_id),
        by=request.user.get_username(),
    )
    trial = playground.Trial(keys.playground(tenant).pk, call, trace)
    words = Words(
        selectors.margin_now(tenant, timezone.now()), _entry_url(request, trace.request_id)
    )
    response = StreamingHttpResponse(
        playground.frames(trial, words), content_type="text/event-stream; charset=utf-8"
    )
    response["x-accel-buffering"] = "no"
    return stamp(response, trace)


def _call(request: HttpRequest) -> ChatCall:
    """A message in a session of its own, with who sent it. Raises InvalidRequest."""
    try:
        sent = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson from error
    if not isinstance(sent, dict):
        raise InvalidRequest.fields({"body": "must be a JSON object"})
    asked = {name: sent[name] for name in ASKED if name in sent}
    by = {"playground": request.user.get_username()}
    return parse_chat({**asked, "sessionId": str(uuid4()), "metadata": by})


def _entry_url(request: HttpRequest, request_id: UUID) -> str:
    if not request.user.has_perm("usage_app.view_ledgerentry"):
        return ""
    return reverse("admin:usage_app_ledgerentry_change", args=[request_id])


def _problem(error: TollgateError) -> Mapping[str, Any]:
    words = WORDS.get(error.code)
    fields: Mapping[str, str] = error.details.get("fields", {})
    return {
        **error_object(error),
        "status": error.status_code,
        "sentences": [
            f"{error.message.rstrip('.')}.",
            *(f"{name} {what}." for name, what in fields.items()),
            *([_told(error.details)] if "limit" in error.details else []),
            *([words.means, words.todo] if words else []),
            *([RESUME] if isinstance(error, TenantSuspended) else []),
            *([ASK_THE_UPSTREAM] if isinstance(error, AiError | AiTimeout) else []),
        ],
    }


def _told(details: Mapping[str, Any]) -> str:
    """Which budget refused."""
    return (
        f"The budget of the {details.get('scope', 'tenant')}: {details['limit']}"
        f" {details.get('metric', '')} per {details.get('period', '')}, {details.get('used', 0)}"
        f" used and {details.get('held', 0)} held."
    )


def _upstream(stream: ChatStream) -> str:
    route = stream.candidate.route
    called = route.upstream_model
    other = called != stream.candidate.model.public_id
    return f"{route.upstream.name}{f', as {called}' if other else ''}"


def _tokens(stream: ChatStream) -> str:
    usage = stream.usage
    if not usage.total:
        return "none charged"
    parts = [f"{usage.input:,} in", f"{usage.output:,} out"]
    parts += [f"{usage.cached:,} of them cached"] if usage.cached else []
    parts += [f"{usage.reasoning:,} of them reasoning"] if usage.reasoning else []
    return f"{', '.join(parts)}; {COUNTED[stream.usage_source]}"


def _currency(cost: int | None) -> str:
    if cost is None:
        return "unpriced: the model has no price"
    return f"{money(to_decimal(cost))} {settings.LEDGER_CURRENCY}"


def _time(stream: ChatStream) -> str:
    first = "" if stream.ttft_ms is None else f", first words after {stream.ttft_ms:,} ms"
    return f"{stream.latency_ms:,} ms{first}"


def _left(stream: ChatStream) -> str:
    """The tightest budget of the day or month."""
    if (budget := stream.budget) is None:
        return ""
    left, limit = (amount(budget.metric, units) for units in (budget.remaining, budget.limit))
    unit = settings.LEDGER_CURRENCY if budget.metric == "cost" else budget.metric
    return (
        f"{_grouped(left)} of {_grouped(limit)} {unit} left of the {budget.scope}'s {budget.period}"
    )


def _grouped(told: int | str) -> str:
    return f"{told:,}" if isinstance(told, int) else told


def _attempt(attempt: Attempt) -> Sequence[str]:
    status = f", HTTP {attempt.status}" if attempt.status else ""
    billed = "; the provider may have billed it" if attempt.maybe_billed else ""
    how = OUTCOMES.get(attempt.outcome, attempt.outcome)
    return (
        attempt.upstream,
        attempt.model,
        f"{how}{status}{billed}",
        _after(attempt, attempt.began_ms),
        _after(attempt, attempt.latency_ms),
    )


def _after(attempt: Attempt, milliseconds: int) -> str:
    """Nothing of what was not asked."""
    return "" if attempt.outcome in NOT_ASKED else f"{milliseconds:,} ms"
