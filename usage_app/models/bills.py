"""Providers' bills as they came, and what matching them with the books gave.
`usage_app.bills.provider_bills` writes both; matches are re-made whole, bills never changed.
"""

from django.db import models
from django.db.models import F, Q

from tenants_app.models import Tenant, Upstream
from usage_app.models.fields import BILLED, MONEY


class ProviderBill(models.Model):
    """A provider's usage file for some upstreams and days (UTC), and how to read such a file."""

    name = models.CharField(max_length=200, help_text="The name of the file.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the file.")
    kind = models.CharField("provider", max_length=16, choices=Upstream.Kind)
    first_day = models.DateField()
    last_day = models.DateField()
    upstreams = models.JSONField(help_text="Names, each with the tenant that owns it, or null.")
    layout = models.JSONField(help_text="Which column tells what; see usage_app/bills/files.py.")
    currency = models.CharField(max_length=3)
    lines = models.IntegerField()
    amount = models.DecimalField(**BILLED, null=True, help_text="Empty: the file tells no money.")
    imported_by = models.CharField(max_length=150)
    imported_at = models.DateTimeField(auto_now_add=True)
    matched_at = models.DateTimeField(null=True)
    missing_here = models.IntegerField(default=0, help_text="Lines that nothing here explains.")
    missing_there = models.IntegerField(default=0, help_text="Requests that it does not have.")
    difference = models.DecimalField(
        **BILLED, null=True, help_text="What it takes beyond the cost in the books."
    )

    class Meta:
        permissions = (("match_bill", "Can import, match and delete provider bills"),)
        constraints = (
            models.UniqueConstraint(fields=["digest"], name="bill_file_is_imported_once"),
            models.CheckConstraint(
                condition=Q(first_day__lte=F("last_day")), name="bill_ends_after_it_begins"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def names(self) -> str:
        """The upstreams that it bills."""
        return ", ".join(upstream["name"] for upstream in self.upstreams)


class ProviderBillLine(models.Model):
    """One line of a bill. Refused by a trigger: UPDATE."""

    bill = models.ForeignKey(ProviderBill, on_delete=models.CASCADE, related_name="+")
    line = models.IntegerField(help_text="Its number in the file.")
    day = models.DateField(help_text="UTC.")
    reference = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=200, blank=True, help_text="As the provider calls it.")
    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)
    amount = models.DecimalField(**BILLED, null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["bill", "line"], name="bill_line_is_there_once"),
        )

    def __str__(self) -> str:
        return f"line {self.line}"


class ProviderBillMatch(models.Model):
    """Lines of a bill beside the requests that they are about: both have a reference, or both a day
    and a model; or one side has nothing. The sums over a bill are the bill's, and the books'.
    """

    class Outcome(models.TextChoices):
        REFERENCE = "reference", "Matched by reference"
        DAY = "day", "Matched by day and model"
        ATTEMPT = "attempt", "Explained by a failed attempt"
        MISSING_HERE = "missing_here", "Missing here"
        MISSING_THERE = "missing_there", "Missing there"

    bill = models.ForeignKey(ProviderBill, on_delete=models.CASCADE, related_name="+")
    outcome = models.CharField(max_length=13, choices=Outcome)
    day = models.DateField()
    model = models.CharField(max_length=200, blank=True)
    reference = models.CharField(max_length=200, blank=True)
    lines = models.IntegerField()
    requests = models.IntegerField()
    attempts = models.IntegerField(help_text="Failed ones that the provider may have billed.")
    request_id = models.UUIDField(null=True, help_text="Empty: it is about none, or many.")
    tenant = models.ForeignKey(
        Tenant,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    billed_input_tokens = models.BigIntegerField()
    billed_output_tokens = models.BigIntegerField()
    billed_amount = models.DecimalField(**BILLED)
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost = models.DecimalField(**MONEY)
    unpriced = models.IntegerField(help_text="Requests whose cost is not known.")

    class Meta:
        verbose_name_plural = "provider bill matches"
        indexes = (
            models.Index(fields=["bill", "outcome"], name="bill_match_outcome"),
            models.Index(
                fields=["request_id"],
                condition=Q(outcome="reference"),
                name="bill_match_request",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(outcome__in=["reference", "day"], lines__gt=0, requests__gt=0)
                | Q(outcome="attempt", lines__gt=0, requests=0, attempts__gt=0)
                | Q(outcome="missing_here", lines__gt=0, requests=0, attempts=0)
                | Q(outcome="missing_there", lines=0, requests__gt=0),
                name="bill_match_is_what_it_says",
            ),
        )

    def __str__(self) -> str:
        return self.reference or f"{self.model} on {self.day}"
