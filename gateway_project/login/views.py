"""The two steps of a login by OIDC, as the browser takes them."""

import structlog
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET

from gateway_project.login import accounts, oidc, throttle
from gateway_project.login.provider import ProviderFailed
from gateway_project.login.tokens import TokenRefused

log = structlog.get_logger(__name__)


@require_GET
def begin(request: HttpRequest) -> HttpResponse:
    """Off to the provider."""
    if not oidc.is_on():
        raise Http404
    try:
        address = oidc.begin(request, leads_to=_leads_to(request))
    except ProviderFailed as error:
        log.error("oidc_provider_failed", problem=str(error))
        return _refused(request, f"{settings.OIDC_NAME} cannot be reached. Try again later.")
    if not request.user.is_authenticated:
        # Nobody is logged in by it: it need not be kept longer than the login may take.
        request.session.set_expiry(oidc.PENDING_SECONDS)
    return redirect(address)


@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the provider."""
    if not oidc.is_on():
        raise Http404
    try:
        person, leads_to = oidc.finish(request)
        user = accounts.admit(person)
    except accounts.NotAdmitted as error:
        log.warning("login_refused", reason=error.reason, by="oidc", subject=person.subject)
        return _refused(request, str(error))
    except (oidc.LoginFailed, TokenRefused) as error:
        log.warning("login_refused", reason=str(error), by="oidc")
        return _refused(request, "This login did not succeed. Try again.")
    except ProviderFailed as error:
        log.error("oidc_provider_failed", problem=str(error))
        return _refused(request, f"{settings.OIDC_NAME} did not answer as it should.")
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session.pop(oidc.PENDING, None)
    log.info("staff_logged_in", user=user.username, by="oidc")
    request.known_browser = throttle.browser_cookie(user)  # type: ignore[attr-defined]
    return redirect(leads_to)


def _leads_to(request: HttpRequest) -> str:
    """Where the login was asked for, if that is a page of ours."""
    wanted = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:index")


def _refused(request: HttpRequest, text: str) -> HttpResponse:
    messages.error(request, text)
    return redirect("admin:login")
