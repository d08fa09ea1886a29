"""Why something is changed: asked for what is felt at once, offered with everything else, and kept
in the audit trail. It saves nothing itself: the trail's triggers do.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import pghistory
from django import forms
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

REASON_MAX: Final = 500
# The field beside the buttons of every form; no model has one of this name.
BESIDE_SAVE: Final = "_reason"


class ReasonForm(forms.Form):
    """The question of a confirmation that wants to know why."""

    reason = forms.CharField(
        label="Why",
        max_length=REASON_MAX,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept in the change history, for whoever asks later.",
        error_messages={
            "required": "Say why, in a few words: the change history keeps it.",
            "max_length": f"At most {REASON_MAX} characters.",
        },
    )


class MaybeReasonForm(ReasonForm):
    """The question of one that does not insist."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = False


def because(reason: str) -> AbstractContextManager[Any]:
    """Everything that is changed inside of it has this reason in the audit trail."""
    text = reason.strip().replace("\0", "")[:REASON_MAX]
    return pghistory.context(reason=text) if text else nullcontext()


def beside_save(request: HttpRequest) -> str:
    """What was typed beside the buttons of a form."""
    return str(request.POST.get(BESIDE_SAVE, ""))
