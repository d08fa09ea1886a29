"""Which changes of the books' configuration are audited, as `tenants_app.models.audit` does for its
own: what models cost, and what tenants pay on top.
"""

import pghistory
from django.db import models

from usage_app.models.prices import Margin, Price

AUDITED: tuple[type[models.Model], ...] = (Price, Margin)

for _model in AUDITED:
    pghistory.track(
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        append_only=True,
    )(_model)
