"""Every address of the admin, and marks by which another tenant's rows are found on a page."""

import io
import re
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.urls import NoReverseMatch, URLResolver, get_resolver, reverse

from tenants_app.models import Tenant
from tests.admin_site import make_world, registered, url_of

# Where globex's numbers begin: no other number on any page looks so.
FIRST = 770_000_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """acme, and globex with all of whose rows there is a mark."""

    acme: Tenant
    globex: Tenant
    marks: re.Pattern[str]


@contextmanager
def neighbours() -> Iterator[Neighbours]:
    """Two worlds; ids of globex's rows are unlike any others."""
    acme = make_world("acme")
    with connection.cursor() as cursor:
        cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE cycle = false")
        before = cursor.fetchall()
        for name, _ in before:
            cursor.execute("SELECT setval(%s, %s)", [name, FIRST])
        try:
            globex = make_world("globex")
            yield Neighbours(acme, globex, marks_of(globex))
        finally:
            for name, last in before:
                cursor.execute("SELECT setval(%s, %s, %s)", [name, last or 1, last is not None])


def marks_of(globex: Tenant) -> re.Pattern[str]:
    """Its names, numbers, UUIDs, and the beginnings of its keys."""
    words = {"globex", "Globex", *globex.keys.values_list("prefix", flat=True)}
    for rows in rows_of(globex).values():
        words |= {str(row["id"]) for row in rows if isinstance(row.get("id"), uuid.UUID)}
    return re.compile("|".join(map(re.escape, sorted(words))) + rf"|\b{FIRST // 10**4}\d{{4}}\b")


def rows_of(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Everything that is a tenant's, in every table that names a tenant."""
    own: Any = Tenant.objects.filter(pk=tenant.pk)
    found: dict[str, list[dict[str, Any]]] = {"tenants_app.Tenant": list(own.values())}
    for model in apps.get_models():
        if any(field.name == "tenant" for field in model._meta.fields):
            own = model._default_manager.filter(tenant=tenant.pk)
            found[model._meta.label] = list(own.order_by("pk").values())
    return found


def row_of(model: type[Model], tenant: Tenant) -> Any:
    """A row of the model that is this tenant's, or has to do with it; None where no row is."""
    rows = model._default_manager.all()
    if model is Tenant:
        return tenant
    if any(field.name == "tenant" for field in model._meta.fields):
        own = rows.filter(tenant=tenant).first()
        if own is not None:
            return own
    ordered = rows.order_by("pk")
    return ordered.last() if tenant.slug == "globex" else ordered.first()


def names() -> set[str]:
    """Every named address of the admin, without its namespace, and those around it."""
    return {name for name, _ in _patterns() if name}


def _patterns() -> Iterator[tuple[str | None, str]]:
    def walk(resolver: URLResolver, prefix: str) -> Iterator[tuple[str | None, str]]:
        for pattern in resolver.url_patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern, route)
            else:
                yield pattern.name, route

    return (one for one in walk(get_resolver(), "") if one[1].startswith("admin/"))


def pages_of(model: type[Model], row: Any) -> Iterator[tuple[str, str]]:
    """The addresses of a model's pages by name, those of a row with this row."""
    opts = model._meta
    start = f"{opts.app_label}_{opts.model_name}_"
    for name in sorted(one for one in names() if one.startswith(start)):
        url = _address(f"admin:{name}", row)
        if url is not None:
            yield name.removeprefix(start), url


def _address(name: str, row: Any) -> str | None:
    for args in ([], [row.pk], [row.pk, "statement.csv"]) if row is not None else ([],):
        try:
            return reverse(name, args=args)
        except NoReverseMatch:
            continue
    return None


def autocompletes() -> dict[type[Model], str]:
    """By model the address that offers its rows to choose from; for which field makes no matter."""
    found: dict[type[Model], str] = {}
    for model in apps.get_models():
        for field in (*model._meta.fields, *model._meta.many_to_many):
            related: Any = field.related_model
            page = admin.site._registry.get(related)
            if page is not None and page.search_fields:
                query = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}"
                url = f"{reverse('admin:autocomplete')}?{query}&field_name={field.name}"
                found.setdefault(related, url)
    return found


def filters_of(model: type[Model], other: Tenant) -> Iterator[str]:
    """Lists of a model, narrowed down to what is another tenant's."""
    url = url_of(model, "changelist")
    yield f"{url}?q={other.slug}"
    for field in model._meta.fields:
        related: Any = field.related_model
        if related in admin.site._registry:
            row = row_of(related, other)
            if row is not None:
                yield f"{url}?{field.name}__id__exact={row.pk}"
    for path, related in _far_filters(model):
        yield f"{url}?{path}__id__exact={row_of(related, other).pk}"


def _far_filters(model: type[Model]) -> Iterator[tuple[str, Any]]:
    """The filters of a list that lead over another table, and what they choose from."""
    for one in admin.site._registry[model].list_filter:
        path = one[0] if isinstance(one, tuple) else one
        if isinstance(path, str) and "__" in path:
            related = get_fields_from_path(model, path)[-1].related_model
            if related is not None:
                yield path, related


def told(response: Any) -> str:
    """All that an answer says, its address and the files within it included."""
    content = b"".join(response.streaming_content) if response.streaming else response.content
    if content.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        content = b" ".join(archive.read(name) for name in archive.namelist())
    return f"{response.headers.items()} {content.decode('utf-8', 'replace')}"


def following(client: Client, url: str) -> Iterator[Any]:
    """An answer, and where it leads."""
    for _ in range(3):
        response = client.get(url)
        yield response
        url = response.headers.get("Location", "")
        # That there is no such row is told on the front page, over and over.
        if not url.startswith("/") or url == reverse("admin:index"):
            return


__all__ = ["Neighbours", "autocompletes", "filters_of", "following", "names", "neighbours",
           "pages_of", "registered", "row_of", "rows_of", "told"]  # fmt: skip
