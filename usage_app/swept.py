"""What an entry that the sweep wrote says of itself, in its `reason`: why its hold was left, and by
what it was charged. PURE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from usage_app.models import LedgerEntry

# Why nobody else ended the hold: its process was not heard of, or could not write its settlement.
SILENT: Final = "its process fell silent"
REFUSED: Final = "the database refused its settlement"
BY_HEARTBEAT: Final = "charged by its last heartbeat"
IN_FULL: Final = "charged in full"


def was_refused(entry: LedgerEntry) -> bool:
    """Whether its process lived, and the database refused what it wrote."""
    return entry.reason.startswith(REFUSED)


def is_in_full(entry: LedgerEntry) -> bool:
    """Whether all that was held was charged, since nothing had been written down. Entries from
    before they gave a reason are judged by their sum.
    """
    if entry.reason:
        return entry.reason.endswith(IN_FULL)
    return entry.total_tokens == entry.held_tokens
