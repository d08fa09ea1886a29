"""The tables of the books, by what they are for."""

from usage_app.models.alerts import Alert, AlertDelivery
from usage_app.models.audit import AUDITED
from usage_app.models.bills import ProviderBill, ProviderBillLine, ProviderBillMatch
from usage_app.models.books import (
    GatewayProcess,
    LedgerEntry,
    RateBucket,
    Reservation,
    UsageWindow,
)
from usage_app.models.prices import Margin, Price
from usage_app.models.reconciliation import Drift, Reconciliation
from usage_app.models.rollups import (
    DailyUsage,
    HourlyUsage,
    MonthlyUsage,
    RefusalCount,
    RollupMark,
)
from usage_app.models.statements import Statement, StatementDay, StatementLine
from usage_app.models.tokens import StaffToken

__all__ = [
    "AUDITED",
    "Alert",
    "AlertDelivery",
    "DailyUsage",
    "Drift",
    "GatewayProcess",
    "HourlyUsage",
    "LedgerEntry",
    "Margin",
    "MonthlyUsage",
    "Price",
    "ProviderBill",
    "ProviderBillLine",
    "ProviderBillMatch",
    "RateBucket",
    "Reconciliation",
    "RefusalCount",
    "Reservation",
    "RollupMark",
    "StaffToken",
    "Statement",
    "StatementDay",
    "StatementLine",
    "UsageWindow",
]
