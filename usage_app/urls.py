"""The API's paths of the books."""

from django.urls import path

from usage_app.views import BudgetsView, UsageView
from usage_app.views_reports import UsageReportView

urlpatterns = [
    path("usage", UsageView.as_view(), name="usage"),
    path("budgets", BudgetsView.as_view(), name="budgets"),
    path("reports/usage", UsageReportView.as_view(), name="usage_report_api"),
]
