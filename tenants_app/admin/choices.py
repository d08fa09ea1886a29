"""Values that no row could have, typed into an address or sent: forms that choose rows are drawn
with none chosen, and lists are not asked for them. Django hands them to the database, which
refuses to compare them.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db.models import BinaryField, DateField, JSONField, QuerySet
from django.http import HttpRequest

# Columns that no address narrows a list down by: their lookups want no text.
UNASKED: Final = (ArrayField, BinaryField, JSONField)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin
    from django.contrib.admin.options import BaseModelAdmin

    Fields = BaseModelAdmin[Any]
    Pages = DjangoModelAdmin[Any]
    OneOfThem = forms.ModelChoiceField[Any]
    SomeOfThem = forms.ModelMultipleChoiceField[Any]
else:
    Fields = Pages = object
    OneOfThem, SomeOfThem = forms.ModelChoiceField, forms.ModelMultipleChoiceField


def could_be(column: Any, value: Any) -> bool:
    """Whether a row could have this value in a column."""
    target = getattr(column, "target_field", column)
    try:
        target.run_validators(target.to_python(value))
    except ValidationError:
        return False
    return "\0" not in str(value)


class OneOf(OneOfThem):
    """A choice of one row."""

    def prepare_value(self, value: Any) -> Any:
        found = super().prepare_value(value)
        return found if found in self.empty_values or could_be(_column(self), found) else None


class SomeOf(SomeOfThem):
    """A choice of several rows."""

    def prepare_value(self, value: Any) -> Any:
        found = super().prepare_value(value)
        if isinstance(found, list | tuple):
            return [one for one in found if one is not None and could_be(_column(self), one)]
        return found if found in self.empty_values or could_be(_column(self), found) else None

    def clean(self, value: Any) -> Any:
        """Django's; what no row could have is refused as a choice that is none."""
        for one in value if isinstance(value, list | tuple) else ():
            if not could_be(_column(self), one):
                text = self.error_messages["invalid_choice"]
                raise ValidationError(text, code="invalid_choice", params={"value": one})
        return super().clean(value)


def _column(field: Any) -> Any:
    """What the rows are chosen by."""
    opts = field.queryset.model._meta
    return opts.get_field(field.to_field_name) if field.to_field_name else opts.pk


class PossibleChoices(Fields):
    """Fields of a form that choose rows."""

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        kwargs = {"form_class": OneOf, **kwargs}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        kwargs = {"form_class": SomeOf, **kwargs}
        return super().formfield_for_manytomany(db_field, request, **kwargs)


def _paths(filters: Iterable[Any]) -> Iterator[str]:
    """The lookups that a list's filters go by, of those that go by one."""
    for one in filters:
        path = one[0] if isinstance(one, list | tuple) else one
        if isinstance(path, str):
            yield path


class PossibleLookups(Pages):
    """Lists, which are narrowed down by addresses, and of whose rows some are chosen."""

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Django's, but neither by what refers to the rows nor by UNASKED, unless it is offered."""
        if any(f"{lookup}__".startswith(f"{path}__") for path in _paths(self.list_filter)):
            return super().lookup_allowed(lookup, value, request)
        first = lookup.split("__", maxsplit=1)[0]
        field = {one.name: one for one in self.opts.get_fields()}.get(first)
        if field is not None and (not field.concrete or isinstance(field, UNASKED)):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Django's; an instant is one, or is not there."""
        found = super().get_changeform_initial_data(request)
        for column in self.opts.fields:
            if column.name in found and isinstance(column, DateField):
                text = found.pop(column.name)
                if could_be(column, text):
                    found[column.name] = column.to_python(text)
        return found

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Django's, for those of the chosen rows that could be there."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        possible = [one for one in chosen if could_be(self.opts.pk, one)]
        if len(possible) < len(chosen):
            sent = request.POST.copy()
            sent.setlist(ACTION_CHECKBOX_NAME, possible)
            request.POST = sent  # type: ignore[assignment]
        return super().response_action(request, queryset)
