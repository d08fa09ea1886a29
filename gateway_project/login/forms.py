"""The login by password: throttled, logged, and in words."""

from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.login import oidc, throttle

if TYPE_CHECKING:
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
else:
    from unfold.forms import AuthenticationForm

log = structlog.get_logger(__name__)


class LoginForm(AuthenticationForm):
    """The admin's own, which counts tries before it looks at a password."""

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username")
        if not username or not self.cleaned_data.get("password") or self.request is None:
            return self.cleaned_data
        buckets = throttle.buckets(self.request, username)
        told = {f"by_{bucket.kind}": bucket.subject for bucket in buckets}
        wait = throttle.take(buckets)
        throttle.forget()
        if wait:
            log.warning("login_throttled", wait_seconds=wait, **told)
            self.request.login_wait_seconds = wait  # type: ignore[attr-defined]
            raise ValidationError(
                f"Too many tries. The next one is possible in {in_words(wait)}.", code="throttled"
            )
        try:
            super().clean()
        except ValidationError as error:
            log.warning("login_refused", reason=error.code, **told)
            raise
        throttle.give_back(buckets)
        user = self.get_user()
        log.info("staff_logged_in", user=user.get_username(), by="password")
        # The middleware of sessions sets the cookie, as only it has the answer; 429 likewise.
        self.request.known_browser = throttle.browser_cookie(user)  # type: ignore[attr-defined]
        return self.cleaned_data

    def confirm_login_allowed(self, user: Any) -> None:
        """Staff only, and where passwords are for emergencies, superusers only."""
        super().confirm_login_allowed(user)
        if self.for_emergencies and not user.is_superuser:
            raise ValidationError(f"Log in with {settings.OIDC_NAME}.", code="password_login_off")

    @property
    def provider(self) -> str:
        """What its button says, where there is another way in."""
        return settings.OIDC_NAME if oidc.is_on() else ""

    @property
    def for_emergencies(self) -> bool:
        """Whether passwords are for superusers only."""
        return oidc.is_on() and settings.OIDC_ONLY

    @property
    def leads_to(self) -> str:
        """The page that the login was asked for."""
        return self.request.GET.get("next", "") if self.request else ""


def in_words(seconds: int) -> str:
    """A short time, rounded up."""
    if seconds == 1:
        return "1 second"
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
