"""Names and other texts of one line hold no characters that are not shown. Those that do get a
space in their place first, which the audit trail tells.
"""

from typing import Final

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations
from django.db.models import CheckConstraint, Q

UNSHOWN: Final = r"[\u0001-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
TEXTS: Final = (
    ("tenant", "name"),
    ("tenant", "cost_center"),
    ("team", "name"),
    ("apikey", "name"),
    ("upstream", "name"),
    ("model", "public_id"),
    ("model", "name"),
    ("route", "upstream_model"),
)


def mend(model: str, field: str) -> str:
    """Put a space where something is that is not shown."""
    return (
        f"UPDATE tenants_app_{model} SET {field} = regexp_replace({field}, '{UNSHOWN}', ' ', 'g')"
        f" WHERE {field} ~ '{UNSHOWN}'"
    )


def steps(model: str, field: str) -> list[migrations.operations.base.Operation]:
    """Refuse new ones, mend those that are there, then hold all to it."""
    name = f"{model}_{field}_is_one_line"
    check = CheckConstraint(name=name, condition=~Q(**{f"{field}__regex": UNSHOWN}))
    return [
        AddConstraintNotValid(model, check),
        migrations.RunSQL(mend(model, field), migrations.RunSQL.noop),
        ValidateConstraint(model, name),
    ]


class Migration(migrations.Migration):
    # A table is held only for the moment of each step.
    atomic = False

    dependencies = [("tenants_app", "0017_rights_are_audited")]

    operations = [step for model, field in TEXTS for step in steps(model, field)]
