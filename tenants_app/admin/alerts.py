"""Where a tenant's alerts go, as a part of its page, and the field of a budget's percentages."""

from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from tenants_app.admin.pages import StackedInline, WordedForm, display
from tenants_app.models import AlertTargets
from tenants_app.models.alerts import MOST_EMAILS, signing_key
from tenants_app.models.budgets import sorted_percents


class CommaField(SimpleArrayField):
    """A list in one line, with commas between; `wrong` says which of its `items` make no sense."""

    widget = UnfoldAdminTextInputWidget
    wrong = ""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = value.replace(";", ",") if isinstance(value, str) else value
        if isinstance(text, str):
            items = list(filter(None, map(str.strip, text.split(","))))
            self._refuse([item for item in items if not self._makes_sense(item)])
            text = ",".join(items)
        return super().to_python(text)

    def _makes_sense(self, item: str) -> bool:
        try:
            self.base_field.clean(item)
        except ValidationError:
            return False
        return True

    def _refuse(self, items: list[str]) -> None:
        if items:
            named = ", ".join(f"“{item}”" for item in items)
            raise ValidationError(self.wrong.format(items=named))


class PercentsField(CommaField):
    """The percentages of a budget's alerts, each once and in order."""

    wrong = (
        "Not a percent: {items}. Write whole numbers from 1 to 100 with commas between, such as"
        " 50, 80, 100."
    )

    def __init__(self, **kwargs: Any) -> None:
        options: dict[str, Any] = {
            "required": False,
            "label": "Alerts at %",
            "help_text": "Of a limit per day or month; each is told once per window. Empty: none.",
        }
        super().__init__(forms.IntegerField(min_value=1, max_value=100), **(options | kwargs))

    def clean(self, value: Any) -> list[int]:
        return sorted_percents(super().clean(value) or [])


class EmailsField(CommaField):
    """Addresses of people."""

    wrong = "Not an address: {items}. Write each as ops@example.com, with commas between."


class AlertTargetsForm(WordedForm):
    """A tenant's alert targets; the signing secret goes in and never comes out."""

    emails = EmailsField(
        forms.EmailField(),
        required=False,
        max_length=MOST_EMAILS,
        label="E-mail addresses",
        help_text="Several with commas between.",
    )
    secret = forms.CharField(
        required=False,
        max_length=200,
        label="New signing secret",
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Write-only: whsec_ and base64 of 24 to 64 random bytes, the same as the receiver"
        " has. Empty: what is set stays as it is.",
    )
    remove_secret = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Forget the secret that is set.",
    )

    class Meta:
        model = AlertTargets
        fields = ("emails", "webhook_url")
        help_texts = {
            "webhook_url": "Gets each alert as signed JSON. Private addresses must be in"
            " UPSTREAM_ALLOWED_NETWORKS.",
        }

    def clean_emails(self) -> list[str]:
        return list(dict.fromkeys(self.cleaned_data["emails"] or []))

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret:
            signing_key(secret)
        return secret

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("secret") and cleaned.get("remove_secret"):
            self.add_error("remove_secret", "Either set a secret or remove it.")
        had = self.instance.sealed_secret is not None and not cleaned.get("remove_secret")
        # An imported address comes without one: only who changes it here has to set it.
        new = {"webhook_url", "remove_secret"} & set(self.changed_data)
        if new and cleaned.get("webhook_url") and not (had or cleaned.get("secret")):
            self.add_error("secret", "A webhook is signed: set a secret with its URL.")
        return cleaned

    def save(self, commit: bool = True) -> Any:
        if secret := self.cleaned_data.get("secret"):
            self.instance.seal_secret(secret)
        elif self.cleaned_data.get("remove_secret"):
            self.instance.seal_secret("")
        return super().save(commit)


class AlertTargetsInline(StackedInline):
    """Where the tenant's alerts go."""

    model = AlertTargets
    form = AlertTargetsForm
    fields = ("emails", "webhook_url", "secret_state", "secret", "remove_secret")
    readonly_fields = ("secret_state",)
    can_delete = False
    extra = 1
    max_num = 1
    verbose_name_plural = "Alerts"

    @display(description="Signing secret")
    def secret_state(self, targets: AlertTargets) -> str:
        if targets.sealed_secret is None:
            return "Not set."
        return f"Set since {targets.secret_changed_at:%Y-%m-%d %H:%M} UTC."

    # They are not fields of the model: without permission to change it, as said.
    secret = remove_secret = secret_state
