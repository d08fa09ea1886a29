"""The chat API's paths."""

from django.urls import path

from chat_app.views import ChatView, HealthView
from chat_app.views_sessions import HistoryView, SessionView

urlpatterns = [
    path("chat", ChatView.as_view(), name="chat"),
    path("health", HealthView.as_view(), name="health"),
    path("sessions/<str:session_id>", SessionView.as_view(), name="session"),
    path("sessions/<str:session_id>/history", HistoryView.as_view(), name="history"),
]
