"""What becomes of an API key that is there: rotated, with an overlap of its two secrets or without,
and revoked, each after a question; and the page that shows a new secret.

A secret exists in one response: it is in no URL, session, message or log.
"""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextInputWidget

from tenants_app import keys
from tenants_app.admin.pages import ConfigurationAdmin, ModelAdmin, action, confirmation
from tenants_app.admin.reasons import MaybeReasonForm, because
from tenants_app.models import ApiKey

PLAYGROUND_ENDS: Final = (
    "Without its playground's key nobody can try models at a tenant's charge any more."
)
OVERLAPS: Final = {
    "none": ("Not at all: it stops at once", None),
    "hour": ("1 hour", timedelta(hours=1)),
    "day": ("24 hours", timedelta(hours=24)),
    "week": ("7 days", timedelta(days=7)),
    "date": ("Until a date", None),
}
# Two secrets for good would be two keys that nobody can tell apart.
OVERLAP_DAYS_MAX: Final = 90


class RotationForm(MaybeReasonForm):
    """How long the present secret works beside the new one, and why there is a new one."""

    overlap = forms.ChoiceField(
        label="The present secret still works",
        choices=[(name, label) for name, (label, _) in OVERLAPS.items()],
        initial="day",
        widget=UnfoldAdminRadioSelectWidget,
    )
    until = forms.DateTimeField(
        label="Until",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"}),
        help_text=f'In UTC, at most {OVERLAP_DAYS_MAX} days from now; only with "Until a date".',
    )
    field_order = ("overlap", "until", "reason")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        overlap, until = cleaned.get("overlap"), cleaned.get("until")
        now = timezone.now()
        if overlap != "date" and until:
            self.add_error("overlap", 'Choose "Until a date", or leave the date empty.')
        elif overlap == "date" and "until" not in self.errors:
            if until is None:
                self.add_error("until", "Say until when.")
            elif until <= now:
                self.add_error("until", "This is in the past.")
            elif until > now + timedelta(days=OVERLAP_DAYS_MAX):
                self.add_error("until", f"At most {OVERLAP_DAYS_MAX} days from now.")
        return cleaned

    def ends(self) -> datetime | None:
        """When the present secret stops working; None: at once."""
        _, length = OVERLAPS[self.cleaned_data["overlap"]]
        until: datetime | None = self.cleaned_data["until"]
        return until if length is None else timezone.now() + length


