"""Which changes of the books' configuration are audited, as `tenants_app.models.audit` does for its
own: what models cost, what tenants pay on top, and who may read reports.
"""

import pghistory
from django.db import models

from usage_app.models.prices import Margin, Price
from usage_app.models.tokens import StaffToken

AUDITED: dict[type[models.Model], list[str]] = {Price: [], Margin: [], StaffToken: ["digest"]}

for _model, _secrets in AUDITED.items():
    pghistory.track(
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        exclude=_secrets,
        append_only=True,
    )(_model)
