"""What people call things is one line that reads as it is written: the constraint that says so."""

from django.db.models import CheckConstraint, Q

# Control characters, line and paragraph separators, and what turns the direction of writing.
UNSHOWN = r"[\u0001-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]"


def one_line(model: str, field: str) -> CheckConstraint:
    """The check that a text has none of these, named as `tenant_name_is_one_line`."""
    return CheckConstraint(
        name=f"{model}_{field}_is_one_line", condition=~Q(**{f"{field}__regex": UNSHOWN})
    )
