"""The page that issues many of a tenant's keys at once: a table is looked at, and then answered
with the table of the secrets. That answer is the only place where they ever are.
"""

import uuid
from typing import Any, Final
from urllib.parse import urlencode

import pghistory
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from tenants_app import key_csv, keys
from tenants_app.admin.bulk import TableForm
from tenants_app.admin.pages import ModelAdmin
from tenants_app.admin.refusals import REFUSALS, sentence
from tenants_app.key_csv import KEYS_MAX, KeyPlan
from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey, Tenant

PERMISSION: Final = "tenants_app.add_apikey"
SENTENCES: Final = (
    f"A line for each key, at most {KEYS_MAX}: {', '.join(key_csv.COLUMNS.names)}.",
    "Only the name must be there; a team is told by its slug.",
    "A key expires at the beginning of a day, in UTC, or at an instant like 2027-01-31T18:00:00Z.",
    "All keys of a file are issued, or none. They may chat and read their usage.",
)


def page(admin: ModelAdmin, request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """What a table asks for; and once that was seen, the keys, in a file."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    form = TableForm(request.POST or None, request.FILES or None)
    context: dict[str, Any] = {}
    if form.is_valid():
        try:
            seen = _looked_at_or_issued(request, form, tenant)
        except REFUSALS as error:
            form.add_error(None, sentence(error))
        else:
            if isinstance(seen, HttpResponse):
                return seen
            context = seen
    return TemplateResponse(
        request,
        "tenants_app/issue_keys.html",
        {
            **admin.admin_site.each_context(request),
            "title": f"Issue keys of {tenant}",
            "opts": ApiKey._meta,
            "form": form,
            "sentences": SENTENCES,
            **context,
        },
    )


def list_url(batch: uuid.UUID) -> str:
    """The list of the keys that were issued together."""
    query = urlencode({"batch__exact": str(batch)})
    return f"{reverse('admin:tenants_app_apikey_changelist')}?{query}"


def _looked_at_or_issued(
    request: HttpRequest, form: TableForm, tenant: Tenant
) -> HttpResponse | dict[str, Any]:
    """What the page shows of the table, or the file if that was seen before."""
    batch = _batch(request)
    with pghistory.context(reason=form.cleaned_data["reason"]), transaction.atomic():
        plan = key_csv.plan(form.content(), tenant)
        # Asked under the tenant's lock: of two at once, the second finds the first one's keys.
        if batch is not None and (spent := ApiKey.objects.filter(batch=batch).count()):
            return {"spent": spent, "keys_url": list_url(batch)}
        seen = request.POST.get("seen")
        if batch is not None and not plan.problems and seen == plan.fingerprint:
            return _file(tenant, _issue(request, tenant, plan, batch))
    if seen and not plan.problems:
        form.add_error(None, "The keys are others by now: look at them again.")
    return _shown(form, plan)


def _issue(
    request: HttpRequest, tenant: Tenant, plan: KeyPlan, batch: uuid.UUID
) -> list[IssuedKey]:
    wanted = [(key.name, key.team, key.expires_at) for key in plan.keys]
    issued = keys.issue_together(tenant, batch, wanted)
    LogEntry.objects.log_actions(
        str(request.user.pk), [one.key for one in issued], ADDITION, [{"added": {}}]
    )
    return issued


def _file(tenant: Tenant, issued: list[IssuedKey]) -> HttpResponse:
    headers = {
        "Content-Disposition": f'attachment; filename="keys-{tenant.slug}.csv"',
        "Cache-Control": "no-store",
    }
    content = key_csv.write(issued)
    return HttpResponse(content, content_type="text/csv; charset=utf-8", headers=headers)


def _shown(form: TableForm, plan: KeyPlan) -> dict[str, Any]:
    if plan.problems:
        return {"plan": plan}
    batch = uuid.uuid4()
    return {
        "plan": plan,
        "batch": batch,
        "keys_url": list_url(batch),
        # It was read as this a moment ago.
        "looked_at": form.content().decode("utf-8-sig"),
    }


def _batch(request: HttpRequest) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.POST.get("batch", ""))
    except ValueError:
        return None
