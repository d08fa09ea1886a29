"""Tables in and out: a list's CSV file, and a page that shows what such a file would change before
it is written. What a table means is for `tenant_csv` and `budget_csv`.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, Final

import pghistory
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from tenants_app import budget_csv, tenant_csv, tenant_plan, tenant_rows, tenant_writes
from tenants_app.admin.pages import ConfigurationAdmin, action
from tenants_app.admin.refusals import REFUSALS, sentence
from tenants_app.admin.scope import visible
from tenants_app.models import Budget, Model, Tenant
from tenants_app.strict_json import Finding

SIZE_MAX: Final = 1024 * 1024
# Shown on one page; of the others their number is told.
SHOWN_MAX: Final = 500
ABOUT_TENANTS: Final = (
    (
        f"A line for each tenant: {', '.join(tenant_csv.PLACES)}. Only the first must be there;"
        " a new tenant needs a default_model, too."
    ),
    "An empty cell leaves things as they are; none takes a budget away.",
    "Tenants that are not named stay as they are. All of a file is imported, or nothing.",
)
ABOUT_BUDGETS: Final = (
    "A line for each budget; team is its slug, key its name, both empty: the whole tenant's.",
    "A limit of none takes the budget away; budgets that are not named stay as they are.",
    "All of a file is imported, or nothing.",
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a table would change: whose, and how, line by line."""

    changes: Sequence[tuple[str, Sequence[str]]] = ()
    unchanged: int = 0
    problems: Sequence[Finding] = ()
    warnings: Sequence[Finding] = ()
    notes: Sequence[str] = ()
    apply: Callable[[], None] = lambda: None

    @property
    def fingerprint(self) -> str:
        """Tells one set of changes from another."""
        return hashlib.sha256(repr(self.changes).encode()).hexdigest()

    @property
    def shown(self) -> Sequence[tuple[str, Sequence[str]]]:
        return self.changes[:SHOWN_MAX]

    @property
    def not_shown(self) -> int:
        return max(len(self.changes) - SHOWN_MAX, 0)