class KeyLife(ConfigurationAdmin):
    """The buttons of a key."""

    actions = ("revoke_selected",)
    actions_detail = ("rotate", "end_overlap", "revoke")
    actions_row = ("rotate", "revoke")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        """The end of an overlap only where there is one."""
        actions = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        key = self.get_object(request, str(object_id))
        if key is not None and key.overlaps_until:
            return actions
        return [one for one in actions if one.path != "end_overlap"]

    @action(description="Rotate", icon="autorenew", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A new secret for the same key."""
        key = self._changeable(request, object_id)
        if key is None:
            return redirect(self.url_of("changelist"))
        if why_not := _why_not(key):
            messages.error(request, why_not)
            return redirect(self.url_of("change", key.pk))
        # A reloaded page names a secret that is gone, and so asks again.
        sent = request.POST.get("confirmed") == key.prefix
        form = RotationForm(request.POST if sent else None)
        if not form.is_valid():
            return self._ask_to_rotate(request, key, form)
        try:
            with because(form.cleaned_data["reason"]):
                issued = keys.rotate(key, until=form.ends())
        except ValueError as error:
            messages.error(request, str(error))
            return redirect(self.url_of("change", key.pk))
        told = _secret_before(issued.key)
        self.log_change(request, key, f"Rotated. {told}")
        return secret_page(self, request, issued, told)

    @action(description="End the overlap", icon="key_off", permissions=["change"])
    def end_overlap(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Only the newest secret from now on."""
        key = self._changeable(request, object_id)
        if key is None:
            return redirect(self.url_of("changelist"))
        if key.overlaps_until is None:
            messages.info(request, "The secret before the present one does not work any more.")
            return redirect(self.url_of("change", key.pk))
        form = _confirmed(request)
        if not form.is_valid():
            return self._ask_to_end_overlap(request, key, form)
        with because(form.cleaned_data["reason"]):
            keys.end_overlap(key)
        self.log_change(request, key, "Overlap ended.")
        messages.success(request, f"Only the newest secret of {key} works now.")
        return redirect(self.url_of("change", key.pk))

    @action(description="Revoke", icon="block", permissions=["change"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The end of a key."""
        key = self._changeable(request, object_id)
        if key is None:
            return redirect(self.url_of("changelist"))
        return self._revoke_or_ask(request, [key]) or redirect(self.url_of("change", key.pk))

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        """The end of several keys."""
        return self._revoke_or_ask(request, list(queryset), action="revoke_selected")

    def _changeable(self, request: HttpRequest, object_id: str) -> ApiKey | None:
        key: ApiKey | None = self.get_object(request, object_id)
        if key is None:
            messages.error(request, "There is no such key.")
        return key

    def _ask_to_rotate(self, request: HttpRequest, key: ApiKey, form: RotationForm) -> HttpResponse:
        sentences = [
            "The key gets a new secret, which is shown once. Its budgets and usage go on.",
            "While both secrets work they are the same key: give the new one to its clients then.",
        ]
        if key.overlaps_until:
            sentences.append(
                f"{_secret_before(key)} Rotating again ends that at once: only the secret that is"
                " replaced now goes on."
            )
        return confirmation(
            self,
            request,
            title=f"Rotate {key}",
            button="Rotate the key",
            sentences=sentences,
            confirmed=key.prefix,
            objects=[key],
            form=form,
        )

    def _ask_to_end_overlap(
        self, request: HttpRequest, key: ApiKey, form: MaybeReasonForm
    ) -> HttpResponse:
        return confirmation(
            self,
            request,
            title=f"End the overlap of {key}",
            button="End the overlap",
            sentences=[
                _secret_before(key),
                "From now on requests with it are refused. The present one goes on.",
            ],
            confirmed="yes",
            objects=[key],
            form=form,
        )

    def _revoke_or_ask(
        self, request: HttpRequest, chosen: list[ApiKey], **context: Any
    ) -> HttpResponse | None:
        form = _confirmed(request)
        if form.is_valid():
            with because(form.cleaned_data["reason"]), transaction.atomic():
                self._revoke(request, chosen)
            return None
        return confirmation(
            self,
            request,
            title="Revoke API keys" if len(chosen) != 1 else f"Revoke {chosen[0]}",
            button="Revoke",
            sentences=_revoking(chosen),
            confirmed="yes",
            objects=chosen,
            checkbox=ACTION_CHECKBOX_NAME,
            form=form,
            **context,
        )

    def _revoke(self, request: HttpRequest, chosen: list[ApiKey]) -> None:
        for key in chosen:
            keys.revoke(key)
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"Revoked: {', '.join(map(str, chosen))}.")


def _confirmed(request: HttpRequest) -> MaybeReasonForm:
    """The form of a question; valid once it was answered with yes."""
    return MaybeReasonForm(request.POST if request.POST.get("confirmed") == "yes" else None)


def _why_not(key: ApiKey) -> str:
    """Why a key is not rotated, "" if it is."""
    if key.revoked_at is not None:
        return "A revoked key is not rotated; issue a new one."
    return "The playground's key has no secret to rotate." if key.is_playground else ""


def _secret_before(key: ApiKey) -> str:
    until = key.overlaps_until
    if until is None:
        return "The secret before it does not work any more."
    return f"The secret before it works until {until:%Y-%m-%d %H:%M} UTC."


def _revoking(chosen: list[ApiKey]) -> list[str]:
    which = "it" if len(chosen) == 1 else f"these {len(chosen)} keys"
    sentences = [f"Requests with {which} are refused from now on. This cannot be undone."]
    if any(key.overlaps_until for key in chosen):
        sentences.append("Where a rotation left two secrets working, both of them stop.")
    if any(key.is_playground for key in chosen):
        sentences.append(PLAYGROUND_ENDS)
    return sentences


def secret_page(
    page: ModelAdmin, request: HttpRequest, issued: keys.IssuedKey, *sentences: str
) -> HttpResponse:
    """The one page that shows a secret; it answers the POST, so no address leads back to it."""
    chat = "chat" in issued.key.scopes
    body = json.dumps({"sessionId": str(uuid.uuid4()), "message": "Hello"})
    lines = [
        f"curl -N {request.build_absolute_uri('/chat' if chat else '/usage')}",
        f"-H 'Authorization: Bearer {issued.secret}'",
    ]
    if chat:
        lines += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
    response = TemplateResponse(
        request,
        "tenants_app/key_secret.html",
        {
            **page.admin_site.each_context(request),
            "title": f"API key of {issued.key.tenant}",
            "opts": page.opts,
            "key": issued.key,
            "secret": issued.secret,
            "sentences": sentences,
            "curl": " \\\n  ".join(lines),
        },
    )
    response["Cache-Control"] = "no-store"
    return response
