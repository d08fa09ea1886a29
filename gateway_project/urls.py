"""Every path of Tollgate; gateway_project/asgi.py says which handler serves it."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from gateway_project import views
from gateway_project.login import views as login
from usage_app.views_admin import usage_report

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.index, name="index"),
    path("admin/usage/", usage_report, name="usage_report"),
    path("admin/login/oidc/", login.begin, name="oidc_login"),
    path("admin/login/oidc/callback/", login.callback, name="oidc_callback"),
    path("admin/", admin.site.urls),
    path("ready", views.ReadyView.as_view(), name="ready"),
    path("", include("chat_app.urls")),
    path("", include("usage_app.urls")),
]

# Of the admin's side; the API answers in its own way.
handler400 = "gateway_project.error_pages.bad_request"
handler403 = "gateway_project.error_pages.permission_denied"
handler404 = "gateway_project.error_pages.page_not_found"
handler500 = "gateway_project.error_pages.server_error"