class TableForm(forms.Form):
    """The file, and why; once it was looked at, its text comes back with the form."""

    file = forms.FileField(
        required=False,
        label="CSV file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv"}),
    )
    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Stands in the change history, with every row that this changes.",
    )
    # Without a widget of its own: the page puts it back, as it was looked at.
    table = forms.CharField(required=False, widget=forms.HiddenInput, strip=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        file = cleaned.get("file")
        if file is not None and file.size > SIZE_MAX:
            self.add_error("file", "This has more than 1 MiB: split it.")
        elif file is None and not cleaned.get("table"):
            self.add_error("file", "Choose a file.")
        return cleaned

    def content(self) -> bytes:
        """The table's bytes; a new file comes before what was looked at."""
        file = self.cleaned_data.get("file")
        if file is None:
            return str(self.cleaned_data["table"]).encode()
        file.seek(0)
        content: bytes = file.read()
        return content


@dataclass(frozen=True, slots=True)
class Table:
    """What a list's table is: the sentences above its form, how it is written, and what one that
    came back would change. `preview` runs in a transaction, which its `apply` needs, too.
    """

    sentences: Sequence[str]
    write: Callable[[HttpRequest], str]
    preview: Callable[[HttpRequest, bytes], Preview]


class TablePages(ConfigurationAdmin):
    """A list with its table in and out."""

    actions_list: tuple[str, ...] = ("export_csv", "import_csv")
    table: ClassVar[Table]

    def has_export_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whoever sees the list may take it along."""
        return self.has_view_permission(request)

    def has_import_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Whoever may make and change rows one by one."""
        return self.has_add_permission(request) and self.has_change_permission(request)

    @action(description="Export all", icon="download", permissions=["export"])
    def export_csv(self, request: HttpRequest) -> HttpResponse:
        """All that the user may see, whatever the list shows, as a file to be imported again."""
        name = f"{self.opts.verbose_name_plural}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(
            self.table.write(request), content_type="text/csv; charset=utf-8", headers=headers
        )

    @action(description="Import CSV", icon="upload", permissions=["import"])
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        """What a file would change; and once that was seen, changing it."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = TableForm(request.POST or None, request.FILES or None)
        preview: Preview | None = None
        if form.is_valid():
            try:
                preview = self._looked_at_or_written(request, form)
            except REFUSALS as error:
                form.add_error(None, sentence(error))
            else:
                if preview is None:
                    return redirect(self.url_of("changelist"))
        return self._table_page(request, form, preview)

    def _looked_at_or_written(self, request: HttpRequest, form: TableForm) -> Preview | None:
        """The preview, or None if it was seen before and is written now."""
        with pghistory.context(reason=form.cleaned_data["reason"]), transaction.atomic():
            preview = self.table.preview(request, form.content())
            seen = request.POST.get("seen")
            if preview.problems or not preview.changes or seen != preview.fingerprint:
                transaction.set_rollback(True)
                if seen and seen != preview.fingerprint:
                    form.add_error(None, "The changes are others by now: look at them again.")
                return preview
            preview.apply()
        messages.success(request, f"Imported: {_rows(len(preview.changes))} changed.")
        return None

    def _table_page(
        self, request: HttpRequest, form: TableForm, preview: Preview | None
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Import {self.opts.verbose_name_plural}",
            "opts": self.opts,
            "form": form,
            "sentences": self.table.sentences,
            "preview": preview,
        }
        if preview is not None and not preview.problems and preview.changes:
            # It was read as this a moment ago.
            context["looked_at"] = form.content().decode("utf-8-sig")
        return TemplateResponse(request, "tenants_app/import_table.html", context)


def _tenants(request: HttpRequest) -> str:
    slugs = list(visible(request, Tenant).values_list("slug", flat=True))
    found = tenant_rows.read(slugs)
    return tenant_csv.write(found[slug].state() for slug in sorted(found))


def _preview_tenants(request: HttpRequest, content: bytes) -> Preview:
    chats = Tenant.objects.filter(default_model__isnull=False)
    parsed = tenant_csv.parse(content, dict(chats.values_list("slug", "default_model__public_id")))
    if parsed.problems:
        return Preview(problems=parsed.problems)
    plan = tenant_plan.plan(parsed.tenants)
    problems = _told(plan.problems)
    if plan.new_models and not request.user.has_perm("tenants_app.add_model"):
        unknown = (
            f"There is no model {model}, and you may not add one." for model in plan.new_models
        )
        problems += [Finding("", text) for text in unknown]
    changing = [one for one in plan.tenants if one.changes]
    return Preview(
        changes=[
            (
                f"{one.file.slug}{' (new)' if one.is_new else ''}",
                list(map(tenant_csv.change_told, one.changes)),
            )
            for one in changing
        ],
        unchanged=len(plan.tenants) - len(changing),
        problems=problems,
        warnings=_told((*parsed.warnings, *plan.warnings)) + _new_models(plan.new_models),
        apply=lambda: tenant_writes.apply(plan),
    )


def _new_models(names: Sequence[str]) -> list[Finding]:
    """That a model is made by naming it: it may be a slip of the pen."""
    known = list(Model.objects.values_list("public_id", flat=True)) if names else []
    found = []
    for name in names:
        close = get_close_matches(name, known, 1)
        meant = f" Or did you mean {close[0]}?" if close else ""
        text = f"{name} is a new model: it is made, and has neither a price nor a route yet.{meant}"
        found.append(Finding("", text))
    return found


def _budgets(request: HttpRequest) -> str:
    rows = visible(request, Budget).select_related("tenant", "team", "api_key")
    order = ("tenant__slug", "team__slug", "api_key", "metric", "period")
    return budget_csv.write(rows.order_by(*order))


def _preview_budgets(request: HttpRequest, content: bytes) -> Preview:
    plan = budget_csv.plan(content, visible(request, Tenant))
    return Preview(
        changes=[(one.whose, [str(one.told)]) for one in plan.changes],
        unchanged=plan.unchanged,
        problems=plan.problems,
        apply=lambda: budget_csv.apply(plan),
    )


class TenantTable(TablePages):
    """The list of tenants, as a table."""

    table = Table(ABOUT_TENANTS, _tenants, _preview_tenants)

    def has_import_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """A table makes, changes and takes away budgets, too."""
        verbs = ("add", "change", "delete")
        return super().has_import_permission(request) and request.user.has_perms(
            [f"tenants_app.{verb}_budget" for verb in verbs]
        )


class BudgetTable(TablePages):
    """The list of budgets, as a table."""

    table = Table(ABOUT_BUDGETS, _budgets, _preview_budgets)

    def has_import_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """A table may also take budgets away."""
        return super().has_import_permission(request) and self.has_delete_permission(request)


def _told(findings: Iterable[Finding]) -> list[Finding]:
    return [tenant_csv.told(finding) for finding in findings]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
